"""How well a table of embeddings keeps its graph: the thesis' figure of merit, recall of unseen relations, hubness; graphs of any size."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import hypergeom, skew

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import Metric, nearest_neighbours


def related_jaccard(
    graph: ArtistGraph, vectors: np.ndarray | torch.Tensor, artists: np.ndarray | None = None, metric: Metric = "cosine"
) -> float:
    """Mean Jaccard index between an artist's related set and its equally many nearest neighbours (thesis section 4).

    The figure of ``musicrec.evaluation.metrics.jaccard_neighbours``, computed in blocks.

    Parameters
    ----------
    vectors
        (A, D); where they lie (a GPU, say) the neighbours are sought.
    artists
        Positions of the artists to average over; all that have relations if not given. Candidates are all artists in any case.
    """
    if artists is None:
        artists = np.flatnonzero(graph.degrees)
    degrees = graph.degrees[artists]
    deepest = int(degrees.max())
    neighbours = _neighbours_of(vectors, artists, deepest, artists, metric)
    related = _are_related(graph, artists, neighbours)
    common = (related & (np.arange(deepest) < degrees[:, None])).sum(axis=1)
    return float(np.mean(common / (2 * degrees - common)))


def held_out_recall(
    trained: ArtistGraph,
    held_out: ArtistGraph,
    vectors: np.ndarray | torch.Tensor,
    k: int,
    artists: np.ndarray | None = None,
    metric: Metric = "cosine",
) -> float:
    """Share of the held-out relations that are among the ``k`` nearest artists not known to be related, averaged over artists.

    Parameters
    ----------
    trained, held_out
        The two graphs that ``hold_out`` gives.
    artists
        Positions of the artists to average over; all that have held-out relations if not given.
    """
    if artists is None:
        artists = np.flatnonzero(held_out.degrees)
    known = trained.degrees[artists]
    exclude = np.full((len(artists), known.max() + 1), -1, dtype=np.int64)
    exclude[:, 0] = artists
    filled = np.arange(known.max()) < known[:, None]
    exclude[:, 1:][filled] = np.concatenate([trained.related_sets[artist] for artist in artists])
    neighbours = _neighbours_of(vectors, artists, k, exclude, metric)
    return float(np.mean(_are_related(held_out, artists, neighbours).sum(axis=1) / held_out.degrees[artists]))


def neighbour_skewness(vectors: np.ndarray | torch.Tensor, k: int, metric: Metric = "cosine") -> float:
    """Hubness: skewness of the k-occurrence, the number of artists among whose ``k`` nearest an artist is.

    0 for evenly spread neighbours; the more above, the more a few artists stand in everybody's list (Radovanovic et al. 2010).
    """
    artists = np.arange(len(vectors))
    return float(skew(np.bincount(_neighbours_of(vectors, artists, k, artists, metric).ravel(), minlength=len(vectors))))


def _neighbours_of(vectors: np.ndarray | torch.Tensor, artists: np.ndarray, k: int, exclude: np.ndarray, metric: Metric) -> np.ndarray:
    vectors = torch.as_tensor(vectors)
    return nearest_neighbours(vectors[torch.as_tensor(artists, device=vectors.device)], vectors, k, exclude, metric=metric)[0]


def _are_related(graph: ArtistGraph, artists: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, k) whether each of ``others`` (N, k) is related to its row's artist."""
    if not len(graph.heads):
        return np.zeros(others.shape, dtype=bool)
    keys = artists[:, None] * len(graph) + others
    return graph.edge_keys[np.searchsorted(graph.edge_keys, keys).clip(max=len(graph.edge_keys) - 1)] == keys


def chance_jaccard(graph: ArtistGraph) -> float:
    """Expected ``related_jaccard`` of embeddings drawn at random.

    Of d neighbours drawn from A - 1 artists, the number that is among d related ones is hypergeometric; its expectation goes through the
    Jaccard index exactly.
    """
    degrees, counts = np.unique(graph.degrees[graph.degrees > 0], return_counts=True)
    expected = []
    for degree in degrees:
        common = np.arange(degree + 1)
        probability = hypergeom.pmf(common, len(graph) - 1, degree, degree)
        expected.append(np.sum(probability * common / (2 * degree - common)))
    return float(np.average(expected, weights=counts))
