"""Artist graphs with a known answer: nearest neighbours in a planted latent space, with popularity and asymmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from musicrec.artists.graph import ArtistGraph, graph_of_positions
from musicrec.artists.neighbours import largest_columns
from musicrec.artists.quality import related_jaccard


@dataclass(frozen=True, eq=False)
class PlantedGraph:
    """A planted catalog.

    Attributes
    ----------
    graph : ArtistGraph
        A artists whose ids rise with their positions.
    latent : ndarray of float32
        (A, D) the unit vectors that decided the relations.
    cluster : ndarray of int64
        (A,) the centre around which each lies.
    """

    graph: ArtistGraph
    latent: np.ndarray
    cluster: np.ndarray

    def attainable_jaccard(self, artists: int | None = None) -> float:
        """Jaccard index of the latent vectors themselves, which popularity keeps below 1; over the first ``artists`` if given.

        Artists are planted in no order, so the first ones are a random sample.
        """
        chosen = np.flatnonzero(self.graph.degrees)[:artists]
        return related_jaccard(self.graph, self.latent, chosen)


def planted_graph(
    artists: int = 300,
    related: int = 12,
    *,
    dimensions: int = 16,
    clusters: int = 12,
    spread: float = 0.6,
    popularity: float = 0.05,
    seed: int = 0,
    block_rows: int = 1024,
) -> PlantedGraph:
    """Relate each artist to the ``related`` others with the highest cosine plus popularity.

    Artists lie around ``clusters`` random unit centres (noise of length ``spread``, so that clusters touch). ``popularity`` scales an
    exponential bonus that an artist brings into every list: some are named by many, most by few, so relations are not mutual. Every fourth
    artist keeps only half of its list, as catalogs have shorter ones. Time grows with the square of ``artists``, memory with ``block_rows``
    times ``artists``.

    Raises
    ------
    ValueError
        There are not more artists than relations of each.
    """
    if not 1 <= related < artists:
        raise ValueError(f"related = {related} of {artists} artists: ask for 1 to {artists - 1}")
    generator = np.random.default_rng(seed)
    centres = _unit(generator.normal(size=(clusters, dimensions)))
    cluster = generator.integers(clusters, size=artists)
    latent = _unit(centres[cluster] + spread / np.sqrt(dimensions) * generator.normal(size=(artists, dimensions))).astype(np.float32)
    bonus = popularity * generator.exponential(size=artists).astype(np.float32)
    vectors, bonuses = torch.from_numpy(latent), torch.from_numpy(bonus)
    tails = np.empty((artists, related), dtype=np.int64)
    for start in range(0, artists, block_rows):
        block = vectors[start : start + block_rows]
        score = torch.addmm(bonuses, block, vectors.T)  # (b, A)
        own = torch.arange(len(block))
        score[own, own + start] = -torch.inf
        values, columns = largest_columns(score, related)
        order = values.sort(dim=1, descending=True, stable=True).indices
        tails[start : start + block_rows] = columns.gather(1, order).numpy()
    kept = np.arange(related) < np.where(np.arange(artists) % 4 == 3, max(1, related // 2), related)[:, None]
    heads, places = np.nonzero(kept)
    digits = len(str(artists - 1))
    names = [f"artist-{number:0{digits}d}" for number in range(artists)]
    return PlantedGraph(graph_of_positions(names, heads, tails[heads, places], places + 1), latent, cluster)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
