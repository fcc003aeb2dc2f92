"""Recommendation examples (Whitell 2019, Table 7), spread evenly from the best to the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artists.ranking import Ranking
from musicrec.evaluation.metrics import unit_rows


@dataclass(frozen=True)
class Recommendation:
    """The artists recommended for one artist's music.

    Attributes
    ----------
    artist_id
        Of the query.
    score
        NDCG of the recommendation.
    answers
        (K,) ids of the recommended artists, the most similar first.
    similarities
        (K,) their cosine similarities.
    """

    artist_id: str
    score: float
    answers: list[str]
    similarities: np.ndarray


def spread(scores: Mapping[str, float], count: int) -> list[str]:
    """Return ``count`` names (or all) from the best to the worst score, at equal rank distances."""
    order = sorted(
        (name for name, score in scores.items() if math.isfinite(score)),
        key=lambda name: -scores[name],
    )
    count = min(count, len(order))
    return [order[round(step * (len(order) - 1) / max(1, count - 1))] for step in range(count)]


def recommendations(
    artists: Sequence[str],
    vectors: np.ndarray,
    scores: Mapping[str, float],
    table: np.ndarray,
    table_ids: Sequence[str],
    count: int,
    neighbours: int,
    ranking: Ranking | None = None,
) -> list[Recommendation]:
    """Recommend artists for ``count`` of the artists, spread over their scores.

    Parameters
    ----------
    artists, vectors
        (Q,) ids and (Q, D) predicted vectors.
    scores
        NDCG by artist.
    table, table_ids
        (A, D) candidate embeddings and their ids; an artist is not recommended to itself.
    ranking
        Members that rank the candidates together with the cosine.
    """
    places, own_rows = (
        {artist: row for row, artist in enumerate(artists)},
        {artist: row for row, artist in enumerate(table_ids)},
    )
    examples = []
    for artist in spread({name: scores[name] for name in artists if name in scores}, count):
        own = np.array([own_rows.get(artist, -1)])
        query = unit_rows(vectors[places[artist]][None])
        count = min(neighbours, len(table_ids) - 1)
        if ranking is None:
            rows, similarities = nearest_neighbours(query, table, count, exclude=own)
        else:
            rows, similarities, _ = ranking.rank(query, table, count, own)
        examples.append(
            Recommendation(
                artist, scores[artist], [table_ids[row] for row in rows[0]], similarities[0]
            )
        )
    return examples
