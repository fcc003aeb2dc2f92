"""A folder of audio files as the catalog of a run, without relations and with plays."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tagged import audio, image, tag

from musicrec.catalog.tables import CatalogError
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.config.sections import CatalogSettings, RelationsSettings
from musicrec.pipeline.catalog import PICTURES, open_run, report_catalog
from musicrec.pipeline.embed import embed
from musicrec.pipeline.retrain import train_submodels
from musicrec.storage.store import Store

ARTISTS = [f"Artist {letter}" for letter in "ABCDEFGHIJKL"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ARTISTS:
        file = audio(tmp_path / "music" / name / "Album" / "01 Song.flac")
        tag(file, image(), artist=name, title="Song", genre=["Rock"])
    rules = CatalogSettings(form="folder")
    return Config(
        store=str(tmp_path / "store"), catalog=str(tmp_path / "music"), catalog_rules=rules
    )


def plays(config: Config, log: list[tuple[str, str]]) -> Config:
    file = Path(config.store).parent / "plays.csv"
    file.write_text("\n".join(["user,item", *(",".join(row) for row in log)]))
    return dataclasses.replace(config, plays=str(file))


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_without_relations_it_is_read_and_the_log_says_what_is_missing(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    report_catalog(config)
    run = open_run(config)
    assert run.catalog.tracks.num_rows == len(ARTISTS)
    assert set(run.catalog.tracks["split"].to_pylist()) == {"train", "validation", "test"}
    line = (
        "warning: related: missing table; without relations only genres can be learned "
        "(--task many_genres); python jobs/relate.py makes them from plays"
    )
    assert [each["event"] for each in events(capsys)].count(line) == 2
    for train in (train_submodels, lambda config: embed(open_run(config))):
        with pytest.raises(ConfigError, match=r"no relations.*python jobs/relate\.py --plays"):
            train(config)


def test_pictures_are_kept_in_the_store_once(config: Config) -> None:
    tracks = open_run(config).catalog.tracks
    store = Store(config.store)
    (name,) = store.names(PICTURES)
    assert store.read(f"{PICTURES}/{name}") == image()
    assert set(tracks["artwork"].to_pylist()) == {store.uri(f"{PICTURES}/{name}")}


def test_artists_keep_their_splits(config: Config) -> None:
    before = open_run(config).catalog.tracks
    audio(Path(config.catalog) / "New" / "x.flac")
    after = open_run(config).catalog.tracks
    splits = dict(zip(after["artist_id"].to_pylist(), after["split"].to_pylist(), strict=True))
    assert splits.items() >= set(
        zip(before["artist_id"].to_pylist(), before["split"].to_pylist(), strict=True)
    )


def test_plays_name_artists_tracks_and_files(config: Config) -> None:
    # A by name, B by id, C by its file, X is not in the catalog.
    names = ["ARTIST A", "artist b", "Artist C/Album/01 Song.flac", "X"]
    log = [(user, name) for user in "uv" for name in names]
    related = open_run(plays(config, log)).catalog.related
    ids = {"artist a", "artist b", "artist c", "X"}
    assert set(related["artist_id"].to_pylist()) == ids
    assert related.num_rows == 12


def test_plays_of_other_artists_are_one_line(config: Config) -> None:
    with pytest.raises(ConfigError, match="none of its artists is in the catalog"):
        open_run(plays(config, [(user, item) for user in "uv" for item in "XY"]))


def test_a_table_of_relations_in_the_folder_is_read(config: Config) -> None:
    table = "artist_id,related_artist_id,rank\nartist a,artist b,1\n"
    (Path(config.catalog) / "related.csv").write_text(table)
    assert open_run(config).catalog.related.to_pylist() == [
        {"artist_id": "artist a", "related_artist_id": "artist b", "rank": 1}
    ]


def test_a_folder_without_audio_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    rules = CatalogSettings(form="folder")
    empty = Config(
        store=str(tmp_path / "store"), catalog=str(tmp_path / "music"), catalog_rules=rules
    )
    with pytest.raises(CatalogError) as raised:
        open_run(empty)
    (line,) = [line for line in str(raised.value).splitlines() if line.startswith("error: ")]
    assert "no audio file that can be used; it must hold files that end in mp3, flac" in line


def test_relations_of_tracks_are_no_relations_of_a_catalog(config: Config) -> None:
    from musicrec.config.checks import check

    settings = RelationsSettings(item="track")
    with pytest.raises(ConfigError, match="set it to artist"):
        check(dataclasses.replace(config, plays="p.csv", relations=settings))
