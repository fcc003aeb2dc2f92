"""Summarise the rows of a feature over time by their moments."""

from __future__ import annotations

import numpy as np

STATISTICS = ("mean", "std", "skewness", "kurtosis", "median", "min", "max")


def moments(feature: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, deviation, skewness and excess kurtosis of each row of a feature (F, T).

    They are the population's, float64 (F,); a constant row has skewness and kurtosis 0.

    Raises
    ------
    ValueError
        The feature is not a matrix, has no frame, or holds a value that is not finite.
    """
    feature = np.asarray(feature, dtype=np.float64)
    if feature.ndim != 2 or not feature.size or not np.isfinite(feature).all():
        raise ValueError(
            "clip statistics need a finite (frequency, time) feature with at least one frame, "
            f"got shape {feature.shape}"
        )
    mean = feature.mean(axis=1)
    centred = feature - mean[:, None]
    squares = centred * centred
    variance = squares.mean(axis=1)
    # Smaller variances are rounding errors of the mean, and their higher moments are meaningless.
    varies = variance > (np.finfo(np.float64).eps * np.abs(feature).max(axis=1)) ** 2
    scale = np.where(varies, variance, 1.0)
    skewness = np.where(varies, np.mean(squares * centred, axis=1) / scale**1.5, 0.0)
    kurtosis = np.where(varies, np.mean(squares * squares, axis=1) / scale**2 - 3, 0.0)
    return mean, np.sqrt(variance), skewness, kurtosis


def clip_statistics(feature: np.ndarray) -> np.ndarray:
    """Return seven statistics over time of each row of a feature.

    They are the clip summary of FMA's baselines (Defferrard et al. 2017).

    Parameters
    ----------
    feature
        (F, T) un-standardised.

    Returns
    -------
    ndarray of float32
        (7 F,) all means first, then in the order of ``STATISTICS``, as in ``moments``.

    Raises
    ------
    ValueError
        The feature is not a matrix, has no frame, or holds a value that is not finite.
    """
    first = moments(feature)
    rows = (*first, np.median(feature, axis=1), feature.min(axis=1), feature.max(axis=1))
    return np.concatenate(rows).astype(np.float32)
