"""Measure how well embeddings preserve the relations they were trained on: the Jaccard index."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import hypergeom

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import Metric, nearest_neighbours


def related_jaccard(
    graph: ArtistGraph,
    vectors: np.ndarray | torch.Tensor,
    artists: np.ndarray | None = None,
    metric: Metric = "cosine",
) -> float:
    """Return the mean Jaccard index between related sets and equally many nearest neighbours.

    The thesis measures nearness by cosine.

    The figure of ``musicrec.evaluation.metrics.jaccard_neighbours``, computed in blocks.

    Parameters
    ----------
    vectors
        (A, D); where they lie (a GPU, say) the neighbours are sought.
    artists
        Positions of the artists to average over; all that have relations if not given. Candidates
        are all artists in any case.
    """
    if artists is None:
        artists = np.flatnonzero(graph.degrees)
    deepest = int(graph.degrees[artists].max())
    vectors = torch.as_tensor(vectors)
    queries = vectors[torch.as_tensor(artists, device=vectors.device)]
    return neighbour_jaccard(
        graph,
        nearest_neighbours(queries, vectors, deepest, exclude=artists, metric=metric)[0],
        artists,
    )


def neighbour_jaccard(graph: ArtistGraph, neighbours: np.ndarray, artists: np.ndarray) -> float:
    """Return the mean Jaccard index between related sets and neighbours.

    An artist of ``artists`` (B,) with d relations is compared with the first d of its
    ``neighbours`` (B, k).
    """
    degrees, deepest = graph.degrees[artists], neighbours.shape[1]
    keys = artists[:, None] * len(graph) + neighbours
    found = np.searchsorted(graph.edge_keys, keys).clip(max=len(graph.edge_keys) - 1)
    related = graph.edge_keys[found] == keys
    common = (related & (np.arange(deepest) < degrees[:, None])).sum(axis=1)
    return float(np.mean(common / (2 * degrees - common)))


def chance_jaccard(graph: ArtistGraph) -> float:
    """Return the expected ``related_jaccard`` of embeddings drawn at random.

    Of d neighbours drawn from A - 1 artists, the number that is among d related ones is
    hypergeometric; its expectation goes through the Jaccard index exactly.
    """
    degrees, counts = np.unique(graph.degrees[graph.degrees > 0], return_counts=True)
    expected = []
    for degree in degrees:
        common = np.arange(degree + 1)
        probability = hypergeom.pmf(common, len(graph) - 1, degree, degree)
        expected.append(np.sum(probability * common / (2 * degree - common)))
    return float(np.average(expected, weights=counts))
