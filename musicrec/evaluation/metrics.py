"""Metrics as pure NumPy functions.

Conventions
-----------
- The truth comes first, the prediction second. Rows are tracks (or queries), columns are classes, outputs or dimensions.
- A result is a float. It is NaN where the quantity is not defined (a ranking metric of a query with no relevant item), never a made-up 0
  or 1; means over queries leave such queries out.
- Similarity is cosine; a zero vector has cosine 0 to everything.
- Rankings list items (any hashable, or integers) best first, without repeats; rank 1 is the first place. Relevance is binary.
- Of candidates with equal similarity, the one with the lower index comes first.
- Where scikit-learn has the metric, the two agree to 1e-9 (tests).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np

_BOOTSTRAP_BLOCK = 2**22  # drawn indices held at once: 32 MiB


def f1_micro(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Micro-averaged F1 (thesis section 7): 2 TP / (2 TP + FP + FN), each summed over all classes.

    Parameters
    ----------
    truth, predicted
        Both (N,) class labels, one a track, where it equals the accuracy; or both (N, C) indicators, 0 or 1. A class without a track and
        without a prediction adds nothing.

    Returns
    -------
    float
        In [0, 1]; 0 where indicators name no class at all, in truth and prediction alike (as scikit-learn has it).
    """
    truth, predicted = _same_shape(truth, predicted)
    if truth.ndim == 1:
        return float(np.mean(truth == predicted))
    truth, predicted = _indicators(truth, "truth"), _indicators(predicted, "predicted")
    named = truth.sum() + predicted.sum()
    return float(2 * np.sum(truth & predicted) / named) if named else 0.0


def hamming_loss(truth: np.ndarray, predicted: np.ndarray, threshold: float = 0.5) -> float:
    """Share of wrong labels (thesis section 7): the mean over tracks and classes of truth differing from ``predicted >= threshold``.

    Parameters
    ----------
    truth
        (N, C) indicators, 0 or 1. Classes without a track count like all others.
    predicted
        (N, C) probabilities, or indicators.
    """
    truth, predicted = _same_shape(truth, predicted)
    return float(np.mean(_indicators(truth, "truth") != (predicted >= threshold)))


def mean_squared_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean squared difference over all elements, in float64 (thesis section 7: the sigmoid outputs against indicators).

    Parameters
    ----------
    truth, predicted
        Of one shape, (N,) or (N, C).
    """
    truth, predicted = _same_shape(truth, predicted)
    return float(np.mean((truth.astype(np.float64) - predicted.astype(np.float64)) ** 2))


def mean_cosine(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over rows of the cosine similarity between (N, D) ``truth`` and ``predicted`` (thesis section 7).

    A row in which either vector is zero counts as 0.
    """
    return float(np.mean(cosines(truth, predicted)))


def cosines(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N,) float64 cosine similarity of each row of (N, D) ``truth`` with the same row of ``predicted``; 0 where one is zero."""
    truth, predicted = _same_shape(truth, predicted)
    if truth.ndim != 2:
        raise ValueError(f"cosine similarity needs rows of vectors (N, D), got {truth.shape}")
    return np.einsum("nd,nd->n", unit_rows(truth), unit_rows(predicted))


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(N, D) float64 rows scaled to unit length; zero rows stay zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def mean_jaccard(truth: Sequence[Collection[Hashable]], predicted: Sequence[Collection[Hashable]]) -> float:
    """Mean of |truth & predicted| / |truth | predicted| over pairs of sets; a pair of empty sets is left out.

    Returns
    -------
    float
        In [0, 1]; NaN if nothing is left.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} true sets and {len(predicted)} predicted sets: give one of each a row")
    pairs = [(set(one), set(other)) for one, other in zip(truth, predicted, strict=True)]
    return _mean([len(one & other) / len(one | other) for one, other in pairs if one or other])


def jaccard_neighbours(vectors: np.ndarray, related: Sequence[Collection[int]], block_rows: int = 256) -> float:
    """Mean Jaccard index between an artist's related set and its equally many nearest neighbours by cosine (thesis section 4).

    Parameters
    ----------
    vectors
        (A, D) one embedding an artist, of any length.
    related
        (A) for each artist the rows of those related to it. Artists without any are left out of the mean, but are candidates.
    block_rows
        Artists handled at once; memory is ``block_rows * A`` float64.

    Returns
    -------
    float
        In [0, 1]; NaN if no artist has a relation.
    """
    if len(vectors) != len(related):
        raise ValueError(f"{len(vectors)} vectors and {len(related)} related sets: give one of each an artist")
    units = unit_rows(vectors)
    artists = np.flatnonzero([len(relations) > 0 for relations in related])
    indices = []
    for start in range(0, len(artists), block_rows):
        rows = artists[start : start + block_rows]
        similarity = units[rows] @ units.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        ranking = np.argsort(-similarity, axis=1, kind="stable")
        for row, order in zip(rows, ranking, strict=True):
            relations = {int(artist) for artist in related[row]}
            common = len(relations & set(order[: len(relations)].tolist()))
            indices.append(common / (2 * len(relations) - common))
    return _mean(indices)


def precision_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Share of relevant items among the first ``k`` of one ranking.

    The denominator is ``k`` also where the ranking is shorter. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    return float(hits.sum() / k) if len(relevant) else float("nan")


def recall_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Share of the relevant items that the first ``k`` of one ranking hold.

    The denominator is the number of relevant items, so with more than ``k`` of them 1 cannot be reached. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    return float(hits.sum() / len(relevant)) if len(relevant) else float("nan")


def ndcg_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Normalised discounted cumulative gain of the first ``k`` of one ranking (Järvelin and Kekäläinen 2002), binary gains.

    DCG is the sum of 1 / log2(1 + rank) over the relevant items found; it is divided by that of the best possible ranking, which holds
    ``min(k, number of relevant items)`` at the top. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    if not len(relevant):
        return float("nan")
    return float(hits @ discounts(len(hits)) / discounts(min(k, len(relevant))).sum())


def discounts(k: int) -> np.ndarray:
    """(k,) the weight 1 / log2(1 + rank) of ranks 1 to ``k``."""
    return 1 / np.log2(np.arange(2, k + 2))


def reciprocal_rank(ranked: Sequence[Hashable], relevant: Collection[Hashable]) -> float:
    """1 / rank of the first relevant item of one ranking; 0 if it holds none, NaN if there is none to find."""
    if not len(relevant):
        return float("nan")
    hits = _hits(ranked, relevant, len(ranked)) if len(ranked) else np.zeros(0)
    return float(1 / (1 + np.argmax(hits))) if hits.any() else 0.0


def mean_reciprocal_rank(ranked: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]]) -> float:
    """Mean over queries of 1 / rank of the first relevant item (Voorhees 1999).

    Parameters
    ----------
    ranked
        One ranking a query; one without a relevant item counts as 0.
    relevant
        One set a query; queries with an empty set are left out.

    Returns
    -------
    float
        In [0, 1]; NaN if every set is empty.
    """
    if len(ranked) != len(relevant):
        raise ValueError(f"{len(ranked)} rankings and {len(relevant)} relevant sets: give one of each a query")
    return _mean([reciprocal_rank(items, wanted) for items, wanted in zip(ranked, relevant, strict=True) if len(wanted)])


def bootstrap_interval(
    values: np.ndarray,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    paired_with: np.ndarray | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    values
        (N,) one value a track or query; NaN values are left out.
    groups
        (N,) whole groups are drawn with replacement instead of single values: tracks of one artist are not independent, so an interval over
        tracks resamples their artists.
    paired_with
        (N,) another system's values of the same tracks: the interval is that of the mean of ``values - paired_with``, both resampled alike.

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
        values = np.subtract(*_same_shape(values, paired_with))
    labels = np.arange(len(values)) if groups is None else np.asarray(groups)
    if labels.shape != values.shape:
        raise ValueError(f"{values.shape} values and {labels.shape} groups: give each value its group")
    kept = ~np.isnan(values)
    if not kept.any():
        raise ValueError(f"no value to resample among {len(values)}: all are NaN or there is none")
    _, group = np.unique(labels[kept], return_inverse=True)
    sums, counts = np.bincount(group, weights=values[kept]), np.bincount(group)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, _BOOTSTRAP_BLOCK // len(sums))
    for start in range(0, resamples, block):
        drawn = generator.integers(len(sums), size=(min(block, resamples - start), len(sums)))
        means[start : start + block] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _hits(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> np.ndarray:
    """(min(k, ranking),) 1.0 where a ranked item is relevant."""
    if k < 1:
        raise ValueError(f"k = {k}: a ranking is cut at 1 or more")
    wanted = set(relevant)
    return np.array([item in wanted for item in ranked[:k]], dtype=np.float64)


def _same_shape(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.shape != predicted.shape or not truth.size:
        raise ValueError(f"truth {truth.shape} and prediction {predicted.shape}: both must have one shape and at least one row")
    return truth, predicted


def _indicators(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} holds {values[~np.isin(values, (0, 1))].flat[0]}: indicators are 0 or 1")
    return values.astype(bool)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
