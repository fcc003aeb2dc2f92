from __future__ import annotations

import numpy as np

from musicrec.artists.graph import build_graph
from musicrec.artists.init import random_table, spread_along_relations
from musicrec.artists.quality import chance_jaccard, related_jaccard


def test_vectors_spread_along_relations_already_know_much_of_the_graph(graph):
    table = random_table(len(graph), 64, np.random.default_rng(0))
    spread = spread_along_relations(graph, table)
    np.testing.assert_allclose(
        np.linalg.norm(spread, axis=1), np.linalg.norm(table, axis=1), rtol=1e-5
    )
    assert related_jaccard(graph, table) < 2 * chance_jaccard(graph)
    assert related_jaccard(graph, spread) > 10 * chance_jaccard(graph)


def test_an_artist_without_relations_keeps_its_random_vector():
    graph = build_graph(["a"], ["b"], [1], ["c"])
    table = random_table(3, 8, np.random.default_rng(0))
    spread = spread_along_relations(graph, table)
    np.testing.assert_allclose(spread[2], table[2], rtol=1e-6)
    # One relation: after one round each has the other's direction, after two its own again.
    directions = table / np.linalg.norm(table, axis=1, keepdims=True)
    expected = 2 * directions[1] + directions[0]
    np.testing.assert_allclose(
        spread[0] / np.linalg.norm(spread[0]), expected / np.linalg.norm(expected), rtol=1e-5
    )
