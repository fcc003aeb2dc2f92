from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load, save
from small_settings import CONTRASTIVE

from musicrec.artists.embedding import train_embeddings
from musicrec.artists.graph import ArtistGraph, build_graph
from musicrec.artists.quality import neighbour_jaccard, related_jaccard
from musicrec.artists.resolution import Region, RisingSpaces, rising_spaces
from musicrec.artists.settings import Stage
from musicrec.benchmarks.planted import planted_graph

STAGE = Stage(learning_rate=1e-2, artists_per_step=128, patience=40, maximum_passes=6)
SETTINGS = dataclasses.replace(CONTRASTIVE, dimensions=10, initial="spread", stages=(STAGE,))


@pytest.fixture(scope="module")
def crowded() -> ArtistGraph:
    """Too many artists for ten dimensions."""
    planted = planted_graph(1500, 12, dimensions=16, clusters=30, popularity=0.005)
    return build_graph(
        planted.artist_id, planted.related_artist_id, planted.rank, planted.artist_ids
    )


@pytest.fixture(scope="module")
def spaces(crowded) -> RisingSpaces:
    return rising_spaces(crowded, train_embeddings(crowded, SETTINGS).vectors, 5, SETTINGS)


def test_what_the_general_space_is_too_small_for_is_found_in_the_second(crowded, spaces):
    everyone = np.arange(len(crowded))
    found = spaces.nearest(spaces.general, 12, exclude=everyone)
    assert not (found == everyone[:, None]).any()
    assert all(len(set(row)) == 12 for row in found.tolist())
    assert (
        neighbour_jaccard(crowded, found, everyone)
        > related_jaccard(crowded, spaces.general) + 0.02
    )


def test_a_region_knows_every_relation_of_the_artists_at_its_centre(crowded, spaces):
    chosen = (spaces.general @ spaces.centres.T).argmax(axis=1)
    for number, region in enumerate(spaces.regions):
        for artist in np.flatnonzero(chosen == number):
            assert np.isin(crowded.related_sets[artist], region.artists).all()
        np.testing.assert_allclose(np.linalg.norm(region.vectors, axis=1), 1, atol=1e-5)
        mapped = spaces.general[region.artists] @ region.from_general
        cosines = np.sum(mapped * region.vectors, axis=1) / np.linalg.norm(mapped, axis=1)
        assert (
            cosines.mean() > np.sum(spaces.general[region.artists] * region.vectors, axis=1).mean()
        )
    assert sum(len(region.artists) for region in spaces.regions) > len(crowded)


def test_spaces_survive_safetensors(spaces):
    again = RisingSpaces.from_arrays(load(save(spaces.arrays())))
    queries = spaces.general[:20]
    np.testing.assert_array_equal(again.nearest(queries, 7), spaces.nearest(queries, 7))


def test_a_small_region_is_filled_from_the_general_space():
    general = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.2, 0.8]], dtype=np.float32)
    same = np.eye(2, dtype=np.float32)
    regions = [Region(np.array(artists), general[artists], same) for artists in ([0, 1], [2, 3, 4])]
    spaces = RisingSpaces(general, same, regions)
    assert spaces.nearest(general[:1], 4).tolist() == [[0, 1, 4, 3]]
    assert spaces.nearest(general[:1], 4, exclude=np.array([0])).tolist() == [[1, 4, 3, 2]]
    assert spaces.nearest(general[2:3], 2, exclude=np.array([0])).tolist() == [[2, 3]]


def test_more_regions_than_artists_are_refused():
    graph = build_graph(["a"], ["b"], [1])
    with pytest.raises(ValueError, match="3 regions of 2 artists"):
        rising_spaces(graph, np.eye(2, 10, dtype=np.float32), 3, SETTINGS)
