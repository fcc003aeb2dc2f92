"""Generate artist graphs from a planted latent space, with popularity and asymmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from musicrec.artists.neighbours import ranked


@dataclass(frozen=True)
class PlantedGraph:
    """A planted ``related`` table, and the latent unit vectors (A, D) that it was drawn from."""

    artist_ids: list[str]
    artist_id: list[str]
    related_artist_id: list[str]
    rank: np.ndarray
    latent: np.ndarray
    cluster: np.ndarray


def planted_graph(
    artists: int = 300,
    related: int = 12,
    *,
    dimensions: int = 16,
    clusters: int = 12,
    spread: float = 0.6,
    popularity: float = 0.05,
    wrong: float = 0.0,
    seed: int = 0,
    block_rows: int = 1024,
) -> PlantedGraph:
    """Relate each artist to the ``related`` others with the highest cosine plus popularity.

    Artists are drawn around ``clusters`` random unit centres (noise of length ``spread``, so that
    clusters touch). ``popularity`` scales an exponential bonus that an artist brings into every
    list: some are named by many artists, most by few, so relations are not mutual. Every fourth
    artist keeps only half of its list, since lists in real catalogs vary in length.

    A share ``wrong`` of the relations leads to an artist drawn at random instead, as errors in real
    catalogs do: embeddings that fit every relation then fit these too.
    """
    generator = np.random.default_rng(seed)
    centres = _unit(generator.normal(size=(clusters, dimensions)))
    cluster = generator.integers(clusters, size=artists)
    latent = _unit(
        centres[cluster]
        + spread / np.sqrt(dimensions) * generator.normal(size=(artists, dimensions))
    ).astype(np.float32)
    bonus = popularity * generator.exponential(size=artists).astype(np.float32)
    points, bonuses = torch.from_numpy(latent), torch.from_numpy(bonus)
    tails = np.empty((artists, related), dtype=np.int64)
    for start in range(0, artists, block_rows):
        rows = torch.arange(start, min(start + block_rows, artists))
        score = points[rows] @ points.T + bonuses
        score[rows - start, rows] = -torch.inf
        tails[rows] = ranked(score, related)
    kept = (
        np.arange(related)
        < np.where(np.arange(artists) % 4 == 3, max(1, related // 2), related)[:, None]
    )
    if wrong:
        drawn = generator.integers(artists, size=tails.shape)
        free = (drawn != np.arange(artists)[:, None]) & ~_in_row(drawn, tails)
        replaced = free & (generator.random(tails.shape) < wrong) & ~_repeated(drawn)
        tails = np.where(replaced, drawn, tails)
    heads, places = np.nonzero(kept)
    names = np.array([f"artist-{number:06d}" for number in range(artists)])
    return PlantedGraph(
        names.tolist(),
        names[heads].tolist(),
        names[tails[heads, places]].tolist(),
        places + 1,
        latent,
        cluster,
    )


def _in_row(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return which of ``values`` (A, R) are among the ``rows`` (A, R) of the same artist."""
    return (values[:, :, None] == rows[:, None, :]).any(axis=2)


def _repeated(values: np.ndarray) -> np.ndarray:
    """Return which of ``values`` (A, R) an earlier one of the same row equals."""
    earlier = np.tri(values.shape[1], k=-1, dtype=bool)
    return ((values[:, :, None] == values[:, None, :]) & earlier).any(axis=2)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
