"""Spaces of rising resolution: a general one, and for each of its regions one of its own, in which that region's artists are told apart.

A region is the artists nearest to one centre, and all that are related to them: these overlap into other regions, so that a region's space
knows every relation of its own artists. A prediction is made in the general space; a linear map fitted on the artists of the region of the
nearest centre leads on into that region's space, where its neighbours are sought.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from musicrec.artists.embedding import train_embeddings
from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.warm_start import WarmStart

RIDGE = 1e-2  # penalty of the maps, in artists: small beside a region's number of them


@dataclass(frozen=True, eq=False)
class Region:
    """A region's artists (M,), by rising position in the graph, their unit vectors (M, D) in its own space, and the map (D, D) into it."""

    artists: np.ndarray
    vectors: np.ndarray
    from_general: np.ndarray


@dataclass(frozen=True, eq=False)
class RisingSpaces:
    """A general space of unit vectors (A, D), the unit centres (R, D) of its regions, and these."""

    general: np.ndarray
    centres: np.ndarray
    regions: list[Region]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, for safetensors."""
        named = {
            f"region.{number}.{name}": array
            for number, region in enumerate(self.regions)
            for name, array in vars(region).items()
        }
        return {"general": self.general, "centres": self.centres} | named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RisingSpaces:
        """What ``arrays`` gave."""
        names = [field.name for field in dataclasses.fields(Region)]
        regions = [
            Region(*(arrays[f"region.{number}.{name}"] for name in names))
            for number in range(len(arrays["centres"]))
        ]
        return cls(arrays["general"], arrays["centres"], regions)

    def nearest(self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None) -> np.ndarray:
        """(Q, k) artists nearest to queries (Q, D) of the general space, from the closest on.

        Those of the query's region come first, as its own space has them; where a region has too few, the general space's nearest follow.

        Parameters
        ----------
        exclude
            (Q,) an artist that is no candidate for the query, -1 for none; usually the query itself.
        """
        exclude = np.full(len(queries), -1) if exclude is None else exclude
        chosen = nearest_neighbours(queries, self.centres, 1)[0][:, 0]
        found = np.empty((len(queries), k), dtype=np.int64)
        for number in np.unique(chosen):
            region, rows = self.regions[number], np.flatnonzero(chosen == number)
            place = np.searchsorted(region.artists, exclude[rows]).clip(max=len(region.artists) - 1)
            own = np.where(region.artists[place] == exclude[rows], place, -1)
            inside = min(k, len(region.artists) - int((own >= 0).any()))
            if inside:
                nearest = nearest_neighbours(
                    queries[rows] @ region.from_general, region.vectors, inside, exclude=own
                )[0]
                found[rows, :inside] = region.artists[nearest]
            if inside < k:
                passed = np.column_stack((found[rows, :inside], exclude[rows]))
                found[rows, inside:] = nearest_neighbours(
                    queries[rows], self.general, k - inside, exclude=passed
                )[0]
        return found


def rising_spaces(
    graph: ArtistGraph,
    general: np.ndarray,
    regions: int,
    settings: EmbeddingSettings,
    device: str = "cpu",
) -> RisingSpaces:
    """Part a general space (A, D) of unit vectors into regions (k-means) and train a space for each, starting from the general vectors.

    A centre that no artist is nearest to is dropped.

    Raises
    ------
    ValueError
        There are fewer artists than regions.
    """
    if len(graph) < regions:
        raise ValueError(f"{regions} regions of {len(graph)} artists: give fewer regions")
    means = (
        KMeans(regions, random_state=settings.seed, n_init=1)
        .fit(general)
        .cluster_centers_.astype(np.float32)
    )
    centres = means / np.linalg.norm(means, axis=1, keepdims=True)
    chosen = nearest_neighbours(general, centres, 1)[0][:, 0]
    kept = np.unique(chosen)
    return RisingSpaces(
        general,
        centres[kept],
        [
            _region(graph, general, np.flatnonzero(chosen == number), settings, device)
            for number in kept
        ],
    )


def _region(
    graph: ArtistGraph,
    general: np.ndarray,
    core: np.ndarray,
    settings: EmbeddingSettings,
    device: str,
) -> Region:
    artists = np.union1d(core, graph.tails[graph.relations_of(core)])
    inner, vectors = graph.among(artists), general[artists]
    if len(inner.heads):
        start = WarmStart(inner.artist_ids, vectors, minimum_cosine=-1)
        vectors = train_embeddings(inner, settings, device=device, start=start).vectors
    return Region(artists, vectors, _linear_map(general[artists], vectors))


def _linear_map(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(D, D) of ridge regression towards the identity, so that directions which a region does not use stay as they are."""
    sources, targets = sources.astype(np.float64), targets.astype(np.float64)
    covariance = sources.T @ sources + RIDGE * np.eye(sources.shape[1])
    return (
        np.eye(len(covariance)) + np.linalg.solve(covariance, sources.T @ (targets - sources))
    ).astype(np.float32)
