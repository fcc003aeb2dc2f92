from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from musicrec.evaluation import metrics, retrieval
from musicrec.evaluation.baselines import popularity_order

ANGLES = {"a": 0, "b": 10, "c": 30, "d": 70, "e": 120}
TABLE_IDS = list(ANGLES)


def direction(*degrees):
    return np.stack((np.cos(np.radians(degrees)), np.sin(np.radians(degrees))), axis=1).astype(np.float32)


def test_the_query_artist_is_no_candidate_and_related_artists_are_found():
    # "a" predicted at 0 degrees ranks b, c, d, e; "new" is not in the table and ranks e, d, c, b, a; "c" has no relation.
    result = retrieval.evaluate_retrieval(
        direction(0, 121, 30),
        ["a", "new", "c"],
        direction(*ANGLES.values()),
        TABLE_IDS,
        {"a": {"c", "e", "a", "gone"}, "new": ["b"]},
        ks=(1, 3),
    )
    scores = result.scores
    assert result.artist_ids == ["a", "new", "c"]
    assert result.unreachable == 1
    np.testing.assert_array_equal(scores.relevant, [2, 1, 0])
    np.testing.assert_allclose(scores.recall[3], [1 / 2, 0, np.nan])
    np.testing.assert_allclose(scores.precision[1], [0, 0, np.nan])
    np.testing.assert_allclose(scores.ndcg[3], [(1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0, np.nan])
    np.testing.assert_allclose(scores.reciprocal_rank, [1 / 2, 1 / 4, np.nan])
    means = scores.means()
    assert set(means) == {"ndcg@1", "ndcg@3", "recall@1", "recall@3", "precision@1", "precision@3", "mrr"}
    assert means["recall@3"] == pytest.approx(1 / 4)
    assert means["mrr"] == pytest.approx(3 / 8)
    np.testing.assert_allclose(result.chance.recall[3], [3 / 4, 3 / 5, np.nan])


@pytest.mark.parametrize(("candidates", "relevant", "depth"), [(6, 2, 6), (6, 5, 6), (5, 1, 5), (6, 3, 4), (4, 4, 4)])
def test_chance_is_the_mean_over_every_possible_ranking(candidates, relevant, depth):
    ks = (1, 3, 5)
    wanted = np.arange(relevant)
    rankings = np.array(list(itertools.permutations(range(candidates))))[:, :depth]
    every = retrieval.score_rankings(rankings, [wanted] * len(rankings), ks).means()
    expected = retrieval.chance_scores(np.array([candidates]), np.array([relevant]), ks, depth).means()
    assert expected == pytest.approx(every, abs=1e-12)


def test_random_rankings_score_what_chance_says():
    generator = np.random.default_rng(0)
    query_rows = generator.integers(-1, 50, size=3000)
    relevant = [np.setdiff1d(generator.choice(50, size=generator.integers(1, 13), replace=False), [row]) for row in query_rows]
    rankings = retrieval.random_rankings(50, query_rows, seed=1)
    assert rankings.shape == (3000, 49)
    assert not (rankings == query_rows[:, None]).any()
    found = retrieval.score_rankings(rankings, relevant, (10,))
    expected = retrieval.chance_scores(50 - (query_rows >= 0), found.relevant, (10,), 49)
    for name, values in found.columns().items():
        error = np.nanstd(values) / math.sqrt(3000)
        assert expected.means()[name] == pytest.approx(found.means()[name], abs=4 * error), name


def test_chance_for_a_query_without_relations_is_not_defined():
    scores = retrieval.chance_scores(np.array([5, 5]), np.array([0, 2]), (2,))
    assert np.isnan([scores.ndcg[2][0], scores.recall[2][0], scores.precision[2][0], scores.reciprocal_rank[0]]).all()
    assert scores.means()["recall@2"] == pytest.approx(2 / 5)
    nothing = retrieval.chance_scores(np.array([5]), np.array([0]), (2,)).means()
    assert math.isnan(nothing["mrr"])


def test_popularity_gives_every_query_one_order_without_itself():
    order = popularity_order(np.array([1, 7, 3, 3]))
    assert order.tolist() == [1, 2, 3, 0]
    rankings = retrieval.fixed_rankings(order, np.array([1, 0, -1]), depth=3)
    assert rankings.tolist() == [[2, 3, 0], [1, 2, 3], [1, 2, 3]]


def test_scores_are_those_of_the_plain_metrics():
    generator = np.random.default_rng(3)
    table, predicted = generator.normal(size=(40, 8)), generator.normal(size=(12, 8))
    rows = np.arange(12)
    relevant = [np.setdiff1d(generator.choice(40, size=9, replace=False), [row]) for row in rows]
    rankings = retrieval.rank_candidates(predicted, table, rows)
    scores = retrieval.score_rankings(rankings, relevant, (10,))
    similarity = metrics.unit_rows(predicted) @ metrics.unit_rows(table).T
    for query in rows:
        order = [row for row in np.argsort(-similarity[query]).tolist() if row != query]
        assert rankings[query].tolist() == order
        assert scores.ndcg[10][query] == metrics.ndcg_at(order, set(relevant[query].tolist()), 10)
        assert scores.recall[10][query] == metrics.recall_at(order, set(relevant[query].tolist()), 10)
    wanted = [set(rows.tolist()) for rows in relevant]
    assert scores.means()["mrr"] == pytest.approx(metrics.mean_reciprocal_rank(rankings.tolist(), wanted))
