"""Initial vectors: random, or random and then averaged along the relations.

Averaging starts related artists near each other.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse

from musicrec.artists.graph import ArtistGraph

# Uniform in +-0.05, as Keras' Embedding layer starts; with Adam's fixed step it decides how fast
# directions turn.
INITIAL_RANGE = 0.05
ROUNDS = 3  # of spreading


def random_table(artists: int, dimensions: int, generator: np.random.Generator) -> np.ndarray:
    """Return (A, D) float32 values, uniform within ``INITIAL_RANGE``."""
    return generator.uniform(-INITIAL_RANGE, INITIAL_RANGE, size=(artists, dimensions)).astype(
        np.float32
    )


def spread_along_relations(graph: ArtistGraph, table: np.ndarray) -> np.ndarray:
    """Return (A, D) initial vectors, averaged over related artists.

    Each is the sum of the directions after one, two and three rounds of averaging; each row keeps
    its length.

    Relations count in both directions, an artist of degree d by 1 / sqrt(d), so that much named
    ones do not draw all others to them (random features of the graph, as in FastRP, Chen et al.
    2019). An artist without relations keeps its vector.
    """
    size = len(graph)
    links = scipy.sparse.csr_array(
        (np.ones(len(graph.heads), np.float32), (graph.heads, graph.tails)), shape=(size, size)
    )
    links = links + links.T
    scale = scipy.sparse.diags_array(1 / np.sqrt(links.sum(axis=1).clip(min=1)).astype(np.float32))
    links = (scale @ links @ scale).tocsr()
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    round_, total = table, np.zeros_like(table)
    for _ in range(ROUNDS):
        round_ = links @ round_
        round_ /= np.linalg.norm(round_, axis=1, keepdims=True).clip(min=1e-30)
        total += round_
    reached = total.any(axis=1)
    total[~reached] = table[~reached]
    total *= lengths / np.linalg.norm(total, axis=1, keepdims=True)
    return total
