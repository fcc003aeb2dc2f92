"""Relations held out of a training, and how well scores of artists find them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse
import torch

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import Metric, nearest_neighbours, ranked
from musicrec.artists.pagerank import adjacency, row_blocks

By = Literal["artist", "edge"]
# Places of a ranking that count, as in Korzeniowski et al. 2021 (Artist Similarity with Graph
# Neural Networks).
DEPTH = 200
QUERIES = 2000  # artists whose rankings are scored, at most
SCORED_ROWS = 256  # rankings at a time; with 110,000 candidates 113 MB


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Relations that were held out.

    Attributes
    ----------
    heads, tails : ndarray of int64
        (E,) the ends of each relation whose head is a query, as positions in the graph.
    candidates : ndarray of int64
        (C,) the artists that are ranked, rising.
    relations : int
        All that were held out, also those of artists that are no queries.
    """

    heads: np.ndarray
    tails: np.ndarray
    candidates: np.ndarray
    relations: int


def hold_out(
    graph: ArtistGraph, share: float, by: By, generator: np.random.Generator
) -> tuple[ArtistGraph, HeldOut]:
    """Return the graph without a random share of its relations, and these.

    A pair of artists is held out whole: the relation in the other direction would give it away.

    Parameters
    ----------
    by
        "edge": a share of all pairs; the related artists are sought among all artists. "artist":
        the pairs among a share of the artists, sought among these (the protocol of Korzeniowski et
        al. 2021, where the artists held out keep their relations to all others).
    """
    size = len(graph)
    if by == "edge":
        low, high = np.minimum(graph.heads, graph.tails), np.maximum(graph.heads, graph.tails)
        pairs, pair = np.unique(low * size + high, return_inverse=True)
        held = (generator.random(len(pairs)) < share)[pair]
        candidates = np.arange(size)
    else:
        linked = np.flatnonzero(graph.degrees + graph.named)
        chosen = generator.choice(linked, round(share * len(linked)), replace=False)
        inside = np.zeros(size, dtype=bool)
        inside[chosen] = True
        held = inside[graph.heads] & inside[graph.tails]
        candidates = np.sort(chosen)
    heads, tails = graph.heads[held], graph.tails[held]
    queries = np.unique(heads)
    if len(queries) > QUERIES:
        asked = np.isin(heads, generator.choice(queries, QUERIES, replace=False))
        heads, tails = heads[asked], tails[asked]
    kept = ~held
    offsets = np.concatenate(([0], np.cumsum(np.bincount(graph.heads[kept], minlength=size))))
    seen = ArtistGraph(
        graph.artist_ids, offsets, graph.heads[kept], graph.tails[kept], graph.ranks[kept]
    )
    return seen, HeldOut(heads, tails, candidates, int(held.sum()))


def held_out_ndcg(
    graph: ArtistGraph,
    vectors: np.ndarray | torch.Tensor,
    held: HeldOut,
    metric: Metric = "cosine",
) -> float:
    """Return the mean NDCG of the held-out relations among each head's nearest candidates.

    Artists that ``graph`` relates to the head, in either direction, are no candidates. Gains are 1
    for a held-out relation, and the first ``DEPTH`` places count.

    Parameters
    ----------
    vectors
        (A, D); the neighbours are sought on its device.
    """
    vectors = torch.as_tensor(vectors)
    queries, exclude, depth = _exclusions(graph, held)
    table = vectors[torch.as_tensor(held.candidates, device=vectors.device)]
    asked = vectors[torch.as_tensor(queries, device=vectors.device)]
    nearest, _ = nearest_neighbours(asked, table, depth, exclude, metric=metric)
    return _mean_ndcg(held, nearest)


def scored_ndcg(
    graph: ArtistGraph,
    score: Callable[[np.ndarray], scipy.sparse.csr_array],
    held: HeldOut,
) -> float:
    """Return the same for scores: ``score`` maps artists (B,) to their scores (B, A) of all."""
    queries, exclude, depth = _exclusions(graph, held)
    blocks = []
    for rows in row_blocks(np.arange(len(queries)), SCORED_ROWS):
        scores = torch.from_numpy(score(queries[rows])[:, held.candidates].toarray())
        row, column = np.nonzero(exclude[rows] >= 0)
        scores[row, exclude[rows][row, column]] = -torch.inf
        blocks.append(ranked(scores, depth).numpy())
    return _mean_ndcg(held, np.concatenate(blocks))


def _exclusions(graph: ArtistGraph, held: HeldOut) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the queries (Q,), what they exclude (Q, E), and how many places are ranked.

    What is excluded are positions among candidates, or -1. Every query has as many candidates left
    as places are ranked.

    An artist excludes itself and those with a relation to or from it: a pair is held out whole, so
    that none of these is sought.
    """
    queries = np.unique(held.heads)
    place = np.full(len(graph), -1)
    place[held.candidates] = np.arange(len(held.candidates))
    known = adjacency(graph)[queries]
    degrees = np.diff(known.indptr)
    exclude = np.full((len(queries), degrees.max() + 1), -1)
    exclude[:, 0] = place[queries]
    exclude[:, 1:][np.arange(degrees.max()) < degrees[:, None]] = place[known.indices]
    depth = min(DEPTH, len(held.candidates) - int((exclude >= 0).sum(axis=1).max()))
    return queries, exclude, depth


def _mean_ndcg(held: HeldOut, ranked: np.ndarray) -> float:
    """Return the mean NDCG over queries, by ``ranked`` (Q, k) positions among the candidates."""
    queries, query, counts = np.unique(held.heads, return_inverse=True, return_counts=True)
    size, depth = len(held.candidates), ranked.shape[1]
    relevant = query * size + np.searchsorted(held.candidates, held.tails)
    hits = np.isin(np.arange(len(queries))[:, None] * size + ranked, relevant)
    discounts = 1 / np.log2(np.arange(2, depth + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, depth) - 1]
    return float(np.mean((hits @ discounts) / ideal))
