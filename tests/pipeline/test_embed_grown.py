"""Embeddings of a growing catalog: warm starts, drift of known artists, trainings not repeated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicrec import schema
from musicrec.config.jobs import Config
from musicrec.config.sections import EmbedSettings
from musicrec.pipeline.base import Outcome
from musicrec.pipeline.catalog import open_run
from musicrec.pipeline.embed import TABLE, embed

FIRST, GROWN = range(12), range(14)
SETTINGS = {
    "objective": "thesis",
    "select_by": "loss",
    "decay": "none",
    "dimensions": 8,
    "full_batch": True,
    "learning_rates": (0.1,),
    "artists_per_step": (1,),
    "patience": (20,),
    "maximum_passes": 40,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "catalog").mkdir()
    return tmp_path / "catalog"


def write(folder: Path, artists: range) -> None:
    """Artists on a ring, each related to the two that follow; one track each."""
    tracks = [f"{artist},{artist},{artist}.mp3" for artist in artists]
    related = [
        f"{artist},{(artist + rank) % len(artists)},{rank}" for artist in artists for rank in (1, 2)
    ]
    for name, header, rows in (
        ("tracks", "track_id,artist_id,audio", tracks),
        ("related", "artist_id,related_artist_id,rank", related),
    ):
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")


def embedded(folder: Path, **settings: Any) -> Outcome:
    config = Config(
        store=str(folder.parent / "store"),
        catalog=str(folder),
        embed=EmbedSettings(**SETTINGS | settings),
    )
    return embed(open_run(config))


def vectors(outcome: Outcome) -> dict[str, np.ndarray]:
    table = outcome.stage.store.read_table(outcome.stage.path(TABLE), schema.EMBEDDINGS)
    return dict(
        zip(table.column("artist_id").to_pylist(), table.column("vector").to_numpy(), strict=True)
    )


def cosines(before: Outcome, after: Outcome) -> list[float]:
    now = vectors(after)
    return [float(vector @ now[artist]) for artist, vector in vectors(before).items()]


@pytest.mark.parametrize("drift", [0.0, 0.02])
def test_known_artists_move_no_further_than_is_allowed(folder: Path, drift: float) -> None:
    write(folder, FIRST)
    first = embedded(folder, maximum_drift=drift)
    write(folder, GROWN)
    second = embedded(folder, maximum_drift=drift)
    assert second.worked
    assert second.record["started_from"] == first.stage.key
    assert (second.record["rows_out"], second.record["artists_new"]) == (14, 2)
    assert min(cosines(first, second)) >= 1 - drift - 1e-5
    assert second.record["least_cosine_to_before"] == pytest.approx(
        min(cosines(first, second)), abs=1e-5
    )
    assert second.record["mean_cosine_to_before"] == pytest.approx(
        np.mean(cosines(first, second)), abs=1e-5
    )


def test_the_same_catalog_again_is_complete_whatever_it_started_from(folder: Path) -> None:
    write(folder, FIRST)
    first = embedded(folder)
    assert not embedded(folder).worked
    write(folder, GROWN)
    second = embedded(folder)
    assert not embedded(folder).worked
    assert embedded(folder).stage == second.stage
    write(folder, FIRST)
    assert embedded(folder).stage == first.stage
    write(folder, GROWN)
    assert embedded(folder).stage == second.stage


def test_another_limit_starts_from_the_same_and_none_from_nothing(folder: Path) -> None:
    write(folder, FIRST)
    first = embedded(folder)
    write(folder, GROWN)
    second = embedded(folder)
    stricter = embedded(folder, maximum_drift=0.0)
    assert stricter.worked
    assert stricter.record["started_from"] == second.record["started_from"] == first.stage.key
    alone = embedded(folder, warm_start=False)
    assert "started_from" not in alone.record
    assert min(cosines(first, alone)) < 0.9
    (folder.parent / "store").rename(folder.parent / "gone")
    np.testing.assert_array_equal(
        list(vectors(embedded(folder)).values()), list(vectors(moved(alone, folder)).values())
    )


def moved(outcome: Outcome, folder: Path) -> Outcome:
    """Return the same outcome in the store that was renamed."""
    store = dataclasses.replace(outcome.stage.store, root=str(folder.parent / "gone"))
    return dataclasses.replace(outcome, stage=store.stage(outcome.stage.name, outcome.stage.key))


def test_other_settings_and_seeds_start_from_nothing(folder: Path) -> None:
    write(folder, FIRST)
    embedded(folder)
    write(folder, GROWN)
    assert "started_from" not in embedded(folder, select_by="jaccard").record
    other = Config(
        store=str(folder.parent / "store"),
        catalog=str(folder),
        seed=1,
        embed=EmbedSettings(**SETTINGS),
    )
    assert "started_from" not in embed(open_run(other)).record
