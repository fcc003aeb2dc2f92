from __future__ import annotations

import numpy as np
import pytest

from musicrec.artists.graph import build_graph, positions
from musicrec.benchmarks.planted import planted_graph


def test_rows_in_any_order_become_sorted_rows():
    graph = build_graph(
        ["c", "a", "c", "a"], ["a", "d", "b", "c"], [2, 2, 1, 1], artists_with_tracks=["e", "a"]
    )
    assert graph.artist_ids == ["a", "b", "c", "d", "e"]
    assert graph.offsets.tolist() == [0, 2, 2, 4, 4, 4]
    assert graph.heads.tolist() == [0, 0, 2, 2]
    assert graph.tails.tolist() == [2, 3, 1, 0]
    assert graph.ranks.tolist() == [1, 2, 1, 2]
    assert [relations.tolist() for relations in graph.related_sets] == [[2, 3], [], [1, 0], [], []]
    assert graph.degrees.tolist() == [2, 0, 2, 0, 0]
    assert graph.named.tolist() == [1, 1, 1, 1, 0]
    assert graph.related_ids("c") == ["b", "a"]
    assert graph.edge_keys.tolist() == [2, 3, 10, 11]


def test_positions_of_ids_beyond_ascii_and_of_unknown_ones():
    ids = sorted(["Ärzte", "Björk", "ABBA", "中島みゆき"])
    assert positions(ids, ["中島みゆき", "ABBA"]).tolist() == [
        ids.index("中島みゆき"),
        ids.index("ABBA"),
    ]
    with pytest.raises(KeyError, match=r"1 of 2 artists.*'zz top'"):
        positions(ids, ["Björk", "zz top"])


def test_an_artist_without_any_relation_keeps_its_row():
    graph = build_graph([], [], [], artists_with_tracks=["only"])
    assert graph.artist_ids == ["only"]
    assert graph.related_sets[0].size == 0


@pytest.mark.parametrize(
    ("heads", "tails", "ranks", "message"),
    [
        (["a", "b"], ["b", "b"], [1, 1], r"row 1: artist 'b' is related to itself"),
        (["a", "b", "a"], ["b", "a", "b"], [1, 1, 2], r"row 2: 'a' to 'b' is there twice"),
        (["a"], ["b", "c"], [1], r"columns of 1, 2 and 1 rows"),
        ([], [], [], r"nothing to embed"),
    ],
)
def test_broken_tables_are_named(heads, tails, ranks, message):
    with pytest.raises(ValueError, match=message):
        build_graph(heads, tails, ranks)


def test_the_planted_graph_is_asymmetric_and_has_popular_artists(graph):
    pairs = set(zip(graph.heads.tolist(), graph.tails.tolist(), strict=True))
    mutual = np.mean([(tail, head) in pairs for head, tail in pairs])
    assert 0.2 < mutual < 0.9
    even = planted_graph(300, 12, popularity=0)
    plain = build_graph(even.artist_id, even.related_artist_id, even.rank)
    assert graph.named.std() > 1.2 * plain.named.std()
    assert set(graph.degrees.tolist()) == {6, 12}
