"""The graph of related artists, as integer arrays in compressed sparse row form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class ArtistGraph:
    """Directed relations among A artists, sorted by head and, for one head, from the closest on.

    Attributes
    ----------
    artist_ids : list of str
        (A,) sorted; an artist's number in every array is its position here.
    offsets : ndarray of int64
        (A + 1,) the relations of artist ``a`` are ``offsets[a]:offsets[a + 1]``.
    heads, tails, ranks : ndarray of int64
        (E,) ``tails[e]`` stands at place ``ranks[e]`` (1 = closest) among those related to
        ``heads[e]``.
    """

    artist_ids: list[str]
    offsets: np.ndarray
    heads: np.ndarray
    tails: np.ndarray
    ranks: np.ndarray

    def __len__(self) -> int:
        return len(self.artist_ids)

    @cached_property
    def degrees(self) -> np.ndarray:
        """(A,) how many related artists each artist has; 0 for one that only appears as related."""
        return np.diff(self.offsets)

    @cached_property
    def named(self) -> np.ndarray:
        """(A,) how many artists name each artist as related: its popularity."""
        return np.bincount(self.tails, minlength=len(self))

    @cached_property
    def related_sets(self) -> list[np.ndarray]:
        """The related artists of each artist (positions, closest first), as views of ``tails``."""
        return np.split(self.tails, self.offsets[1:-1])

    @cached_property
    def edge_keys(self) -> np.ndarray:
        """(E,) sorted ``head * A + tail``: whether a relation exists is one binary search."""
        return np.sort(self.heads * len(self) + self.tails)

    def relations_of(self, artists: np.ndarray) -> np.ndarray:
        """Positions, among the relations, of all relations of ``artists`` (B,), in their order."""
        degrees = self.degrees[artists]
        within = np.arange(degrees.sum()) - np.repeat(np.cumsum(degrees) - degrees, degrees)
        return np.repeat(self.offsets[artists], degrees) + within

    def positions(self, artist_ids: Sequence[str]) -> np.ndarray:
        """(N,) positions of artists given by id.

        Raises
        ------
        KeyError
            An artist is not in the graph.
        """
        return positions(self.artist_ids, artist_ids)

    def related_ids(self, artist_id: str) -> list[str]:
        """Ids of the artists related to one artist, closest first."""
        return [self.artist_ids[tail] for tail in self.related_sets[self.positions([artist_id])[0]]]


def positions(known_ids: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """(N,) int64 positions of ``wanted`` in a list of different ids.

    Raises
    ------
    KeyError
        An id is not in the list.
    """
    place = {artist_id: position for position, artist_id in enumerate(known_ids)}
    absent = [artist_id for artist_id in wanted if artist_id not in place]
    if absent:
        raise KeyError(
            f"{len(absent)} of {len(wanted)} artists are not among the {len(place)} known, "
            f"first '{absent[0]}'"
        )
    return np.array([place[artist_id] for artist_id in wanted], dtype=np.int64)


def build_graph(
    artist_id: Sequence[str],
    related_artist_id: Sequence[str],
    rank: Sequence[int],
    artists_with_tracks: Iterable[str] = (),
) -> ArtistGraph:
    """Return the graph of a catalog's ``related`` table.

    Its artists are those with tracks and all that the table names on either side (Whitell
    2019), so an artist of the catalog that has no relation still gets a row.

    Parameters
    ----------
    artist_id, related_artist_id, rank
        (E,) the table's columns, in any order; rank 1 is the closest.
    artists_with_tracks
        Ids of the artists that have tracks.

    Raises
    ------
    ValueError
        The columns differ in length, there is no artist at all, an artist is related to itself, or
        a relation is given twice.
    """
    if not len(artist_id) == len(related_artist_id) == len(rank):
        raise ValueError(
            f"related: columns of {len(artist_id)}, {len(related_artist_id)} and {len(rank)} "
            "rows: give each relation one row"
        )
    ids = sorted({*artists_with_tracks, *artist_id, *related_artist_id})
    if not ids:
        raise ValueError("related: neither a relation nor an artist with tracks: nothing to embed")
    heads, tails = positions(ids, artist_id), positions(ids, related_artist_id)
    ranks = np.asarray(rank, dtype=np.int64)
    loops = np.flatnonzero(heads == tails)
    if len(loops):
        raise ValueError(
            f"related, row {loops[0]}: artist '{ids[heads[loops[0]]]}' is related to itself: "
            "remove the row"
        )
    order = np.lexsort((tails, heads))
    repeated = np.flatnonzero((np.diff(heads[order]) == 0) & (np.diff(tails[order]) == 0))
    if len(repeated):
        row = order[repeated[0] + 1]
        raise ValueError(
            f"related, row {row}: '{ids[heads[row]]}' to '{ids[tails[row]]}' is there twice: "
            "keep one of the two"
        )
    order = np.lexsort((tails, ranks, heads))
    heads, tails, ranks = heads[order], tails[order], ranks[order]
    offsets = np.concatenate(([0], np.cumsum(np.bincount(heads, minlength=len(ids))))).astype(
        np.int64
    )
    return ArtistGraph(ids, offsets, heads, tails, ranks)
