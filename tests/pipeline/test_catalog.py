"""The catalog of a run, by the form and the task that its configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from musicrec.catalog.tables import CatalogError
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.config.sections import CatalogSettings
from musicrec.pipeline.catalog import open_run, report_catalog
from musicrec.pipeline.retrain import train_submodels

TRACKS = """track_id,artist_id,audio,genres,genre_top,split
1,a,1.mp3,rock,rock,train
2,b,2.mp3,folk,folk,validation
3,c,3.mp3,rock,rock,test
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Make a catalog with tracks only."""
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    (catalog / "tracks.csv").write_text(TRACKS)
    return str(catalog)


@pytest.mark.parametrize("task", ["single_genre", "many_genres"])
@pytest.mark.parametrize("related", [None, "artist_id,related_artist_id,rank\n"])
def test_genre_tasks_need_no_relations(
    folder: str, tmp_path: Path, task: str, related: str | None
) -> None:
    if related is not None:
        (Path(folder) / "related.csv").write_text(related)
    run = open_run(Config(store=str(tmp_path / "store"), catalog=folder, task=task))
    assert run.catalog.tracks.num_rows == 3
    assert run.catalog.artists.column("artist_id").to_pylist() == ["a", "b", "c"]
    assert run.catalog.related.num_rows == 0


def test_embedding_needs_relations(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(store=str(tmp_path / "store"), catalog=folder)
    report_catalog(config)
    line = "warning: related: missing table; without relations only genres can be learned"
    assert line in capsys.readouterr().out
    with pytest.raises(ConfigError, match="the catalog has no relations between artists"):
        train_submodels(config)


@pytest.mark.parametrize("form", ["fma", "cifar100"])
def test_a_published_data_set_needs_a_folder(tmp_path: Path, form: str) -> None:
    with pytest.raises(
        ConfigError, match=f"form is '{form}'.*name the data set's folder with --catalog"
    ):
        open_run(Config(store=str(tmp_path), catalog_rules=CatalogSettings(form=form)))


def grow(folder: str, artists: range, tracks_each: int = 2) -> None:
    """Write a catalog of these artists, without splits."""
    rows = [
        f"{artist}-{track},{artist},{artist}-{track}.mp3"
        for artist in artists
        for track in range(tracks_each)
    ]
    (Path(folder) / "tracks.csv").write_text("\n".join(["track_id,artist_id,audio", *rows]) + "\n")


def splits(config: Config) -> dict[str, str]:
    tracks = open_run(config).catalog.tracks
    return dict(
        zip(tracks.column("artist_id").to_pylist(), tracks.column("split").to_pylist(), strict=True)
    )


def test_splits_are_kept_as_a_catalog_grows_and_shrinks(folder: str, tmp_path: Path) -> None:
    config = Config(store=str(tmp_path / "store"), catalog=folder, task="many_genres")
    grow(folder, range(40))
    first = splits(config)
    grow(folder, range(10, 44))
    second = splits(config)
    assert (
        second.items()
        >= {artist: split for artist, split in first.items() if int(artist) >= 10}.items()
    )
    grow(folder, range(44))
    assert splits(config) == first | second  # an artist who returns keeps the split
    other = Config(store=str(tmp_path / "store"), catalog=folder, task="many_genres", seed=1)
    assert splits(other) != first | second


def test_an_artist_whose_split_changed_is_reported(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(store=str(tmp_path / "store"), catalog=folder, task="many_genres")
    open_run(config)
    assert "another split" not in capsys.readouterr().out
    moved = (
        TRACKS.replace("rock,rock,train", "rock,rock,left")
        .replace("rock,rock,test", "rock,rock,train")
        .replace("left", "test")
    )
    (Path(folder) / "tracks.csv").write_text(moved)
    assert splits(config) == {"a": "test", "b": "validation", "c": "train"}
    assert "artists that are in another split than in an earlier run" in capsys.readouterr().out


def write_floats(folder: Path, artists: int) -> str:
    """Write a catalog as a table library does whose id column had a hole: 0.0 for 0 in tracks."""
    splits = ("train", "validation", *["test"] * (artists - 2))
    rows = [f"{n},{n}.0,{n}.flac,{split}" for n, split in enumerate(splits)]
    (folder / "tracks.csv").write_text("\n".join(["track_id,artist_id,audio,split", *rows]) + "\n")
    pairs = [f"{n},{(n + 1) % artists},1" for n in range(artists)]
    (folder / "related.csv").write_text(
        "\n".join(["artist_id,related_artist_id,rank", *pairs]) + "\n"
    )
    return str(folder)


def test_ids_that_no_two_tables_share_are_an_error_with_both_spellings(tmp_path: Path) -> None:
    config = Config(store=str(tmp_path / "store"), catalog=write_floats(tmp_path, 12))
    for read in (open_run, report_catalog):
        with pytest.raises(CatalogError) as raised:
            read(config)
        assert (
            'error: tracks, artist_id: no artist of tracks.csv is in related.csv: "0.0" in tracks, '
            '"0" in related; write the ids the same way'
        ) in str(raised.value)
    (tmp_path / "artists.csv").write_text("artist_id,name\n0,A\n1,B\n")
    with pytest.raises(CatalogError, match=r'in artists.csv: "0.0" in tracks, "0" in artists'):
        report_catalog(config)


@pytest.mark.parametrize(
    ("artists", "warning"),
    [
        (3, "1 test artist: metrics mean nothing; give at least 10 artists the split test"),
        (11, "9 test artists: metrics mean nothing"),
        (12, None),
    ],
)
def test_few_test_artists_are_a_warning(
    tmp_path: Path, artists: int, warning: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_floats(tmp_path, artists)
    tracks = tmp_path / "tracks.csv"
    tracks.write_text(tracks.read_text().replace(".0,", ","))
    report_catalog(Config(store=str(tmp_path / "store"), catalog=str(tmp_path)))
    output = "".join(capsys.readouterr())
    assert ("metrics mean nothing" in output) is (warning is not None)
    assert warning is None or f"warning: tracks, split: {warning}" in output
