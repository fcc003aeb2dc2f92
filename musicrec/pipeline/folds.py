"""Assign training artists to folds, for out-of-fold predictions of the submodels.

Stacks can then learn from predictions by submodels that were not trained on the artist.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from musicrec.pipeline.base import Run
from musicrec.training.training_run import HELD_OUT


def artist_folds(run: Run) -> dict[str, int]:
    """Return the fold of each training artist, the same for every submodel of a run."""
    tracks = run.catalog.tracks.select(["artist_id", "split"]).to_pylist()
    counts: dict[str, int] = {}
    for row in tracks:
        if row["split"] == "train":
            counts[row["artist_id"]] = counts.get(row["artist_id"], 0) + 1
    return fold_of_artists(counts, run.config.train.folds, run.config.seed)


def fold_of_artists(tracks: dict[str, int], folds: int, seed: int) -> dict[str, int]:
    """Assign artists to folds with nearly equal numbers of tracks.

    Artists are taken in random order, and each goes to the fold with the fewest tracks so far.

    Parameters
    ----------
    tracks
        The number of tracks of each artist.
    """
    names = sorted(tracks)
    sizes = np.zeros(folds, np.int64)
    assigned: dict[str, int] = {}
    for position in np.random.default_rng([seed, folds]).permutation(len(names)):
        fold = int(np.argmin(sizes))
        assigned[names[position]] = fold
        sizes[fold] += tracks[names[position]]
    return assigned


def without_fold(
    rows: list[dict[str, Any]], folds: dict[str, int], fold: int
) -> list[dict[str, Any]]:
    """Return the rows of a training run without one fold.

    The fold's tracks are marked as held out. Test tracks are left out, since only the run on all
    folds predicts them.
    """
    return [
        row | {"split": HELD_OUT}
        if row["split"] == "train" and folds[row["artist_id"]] == fold
        else row
        for row in rows
        if row["split"] != "test"
    ]
