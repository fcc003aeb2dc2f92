"""Calibration: how often a predicted probability comes true, or a similar artist is related."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from musicrec.evaluation.metrics import unit_rows

BLOCK = 64  # queries at a time: 28 MB of similarities to 110,000 artists


@dataclass(frozen=True)
class Calibration:
    """Predictions and outcomes in bins of equal width.

    Attributes
    ----------
    edges
        (B + 1,) bin edges, rising.
    counts, positives
        (B,) predictions in each bin, and how many of them came true.
    sums
        (B,) sums of the predictions.
    """

    edges: np.ndarray
    counts: np.ndarray
    positives: np.ndarray
    sums: np.ndarray

    @property
    def filled(self) -> np.ndarray:
        """Return the indices of the bins that have a prediction."""
        return np.flatnonzero(self.counts)

    def fractions(self) -> np.ndarray:
        """Return (F,) the fraction that came true in each filled bin."""
        return self.positives[self.filled] / self.counts[self.filled]

    def means(self) -> np.ndarray:
        """Return (F,) the mean prediction in each filled bin."""
        return self.sums[self.filled] / self.counts[self.filled]

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (F,) bounds of the 95 % interval of each fraction (Wilson 1927)."""
        intervals = [
            binomtest(int(positives), int(count)).proportion_ci(method="wilson")
            for positives, count in zip(
                self.positives[self.filled], self.counts[self.filled], strict=True
            )
        ]
        return (
            np.array([interval.low for interval in intervals]),
            np.array([interval.high for interval in intervals]),
        )

    def error(self) -> float:
        """Return the expected calibration error (Naeini et al. 2015); NaN without predictions.

        It is the mean distance between fraction and mean prediction, weighted by the bins' counts.
        """
        total = self.counts.sum()
        return float(np.abs(self.positives - self.sums).sum() / total) if total else math.nan


def probability_calibration(
    probabilities: np.ndarray, truth: np.ndarray, bins: int = 10
) -> Calibration:
    """Bin probabilities (N,) by value, with whether each came true (N,)."""
    return _binned(
        np.linspace(0, 1, bins + 1), np.asarray(probabilities, np.float64), np.asarray(truth, bool)
    )


def similarity_calibration(
    queries: np.ndarray,
    table: np.ndarray,
    own: np.ndarray,
    related: Sequence[np.ndarray],
    bins: int = 20,
) -> Calibration:
    """Bin cosine similarities to the artists of a table, with whether the artist is related.

    Parameters
    ----------
    queries
        (Q, D) predicted vectors.
    table
        (A, D).
    own
        (Q,) row of each query's own artist, which is not a candidate; -1 for none.
    related
        (Q) rows of each query's related artists.
    """
    edges = np.linspace(-1, 1, bins + 1)
    unit, candidates = unit_rows(queries), unit_rows(table)
    parts = []
    for start in range(0, len(queries), BLOCK):
        similarity = np.clip(unit[start : start + BLOCK] @ candidates.T, -1, 1)
        truth, counted = np.zeros(similarity.shape, bool), np.ones(similarity.shape, bool)
        for row in range(len(similarity)):
            truth[row, related[start + row]] = True
            counted[row, own[start + row]] = own[start + row] < 0
        parts.append(_binned(edges, similarity[counted], truth[counted]))
    counts, positives, sums = (
        np.sum([getattr(part, name) for part in parts], axis=0)
        for name in ("counts", "positives", "sums")
    )
    return Calibration(edges, counts, positives, sums)


def _binned(edges: np.ndarray, values: np.ndarray, truth: np.ndarray) -> Calibration:
    bins = len(edges) - 1
    # The last bin includes its upper edge.
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    counts, positives = (
        np.bincount(place, minlength=bins),
        np.bincount(place, weights=truth, minlength=bins),
    )
    return Calibration(edges, counts, positives, np.bincount(place, weights=values, minlength=bins))
