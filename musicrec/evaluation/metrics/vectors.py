"""Errors and similarities of real-valued outputs."""

from __future__ import annotations

import numpy as np

from .checks import same_shape


def mean_squared_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean squared difference over all elements, in float64.

    The thesis compares sigmoid outputs with indicators (Whitell 2019, Table 5).

    Parameters
    ----------
    truth, predicted
        Same shape, (N,) or (N, C).
    """
    truth, predicted = same_shape(truth, predicted)
    return float(np.mean((truth.astype(np.float64) - predicted.astype(np.float64)) ** 2))


def mean_cosine(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean over rows of the cosine of (N, D) ``truth`` and ``predicted``.

    A row in which either vector is zero counts as 0.
    """
    return float(np.mean(cosines(truth, predicted)))


def cosines(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return (N,) the cosine of each pair of rows of (N, D) arrays; 0 where one is zero."""
    truth, predicted = same_shape(truth, predicted)
    if truth.ndim != 2:
        raise ValueError(f"cosine similarity needs rows of vectors (N, D), got {truth.shape}")
    return np.einsum("nd,nd->n", unit_rows(truth), unit_rows(predicted))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return (N, D) float64 rows scaled to unit length; zero rows stay zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
