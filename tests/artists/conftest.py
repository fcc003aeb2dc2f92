"""A planted graph of a few hundred artists for every test of the artists."""

from __future__ import annotations

import pytest
from small_settings import FULL_BATCH

from musicrec.artists.embedding import EmbeddingResult, train_embeddings
from musicrec.artists.graph import ArtistGraph, build_graph
from musicrec.benchmarks.planted import PlantedGraph, planted_graph


@pytest.fixture(scope="session")
def planted() -> PlantedGraph:
    return planted_graph(300, 12)


@pytest.fixture(scope="session")
def graph(planted: PlantedGraph) -> ArtistGraph:
    return build_graph(
        planted.artist_id, planted.related_artist_id, planted.rank, planted.artist_ids
    )


@pytest.fixture(scope="session")
def by_the_thesis(graph: ArtistGraph) -> EmbeddingResult:
    """Train the graph's embeddings by the thesis' objective, to their peak."""
    return train_embeddings(graph, FULL_BATCH)
