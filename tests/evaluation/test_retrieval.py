from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from musicrec.evaluation import metrics, ranking_scores, retrieval
from musicrec.evaluation.popularity import popularity_order, short_head

ANGLES = {"a": 0, "b": 10, "c": 30, "d": 70, "e": 120}
TABLE_IDS = list(ANGLES)


def direction(*degrees):
    return np.stack((np.cos(np.radians(degrees)), np.sin(np.radians(degrees))), axis=1).astype(
        np.float32
    )


def random_rankings(candidates, query_rows, seed, depth=1000):
    generator = np.random.default_rng(seed)
    length = min(depth, candidates - int((query_rows >= 0).any()))
    orders = (generator.permutation(candidates) for _ in query_rows)
    return np.array(
        [order[order != row][:length] for order, row in zip(orders, query_rows, strict=True)]
    )


def score_rankings(rankings, relevant, ks):
    counts = np.array([len(rows) for rows in relevant])
    return ranking_scores.score_hits(ranking_scores.find_hits(rankings, relevant), counts, ks)


def test_the_query_artist_is_no_candidate_and_related_artists_are_found():
    # "a" predicted at 0 degrees ranks b, c, d, e; "new" is not in the table and ranks
    # e, d, c, b, a; "c" has no relation.
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
    np.testing.assert_allclose(
        scores.ndcg[3], [(1 / math.log2(3)) / (1 + 1 / math.log2(3)), 0, np.nan]
    )
    np.testing.assert_allclose(scores.reciprocal_rank, [1 / 2, 1 / 4, np.nan])
    means = scores.means()
    assert set(means) == {
        "ndcg@1",
        "ndcg@3",
        "recall@1",
        "recall@3",
        "precision@1",
        "precision@3",
        "mrr",
    }
    assert means["recall@3"] == pytest.approx(1 / 4)
    assert means["mrr"] == pytest.approx(3 / 8)
    np.testing.assert_allclose(result.chance.recall[3], [3 / 4, 3 / 5, np.nan])


@pytest.mark.parametrize(
    ("candidates", "relevant", "depth"), [(6, 2, 6), (6, 5, 6), (5, 1, 5), (6, 3, 4), (4, 4, 4)]
)
def test_chance_is_the_mean_over_every_possible_ranking(candidates, relevant, depth):
    ks = (1, 3, 5)
    targets = np.arange(relevant)
    rankings = np.array(list(itertools.permutations(range(candidates))))[:, :depth]
    every = score_rankings(rankings, [targets] * len(rankings), ks).means()
    expected = ranking_scores.chance_scores(
        np.array([candidates]), np.array([relevant]), ks, depth
    ).means()
    assert expected == pytest.approx(every, abs=1e-12)


def test_random_rankings_score_as_chance():
    generator = np.random.default_rng(0)
    query_rows = generator.integers(-1, 50, size=3000)
    relevant = [
        np.setdiff1d(generator.choice(50, size=generator.integers(1, 13), replace=False), [row])
        for row in query_rows
    ]
    rankings = random_rankings(50, query_rows, seed=1)
    assert rankings.shape == (3000, 49)
    assert not (rankings == query_rows[:, None]).any()
    actual = score_rankings(rankings, relevant, (10,))
    expected = ranking_scores.chance_scores(50 - (query_rows >= 0), actual.relevant, (10,), 49)
    for name, values in actual.columns().items():
        error = np.nanstd(values) / math.sqrt(3000)
        assert expected.means()[name] == pytest.approx(actual.means()[name], abs=4 * error), name


def test_chance_for_a_query_without_relations_is_not_defined():
    scores = ranking_scores.chance_scores(np.array([5, 5]), np.array([0, 2]), (2,))
    assert np.isnan(
        [scores.ndcg[2][0], scores.recall[2][0], scores.precision[2][0], scores.reciprocal_rank[0]]
    ).all()
    assert scores.means()["recall@2"] == pytest.approx(2 / 5)
    nothing = ranking_scores.chance_scores(np.array([5]), np.array([0]), (2,)).means()
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
    scores = score_rankings(rankings, relevant, (10, 100))
    similarity = metrics.unit_rows(predicted) @ metrics.unit_rows(table).T
    for query in rows:
        order = [row for row in np.argsort(-similarity[query]).tolist() if row != query]
        assert rankings[query].tolist() == order
        targets = set(relevant[query].tolist())
        for k in (10, 100):
            assert scores.ndcg[k][query] == pytest.approx(
                metrics.ndcg_at(order, targets, k), abs=1e-12
            )
            assert scores.recall[k][query] == metrics.recall_at(order, targets, k)
            assert scores.precision[k][query] == metrics.precision_at(order, targets, k)
        assert scores.reciprocal_rank[query] == metrics.reciprocal_rank(order, targets)
    targets = [set(rows.tolist()) for rows in relevant]
    assert scores.means()["mrr"] == pytest.approx(
        metrics.mean_reciprocal_rank(rankings.tolist(), targets)
    )


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("query_rows", [[0, 0, 3], [-1, 2], [-1, -1], [1]])
def test_chance_of_coverage_is_the_mean_over_random_rankings(k, query_rows):
    rows = np.array(query_rows)
    expected = ranking_scores.chance_spread(rows, 6, k)
    covered = [metrics.coverage(random_rankings(6, rows, seed)[:, :k], 6) for seed in range(2000)]
    assert expected[f"coverage@{k}"] == pytest.approx(np.mean(covered), abs=0.02)


def test_chance_of_hubness_is_that_of_random_rankings():
    rankings = random_rankings(20_000, np.full(50, -1), seed=0, depth=100)
    expected = ranking_scores.chance_spread(np.full(50, -1), 20_000, 100)["hubness@100"]
    assert expected == pytest.approx(metrics.hubness(rankings, 20_000), rel=0.05)


def test_blocks_of_queries_change_nothing_and_cut_offs_beyond_the_candidates_take_them_all(
    monkeypatch,
):
    generator = np.random.default_rng(5)
    table, predicted = generator.normal(size=(30, 4)), generator.normal(size=(11, 4))
    ids = [f"artist {row}" for row in range(30)]
    queries = [*ids[:9], *ids[:2]]
    related = {
        query: generator.choice(ids[9:], size=5, replace=False).tolist() for query in queries
    }
    parts = {"even": np.arange(30) % 2 == 0, "odd": np.arange(30) % 2 == 1}
    whole = retrieval.evaluate_retrieval(
        predicted, queries, table, ids, related, ks=(3, 200), parts=parts
    )
    monkeypatch.setattr(retrieval, "QUERIES", 4)
    blocks = retrieval.evaluate_retrieval(
        predicted, queries, table, ids, related, ks=(3, 200), parts=parts
    )
    assert blocks.spread == pytest.approx(whole.spread, nan_ok=True)
    for one, other in (
        (whole.scores, blocks.scores),
        *zip(whole.parts["odd"], blocks.parts["odd"], strict=True),
    ):
        for name, values in one.columns().items():
            np.testing.assert_allclose(other.columns()[name], values, err_msg=name)
    assert whole.scores.recall[200] == pytest.approx(np.ones(11))
    assert whole.chance.recall[200] == pytest.approx(np.ones(11))
    assert whole.spread["coverage@200"] == 1
    assert math.isnan(whole.spread["hubness@200"])
    counted = {name: scores.relevant for name, (scores, _) in whole.parts.items()}
    assert (counted["even"] + counted["odd"] == whole.scores.relevant).all()
    actual = {
        name: np.nan_to_num(scores.recall[3] * scores.relevant)
        for name, (scores, _) in whole.parts.items()
    }
    np.testing.assert_allclose(
        actual["even"] + actual["odd"], whole.scores.recall[3] * whole.scores.relevant
    )


def test_the_head_is_the_fewest_artists_with_a_third_of_the_relations():
    assert short_head(np.array([1, 5, 2, 4, 0])).tolist() == [
        False,
        True,
        False,
        False,
        False,
    ]  # 5 of 12
    assert short_head(np.array([3, 3, 3, 3, 3, 3])).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert not short_head(np.zeros(3, dtype=int)).any()
