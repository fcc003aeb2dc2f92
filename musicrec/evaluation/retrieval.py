"""Retrieval of related artists: does a predicted embedding find the artists that listeners relate to the one who made the music?

The query is the vector predicted for an artist held out from training, or for an album or a track of it; candidates are the artists of the
embedding table but the query artist itself, whose place says nothing about its relations. The relevant items are its related artists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.evaluation.metrics import coverage, hubness
from musicrec.evaluation.ranking_scores import (
    DEPTH,
    RetrievalScores,
    chance_scores,
    chance_spread,
    find_hits,
    score_hits,
)

QUERIES = 1024  # ranked at once: 8 MB of rankings 1000 deep


@dataclass(frozen=True)
class Retrieval:
    """What queries retrieve, beside chance for the same queries.

    Attributes
    ----------
    artist_ids : list of str
        (Q,) the query artists.
    scores, chance : RetrievalScores
        Achieved, and expected of a uniformly random ranking.
    unreachable : int
        Relations of the query artists to artists that the table does not have; they are not counted as relevant.
    parts : dict
        (scores, chance) of the relevant artists in some part of the table alone, by the part's name: candidates are all artists still.
    spread, chance_spread : dict of float
        ``coverage@k`` and ``hubness@k`` over all artists of the table; where k takes every candidate, hubness is NaN.
    """

    artist_ids: list[str]
    scores: RetrievalScores
    chance: RetrievalScores
    unreachable: int
    parts: dict[str, tuple[RetrievalScores, RetrievalScores]] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    chance_spread: dict[str, float] = field(default_factory=dict)


def evaluate_retrieval(
    predicted: np.ndarray,
    artist_ids: Sequence[str],
    table: np.ndarray,
    table_ids: Sequence[str],
    related: Mapping[str, Collection[str]],
    *,
    ks: Sequence[int] = (10,),
    depth: int = DEPTH,
    parts: Mapping[str, np.ndarray] | None = None,
) -> Retrieval:
    """Rank the artists of ``table`` by cosine to each predicted vector and score the ranking by the related artists.

    Memory beside the inputs is a small multiple of ``Q * depth`` bytes and of one block of similarities, however many artists there are.

    Parameters
    ----------
    predicted
        (Q, D) one vector a query: of a track, or the mean over those of an album or artist (thesis section 5).
    artist_ids
        (Q,) whose vectors they are.
    table, table_ids
        (A, D) embeddings and their ids (A,). A query artist that is among them is no candidate for itself.
    related
        Ids of the related artists of each query artist; an artist without an entry has none.
    ks
        Cut-offs. One above the number of candidates takes them all: its recall is 1, for chance as well.
    depth
        Length of the rankings that the reciprocal rank is taken from.
    parts
        Parts of the table (A,) bool by name, of which ``Retrieval.parts`` gives the scores.
    """

    def rank(queries: slice, query_rows: np.ndarray, length: int) -> np.ndarray:
        return rank_candidates(predicted[queries], table, query_rows, length)

    return evaluate_rankings(rank, artist_ids, table_ids, related, ks=ks, depth=depth, parts=parts)


def evaluate_rankings(
    rank: Callable[[slice, np.ndarray, int], np.ndarray],
    artist_ids: Sequence[str],
    table_ids: Sequence[str],
    related: Mapping[str, Collection[str]],
    *,
    ks: Sequence[int] = (10,),
    depth: int = DEPTH,
    parts: Mapping[str, np.ndarray] | None = None,
) -> Retrieval:
    """`evaluate_retrieval` for any way to rank.

    Parameters
    ----------
    rank
        (queries, their rows in the table, length) -> rankings (queries, length) of the table's rows, without the query's own.
    """
    query_rows, relevant, unreachable = relevant_rows(artist_ids, table_ids, related)
    length = _length(len(table_ids), query_rows, max(depth, *ks))
    wanted = {"all": relevant} | {
        name: [rows[part[rows]] for rows in relevant] for name, part in (parts or {}).items()
    }
    hits = {name: np.empty((len(query_rows), length), dtype=bool) for name in wanted}
    nearest = np.empty((len(query_rows), min(length, max(ks))), dtype=np.int32)
    for start in range(0, len(query_rows), QUERIES):
        block = slice(start, start + QUERIES)
        rankings = rank(block, query_rows[block], length)
        nearest[block] = rankings[:, : nearest.shape[1]]
        for name, rows in wanted.items():
            hits[name][block] = find_hits(rankings, rows[block])

    candidates = len(table_ids) - (query_rows >= 0)
    scored = {}
    for name, rows in wanted.items():
        counts = np.array([len(one) for one in rows], dtype=np.int64)
        scored[name] = (
            score_hits(hits[name], counts, ks),
            chance_scores(candidates, counts, ks, length),
        )
    spread, expected = {}, {}
    for k in ks:
        spread[f"coverage@{k}"] = coverage(nearest[:, :k], len(table_ids))
        spread[f"hubness@{k}"] = (
            hubness(nearest[:, :k], len(table_ids)) if k < candidates.min() else float("nan")
        )
        expected |= chance_spread(query_rows, len(table_ids), k)
    return Retrieval(list(artist_ids), *scored.pop("all"), unreachable, scored, spread, expected)


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


def rank_candidates(
    predicted: np.ndarray, table: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH
) -> np.ndarray:
    """(Q, length) rows of the table by falling cosine to each query, without the query's own row (-1: it has none).

    All rankings have one length: ``depth``, or the fewest candidates that a query has.
    """
    return nearest_neighbours(
        predicted, table, _length(len(table), query_rows, depth), exclude=query_rows
    )[0]


def random_rankings(
    candidates: int, query_rows: np.ndarray, seed: int, depth: int = DEPTH
) -> np.ndarray:
    """(Q, length) uniformly random rankings of ``candidates`` rows without each query's own: what ``chance_scores`` expects."""
    generator = np.random.default_rng(seed)
    length = _length(candidates, query_rows, depth)
    return np.array(
        [_without(generator.permutation(candidates), row)[:length] for row in query_rows]
    )


def fixed_rankings(order: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """(Q, length) one order of all rows (A,), the most popular first for instance, for every query but for its own row."""
    length = _length(len(order), query_rows, depth)
    return np.array([_without(order[: length + 1], row)[:length] for row in query_rows])


def _length(rows: int, query_rows: np.ndarray, depth: int) -> int:
    return min(depth, rows - int((query_rows >= 0).any()))


def _without(order: np.ndarray, row: int) -> np.ndarray:
    return order[order != row]
