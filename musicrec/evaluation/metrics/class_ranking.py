"""Rank the tracks of each class by score: average precision and area under the ROC curve.

Neither depends on a threshold, which dominates the Hamming loss with 161 sparse labels. Both are
undefined for a class without a track, the ROC also for a class that every track has: such classes
are NaN, and macro averages leave them out.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import rankdata

from .checks import indicators, mean_of_defined, same_shape

Average = Literal["macro", "micro"]


def absent_classes(truth: np.ndarray) -> np.ndarray:
    """Return the columns of (N, C) indicators that no track has."""
    return np.flatnonzero(~indicators(np.asarray(truth), "truth").any(axis=0))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (C,) the average precision of each class; NaN for classes without a track.

    It sums precision times the rise in recall over falling thresholds, without interpolation.

    Parameters
    ----------
    truth
        (N, C) indicators, 0 or 1.
    scores
        (N, C) on any scale, higher for likelier.
    """
    truth, scores = _ranked_inputs(truth, scores)
    rows = len(truth)
    order = np.argsort(-scores, axis=0)
    scores, truth = (
        np.take_along_axis(scores, order, axis=0),
        np.take_along_axis(truth, order, axis=0),
    )
    place = np.arange(rows)[:, None]
    last = np.ones_like(truth)  # of equal scores, which share one threshold
    last[:-1] = scores[1:] != scores[:-1]
    ends = np.minimum.accumulate(np.where(last, place, rows)[::-1], axis=0)[::-1]
    precision = np.take_along_axis(truth.cumsum(axis=0) / (place + 1), ends, axis=0)
    return _quotient(np.where(truth, precision, 0.0).sum(axis=0), truth.sum(axis=0))


def roc_auc(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return (C,) the probability that a track of the class scores higher than another track.

    Ties count half (Mann and Whitney 1947). NaN for classes that no track or every track has.
    Parameters as in `average_precision`.
    """
    truth, scores = _ranked_inputs(truth, scores)
    ranks = rankdata(scores, axis=0)
    positives = truth.sum(axis=0)
    above = np.where(truth, ranks, 0.0).sum(axis=0) - positives * (positives + 1) / 2
    return _quotient(above, positives * (len(truth) - positives))


def mean_average_precision(
    truth: np.ndarray, scores: np.ndarray, average: Average = "macro"
) -> float:
    """Return the mean average precision (mAP). Parameters as in `average_precision`.

    ``macro`` is the mean over classes that have a track; ``micro`` ranks all pairs of track and
    class in one list. NaN without a label.
    """
    return mean_of_defined(average_precision(*_pooled(truth, scores, average)))


def mean_roc_auc(truth: np.ndarray, scores: np.ndarray, average: Average = "macro") -> float:
    """Return the area under the ROC curve. Parameters as in `average_precision`.

    ``macro`` is the mean over classes that some but not all tracks have; ``micro`` ranks all pairs
    of track and class in one list.
    """
    return mean_of_defined(roc_auc(*_pooled(truth, scores, average)))


def _pooled(
    truth: np.ndarray, scores: np.ndarray, average: Average
) -> tuple[np.ndarray, np.ndarray]:
    if average not in ("macro", "micro"):
        raise ValueError(f"average={average!r} must be macro or micro")
    truth, scores = same_shape(truth, scores)
    return (truth, scores) if average == "macro" else (truth.reshape(-1, 1), scores.reshape(-1, 1))


def _ranked_inputs(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, scores = same_shape(truth, scores)
    if truth.ndim != 2:
        raise ValueError(f"classes are ranked by indicators and scores (N, C), got {truth.shape}")
    if np.isnan(scores).any():
        raise ValueError(
            f"{int(np.isnan(scores).sum())} scores are NaN: they have no place in a ranking"
        )
    return indicators(truth, "truth"), scores if np.issubdtype(
        scores.dtype, np.floating
    ) else scores.astype(np.float64)


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0
    )
