"""Retrieval of related artists: does a predicted embedding find the artists that listeners relate to the one who made the music?

The query is the vector predicted for an artist held out from training; candidates are the artists of the embedding table but the query
artist itself, whose place says nothing about its relations. The relevant items are its related artists. The chance values are exact
expectations over all rankings of the same candidates, so no random draw stands between a result and its floor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.evaluation.metrics import discounts, ndcg_at, precision_at, recall_at, reciprocal_rank

DEPTH = 1000  # reciprocal ranks beyond it are below 0.001 and count as 0


@dataclass(frozen=True)
class RetrievalScores:
    """One value a query in each array (Q,); NaN for a query without a relevant candidate.

    Attributes
    ----------
    ndcg, recall, precision
        By cut-off k.
    reciprocal_rank
        0 where the first relevant candidate lies beyond the ranking's depth.
    relevant
        (Q,) how many relevant candidates each query has.
    """

    ndcg: dict[int, np.ndarray]
    recall: dict[int, np.ndarray]
    precision: dict[int, np.ndarray]
    reciprocal_rank: np.ndarray
    relevant: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """The scores by name: ``ndcg@10``, ``recall@10``, ``precision@10``, ..., ``mrr``, each (Q,)."""
        named = {"ndcg": self.ndcg, "recall": self.recall, "precision": self.precision}
        return {f"{name}@{k}": values for name, at in named.items() for k, values in at.items()} | {"mrr": self.reciprocal_rank}

    def means(self) -> dict[str, float]:
        """Mean of each column over the queries that have a relevant candidate; NaN if there is none."""
        counted = self.relevant > 0
        return {name: float(values[counted].mean()) if counted.any() else float("nan") for name, values in self.columns().items()}


@dataclass(frozen=True)
class Retrieval:
    """What predicted vectors retrieve, beside chance for the same queries.

    Attributes
    ----------
    artist_ids : list of str
        (Q,) the query artists.
    scores, chance : RetrievalScores
        Achieved, and expected of a uniformly random ranking.
    unreachable : int
        Relations of the query artists to artists that the table does not have; they are not counted as relevant.
    """

    artist_ids: list[str]
    scores: RetrievalScores
    chance: RetrievalScores
    unreachable: int


def evaluate_retrieval(
    predicted: np.ndarray,
    artist_ids: Sequence[str],
    table: np.ndarray,
    table_ids: Sequence[str],
    related: Mapping[str, Collection[str]],
    *,
    ks: Sequence[int] = (10,),
    depth: int = DEPTH,
) -> Retrieval:
    """Rank the artists of ``table`` by cosine to each predicted vector and score the ranking by the related artists.

    Parameters
    ----------
    predicted
        (Q, D) one vector an artist: for several tracks, their mean (thesis section 5).
    artist_ids
        (Q,) whose vectors they are.
    table, table_ids
        (A, D) embeddings and their ids (A,). A query artist that is among them is no candidate for itself.
    related
        Ids of the related artists of each query artist; an artist without an entry has none.
    ks
        Cut-offs.
    depth
        Length of the rankings that the reciprocal rank is taken from.
    """
    query_rows, relevant, unreachable = relevant_rows(artist_ids, table_ids, related)
    rankings = rank_candidates(predicted, table, query_rows, max(depth, *ks))
    scores = score_rankings(rankings, relevant, ks)
    chance = chance_scores(len(table_ids) - (query_rows >= 0), scores.relevant, ks, rankings.shape[1])
    return Retrieval(list(artist_ids), scores, chance, unreachable)


def relevant_rows(
    artist_ids: Sequence[str], table_ids: Sequence[str], related: Mapping[str, Collection[str]]
) -> tuple[np.ndarray, list[np.ndarray], int]:
    """Queries in terms of the table's rows.

    Returns
    -------
    query_rows : ndarray of int64
        (Q,) row of each query artist, -1 where the table does not have it.
    relevant : list of ndarray
        (Q) rows of its related artists, the artist itself left out.
    unreachable : int
        Related artists that the table does not have, over all queries.
    """
    place = {artist_id: row for row, artist_id in enumerate(table_ids)}
    query_rows = np.array([place.get(artist_id, -1) for artist_id in artist_ids], dtype=np.int64)
    relevant, unreachable = [], 0
    for artist_id in artist_ids:
        wanted = set(related.get(artist_id, ())) - {artist_id}
        reachable = sorted(place[one] for one in wanted if one in place)
        unreachable += len(wanted) - len(reachable)
        relevant.append(np.array(reachable, dtype=np.int64))
    return query_rows, relevant, unreachable


def rank_candidates(predicted: np.ndarray, table: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """(Q, length) rows of the table by falling cosine to each query, without the query's own row (-1: it has none).

    All rankings have one length: ``depth``, or the fewest candidates that a query has.
    """
    return nearest_neighbours(predicted, table, _length(len(table), query_rows, depth), exclude=query_rows)[0]


def random_rankings(candidates: int, query_rows: np.ndarray, seed: int, depth: int = DEPTH) -> np.ndarray:
    """(Q, length) uniformly random rankings of ``candidates`` rows without each query's own: what ``chance_scores`` expects."""
    generator = np.random.default_rng(seed)
    length = _length(candidates, query_rows, depth)
    return np.array([_without(generator.permutation(candidates), row)[:length] for row in query_rows])


def fixed_rankings(order: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """(Q, length) one order of all rows (A,), the most popular first for instance, for every query but for its own row."""
    length = _length(len(order), query_rows, depth)
    return np.array([_without(order[: length + 1], row)[:length] for row in query_rows])


def score_rankings(rankings: np.ndarray, relevant: Sequence[np.ndarray], ks: Sequence[int]) -> RetrievalScores:
    """Scores of rankings (Q, length) against the relevant rows of each query."""
    ranked = [ranking.tolist() for ranking in rankings]
    wanted = [set(rows.tolist()) for rows in relevant]
    pairs = list(zip(ranked, wanted, strict=True))

    def at(metric: Callable[[list[int], set[int], int], float]) -> dict[int, np.ndarray]:
        return {k: np.array([metric(items, rows, k) for items, rows in pairs]) for k in ks}

    first = np.array([reciprocal_rank(items, rows) for items, rows in pairs])
    return RetrievalScores(at(ndcg_at), at(recall_at), at(precision_at), first, np.array([len(rows) for rows in wanted]))


def chance_scores(candidates: np.ndarray, relevant: np.ndarray, ks: Sequence[int], depth: int = DEPTH) -> RetrievalScores:
    """Exact expected scores of a uniformly random ranking, cut at ``depth``.

    With R relevant among N candidates every place holds a relevant one with probability R / N, so that recall@k is k / N, precision@k is
    R / N, and NDCG@k is R / N times the sum of the first k discounts over that of the first min(k, R). The first relevant candidate has
    rank r with probability R / (N - r + 1) times the product over j < r of (N - R - j + 1) / (N - j + 1).

    Parameters
    ----------
    candidates, relevant
        (Q,) N and R of each query.
    """
    candidates, relevant = np.asarray(candidates), np.asarray(relevant)
    share = np.where(relevant > 0, relevant / candidates, np.nan)
    reached = {k: np.minimum(min(k, depth), candidates) for k in ks}
    gain = np.concatenate(([0.0], np.cumsum(discounts(max(ks)))))  # gain[n]: the sum of the first n discounts
    return RetrievalScores(
        ndcg={k: share * gain[reached[k]] / gain[np.clip(relevant, 1, k)] for k in ks},
        recall={k: np.where(relevant > 0, reached[k] / candidates, np.nan) for k in ks},
        precision={k: share * reached[k] / k for k in ks},
        reciprocal_rank=np.array(
            [_expected_reciprocal_rank(n, r, depth) for n, r in zip(candidates.tolist(), relevant.tolist(), strict=True)]
        ),
        relevant=relevant,
    )


def _expected_reciprocal_rank(candidates: int, relevant: int, depth: int) -> float:
    if not relevant:
        return float("nan")
    ranks = np.arange(1, min(depth, candidates - relevant + 1) + 1)
    # Probability that none of the first ``rank`` candidates is relevant, and, shifted by one, that none before it is.
    missed = np.cumprod((candidates - relevant - ranks + 1) / (candidates - ranks + 1))
    before = np.concatenate(([1.0], missed[:-1]))
    return float(np.sum(before * relevant / (candidates - ranks + 1) / ranks))


def _length(rows: int, query_rows: np.ndarray, depth: int) -> int:
    return min(depth, rows - int((query_rows >= 0).any()))


def _without(order: np.ndarray, row: int) -> np.ndarray:
    return order[order != row]
