"""Vectorised scores of rankings, and the expected scores of a random ranking.

Ids are row numbers. The chance values are exact expectations over all rankings of the same
candidates, so that no random draw blurs the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from musicrec.evaluation.metrics import discounts

DEPTH = 1000  # reciprocal ranks beyond it are below 0.001 and count as 0


@dataclass(frozen=True)
class RetrievalScores:
    """One value per query in each array (Q,); NaN for a query without a relevant candidate.

    Attributes
    ----------
    ndcg, recall, precision
        By cut-off k.
    reciprocal_rank
        0 where the first relevant candidate is beyond the ranking's depth.
    relevant
        (Q,) number of relevant candidates of each query.
    """

    ndcg: dict[int, np.ndarray]
    recall: dict[int, np.ndarray]
    precision: dict[int, np.ndarray]
    reciprocal_rank: np.ndarray
    relevant: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """Return the scores (Q,) by name: ``ndcg@10``, ``recall@10``, ``precision@10``, ``mrr``."""
        named = {"ndcg": self.ndcg, "recall": self.recall, "precision": self.precision}
        return {f"{name}@{k}": values for name, at in named.items() for k, values in at.items()} | {
            "mrr": self.reciprocal_rank
        }

    def means(self) -> dict[str, float]:
        """Return each column's mean over the queries with a relevant candidate; NaN without any."""
        counted = self.relevant > 0
        return {
            name: float(values[counted].mean()) if counted.any() else float("nan")
            for name, values in self.columns().items()
        }


def find_hits(rankings: np.ndarray, relevant: Sequence[np.ndarray]) -> np.ndarray:
    """Return (Q, length) True where a ranking (Q, length) has one of the query's relevant rows."""
    counts = [len(rows) for rows in relevant]
    if not rankings.size or not sum(counts):
        return np.zeros(rankings.shape, dtype=bool)
    rows = np.concatenate(relevant)
    width = 1 + max(rows.max(), rankings.max())
    targets = np.sort(np.repeat(np.arange(len(relevant)), counts) * width + rows)
    ranked = np.arange(len(rankings))[:, None] * width + rankings
    return targets[np.searchsorted(targets, ranked).clip(max=len(targets) - 1)] == ranked


def score_hits(hits: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> RetrievalScores:
    """Score rankings by where they have relevant rows.

    A cut-off beyond ``length`` takes the whole ranking; the precision's denominator stays k.

    Parameters
    ----------
    hits
        (Q, length) bool, as from `find_hits`.
    relevant
        (Q,) number of relevant candidates of each query, also outside the ranking.
    """
    gains = discounts(max(ks))
    # best[n]: the gain of n relevant candidates at the top.
    best = np.concatenate(([0.0], np.cumsum(gains)))
    retrieved = {k: np.where(relevant > 0, hits[:, :k].sum(axis=1), np.nan) for k in ks}
    first = np.where(hits.any(axis=1), 1 / (1 + hits.argmax(axis=1)), 0.0)
    return RetrievalScores(
        ndcg={
            k: np.where(relevant > 0, hits[:, :k] @ gains[: hits[:, :k].shape[1]], np.nan)
            / best[relevant.clip(1, k)]
            for k in ks
        },
        recall={k: retrieved[k] / relevant.clip(1) for k in ks},
        precision={k: retrieved[k] / k for k in ks},
        reciprocal_rank=np.where(relevant > 0, first, np.nan),
        relevant=relevant,
    )


def chance_scores(
    candidates: np.ndarray, relevant: np.ndarray, ks: Sequence[int], depth: int = DEPTH
) -> RetrievalScores:
    """Return the exact expected scores of a uniformly random ranking, cut at ``depth``.

    With R relevant among N candidates every place has a relevant one with probability R / N, so
    recall@k is k / N, precision@k is R / N, and NDCG@k is R / N times the sum of the first k
    discounts over that of the first min(k, R). The first relevant candidate has rank r with
    probability R / (N - r + 1) times the product over j < r of (N - R - j + 1) / (N - j + 1).

    Parameters
    ----------
    candidates, relevant
        (Q,) N and R of each query.
    """
    candidates, relevant = np.asarray(candidates), np.asarray(relevant)
    probability = np.where(relevant > 0, relevant / candidates, np.nan)
    pairs = list(zip(candidates.tolist(), relevant.tolist(), strict=True))
    first = {pair: _expected_reciprocal_rank(*pair, depth) for pair in set(pairs)}
    reached = {k: np.minimum(min(k, depth), candidates) for k in ks}
    # gain[n]: the sum of the first n discounts.
    gain = np.concatenate(([0.0], np.cumsum(discounts(max(ks)))))
    return RetrievalScores(
        ndcg={k: probability * gain[reached[k]] / gain[np.clip(relevant, 1, k)] for k in ks},
        recall={k: np.where(relevant > 0, reached[k] / candidates, np.nan) for k in ks},
        precision={k: probability * reached[k] / k for k in ks},
        reciprocal_rank=np.array([first[pair] for pair in pairs]),
        relevant=relevant,
    )


def _expected_reciprocal_rank(candidates: int, relevant: int, depth: int) -> float:
    if not relevant:
        return float("nan")
    ranks = np.arange(1, min(depth, candidates - relevant + 1) + 1)
    # P(none of the first ``rank`` candidates is relevant); shifted by one: none before it is.
    missed = np.cumprod((candidates - relevant - ranks + 1) / (candidates - ranks + 1))
    before = np.concatenate(([1.0], missed[:-1]))
    return float(np.sum(before * relevant / (candidates - ranks + 1) / ranks))


def chance_spread(query_rows: np.ndarray, candidates: int, k: int) -> dict[str, float]:
    """Return the expected coverage and hubness of uniformly random rankings of the same queries.

    A row is among the first k of a query with probability p = k / (its number of candidates), which
    is one fewer than ``candidates`` where the query has a row itself. Hubness is the skewness of
    that binomial, ``(1 - 2 p) / sqrt(Q p (1 - p))``.

    Parameters
    ----------
    query_rows
        (Q,) the row of each query, -1 for none.
    """
    own = query_rows >= 0
    missed = 1 - np.minimum(1, k / (candidates - own))
    # How often each row is a query, and so not a candidate.
    times = np.bincount(query_rows[own], minlength=candidates)
    # A row can be missed by every query but its own. All queries with a row have equally many
    # candidates.
    with_row, without_row = missed[own], missed[~own]
    inside = np.power(with_row[0], own.sum() - times) if len(with_row) else np.ones(candidates)
    probability = k / (candidates - 1 if own.all() else candidates)
    spread = np.sqrt(len(query_rows) * probability * max(0.0, 1 - probability))
    return {
        f"coverage@{k}": float(np.mean(1 - inside * np.prod(without_row))),
        f"hubness@{k}": float((1 - 2 * probability) / spread) if probability < 1 else float("nan"),
    }
