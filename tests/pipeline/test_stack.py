"""A stack without weights needs no training; its averages are stored and scored as predictions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_labels import run_of

from musicrec import schema
from musicrec.config.sections import StackSettings
from musicrec.pipeline.base import Outcome, Run
from musicrec.pipeline.labels import label
from musicrec.pipeline.stack import stack
from musicrec.pipeline.train import Trained
from musicrec.training.predictions import NO_FOLD, read_predictions

# Logits of three classes; t2 has no genre and so no prediction, t3 none from the second model.
OUTPUTS = {
    "one": {"t0": [2.0, -1.0, 0.5], "t1": [0.0, 1.0, 2.0], "t3": [1.0, 1.0, 1.0]},
    "two": {"t0": [-1.0, -1.0, 3.0], "t1": [4.0, 0.5, -2.0]},
}


def trained(run: Run) -> Trained:
    """Return two submodels whose predictions are in the store."""
    outcomes = {}
    for name, vectors in OUTPUTS.items():
        stage = run.store.stage("submodels", name)
        rows = [
            {"track_id": track, "submodel": name, "fold": NO_FOLD, "vector": vector}
            for track, vector in vectors.items()
        ]
        run.store.write_table(
            stage.path("p.parquet"),
            pa.Table.from_pylist(rows, schema=schema.PREDICTIONS),
            schema.PREDICTIONS,
        )
        outcomes[name] = Outcome(stage, {"predictions": [stage.path("p.parquet")]}, worked=True)
    return Trained(outcomes, {})


def averaging(tmp_path: Path, task: str) -> Run:
    run = run_of(tmp_path, task)
    tracks = run.catalog.tracks.set_column(
        run.catalog.tracks.schema.get_field_index("split"),
        schema.TRACKS.field("split"),
        pa.array(["validation"] * 4),
    )
    config = dataclasses.replace(
        run.config,
        stacks={"mean": StackSettings(architecture="time_freq_avg", submodels=("one", "two"))},
    )
    return dataclasses.replace(
        run, config=config, catalog=dataclasses.replace(run.catalog, tracks=tracks)
    )


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def test_an_average_of_many_genres_is_one_of_probabilities(tmp_path: Path) -> None:
    run = averaging(tmp_path, "many_genres")
    outcome = stack(run, label(run), trained(run))["mean"]
    predicted = read_predictions(
        run.store, outcome.record["predictions"], ["t0", "t1", "t2", "t3"], 3
    )
    expected = np.mean(
        [[sigmoid(np.array(OUTPUTS[name][track])) for track in ("t0", "t1")] for name in OUTPUTS],
        axis=0,
    )
    np.testing.assert_allclose(sigmoid(predicted[:2]), expected, atol=1e-6)
    assert not predicted[2:].any()
    assert (
        outcome.record["rows_in"],
        outcome.record["rows_out"],
        outcome.record["rows_incomplete"],
    ) == (3, 2, 1)
    truth = np.array([[0, 1, 1], [1, 0, 0]])  # folk, pop, rock
    entropy = -np.mean(truth * np.log(expected) + (1 - truth) * np.log(1 - expected))
    assert outcome.record["validation"] == pytest.approx(entropy, rel=1e-5)
    assert outcome.record["metric"] == "loss"


def test_an_average_is_written_once_and_again_if_a_submodel_changed(tmp_path: Path) -> None:
    run = averaging(tmp_path, "single_genre")
    first = stack(run, label(run), trained(run))["mean"]
    assert first.worked and not stack(run, label(run), trained(run))["mean"].worked
    other = trained(run)
    moved = dataclasses.replace(other.whole["two"], stage=run.store.stage("submodels", "another"))
    changed = stack(run, label(run), Trained({**other.whole, "two": moved}, {}))["mean"]
    assert changed.worked and changed.stage.key != first.stage.key
