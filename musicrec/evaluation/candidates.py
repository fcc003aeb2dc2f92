"""The artists that can be recommended, by how popular they are, and every figure of a retrieval among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.popularity import popularity_order, short_head
from musicrec.evaluation.ranking_scores import RetrievalScores
from musicrec.evaluation.retrieval import (
    Retrieval,
    evaluate_rankings,
    evaluate_retrieval,
    fixed_rankings,
)

PARTS = ("head", "tail")


class Candidates:
    """Artists to be retrieved.

    The relevant artists are parted by popularity as Cremonesi et al. 2010 part the items of a test set: the head is the most popular ones
    that take a third of all relations, the tail is the others, and both are ranked among all candidates.
    """

    def __init__(self, ids: Sequence[str], table: np.ndarray, named: Mapping[str, int]) -> None:
        """Take (A,) ids, their embeddings (A, D), and how many artists name each one, the test artists aside."""
        self.ids = list(ids)
        self.table = table
        self.named = np.array([named.get(artist, 0) for artist in self.ids], dtype=np.int64)
        head = short_head(self.named)
        self.parts = dict(zip(PARTS, (head, ~head), strict=True))

    def retrieve(
        self,
        vectors: np.ndarray | None,
        artist_ids: Sequence[str],
        related: Mapping[str, Collection[str]],
        ks: Sequence[int],
    ) -> Retrieval:
        """What the vectors (Q, D) of ``artist_ids`` (Q,) find; without vectors, what the most popular artists are worth to everyone."""
        if vectors is not None:
            return evaluate_retrieval(
                vectors, artist_ids, self.table, self.ids, related, ks=ks, parts=self.parts
            )
        order = popularity_order(self.named)

        def rank(queries: slice, query_rows: np.ndarray, length: int) -> np.ndarray:
            return fixed_rankings(order, query_rows, length)

        return evaluate_rankings(rank, artist_ids, self.ids, related, ks=ks, parts=self.parts)


def figures(
    found: Retrieval, groups: np.ndarray, seed: int, values: np.ndarray | None = None
) -> dict[str, Any]:
    """All figures of a retrieval as a table has them: means, ``intervals`` and ``chance`` of each; what is not defined is left out.

    Parameters
    ----------
    groups
        (Q,) the artist of each query: the intervals draw whole artists.
    values
        (Q,) cosines of the queries to their targets, where they have one.
    """
    cosine = {} if values is None else {"cosine": values}
    return {
        **_defined(
            {name: float(column.mean()) for name, column in cosine.items()}
            | found.scores.means()
            | found.spread
        ),
        "intervals": _intervals(cosine | found.scores.columns(), groups, seed),
        "chance": _defined(found.chance.means() | found.chance_spread),
    }


def part_figures(found: Retrieval, part: str, groups: np.ndarray, seed: int) -> dict[str, Any]:
    """The figures of the relevant artists of one part, over the ``artists`` that have such ones."""
    scores, chance = found.parts[part]
    return {
        "artists": _askers(scores),
        **_defined(scores.means()),
        "intervals": _intervals(scores.columns(), groups, seed),
        "chance": _defined(chance.means()),
    }


def _askers(scores: RetrievalScores) -> int:
    return int(np.count_nonzero(scores.relevant))


def _intervals(
    columns: Mapping[str, np.ndarray], groups: np.ndarray, seed: int
) -> dict[str, list[float]]:
    return {
        name: list(bootstrap_interval(values, seed, groups=groups))
        for name, values in columns.items()
        if not np.isnan(values).all()
    }


def _defined(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if not np.isnan(value)}
