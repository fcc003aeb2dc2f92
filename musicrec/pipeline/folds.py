"""Folds of training artists, so that stacks learn from predictions of submodels that never saw the artist."""

from __future__ import annotations

from typing import Any

import numpy as np

from musicrec.pipeline.base import Run
from musicrec.training.training_run import HELD_OUT


def artist_folds(run: Run) -> dict[str, int]:
    """The fold of each training artist, the same for every submodel of a run."""
    tracks = run.catalog.tracks.select(["artist_id", "split"]).to_pylist()
    counts: dict[str, int] = {}
    for row in tracks:
        if row["split"] == "train":
            counts[row["artist_id"]] = counts.get(row["artist_id"], 0) + 1
    return fold_of_artists(counts, run.config.train.folds, run.config.seed)


def fold_of_artists(tracks: dict[str, int], folds: int, seed: int) -> dict[str, int]:
    """A fold for each artist, so that the folds hold nearly equally many tracks: artists in random order, each to the smallest fold.

    Parameters
    ----------
    tracks
        How many tracks each artist has.
    """
    names = sorted(tracks)
    sizes = np.zeros(folds, np.int64)
    chosen: dict[str, int] = {}
    for position in np.random.default_rng([seed, folds]).permutation(len(names)):
        fold = int(np.argmin(sizes))
        chosen[names[position]] = fold
        sizes[fold] += tracks[names[position]]
    return chosen


def without_fold(
    rows: list[dict[str, Any]], folds: dict[str, int], fold: int
) -> list[dict[str, Any]]:
    """The rows of a training without one fold: its tracks are held out, and the test tracks, which nobody asks it for, are left away."""
    return [
        row | {"split": HELD_OUT}
        if row["split"] == "train" and folds[row["artist_id"]] == fold
        else row
        for row in rows
        if row["split"] != "test"
    ]
