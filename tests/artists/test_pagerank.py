"""PageRank, its neighbourhoods and the untrained baselines against dense linear algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from musicrec.artists.graph import build_graph
from musicrec.artists.link_prediction import adamic_adar, common_neighbours
from musicrec.artists.pagerank import (
    BACKWARD,
    DEGREE_EXPONENT,
    SHARE_EXPONENT,
    adjacency,
    neighbourhoods,
    personalised_pagerank,
    transitions,
)

# a is related to b and c, b to c, d to c; e has tracks only.
SMALL = build_graph(["a", "a", "b", "d"], ["b", "c", "c", "c"], [1, 2, 1, 1], ["e"])
LINKS = np.array(
    [
        [0, 1, 1, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
)
DIRECTED = np.zeros((5, 5))
DIRECTED[SMALL.heads, SMALL.tails] = 1


def by_dense_algebra(links, restart):
    """Return restart * (I - (1 - restart) P)^-1, the walks of any length."""
    steps = links / np.maximum(links.sum(axis=1, keepdims=True), 1e-9)
    return restart * np.linalg.inv(np.eye(len(links)) - (1 - restart) * steps)


def test_relations_count_once_in_either_direction():
    np.testing.assert_array_equal(adjacency(SMALL).toarray(), LINKS)
    both = build_graph(["a", "b"], ["b", "a"], [1, 1])
    np.testing.assert_array_equal(adjacency(both).toarray(), [[0, 1], [1, 0]])


@pytest.mark.parametrize("restart", [0.15, 0.5])
def test_pagerank_is_the_inverse_of_dense_algebra_but_for_the_last_steps(restart):
    found = personalised_pagerank(transitions(adjacency(SMALL)), np.arange(5), restart, 0.0)
    expected = by_dense_algebra(LINKS, restart)
    # Walks of more than 12 steps are left out.
    np.testing.assert_allclose(found.toarray(), expected, atol=(1 - restart) ** 13)
    np.testing.assert_allclose(found.toarray()[:4].sum(axis=1), 1 - (1 - restart) ** 13, rtol=1e-5)


def test_pagerank_of_one_step_by_hand():
    # From d the walk ends at once with .5, or goes to c; from there to a, b or d with .5 / 3 each.
    found = personalised_pagerank(transitions(adjacency(SMALL)), np.array([3]), 0.5, 0.2)
    np.testing.assert_allclose(found.toarray(), [[0, 0, 0.25, 0.5, 0]])


def test_small_probabilities_change_little(graph):
    steps, starts = transitions(adjacency(graph)), np.arange(0, 300, 7)
    exact = personalised_pagerank(steps, starts, 0.15, 0.0).toarray()
    pruned = personalised_pagerank(steps, starts, 0.15).toarray()
    assert np.abs(exact - pruned).max() < 0.002
    assert (pruned <= exact + 1e-6).all()


def test_neighbourhoods_are_discounted_flattened_and_cut_pagerank():
    found = neighbourhoods(SMALL, 0.3, 2).toarray()
    # A step against a relation that goes one way weighs less: b to a, c to all, c to d.
    weights = np.where(DIRECTED, 1, BACKWARD * DIRECTED.T)
    walks = by_dense_algebra(weights, 0.3)
    degrees = np.maximum(LINKS.sum(axis=1), 1)
    expected = (walks * degrees**-DEGREE_EXPONENT) ** SHARE_EXPONENT
    np.fill_diagonal(expected, 0)
    for row in expected:
        row[np.argsort(-row, kind="stable")[2:]] = 0  # of equal ones, the first stays
    expected[:4] /= expected[:4].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[:4], expected[:4], atol=0.002)
    assert (np.count_nonzero(found[:4], axis=1) == 2).all()
    assert not found[4].any()


def test_common_neighbours_and_adamic_adar_by_hand():
    links, artists = adjacency(SMALL), np.array([0, 3])
    # a and b share c; a and c share b; a and d share c. d shares c with a and b.
    shared = common_neighbours(links, artists).toarray()
    np.testing.assert_array_equal(shared, [[2, 1, 1, 1, 0], [1, 1, 0, 1, 0]])
    scores = adamic_adar(links, artists).toarray()
    by_b, by_c = 1 / math.log(2), 1 / math.log(3)
    expected = [[by_b + by_c, by_c, by_b, by_c, 0], [by_c, by_c, 0, by_c, 0]]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
