"""Baselines of the single-genre task on the vectors that submodels read, such as ``statistics``.

A network that reads more than such a vector has to beat a linear classifier of it.
"""

from __future__ import annotations

import numpy as np

from musicrec.config.inputs import VECTOR_NAMES
from musicrec.evaluation.baselines import chosen_logistic_scores
from musicrec.features.reader import read_stored
from musicrec.pipeline.base import Outcome, Run
from musicrec.training.training_run import EXAMPLES

# Tracks and classes of one split: ids, and (N,) class indices.
Labelled = tuple[list[str], np.ndarray]


def vector_scores(
    run: Run,
    models: dict[str, Outcome],
    train: Labelled,
    validation: Labelled,
    test: list[str],
    classes: int,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return a logistic regression per vector: the scored rows of ``test``, and their scores.

    There is one for each vector that one of the models reads. The scores are (rows, classes)
    log-probabilities.
    """
    readers = {
        settings.feature: models[name]
        for name, settings in run.config.models.items()
        if settings.feature in VECTOR_NAMES and name in models
    }
    scores = {}
    for vector, model in readers.items():
        inputs = [_vectors(run, model, vector, ids) for ids in (train[0], validation[0], test)]
        rows = [np.flatnonzero(~np.isnan(values).any(axis=1)) for values in inputs]
        if all(len(each) for each in rows):
            labels = (train[1][rows[0]], validation[1][rows[1]])
            values = [each[kept] for each, kept in zip(inputs, rows, strict=True)]
            predicted = chosen_logistic_scores(
                values[0], labels[0], values[1], labels[1], values[2], classes
            )
            scores[f"{vector}, logistic"] = rows[2], predicted
    return scores


def _vectors(run: Run, model: Outcome, vector: str, track_ids: list[str]) -> np.ndarray:
    """Return the vectors (N, D) that a submodel reads; NaN for tracks that it does not read."""
    columns = ["track_id", "part", "row"]
    examples = run.store.read_table(model.stage.path("examples.parquet"), EXAMPLES, columns)
    places = {row["track_id"]: (row["part"], row["row"]) for row in examples.to_pylist()}
    stored = read_stored([places.get(track) for track in track_ids], vector)
    length = next((len(each[0]) for each in stored if each is not None), 1)
    missing = np.full(length, np.nan, np.float32)
    return np.array([missing if each is None else each[0][:, 0] for each in stored])
