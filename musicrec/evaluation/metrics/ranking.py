"""Score rankings and sets of neighbours against the relevant items."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from .checks import mean_of
from .vectors import unit_rows


def mean_jaccard(
    truth: Sequence[Collection[Hashable]], predicted: Sequence[Collection[Hashable]]
) -> float:
    """Return the mean of |truth & predicted| / |truth | predicted| over pairs of sets.

    A pair of empty sets is left out.

    Returns
    -------
    float
        In [0, 1]; NaN if nothing is left.
    """
    if len(truth) != len(predicted):
        raise ValueError(
            f"{len(truth)} true sets and {len(predicted)} predicted sets: give one of each per row"
        )
    pairs = [(set(one), set(other)) for one, other in zip(truth, predicted, strict=True)]
    return mean_of([len(one & other) / len(one | other) for one, other in pairs if one or other])


def jaccard_neighbours(
    vectors: np.ndarray, related: Sequence[Collection[int]], block_rows: int = 256
) -> float:
    """Return the mean Jaccard index of related artists and as many nearest neighbours by cosine.

    The thesis measures its artist embeddings so (Whitell 2019: `thesis.ARTIST_JACCARD`).

    Parameters
    ----------
    vectors
        (A, D) one embedding per artist, of any length.
    related
        (A) for each artist the rows of those related to it. Artists without any are left out of the
        mean, but are candidates.
    block_rows
        Artists at a time; memory is ``block_rows * A`` float64.

    Returns
    -------
    float
        In [0, 1]; NaN if no artist has a relation.
    """
    if len(vectors) != len(related):
        raise ValueError(
            f"{len(vectors)} vectors and {len(related)} related sets: give one of each per artist"
        )
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
    return mean_of(indices)


def precision_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Return the fraction of relevant items among the first ``k`` of one ranking.

    The denominator is ``k`` also for a shorter ranking. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    return float(hits.sum() / k) if len(relevant) else float("nan")


def recall_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Return the fraction of the relevant items that are among the first ``k`` of one ranking.

    The denominator is the number of relevant items, so with more than ``k`` of them 1 cannot be
    reached. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    return float(hits.sum() / len(relevant)) if len(relevant) else float("nan")


def ndcg_at(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> float:
    """Return the NDCG of the first ``k`` of one ranking (Järvelin and Kekäläinen 2002).

    Gains are binary. DCG is the sum of 1 / log2(1 + rank) over the relevant items in the ranking;
    it is divided by that of the best possible ranking, which has ``min(k, number of relevant
    items)`` at the top. NaN without a relevant item.
    """
    hits = _hits(ranked, relevant, k)
    if not len(relevant):
        return float("nan")
    return float(hits @ discounts(len(hits)) / discounts(min(k, len(relevant))).sum())


def discounts(k: int) -> np.ndarray:
    """Return (k,) the weight 1 / log2(1 + rank) of ranks 1 to ``k``."""
    return 1 / np.log2(np.arange(2, k + 2))


def reciprocal_rank(ranked: Sequence[Hashable], relevant: Collection[Hashable]) -> float:
    """Return 1 / rank of the first relevant item of one ranking.

    It is 0 if the ranking has none, NaN if there is no relevant item.
    """
    if not len(relevant):
        return float("nan")
    hits = _hits(ranked, relevant, len(ranked)) if len(ranked) else np.zeros(0)
    return float(1 / (1 + np.argmax(hits))) if hits.any() else 0.0


def mean_reciprocal_rank(
    ranked: Sequence[Sequence[Hashable]], relevant: Sequence[Collection[Hashable]]
) -> float:
    """Return the mean over queries of 1 / rank of the first relevant item (Voorhees 1999).

    Parameters
    ----------
    ranked
        One ranking per query; one without a relevant item counts as 0.
    relevant
        One set per query; queries with an empty set are left out.

    Returns
    -------
    float
        In [0, 1]; NaN if every set is empty.
    """
    if len(ranked) != len(relevant):
        raise ValueError(
            f"{len(ranked)} rankings and {len(relevant)} relevant sets: give one of each per query"
        )
    return mean_of(
        [
            reciprocal_rank(items, targets)
            for items, targets in zip(ranked, relevant, strict=True)
            if len(targets)
        ]
    )


def _hits(ranked: Sequence[Hashable], relevant: Collection[Hashable], k: int) -> np.ndarray:
    """Return (min(k, ranking),) 1.0 where a ranked item is relevant."""
    if k < 1:
        raise ValueError(f"k = {k}: a ranking is cut at 1 or more")
    targets = set(relevant)
    return np.array([item in targets for item in ranked[:k]], dtype=np.float64)
