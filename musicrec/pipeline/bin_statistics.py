"""Compute the mean and deviation of each frequency bin over the rows of a training run.

``standardise: per_feature_bin`` scales by them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from musicrec.features.columns import Statistics
from musicrec.features.reader import read_stored
from musicrec.pipeline.base import REVISION, Outcome, Run, run_stage
from musicrec.storage.store import Stage, fingerprint

FILE = "bins.json"


def bin_statistics(
    run: Run, extracted: Outcome, feature: str, rows: list[dict[str, Any]]
) -> Statistics:
    """Return the mean and deviation (frequency,), float32, over the frames of all training rows.

    They have a stage of their own, shared by submodels that read the same feature of the same rows.

    Parameters
    ----------
    rows
        The rows of a training run: ``split``, and ``part`` and ``row`` of the stored feature. Only
        those of the training split are read.
    """
    places: dict[str, list[int]] = {}
    for row in rows:
        if row["split"] == "train":
            places.setdefault(row["part"], []).append(row["row"])
    training_rows = sorted((part, sorted(numbers)) for part, numbers in places.items())
    stage = run.store.stage(
        "bin_statistics", fingerprint(REVISION, extracted.stage.key, feature, training_rows)
    )
    outcome = run_stage(
        run,
        stage,
        lambda stage: _compute(run, stage, feature, training_rows),
        f"bin statistics {feature}",
    )
    values = run.store.read_json(outcome.stage.path(FILE))
    return np.array(values["mean"], np.float32), np.array(values["deviation"], np.float32)


def _compute(
    run: Run, stage: Stage, feature: str, places: list[tuple[str, list[int]]]
) -> dict[str, Any]:
    from musicrec.runtime.cluster import connect, map_unordered

    connect(run.config.ray)
    rows = frames = 0
    sums = squares = np.float64(0)
    for part_rows, part_frames, part_sums, part_squares in map_unordered(
        part_sums_of_bins, places, feature
    ):
        rows, frames, sums, squares = (
            rows + part_rows,
            frames + part_frames,
            sums + part_sums,
            squares + part_squares,
        )
    mean = sums / frames
    deviation = np.sqrt(np.maximum(squares / frames - mean**2, 0))
    # Rounding to float32 hides the order in which the parts were added.
    run.store.write_json(
        stage.path(FILE),
        {
            "mean": mean.astype(np.float32).tolist(),
            "deviation": deviation.astype(np.float32).tolist(),
        },
    )
    return {
        "feature": feature,
        "rows_in": sum(len(numbers) for _, numbers in places),
        "rows_out": rows,
        "frames": frames,
    }


def part_sums_of_bins(
    place: tuple[str, list[int]], feature: str
) -> tuple[int, int, np.ndarray, np.ndarray]:
    """Return the number of rows and frames of some rows of a part, and sums over their frames.

    The sum and the sum of squares of each bin (frequency,) are float64, which holds the mean square
    of values within 200 dB to 1e-8 dB^2 over any number of frames.
    """
    part, numbers = place
    stored = read_stored([(part, number) for number in numbers], feature)
    arrays = [array.astype(np.float64) for array, _ in stored]
    sums, squares = (
        sum(array.sum(axis=1) for array in values) for values in (arrays, map(np.square, arrays))
    )
    return len(arrays), sum(array.shape[1] for array in arrays), sums, squares
