from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pytest
from fma_tree import FAULTS, FmaTree, build_fma_tree, clip_path

from musicrec.audio import AudioError, decode
from musicrec.catalog.published.fma import read_fma
from musicrec.catalog.tables import Catalog, CatalogError, Problem
from musicrec.config.jobs import Config
from musicrec.config.sections import CatalogSettings
from musicrec.pipeline.catalog import open_run, report_catalog
from musicrec.storage.store import resolve

TRACKS = 36


@pytest.fixture
def tree(tmp_path: Path) -> FmaTree:
    """Write a tree of clips of one second: only their names matter."""
    return build_fma_tree(tmp_path, tracks=TRACKS, genres=3, seconds=1.0)


def read(tree: FmaTree, subset: str = "medium") -> tuple[Catalog, list[Problem]]:
    return read_fma(str(tree.root), resolve(str(tree.root)), subset)


def refused(tree: FmaTree, subset: str = "medium") -> list[str]:
    """Return the problems of a tree that cannot be used."""
    tree.write_tables()
    with pytest.raises(CatalogError) as caught:
        read(tree, subset)
    return [str(problem) for problem in caught.value.problems if problem.severity == "error"]


def test_a_row_of_the_published_table_is_a_track(tree: FmaTree) -> None:
    catalog, problems = read(tree)
    assert problems == []
    published = {str(row["track_id"]): row for row in tree.tracks}
    for track in catalog.tracks.to_pylist():
        row = published[track["track_id"]]
        assert track["title"] == row["track.title"]
        assert track["artist_id"] == str(row["artist.id"])
        assert track["artist"] == row["artist.name"]
        assert track["album"] == "An album, of sorts"
        assert track["album_id"] == (None if row["album.id"] == -1 else str(row["album.id"]))
        assert track["year"] == (
            int(row["album.date_released"][:4]) if row["album.date_released"] else None
        )
        assert track["genre_top"] == row["track.genre_top"]
        assert track["split"] == {"training": "train"}.get(row["set.split"], row["set.split"])
        assert track["audio"] == clip_path("medium", row["track_id"])
        assert (track["lyrics"], track["artwork"], track["language"]) == (None, None, "en")
    assert catalog.related.num_rows == 0
    assert {*catalog.tracks.column("split").to_pylist()} == {"train", "validation", "test"}


def test_genres_are_distinct_titles_of_genres_all(tree: FmaTree) -> None:
    catalog, _ = read(tree)
    titles = {str(row["genre_id"]): row["title"] for row in tree.genres} | {
        "181": "Noise (181)",
        "32": "Noise (32)",
    }
    published = {
        str(row["track_id"]): row["track.genres_all"].strip("[]").split(", ") for row in tree.tracks
    }
    for track in catalog.tracks.to_pylist():
        assert track["genres"] == [titles[number] for number in published[track["track_id"]]]
    assert {"Noise (181)", "Noise (32)"} <= {
        *pc.list_flatten(catalog.tracks.column("genres")).to_pylist()
    }


def test_a_top_genre_that_shares_its_title(tree: FmaTree) -> None:
    tree.genres[-1]["title"] = "Rock"
    tree.write_tables()
    catalog, problems = read(tree)
    assert problems == []
    assert {*catalog.tracks.column("genre_top").to_pylist()} == {
        "Hip-Hop",
        "Rock (12)",
        "Electronic",
    }


def test_artists_have_a_location_and_the_genres_of_their_tracks(tree: FmaTree) -> None:
    catalog, _ = read(tree)
    artists = {row["artist_id"]: row for row in catalog.artists.to_pylist()}
    assert {*artists} == {*catalog.tracks.column("artist_id").to_pylist()}
    for artist_id, artist in artists.items():
        own = catalog.tracks.filter(pc.equal(catalog.tracks.column("artist_id"), artist_id))
        assert {*artist["genres"]} == {*pc.list_flatten(own.column("genres")).to_pylist()}
        assert artist["name"] == own.column("artist")[0].as_py()
        assert (artist["latitude"], artist["longitude"]) == (
            (40.058324, -74.405661) if int(artist_id) % 2 else (None, None)
        )


@pytest.mark.parametrize(
    ("subset", "tracks"),
    [("small", TRACKS // 2), ("medium", TRACKS), ("large", TRACKS + 1), ("full", TRACKS + 1)],
)
def test_a_subset_includes_the_smaller_ones(tree: FmaTree, subset: str, tracks: int) -> None:
    catalog, _ = read(tree, subset)
    assert catalog.tracks.num_rows == tracks
    assert all(
        audio.startswith(f"fma_{subset}/0") for audio in catalog.tracks.column("audio").to_pylist()
    )
    assert catalog.tracks.column("genre_top").null_count == (subset in ("large", "full"))


MALFORMED: dict[str, tuple[Callable[[FmaTree], object], str]] = {
    "no number": (
        lambda tree: tree.tracks[4].update(track_id="four"),
        "error: tracks row 5, track_id 'four': not an id; write a whole number",
    ),
    "a track twice": (
        lambda tree: tree.tracks[4].update(track_id=2),
        "error: tracks row 5, track_id '2': duplicate track; row 1 has the same value: "
        "give each track its own id",
    ),
    "no artist": (
        lambda tree: tree.tracks[4].update({"artist.id": ""}),
        "error: tracks row 5, artist.id: not an id; write a whole number",
    ),
    "a subset": (
        lambda tree: tree.tracks[4].update({"set.subset": "tiny"}),
        "error: tracks row 5, set.subset 'tiny': unknown subset; use one of small, "
        "medium, large, full",
    ),
    "a split": (
        lambda tree: tree.tracks[4].update({"set.split": "train"}),
        "error: tracks row 5, set.split 'train': unknown split; use one of training, "
        "validation, test",
    ),
    "no list": (
        lambda tree: tree.tracks[4].update({"track.genres_all": "21"}),
        "error: tracks row 5, track.genres_all '21': not a list of genre ids; "
        "write it as [21] or [17, 10]",
    ),
    "a genre": (
        lambda tree: tree.tracks[4].update({"track.genres_all": "[21, 4711]"}),
        "error: tracks row 5, track.genres_all '[21, 4711]': unknown genre; "
        "each id must be a genre_id of genres.csv",
    ),
    "a child as top genre": (
        lambda tree: tree.tracks[4].update({"track.genre_top": "Punk"}),
        "error: tracks row 5, track.genre_top 'Punk': unknown top genre; "
        "it must be the title of a genre of genres.csv whose parent is 0",
    ),
    "no top genre": (
        lambda tree: tree.tracks[4].update({"track.genre_top": ""}),
        "error: tracks row 5, track.genre_top: empty cell; "
        "every track of the subset medium has a top genre",
    ),
    "a genre's title": (
        lambda tree: tree.genres[3].update(title=""),
        "error: genres row 4, title: empty cell; every genre needs a title",
    ),
}


@pytest.mark.parametrize("mistake", MALFORMED)
def test_each_mistake_is_one_line(tree: FmaTree, mistake: str) -> None:
    change, line = MALFORMED[mistake]
    change(tree)
    assert refused(tree) == [line]


def test_malformed_optional_values_are_left_empty_and_reported(tree: FmaTree) -> None:
    tree.tracks[4]["album.date_released"] = "in spring"
    tree.tracks[5]["album.date_released"] = "0000-01-05 00:00:00"
    for row in tree.tracks:
        if row["artist.latitude"]:
            row["artist.latitude"] = 140.1
    tree.write_tables()
    catalog, problems = read(tree)
    lines = [str(problem) for problem in problems]
    assert (
        "warning: tracks row 5, album.date_released 'in spring': not a date; it is ignored; "
        "write it as 2009-01-05 00:00:00" in lines
    )
    assert any(
        line.startswith(
            "warning: tracks row 6, album.date_released '0000-01-05 00:00:00': not a date"
        )
        for line in lines
    )
    assert any(": invalid location; the artist's location is left empty" in line for line in lines)
    assert catalog.tracks.column("year").to_pylist()[4:6] == [None, None]
    assert catalog.artists.column("longitude").null_count == catalog.artists.num_rows


def test_an_artist_in_two_published_splits_is_reported_and_kept(tree: FmaTree) -> None:
    tree.tracks[0]["set.split"] = "test"
    tree.write_tables()
    catalog, problems = read(tree)
    assert [(problem.rule, problem.severity) for problem in problems] == [
        ("artist in two splits", "warning")
    ]
    assert catalog.tracks.column("split")[0].as_py() == "test"


def test_a_row_with_an_extra_cell_is_reported_with_its_number(tree: FmaTree) -> None:
    path = tree.root / "fma_metadata" / "tracks.csv"
    path.write_text(path.read_text().replace("Piece 6\n", "Piece 6,more\n"))
    with pytest.raises(CatalogError) as caught:
        read(tree)
    (problem,) = caught.value.problems
    assert (problem.row, problem.rule) == (7, "wrong number of cells")


def test_a_cell_that_is_not_utf8_is_reported_with_its_number(tree: FmaTree) -> None:
    path = tree.root / "fma_metadata" / "tracks.csv"
    path.write_bytes(path.read_bytes().replace(b"Piece 6\n", b"Pi\xe9ce 6\n"))
    with pytest.raises(CatalogError, match=r"tracks row 7, track\.title 'Pi�ce 6': not UTF-8"):
        read(tree)


@pytest.mark.parametrize("name", ["tracks", "genres"])
def test_a_missing_table_or_another_header_is_reported(tree: FmaTree, name: str) -> None:
    path = tree.root / "fma_metadata" / f"{name}.csv"
    path.write_text("id,title\n1,x\n")
    with pytest.raises(
        CatalogError, match=rf"{name}: not readable; its header must be the published one"
    ):
        read(tree)
    path.unlink()
    with pytest.raises(
        CatalogError,
        match=rf"{name}: missing table; fma_metadata/{name}.csv must be in the catalog's root",
    ):
        read(tree)


def test_a_missing_column_is_reported_by_its_published_name(tree: FmaTree) -> None:
    path = tree.root / "fma_metadata" / "tracks.csv"
    path.write_text(path.read_text().replace(",genres_all,", ",genres_some,", 1))
    with pytest.raises(CatalogError, match=r"tracks, track\.genres_all: missing column"):
        read(tree)


def test_a_subset_without_tracks_is_reported(tree: FmaTree) -> None:
    for row in tree.tracks:
        row["set.subset"] = "large"
    assert (
        "error: tracks, set.subset 'small': no track in a subset; no row belongs to small"
        in refused(tree, "small")
    )


def test_a_run_opens_and_reports_a_data_set_of_this_form(
    tree: FmaTree, store_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        store=store_root,
        catalog=str(tree.root),
        task="single_genre",
        catalog_rules=CatalogSettings(form="fma", fma_subset="medium"),
    )
    run = open_run(config)
    assert run.catalog.tracks.equals(read(tree)[0].tracks)
    report_catalog(config)
    lines = capsys.readouterr().out
    missing = clip_path(
        "medium", next(track for track, reason in tree.faulty.items() if reason == "not_found")
    )
    assert missing in lines
    assert "the track will be a row of the errors table" in lines
    assert "the catalog can be used" in lines


def test_every_kind_of_faulty_clip_is_found_by_reading_it(tmp_path: Path) -> None:
    tree = build_fma_tree(tmp_path, tracks=12, genres=2)
    assert sorted(tree.faulty.values()) == sorted(FAULTS.values())
    reasons = {}
    for row in tree.tracks[:12]:
        try:
            audio = decode(
                str(tree.root / clip_path("medium", row["track_id"])), minimum_seconds=29.0
            )
        except AudioError as error:
            reasons[str(row["track_id"])] = error.reason
        else:
            assert audio.duration_seconds == pytest.approx(30.0, abs=0.2)
    assert reasons == tree.faulty
