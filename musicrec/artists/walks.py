"""Coordinates of artists from short random walks over their relations: where to start, and which artists make up a step."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from musicrec.artists.graph import ArtistGraph

BLOCK_COLUMNS = 64  # of the coordinates in one product: all neighbours' rows of that width stay small


def walk_coordinates(graph: ArtistGraph, dimensions: int, steps: int, generator: np.random.Generator) -> np.ndarray:
    """(A, D) float32 unit vectors, alike for artists whose random walks of ``steps`` steps meet.

    Random normal vectors, averaged ``steps`` times over each artist's neighbours in either direction and itself: a random projection of the
    walks' distribution (FastRP, Chen et al. 2019). An artist without relations keeps its random vector.
    """
    count = len(graph)
    ones = np.ones(len(graph.heads), dtype=np.float32)
    directed = csr_array((ones, graph.tails.astype(np.int32), graph.offsets.astype(np.int32)), shape=(count, count))
    adjacency = (directed + directed.T).tocsr()
    adjacency.data /= np.repeat(adjacency.sum(axis=1), np.diff(adjacency.indptr))
    result = np.empty((count, dimensions), dtype=np.float32)
    for start in range(0, dimensions, BLOCK_COLUMNS):
        block = generator.standard_normal(size=(count, min(BLOCK_COLUMNS, dimensions - start)), dtype=np.float32)
        for _ in range(steps):
            block = np.float32(0.5) * (block + _averaged(adjacency, block))
        result[:, start : start + BLOCK_COLUMNS] = block
    result -= result.mean(axis=0)
    result /= np.maximum(np.linalg.norm(result, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return result


def _averaged(adjacency: csr_array, block: np.ndarray) -> np.ndarray:
    lonely = np.diff(adjacency.indptr) == 0
    averaged = adjacency @ block
    averaged[lonely] = block[lonely]
    return averaged


def local_order(coordinates: np.ndarray, artists: np.ndarray, size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """``artists`` in disjoint batches of at most ``size``, each of artists that lie close together, in random order.

    A random projection tree (Dasgupta and Freund 2008): a set is halved at the median along the line through two random members.
    """
    batches, waiting = [], [artists]
    while waiting:
        members = waiting.pop()
        if len(members) <= size:
            batches.append(members)
            continue
        first, second = generator.choice(members, 2, replace=False)
        along = coordinates[members] @ (coordinates[second] - coordinates[first])
        middle = len(members) // 2
        order = np.argpartition(along, middle)
        waiting += [members[order[:middle]], members[order[middle:]]]
    generator.shuffle(batches)
    return batches
