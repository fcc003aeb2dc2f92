from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from musicrec.catalog.demo import render as demo_render
from musicrec.catalog.demo.build import is_built, related_artists, render_work, write_tables
from musicrec.catalog.demo.render import (
    Note,
    cut_clip,
    join_syllables,
    quarters_to_seconds,
    track_seconds,
)
from musicrec.catalog.demo.works import (
    PROGRAMS,
    Artist,
    Work,
    demo_artists,
    demo_works,
    slug,
    split_artists,
)

SEED = 7
CHORALE = "johann-sebastian-bach-o-haupt-voll-blut-und-wunden"


@pytest.fixture(scope="module")
def works() -> list[Work]:
    return demo_works(SEED)


def work_of(track_id: str, works: list[Work]) -> Work:
    return next(work for work in works if work.track_id == track_id)


def artist(artist_id: str, **facts: object) -> Artist:
    unknown = {
        "birth_year": None,
        "origin": None,
        "latitude": None,
        "longitude": None,
        "country": None,
        "collection": None,
    }
    return Artist(
        **{
            "artist_id": artist_id,
            "name": artist_id,
            "genres": (artist_id,),
            "ties": (),
            **unknown,
            **facts,
        }
    )


def test_works_are_many_distinct_and_balanced(works: list[Work]) -> None:
    assert len(works) == 220
    assert len({work.track_id for work in works}) == 220
    assert len({(work.score, work.tune, work.start) for work in works}) == 220
    artists_of_genre = defaultdict(set)
    for work in works:
        artists_of_genre[work.genre_top].add(work.artist_id)
        assert work.genres[0] == work.genre_top
        assert len(set(work.genres)) == len(work.genres)
    assert len(artists_of_genre) >= 5
    assert min(map(len, artists_of_genre.values())) >= 3
    counts = Counter(work.artist_id for work in works)
    assert len(counts) >= 40
    assert max(counts.values()) <= 12


def test_every_score_is_inside_the_installed_corpus(works: list[Work]) -> None:
    corpus = demo_render.common.getCorpusFilePath()
    missing = [
        work.score for work in demo_works(SEED, 10_000) if not (corpus / work.score).is_file()
    ]
    assert missing == []
    assert len(demo_works(SEED, 10_000)) > len(works)


def test_splits_are_by_artist_and_within_genre(works: list[Work]) -> None:
    splits_of_artist, splits_of_genre = defaultdict(set), defaultdict(set)
    for work in works:
        splits_of_artist[work.artist_id].add(work.split)
        splits_of_genre[work.genre_top].add(work.split)
    assert all(len(splits) == 1 for splits in splits_of_artist.values())
    assert all(splits == {"train", "validation", "test"} for splits in splits_of_genre.values())
    counts = Counter(next(iter(splits)) for splits in splits_of_artist.values())
    assert counts["train"] / sum(counts.values()) == pytest.approx(0.65, abs=0.07)
    assert counts["test"] >= 8
    assert counts["validation"] >= 5


def test_split_of_small_genres() -> None:
    genres = {"a": "one", "b": "two", "c": "two", "d": "three", "e": "three", "f": "three"}
    splits = split_artists(genres, SEED)
    assert splits["a"] == "train"
    assert {splits["b"], splits["c"]} == {"train", "test"}
    assert {splits["d"], splits["e"], splits["f"]} == {"train", "validation", "test"}


def test_draws_depend_only_on_the_seed(works: list[Work]) -> None:
    assert demo_works(SEED) == works
    other = demo_works(SEED + 1)
    assert [work.track_id for work in other] == [work.track_id for work in works]
    assert [work.program for work in other] != [work.program for work in works]
    assert [work.split for work in other] != [work.split for work in works]
    few = {work.track_id: work.program for work in demo_works(SEED, 40)}
    assert len(few) == 40
    assert few == {work.track_id: work.program for work in works if work.track_id in few}


def test_instruments_tell_nothing_about_artist_or_genre() -> None:
    """Count over many seeds.

    Two works of one artist share the instrument as rarely as any two works, and no genre prefers
    one.
    """
    same, pairs = 0, 0
    of_genre: dict[str, Counter] = defaultdict(Counter)
    for seed in range(40):
        by_artist = defaultdict(list)
        for work in demo_works(seed):
            by_artist[work.artist_id].append(work.program)
            of_genre[work.genre_top][work.program] += 1
        for programs in by_artist.values():
            same += sum(count * (count - 1) // 2 for count in Counter(programs).values())
            pairs += len(programs) * (len(programs) - 1) // 2
    assert same / pairs == pytest.approx(1 / len(PROGRAMS), abs=0.01)
    for counts in of_genre.values():
        shares = np.array([counts[program] for program in PROGRAMS]) / sum(counts.values())
        assert np.abs(shares - 1 / len(PROGRAMS)).max() < 5 * np.sqrt(
            1 / len(PROGRAMS) / sum(counts.values())
        )


def test_clips_must_be_positive() -> None:
    with pytest.raises(ValueError, match="clips is 0"):
        demo_works(SEED, 0)


def test_facts_are_plausible(works: list[Work]) -> None:
    artists = {item.artist_id: item for item in demo_artists()}
    assert len(artists) == len(demo_artists())
    for item in artists.values():
        assert item.birth_year is None or 1280 <= item.birth_year <= 1910
        assert (item.latitude is None) == (item.longitude is None) == (item.origin is None)
        assert item.latitude is None or (
            -90 <= item.latitude <= 90 and -180 <= item.longitude <= 180
        )
        assert set(item.ties) <= artists.keys() - {item.artist_id}
        assert not any(";" in text for text in item.genres)
    for work in works:
        born = artists[work.artist_id].birth_year
        assert work.year is None or born is None or work.year > born
    assert {item.artist_id for item in artists.values()} - {work.artist_id for work in works}, (
        "related artists without tracks"
    )


def test_related_ranks() -> None:
    relations = defaultdict(list)
    for artist_id, related_id, rank in related_artists(demo_artists()):
        assert artist_id != related_id
        relations[artist_id].append((rank, related_id))
    assert relations.keys() == {item.artist_id for item in demo_artists()}
    for ranked in relations.values():
        assert [rank for rank, _ in ranked] == list(range(1, len(ranked) + 1))
        assert len({related_id for _, related_id in ranked}) == len(ranked)
    assert {name for rank, name in relations["clara-schumann"] if rank <= 3} == {
        "robert-schumann",
        "friedrich-wieck",
        "johannes-brahms",
    }


def test_related_rule_weighs_ties_schools_countries_and_birth_years() -> None:
    artists = [
        artist(
            "one", genres=("a", "b"), birth_year=1800, country="X", collection="C", ties=("tied",)
        ),
        artist("tied"),
        artist("school", genres=("a", "b")),
        artist("shelf", genres=("a",), collection="C"),
        artist("peer", birth_year=1800),
        artist("late", birth_year=1815, country="X"),
        artist("neighbour", country="X"),
    ]
    related = [
        related_id for artist_id, related_id, _ in related_artists(artists) if artist_id == "one"
    ]
    assert related == [
        "school",
        "shelf",
        "tied",
        "late",
        "peer",
    ]  # 4, 4, 4 in the order of names; 1.25; 1; 0.5 is too little
    assert ("tied", "one", 1) in related_artists(artists)
    assert len([row for row in related_artists(artists, limit=2) if row[0] == "one"]) == 2


def test_syllables_become_words() -> None:
    assert (
        join_syllables(
            [
                ("Ky", "begin"),
                ("ri", "middle"),
                ("e", "end"),
                ("e", "begin"),
                ("lei", "middle"),
                ("son.", "end"),
            ]
        )
        == "Kyrie eleison."
    )
    assert (
        join_syllables(
            [("gio\u00ad", None), ("net-", None), ("ta", None), ("che\u035cignuda", None)]
        )
        == "gionetta che ignuda"
    )
    assert (
        join_syllables(
            [("6", "single"), ("5/4", "single"), ("_", None), (None, None), ("1.3. Ky", None)]
        )
        == "Ky"
    )


def test_words_of_real_scores(works: list[Work]) -> None:
    def words(work: Work) -> str | None:
        return demo_render.sung_text(work, demo_render.read_parts(work))

    assert words(work_of(CHORALE, works)).startswith(
        "O Haupt voll Blut und Wunden, voll Schmerz und voller Hohn!"
    )
    assert words(work_of("josquin-des-prez-mille-regretz", works)).startswith(
        "Mille regretz de vous"
    )
    assert words(work_of("arcangelo-corelli-sonata-no-1-grave", works)) is None


def test_tempo_changes() -> None:
    seconds = quarters_to_seconds(
        np.array([0.0, 2.0, 4.0, 6.0]), np.array([0.0, 4.0]), np.array([60.0, 120.0])
    )
    np.testing.assert_allclose(seconds, [0.0, 2.0, 4.0, 5.0])
    np.testing.assert_allclose(
        quarters_to_seconds(
            np.array([3.0]), np.array([-2.0, -1.0, 2.0]), np.array([1.0, 60.0, 30.0])
        ),
        [4.0],
    )


def test_ties_are_joined_and_chord_symbols_left_out() -> None:
    part = demo_render.converter.parseData(
        'X:1\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n"Am"C2 z C-|C2 [EG]2|]\n', format="abc"
    ).parts[0]
    notes = demo_render.sounding_notes([part])
    assert [(item.start, item.end, item.pitch) for item in notes] == [
        (0, 2, 60),
        (3, 6, 60),
        (6, 8, 64),
        (6, 8, 67),
    ]


def test_short_pieces_start_over_and_long_ones_are_cut() -> None:
    clip = cut_clip([Note(0.0, 4.0, 60, 0), Note(4.0, 12.0, 62, 0)])
    assert [(item.start, item.end) for item in clip] == [
        (0, 4),
        (4, 12),
        (12, 16),
        (16, 24),
        (24, 28),
        (28, 30),
    ]
    late = cut_clip([Note(0.0, 50.0, 60, 0), Note(50.0, 100.0, 62, 0)], start=40.0)
    assert [(item.start, item.end, item.pitch) for item in late] == [(0, 10, 60), (10, 30, 62)]
    with pytest.raises(ValueError, match="correct the start"):
        cut_clip([Note(0.0, 4.0, 60, 0)], start=30.0)


def test_longer_tracks_end_with_their_piece() -> None:
    short, long = [Note(0.0, 12.0, 60, 0)], [Note(0.0, 40.0, 60, 0), Note(40.0, 100.0, 62, 0)]
    assert [track_seconds(short, 0.0, longest) for longest in (30, 90)] == [30, 30]
    assert [
        track_seconds(long, start, longest)
        for start, longest in ((0, 30), (0, 90), (0, 600), (80, 600))
    ] == [30, 90, 100, 30]
    assert [(item.start, item.end) for item in cut_clip(long, 20.0, 60.0)] == [(0, 20), (20, 60)]


def test_a_longer_track_begins_as_its_clip(works: list[Work], tmp_path: Path) -> None:
    work = replace(work_of("american-fife-tunes-york-fusiliers", works), audio_format="flac")
    clip, longer = (
        render_work(work, str(tmp_path / f"{seconds}"), seconds) for seconds in (30.0, 40.0)
    )
    assert clip == longer  # the rows are equal, the files differ
    short, long = (
        soundfile.read(tmp_path / f"{seconds}" / clip["audio"])[0] for seconds in (30.0, 40.0)
    )
    assert (len(short), len(long)) == (30 * 44_100, round(38.4 * 44_100))  # the piece lasts 38.4 s
    begins = long[: 29 * 44_100]
    np.testing.assert_allclose(
        begins / begins.std(), short[: len(begins)] / short[: len(begins)].std(), atol=0.01
    )
    image = (tmp_path / "30.0" / clip["artwork"]).read_bytes()
    assert (tmp_path / "40.0" / clip["artwork"]).read_bytes() == image


def test_unknown_tune_is_named(works: list[Work]) -> None:
    tune = next(work for work in works if work.tune is not None)
    with pytest.raises(ValueError, match="no tune X:99999"):
        demo_render.read_parts(replace(tune, tune=99_999))


@pytest.fixture(scope="module")
def rendered(
    works: list[Work], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Work], list[dict]]:
    folder = tmp_path_factory.mktemp("demo")
    selected = [
        replace(work_of(CHORALE, works), audio_format="mp3", program=0),
        replace(work_of("zeke-backus-ross-reel", works), audio_format="flac", program=73),
        replace(
            work_of("turlough-o-carolan-bumper-squire-jones", works), audio_format="ogg", program=46
        ),
    ]
    return folder, selected, [render_work(work, str(folder)) for work in selected]


def test_rendered_clips_decode_to_thirty_seconds_of_even_loudness(
    rendered: tuple[Path, list[Work], list[dict]],
) -> None:
    folder, _, rows = rendered
    for row, kind in zip(rows, ("MP3", "FLAC", "OGG"), strict=True):
        info = soundfile.info(folder / row["audio"])
        assert (info.format, info.samplerate, info.channels, info.frames) == (
            kind,
            44_100,
            2,
            30 * 44_100,
        )
        samples, _ = soundfile.read(folder / row["audio"])
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1, rel=0.05)
        assert np.abs(samples).max() <= 1.0
        assert np.sqrt(np.mean(samples.reshape(30, -1) ** 2, axis=1)).min() > 0.01, (
            "a second of silence"
        )
        with Image.open(folder / row["artwork"]) as image:
            assert image.size == (640, 640)
            assert len(image.convert("RGB").getcolors()) >= 2
        assert (folder / row["artwork"]).stat().st_size < 20_000
    assert rows[0]["language"] == "de"
    assert rows[1]["lyrics"] is None
    assert rows[1]["language"] is None


def test_a_second_render_does_nothing(
    rendered: tuple[Path, list[Work], list[dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, selected, rows = rendered
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(
            demo_render,
            "read_parts",
            lambda work: pytest.fail(f"{work.track_id} was rendered again"),
        )
        assert [render_work(work, str(folder)) for work in selected] == rows
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert not list(folder.rglob("*.part"))


def test_rendering_is_deterministic_and_depends_on_the_work(
    rendered: tuple[Path, list[Work], list[dict]], tmp_path: Path
) -> None:
    folder, selected, rows = rendered
    again = render_work(selected[1], str(tmp_path))
    assert again == rows[1]
    for name in ("audio", "artwork"):
        assert (tmp_path / again[name]).read_bytes() == (folder / rows[1][name]).read_bytes()
    changed = render_work(replace(selected[1], audio_format="ogg", program=0), str(tmp_path))
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == [
        Path(changed["audio"]).name
    ], "no file of the earlier seed remains"


def test_tables_and_marker(rendered: tuple[Path, list[Work], list[dict]]) -> None:
    folder, selected, rows = rendered
    assert not is_built(str(folder), SEED)
    (folder / "audio" / ".killed.mp3.1.part").write_bytes(b"half")
    write_tables(reversed(rows), str(folder), SEED)
    assert not list(folder.rglob("*.part"))
    assert is_built(str(folder), SEED)
    assert is_built(str(folder), SEED, clips=3)
    assert not is_built(str(folder), SEED, clips=4)
    assert not is_built(str(folder), SEED + 1)
    with open(folder / "tracks.csv", encoding="utf-8", newline="") as file:
        tracks = {row["track_id"]: row for row in csv.DictReader(file)}
    for row in rows:
        assert tracks[row["track_id"]] == {
            name: ";".join(value) if name == "genres" else str(value or "")
            for name, value in row.items()
        }
    with open(folder / "artists.csv", encoding="utf-8", newline="") as file:
        artists = {row["artist_id"]: row for row in csv.DictReader(file)}
    assert artists["johann-sebastian-bach"]["birth_year"] == "1685"
    with open(folder / "related.csv", encoding="utf-8", newline="") as file:
        assert {row["related_artist_id"] for row in csv.DictReader(file)} <= artists.keys()
    assert json.loads((folder / "catalog.json").read_text())["tracks"] == 3
    render_work(replace(selected[2], program=0), str(folder))
    assert not is_built(str(folder), SEED), "a clip of another seed makes the catalog incomplete"


def test_tables_refuse_nothing_and_repeated_rows(
    rendered: tuple[Path, list[Work], list[dict]], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no rows"):
        write_tables([], str(tmp_path), SEED)
    with pytest.raises(ValueError, match="several rows"):
        write_tables([rendered[2][0], rendered[2][0]], str(tmp_path), SEED)


def test_slug() -> None:
    assert slug("Aus meinen Tränen sprießen (from 0:30)") == "aus-meinen-tranen-spriessen-from-0-30"
    assert slug("Lili\u02bbuokalani's") == "liliuokalanis"


def test_a_catalog_with_another_draw_of_formats_stays_valid(
    rendered: tuple[Path, list[Work], list[dict]], tmp_path: Path
) -> None:
    _, _, rows = rendered
    write_tables([row | {"audio": "audio/other.wav"} for row in rows], str(tmp_path), SEED)
    assert is_built(str(tmp_path), SEED, clips=3)
    assert json.loads((tmp_path / "catalog.json").read_text())["recipe"] == "d9671d0ba25f624d", (
        "a changed recipe makes every stored demo catalog build again"
    )


def test_every_format_occurs_in_every_split(works: list[Work]) -> None:
    for split in ("train", "validation", "test"):
        assert {work.audio_format for work in demo_works(0, 208) if work.split == split} == {
            "mp3",
            "flac",
            "ogg",
        }
