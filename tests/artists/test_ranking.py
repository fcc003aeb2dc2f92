"""The members of a ranking next to the network, on artists small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from musicrec.artists.neighbours import nearest_neighbours
from musicrec.artists.ranking import POPULARITY, VOTES, Ranking, relation_matrix, standardised

# Artist 0 names 1 and 2, artist 3 names 2, artist 4 names 2 and 3.
RELATIONS = np.array([[0, 0, 3, 4, 4], [1, 2, 2, 2, 3]])
NAMED = [0, 1, 3, 1, 0]
TABLE = np.eye(5, dtype=np.float32)
# Two tracks of artist 0 and one of artist 4.
VOTERS = np.array([[1, 0, 0, 0, 0], [0.9, 0.1, 0, 0, 0], [0, 0, 0, 0, 1]], np.float32)


def ranking(votes: float = 0.0, popularity: float = 0.0, neighbours: int = 2) -> Ranking:
    return Ranking(
        {VOTES: votes, POPULARITY: popularity},
        neighbours,
        VOTERS,
        np.array([0, 0, 4]),
        relation_matrix(RELATIONS, 5),
    )


def test_without_weights_the_order_is_the_cosine_s() -> None:
    generator = np.random.default_rng(0)
    vectors, table = generator.normal(size=(70, 5)), generator.normal(size=(5, 5))
    own = np.arange(70) % 5
    rows, similarity, prior = ranking().rank(vectors, table, 4, own)
    expected = nearest_neighbours(vectors, table, 4, own)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(similarity, expected[1], atol=1e-6)
    assert not prior.any()


def test_the_nearest_tracks_vote_for_their_artist_and_those_that_it_names() -> None:
    near_zero = np.array([[1, 0.05, 0, 0, 0.01]], np.float32)
    # Both tracks of artist 0 vote for 0, 1 and 2.
    np.testing.assert_allclose(
        ranking().votes(near_zero), standardised(np.array([[2.0, 2.0, 2.0, 0.0, 0.0]])), rtol=1e-6
    )
    np.testing.assert_allclose(ranking().popularity, standardised(np.log1p([NAMED])), rtol=1e-5)
    # More neighbours than tracks: all vote.
    np.testing.assert_allclose(
        ranking(neighbours=20).votes(near_zero),
        standardised(np.array([[2.0, 2.0, 3.0, 1.0, 1.0]])),
        rtol=1e-5,
    )


def test_a_members_weight_moves_artists_and_its_share_is_its_part_of_the_score() -> None:
    query = np.array([[1, 0, 0, 0, 0]], np.float32)
    rows, similarity, prior = ranking(popularity=1.0).rank(query, TABLE, 5)
    cosine = standardised(query)[0]
    popular = standardised(np.log1p([NAMED]))[0]
    assert rows[0].tolist() == np.argsort(-(cosine + popular), kind="stable").tolist()
    expected = popular / (np.abs(cosine) + np.abs(popular))
    np.testing.assert_allclose(prior[0], expected[rows[0]], rtol=1e-5)
    np.testing.assert_allclose(similarity[0], query[0][rows[0]], atol=1e-6)


def test_popularity_can_be_switched_off() -> None:
    query = np.array([[0.1, 0, 0, 0.2, 0.15]], np.float32)
    strong = ranking(votes=0.5, popularity=50.0)
    assert strong.rank(query, TABLE, 1).rows[0, 0] == 2  # the most popular one
    off, never = strong.rank(query, TABLE, 5, popularity=False), ranking(votes=0.5)
    np.testing.assert_array_equal(off.rows, never.rank(query, TABLE, 5).rows)
    assert not off.prior.any()


def test_relations_of_some_artists_can_be_left_out() -> None:
    known = ranking().without(np.array([4]))
    np.testing.assert_array_equal(np.asarray(known.relations.sum(axis=0)), [0, 1, 2, 0, 0])
    assert known.without(np.array([], int)).relations.nnz == 3


def test_some_artists_can_be_ranked_while_all_tracks_vote() -> None:
    among = ranking(votes=1.0).among(np.array([2, 3]))
    query = np.array([[0, 0, 0, 0, 1]], np.float32)
    np.testing.assert_allclose(among.votes(query), standardised(np.array([[2.0, 1.0]])), rtol=1e-5)
    assert among.rank(query, TABLE[[2, 3]], 2).rows[0].tolist() == [0, 1]


def test_a_ranking_is_the_same_after_it_was_written_and_read() -> None:
    before = ranking(votes=0.25, popularity=0.5)
    files = before.to_files()
    after = Ranking.from_files(files.__getitem__)
    assert (after.weights, after.neighbours) == (before.weights, 2)
    query = np.array([[0.3, 0.1, 0, 0.2, 0.15]], np.float32)
    for one, other in zip(before.rank(query, TABLE, 5), after.rank(query, TABLE, 5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_equal_scores_say_nothing(value: float) -> None:
    assert not standardised(np.full((2, 7), value)).any()
