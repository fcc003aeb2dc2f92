"""Retrieval of related artists from predicted embeddings.

A query is the vector predicted for an artist held out from training, or for an album or a track of
that artist. Candidates are the artists of the embedding table except the query artist, whose own
position says nothing about its relations. The relevant items are its related artists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artists.ranking import Ranking
from musicrec.evaluation.metrics import coverage, hubness
from musicrec.evaluation.ranking_scores import (
    DEPTH,
    RetrievalScores,
    chance_scores,
    chance_spread,
    find_hits,
    score_hits,
)

QUERIES = 1024  # ranked at a time: 8 MB of rankings 1000 deep


@dataclass(frozen=True)
class Retrieval:
    """Scores of a retrieval, and chance for the same queries.

    Attributes
    ----------
    artist_ids : list of str
        (Q,) the query artists.
    scores, chance : RetrievalScores
        Achieved, and expected from a uniformly random ranking.
    unreachable : int
        Relations of the query artists to artists outside the table; they are not counted as
        relevant.
    parts : dict
        By name of a part of the table: (scores, chance) for the relevant artists in that part.
        Candidates are still all artists.
    spread, chance_spread : dict of float
        ``coverage@k`` and ``hubness@k`` over all artists of the table; hubness is NaN where k takes
        every candidate.
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
    ranking: Ranking | None = None,
) -> Retrieval:
    """Rank the artists of ``table`` by cosine to each predicted vector and score the rankings.

    Memory besides the inputs is a small multiple of ``Q * depth`` bytes plus one block of
    similarities, however many artists there are.

    Parameters
    ----------
    predicted
        (Q, D) one vector per query: of a track, or the mean over the tracks of an album or artist.
    artist_ids
        (Q,) the artist of each query.
    table, table_ids
        (A, D) embeddings and their ids (A,). A query artist is not a candidate for itself.
    related
        Ids of the related artists of each query artist; an artist without an entry has none.
    ks
        Cut-offs. One above the number of candidates takes them all: its recall is 1, for chance
        too.
    depth
        Length of the rankings for the reciprocal rank.
    parts
        Parts of the table (A,) bool by name, scored in ``Retrieval.parts``.
    ranking
        Members that rank together with the cosine.
    """

    def rank(queries: slice, query_rows: np.ndarray, length: int) -> np.ndarray:
        if ranking is not None:
            return ranking.rank(predicted[queries], table, length, query_rows).rows
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
    """Score rankings of any kind as `evaluate_retrieval` does.

    Parameters
    ----------
    rank
        (queries, their rows in the table, length) -> rankings (queries, length) of the table's
        rows, without the query's own row.
    """
    query_rows, relevant, unreachable = relevant_rows(artist_ids, table_ids, related)
    length = _length(len(table_ids), query_rows, max(depth, *ks))
    targets = {"all": relevant} | {
        name: [rows[part[rows]] for rows in relevant] for name, part in (parts or {}).items()
    }
    hits = {name: np.empty((len(query_rows), length), dtype=bool) for name in targets}
    nearest = np.empty((len(query_rows), min(length, max(ks))), dtype=np.int32)
    for start in range(0, len(query_rows), QUERIES):
        block = slice(start, start + QUERIES)
        rankings = rank(block, query_rows[block], length)
        nearest[block] = rankings[:, : nearest.shape[1]]
        for name, rows in targets.items():
            hits[name][block] = find_hits(rankings, rows[block])

    candidates = len(table_ids) - (query_rows >= 0)
    scored = {}
    for name, rows in targets.items():
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
    """Translate queries and relations to rows of the table.

    Returns
    -------
    query_rows : ndarray of int64
        (Q,) row of each query artist, -1 if it is not in the table.
    relevant : list of ndarray
        (Q) rows of its related artists, without the artist itself.
    unreachable : int
        Number of related artists outside the table, over all queries.
    """
    place = {artist_id: row for row, artist_id in enumerate(table_ids)}
    query_rows = np.array([place.get(artist_id, -1) for artist_id in artist_ids], dtype=np.int64)
    relevant, unreachable = [], 0
    for artist_id in artist_ids:
        targets = set(related.get(artist_id, ())) - {artist_id}
        reachable = sorted(place[target] for target in targets if target in place)
        unreachable += len(targets) - len(reachable)
        relevant.append(np.array(reachable, dtype=np.int64))
    return query_rows, relevant, unreachable


def rank_candidates(
    predicted: np.ndarray, table: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH
) -> np.ndarray:
    """Rank the table's rows by cosine to each query (Q, length), without the query's own row.

    A query row of -1 has no own row. All rankings have one length: ``depth``, or the fewest
    candidates of any query.
    """
    return nearest_neighbours(
        predicted, table, _length(len(table), query_rows, depth), exclude=query_rows
    )[0]


def fixed_rankings(order: np.ndarray, query_rows: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Rank all rows (A,) in one fixed order (Q, length) for every query, without its own row."""
    length = _length(len(order), query_rows, depth)
    return np.array([_without(order[: length + 1], row)[:length] for row in query_rows])


def _length(rows: int, query_rows: np.ndarray, depth: int) -> int:
    return min(depth, rows - int((query_rows >= 0).any()))


def _without(order: np.ndarray, row: int) -> np.ndarray:
    return order[order != row]
