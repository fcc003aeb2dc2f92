"""Bootstrap intervals (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .checks import same_shape

BLOCK = 2**22  # indices drawn at a time: 32 MiB


def bootstrap_interval(
    values: np.ndarray,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    paired_with: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean.

    Parameters
    ----------
    values
        (N,) one value per track or query; NaN values are left out.
    groups
        (N,) resample whole groups instead of single values. Tracks of one artist are not
        independent, so an interval over tracks resamples their artists.
    paired_with
        (N,) another system's values of the same tracks: the interval is that of the mean of
        ``values - paired_with``, with both resampled alike.

    Returns
    -------
    (low, high)

    Raises
    ------
    ValueError
        Lengths differ, or no value is left.
    """
    values = np.asarray(values, dtype=np.float64)
    if paired_with is not None:
        values = np.subtract(*same_shape(values, paired_with))
    labels = _groups(groups, len(values))
    kept = ~np.isnan(values)
    if not kept.any():
        raise ValueError(f"no value to resample among {len(values)}: all are NaN or there is none")
    _, group = np.unique(labels[kept], return_inverse=True)
    sums, counts = np.bincount(group, weights=values[kept]), np.bincount(group)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, BLOCK // len(sums))
    for start in range(0, resamples, block):
        drawn = generator.integers(len(sums), size=(min(block, resamples - start), len(sums)))
        means[start : start + block] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return _percentiles(means, confidence)


def bootstrap_metric(
    metric: Callable[[np.ndarray, np.ndarray], float],
    truth: np.ndarray,
    predicted: np.ndarray,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of any metric of rows.

    `bootstrap_interval` is faster for a mean over rows.

    Parameters
    ----------
    metric
        (truth, predicted) of resampled rows -> float. Resamples with a NaN metric (no track of any
        class, for example) are left out.
    truth, predicted
        (N, ...) rows; their number varies between resamples if groups differ in size.
    groups
        (N,) resample whole groups instead of single rows.

    Returns
    -------
    (low, high)

    Raises
    ------
    ValueError
        Lengths differ, there is no row, or the metric is NaN on every resample.
    """
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if len(truth) != len(predicted) or not len(truth):
        raise ValueError(
            f"{len(truth)} true and {len(predicted)} predicted rows: "
            "give one of each per track, and at least one"
        )
    _, group, sizes = np.unique(
        _groups(groups, len(truth)), return_inverse=True, return_counts=True
    )
    by_group, starts = np.argsort(group, kind="stable"), np.cumsum(sizes) - sizes
    generator = np.random.default_rng(seed)
    results = np.empty(resamples)
    for index in range(resamples):
        drawn = generator.integers(len(sizes), size=len(sizes))
        lengths = sizes[drawn]
        # Rows of the drawn groups one after another: offset within the group + start of the group.
        shift = starts[drawn] - (np.cumsum(lengths) - lengths)
        rows = by_group[np.arange(lengths.sum()) + np.repeat(shift, lengths)]
        results[index] = metric(truth[rows], predicted[rows])
    defined = results[~np.isnan(results)]
    if not len(defined):
        raise ValueError(f"the metric is NaN on all {resamples} resamples of {len(truth)} rows")
    return _percentiles(defined, confidence)


def _groups(groups: np.ndarray | None, rows: int) -> np.ndarray:
    labels = np.arange(rows) if groups is None else np.asarray(groups)
    if labels.shape != (rows,):
        raise ValueError(f"{rows} rows and groups of shape {labels.shape}: give each row its group")
    return labels


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
