"""Relations held out: what is taken away, and the NDCG of scores and vectors that find it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from musicrec.artists.graph import build_graph
from musicrec.artists.held_out import HeldOut, held_out_ndcg, hold_out, scored_ndcg
from musicrec.artists.link_prediction import baseline_scores


def pairs(heads, tails):
    return set(zip(heads.tolist(), tails.tolist(), strict=True))


@pytest.mark.parametrize("by", ["edge", "artist"])
def test_pairs_are_held_out_in_both_directions_and_nothing_else(graph, by):
    seen, held = hold_out(graph, 0.3, by, np.random.default_rng(0))
    whole, left = pairs(graph.heads, graph.tails), pairs(seen.heads, seen.tails)
    gone = pairs(held.heads, held.tails)
    assert left | gone == whole
    assert not left & gone
    assert held.relations == len(gone) > 50
    assert not {(tail, head) for head, tail in gone} & left
    assert seen.artist_ids == graph.artist_ids
    for artist in (0, 17, 299):
        kept = [tail for tail in graph.related_sets[artist].tolist() if (artist, tail) in left]
        assert seen.related_sets[artist].tolist() == kept
    if by == "edge":
        assert 0.2 < len(gone) / len(whole) < 0.4
        assert held.candidates.tolist() == list(range(300))
    else:
        chosen = set(held.candidates.tolist())
        assert len(chosen) == 90
        assert gone == {pair for pair in whole if chosen.issuperset(pair)}


def test_the_seed_decides_what_is_held_out(graph):
    first, again, other = (
        hold_out(graph, 0.1, "edge", np.random.default_rng(seed))[1] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.heads, again.heads)
    assert pairs(first.heads, first.tails) != pairs(other.heads, other.tails)


def test_ndcg_by_hand():
    # a's related artists are b (seen), c and e (held out). By its vector d, c and e follow.
    graph = build_graph(["a"], ["b"], [1], ["c", "d", "e"])
    held = HeldOut(np.array([0, 0]), np.array([2, 4]), np.arange(5), 2)
    vectors = np.array([[1, 0], [1, 0.01], [1, 0.5], [1, 0.3], [0, 1]], dtype=np.float32)
    ideal = 1 + 1 / np.log2(3)
    expected = (1 / np.log2(3) + 1 / np.log2(4)) / ideal
    assert held_out_ndcg(graph, vectors, held) == pytest.approx(expected)
    # Among b, c and e only, d takes no place.
    held = HeldOut(held.heads, held.tails, np.array([1, 2, 4]), 2)
    assert held_out_ndcg(graph, vectors, held) == pytest.approx(1)


def one_by_one(graph, held, scores):
    """Return the mean NDCG@200 summed in Python."""
    found = []
    for head in np.unique(held.heads):
        known = {head, *graph.tails[graph.heads == head], *graph.heads[graph.tails == head]}
        free = [row for row in held.candidates.tolist() if row not in known]
        order = sorted(free, key=lambda row: (-scores[head, row], row))[:200]
        wanted = set(held.tails[held.heads == head].tolist())
        gain = sum(1 / np.log2(place + 2) for place, row in enumerate(order) if row in wanted)
        found.append(gain / sum(1 / np.log2(place + 2) for place in range(len(wanted))))
    return np.mean(found)


@pytest.mark.parametrize("by", ["edge", "artist"])
def test_ndcg_equals_a_computation_one_artist_at_a_time(graph, planted, by):
    seen, held = hold_out(graph, 0.3, by, np.random.default_rng(3))
    cosines = planted.latent @ planted.latent.T
    expected = one_by_one(seen, held, cosines)
    # Depth is at most what the artist with the most relations has left.
    assert held_out_ndcg(seen, planted.latent, held) == pytest.approx(expected, abs=0.005)
    table = scipy.sparse.csr_array(cosines)
    assert scored_ndcg(seen, lambda rows: table[rows], held) == pytest.approx(
        held_out_ndcg(seen, planted.latent, held), abs=1e-6
    )


def test_baselines_find_planted_relations_and_random_vectors_do_not(graph):
    seen, held = hold_out(graph, 0.1, "edge", np.random.default_rng(1))
    scores = baseline_scores(seen, held)
    assert list(scores) == ["common neighbours", "Adamic-Adar", "PageRank"]
    random = held_out_ndcg(seen, np.random.default_rng(2).normal(size=(300, 16)), held)
    assert min(scores.values()) > random + 0.2


def test_no_more_than_2000_artists_are_asked():
    heads, tails = np.arange(5000), (np.arange(5000) + 1) % 5000
    names = [f"{number:04d}" for number in range(5000)]
    ring = build_graph([names[i] for i in heads], [names[i] for i in tails], [1] * 5000)
    _, held = hold_out(ring, 0.5, "edge", np.random.default_rng(0))
    assert held.relations > 2200
    assert len(np.unique(held.heads)) == 2000
