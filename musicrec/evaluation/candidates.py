"""The artists that can be recommended, split by popularity, and the metrics of their retrieval."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.artists.ranking import Ranking
from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.popularity import popularity_order, short_head
from musicrec.evaluation.retrieval import (
    Retrieval,
    evaluate_rankings,
    evaluate_retrieval,
    fixed_rankings,
)

PARTS = ("head", "tail")


class Candidates:
    """Artists to retrieve.

    The relevant artists are divided by popularity as Cremonesi et al. 2010 divide the items of a
    test set: the head is the most popular artists, which take a third of all relations, the tail is
    the rest. Both are ranked among all candidates.
    """

    def __init__(self, ids: Sequence[str], table: np.ndarray, named: Mapping[str, int]) -> None:
        """Set up (A,) ids and embeddings (A, D).

        ``named`` counts how many artists name each one as related, test artists not included.
        """
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
        ranking: Ranking | None = None,
    ) -> Retrieval:
        """Retrieve candidates for the vectors (Q, D) of ``artist_ids`` (Q,).

        Without vectors, every query gets the most popular artists. ``ranking`` has members that
        rank the candidates together with the cosine.
        """
        if vectors is not None:
            return evaluate_retrieval(
                vectors,
                artist_ids,
                self.table,
                self.ids,
                related,
                ks=ks,
                parts=self.parts,
                ranking=ranking,
            )
        order = popularity_order(self.named)

        def rank(queries: slice, query_rows: np.ndarray, length: int) -> np.ndarray:
            return fixed_rankings(order, query_rows, length)

        return evaluate_rankings(rank, artist_ids, self.ids, related, ks=ks, parts=self.parts)


def retrieval_metrics(
    retrieval: Retrieval, groups: np.ndarray, seed: int, values: np.ndarray | None = None
) -> dict[str, Any]:
    """Return all metrics of a retrieval: means, and ``intervals`` and ``chance`` of each.

    Undefined metrics are left out.

    Parameters
    ----------
    groups
        (Q,) the artist of each query: the bootstrap resamples whole artists.
    values
        (Q,) cosines of the queries to their targets, where they have one.
    """
    cosine = {} if values is None else {"cosine": values}
    return {
        **_defined(
            {name: float(column.mean()) for name, column in cosine.items()}
            | retrieval.scores.means()
            | retrieval.spread
        ),
        "intervals": _intervals(cosine | retrieval.scores.columns(), groups, seed),
        "chance": _defined(retrieval.chance.means() | retrieval.chance_spread),
    }


def part_metrics(retrieval: Retrieval, part: str, groups: np.ndarray, seed: int) -> dict[str, Any]:
    """Return the metrics of one part's relevant artists, over the ``artists`` that have any."""
    scores, chance = retrieval.parts[part]
    return {
        "artists": int(np.count_nonzero(scores.relevant)),
        **_defined(scores.means()),
        "intervals": _intervals(scores.columns(), groups, seed),
        "chance": _defined(chance.means()),
    }


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
