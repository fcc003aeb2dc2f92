from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow as pa
import pytest

from musicrec import schema
from musicrec.catalog.tables import Catalog
from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError
from musicrec.pipeline.base import Run
from musicrec.pipeline.labels import TABLE, label
from musicrec.storage.store import Store

GENRES = [["rock", "pop"], ["folk"], [], ["pop", "pop"]]
TOPS = ["rock", "folk", None, "pop"]


def run_of(
    tmp_path: Path, task: str, genres: list[list[str]] = GENRES, tops: list[str | None] = TOPS
) -> Run:
    count = len(genres)
    tracks = {
        "track_id": [f"t{row}" for row in range(count)],
        "artist_id": ["a"] * count,
        "audio": ["x.mp3"] * count,
        "genres": genres,
        "genre_top": pa.array(tops, pa.string()),
        "split": ["train"] * count,
    }
    artists = schema.conform(
        pa.table({"artist_id": ["a"], "genres": [["unused"]]}), schema.ARTISTS, "artists"
    )
    catalog = Catalog(
        str(tmp_path),
        schema.conform(pa.table(tracks), schema.TRACKS, "tracks"),
        artists,
        schema.RELATED.empty_table(),
    )
    return Run(Config(task=task), Store(str(tmp_path / "store")), catalog, "key")


@pytest.mark.parametrize(
    ("task", "classes"),
    [
        ("single_genre", {"t0": [2], "t1": [0], "t3": [1]}),
        ("many_genres", {"t0": [1, 2], "t1": [0], "t3": [1]}),
    ],
)
def test_labels_are_numbers_of_the_sorted_genres_and_unlabelled_tracks_are_counted(
    tmp_path: Path, task: str, classes: dict[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, task)
    outcome = label(run)
    assert outcome.record["classes"] == ["folk", "pop", "rock"]
    assert outcome.record["dimensions"] == 3
    table = run.store.read_table(outcome.stage.path(TABLE), schema.LABELS)
    assert {row["track_id"]: row["classes"] for row in table.to_pylist()} == classes
    assert (
        outcome.record["rows_in"],
        outcome.record["rows_out"],
        outcome.record["rows_incomplete"],
    ) == (4, 3, 1)
    assert "1 tracks have no genre" in capsys.readouterr().out
    assert not label(run).worked


def test_the_two_tasks_do_not_share_their_labels(tmp_path: Path) -> None:
    run = run_of(tmp_path, "single_genre", genres=[["rock"], ["folk"]], tops=["rock", "folk"])
    other = dataclasses.replace(run, config=Config(task="many_genres"))
    assert label(run).stage.key != label(other).stage.key


def test_fewer_than_two_genres_are_no_task(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'genre_top' names 1 genres, and two are needed"):
        label(run_of(tmp_path, "single_genre", genres=[[], []], tops=["rock", None]))
