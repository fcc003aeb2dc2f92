from __future__ import annotations

import numpy as np
import pytest

from musicrec.artists.graph import build_graph
from musicrec.artists.init import random_table, spread_along_relations
from musicrec.artists.quality import chance_jaccard, held_out_recall, hold_out, related_jaccard


def test_relations_held_out_are_gone_from_the_graph_and_nothing_else_is(graph):
    kept, held = hold_out(graph, 0.1, np.random.default_rng(0))
    assert 200 < len(held) < 430
    assert kept.artist_ids == graph.artist_ids
    pairs = [
        list(zip(part.heads.tolist(), part.tails.tolist(), part.ranks.tolist(), strict=True))
        for part in (graph, kept)
    ]
    gone = [pairs[0][edge] for edge in held]
    assert sorted(pairs[1] + gone) == sorted(pairs[0])
    for artist in (0, 17, 299):
        assert kept.related_sets[artist].tolist() == [
            tail for head, tail, _ in pairs[1] if head == artist
        ]


def test_recall_passes_over_known_relations_and_finds_the_planted_ones(graph, planted):
    kept, held = hold_out(graph, 0.1, np.random.default_rng(1))
    heads, tails = graph.heads[held], graph.tails[held]
    found = held_out_recall(kept, planted.latent, heads, tails, k=5)
    expected = []
    similarity = planted.latent @ planted.latent.T
    for head, tail in zip(heads, tails, strict=True):
        order = [
            row
            for row in np.argsort(-similarity[head])
            if row != head and row not in kept.related_sets[head]
        ]
        expected.append(tail in order[:5])
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    random = np.random.default_rng(2).normal(size=planted.latent.shape)
    assert found > 0.5
    assert held_out_recall(kept, random, heads, tails, k=5) < 0.1


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
