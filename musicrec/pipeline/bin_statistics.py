"""Mean and deviation of each frequency bin over a training's own rows, which ``standardise: per_feature_bin`` scales by."""

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
    """Two float32 arrays (frequency,), mean and deviation over the frames of every training row.

    They are kept in a stage of their own, which the submodels that read the same feature of the same rows share.

    Parameters
    ----------
    rows
        Of a training: ``split``, and ``part`` and ``row`` where the feature lies. Those of the training split alone are read.
    """
    places: dict[str, list[int]] = {}
    for row in rows:
        if row["split"] == "train":
            places.setdefault(row["part"], []).append(row["row"])
    chosen = sorted((part, sorted(numbers)) for part, numbers in places.items())
    stage = run.store.stage(
        "bin_statistics", fingerprint(REVISION, extracted.stage.key, feature, chosen)
    )
    outcome = run_stage(
        run, stage, lambda stage: _work(run, stage, feature, chosen), f"bin statistics {feature}"
    )
    values = run.store.read_json(outcome.stage.path(FILE))
    return np.array(values["mean"], np.float32), np.array(values["deviation"], np.float32)


def _work(
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
    # In float32 the order in which the parts came does not show.
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
    """Over some rows of one part: how many rows and frames they are, and the sum and the sum of squares of each bin (frequency,).

    float64, which holds the mean square of values within 200 dB to 1e-8 dB^2 over any number of frames.
    """
    part, numbers = place
    stored = read_stored([(part, number) for number in numbers], feature)
    arrays = [array.astype(np.float64) for array, _ in stored]
    sums, squares = (
        sum(array.sum(axis=1) for array in values) for values in (arrays, map(np.square, arrays))
    )
    return len(arrays), sum(array.shape[1] for array in arrays), sums, squares
