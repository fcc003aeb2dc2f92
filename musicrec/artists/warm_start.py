"""Start a training from the vectors of an earlier one, and limit how far known artists move.

The models behind a recommender were trained on the earlier vectors. A graph that gained some
artists therefore gets vectors for these, while those known stay where they were, but for a limit:
each is held in a cone around its earlier vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from musicrec.artists.graph import ArtistGraph

LINKS_PER_BLOCK = 65_536  # 210 MB at 800 dimensions
# Length of the random part of a new artist's unit vector: without it, two new artists with the same
# related artists would start at the same point.
JITTER = 0.1


@dataclass(frozen=True)
class WarmStart:
    """The outcome of an earlier training.

    Attributes
    ----------
    artist_ids : sequence of str
        (N,) the artists known then; those that left the graph since are passed over.
    vectors : ndarray of float32
        (N, D) of any length but zero.
    minimum_cosine : float
        The limit of the drift: at no time is the cosine of a known artist's vector to its earlier
        one below this. 1 freezes the known artists, -1 lets them go.
    weight, bias : float
        The earlier training's dense unit (thesis objective).
    """

    artist_ids: Sequence[str]
    vectors: np.ndarray
    minimum_cosine: float = 0.95
    weight: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.artist_ids):
            raise ValueError(
                f"a warm start of {len(self.artist_ids)} artists and vectors "
                f"{self.vectors.shape}: give one row an artist"
            )
        if not -1 <= self.minimum_cosine <= 1:
            raise ValueError(
                f"minimum_cosine {self.minimum_cosine}: give -1 (no limit) to 1 (frozen)"
            )
        if not (np.isfinite(self.vectors).all() and self.vectors.any(axis=1).all()):
            raise ValueError(
                "a warm start has vectors that are zero or not finite: leave these artists out"
            )


@dataclass(frozen=True)
class Drift:
    """Cosines of known artists' vectors to their earlier ones; NaN if no artist is known."""

    artists: int
    mean_cosine: float
    worst_cosine: float


class Anchors:
    """The earlier unit vectors of the known artists of a graph.

    Attributes
    ----------
    rows : Tensor of int64
        (N,) their rows of the table, rising.
    units : Tensor
        (N, D).
    """

    def __init__(self, graph: ArtistGraph, start: WarmStart, device: torch.device):
        place = {artist_id: position for position, artist_id in enumerate(graph.artist_ids)}
        rows = np.array(
            [place.get(artist_id, -1) for artist_id in start.artist_ids], dtype=np.int64
        )
        order = np.argsort(rows)[np.sum(rows < 0) :]
        if np.any(np.diff(rows[order]) == 0):
            raise ValueError("a warm start names an artist twice: give one row an artist")
        self.rows = torch.from_numpy(rows[order]).to(device)
        self.units = normalize(
            torch.from_numpy(np.ascontiguousarray(start.vectors[order], dtype=np.float32)),
            eps=1e-30,
        ).to(device)
        self.minimum_cosine = start.minimum_cosine
        self._anchor_of_row = torch.full((len(graph),), -1, dtype=torch.int64, device=device)
        self._anchor_of_row[self.rows] = torch.arange(len(self.rows), device=device)

    def hold(self, table: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Project known artists that left their cone back onto its edge, keeping their lengths.

        Only those among ``rows`` are projected; all, if it is not given.
        """
        anchors = self._anchor_of_row if rows is None else self._anchor_of_row[rows]
        if rows is None:
            rows, anchors = self.rows, anchors[self.rows]
        else:
            rows, anchors = rows[anchors >= 0], anchors[anchors >= 0]
        vectors, units = table[rows], self.units[anchors]
        lengths = vectors.norm(dim=1, keepdim=True)
        directions = vectors / lengths.clamp(min=1e-30)
        cosines = (directions * units).sum(dim=1, keepdim=True)
        outside = (cosines < self.minimum_cosine).squeeze(1)
        across = normalize((directions - cosines * units)[outside], eps=1e-30)
        edge = self.minimum_cosine * units[outside] + (1 - self.minimum_cosine**2) ** 0.5 * across
        table[rows[outside]] = lengths[outside] * normalize(edge, eps=1e-30)

    def drift(self, table: torch.Tensor) -> Drift:
        """Return how far the known artists have moved from their anchors."""
        if not len(self.rows):
            return Drift(0, float("nan"), float("nan"))
        cosines = (normalize(table[self.rows]) * self.units).sum(dim=1)
        return Drift(len(self.rows), float(cosines.mean()), float(cosines.min()))


def starting_table(graph: ArtistGraph, anchors: Anchors, drawn: torch.Tensor) -> torch.Tensor:
    """Return (A, D) initial unit vectors: known artists at their anchors, new ones near relatives.

    A new artist starts at the mean of its related artists that already have a position.

    Related counts in both directions. Places spread along relations from the known artists on, so
    that a new artist whose related artists are all new still starts near them; one that no relation
    leads to starts at random.

    Parameters
    ----------
    drawn
        (A, D) random vectors: the places of those, and the direction in which each new artist is
        moved by ``JITTER``.
    """
    random = normalize(drawn)
    table = torch.zeros_like(drawn)
    table[anchors.rows] = anchors.units
    placed = torch.zeros(len(graph), dtype=torch.bool, device=drawn.device)
    placed[anchors.rows] = True
    heads, tails = (torch.from_numpy(ends).to(drawn.device) for ends in (graph.heads, graph.tails))
    ends, others = torch.cat((heads, tails)), torch.cat((tails, heads))
    while True:
        links = torch.nonzero(~placed[ends] & placed[others]).squeeze(1)
        if not len(links):
            break
        reached, place = torch.unique(ends[links], return_inverse=True)
        sums = table.new_zeros((len(reached), table.shape[1]))
        for block in torch.arange(len(links), device=links.device).split(LINKS_PER_BLOCK):
            sums.index_add_(0, place[block], table[others[links[block]]])
        table[reached] = normalize(normalize(sums) + JITTER * random[reached])
        placed[reached] = True
    table[~placed] = random[~placed]
    return table
