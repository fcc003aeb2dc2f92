from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from sklearn.metrics.pairwise import paired_cosine_distances

from musicrec.evaluation import metrics
from musicrec.evaluation.metrics import bootstrap

EXACT = 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_single_label_f1_equals_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    # Class 7 is never true and class 6 hardly ever predicted.
    truth, predicted = generator.integers(7, size=50), generator.integers(8, size=50)
    expected = sklearn.metrics.f1_score(truth, predicted, average="micro")
    assert metrics.f1_micro(truth, predicted) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.3])
def test_multi_label_metrics_equal_scikit_learn(seed, fraction):
    generator = np.random.default_rng(seed)
    truth = (generator.uniform(size=(40, 17)) < fraction).astype(np.int64)
    probabilities = generator.uniform(size=(40, 17)).astype(np.float32)
    predicted = (probabilities >= 0.5).astype(np.int64)
    expected = sklearn.metrics.f1_score(truth, predicted, average="micro", zero_division=0)
    assert metrics.f1_micro(truth, predicted) == pytest.approx(expected, abs=EXACT)
    assert metrics.hamming_loss(truth, probabilities) == pytest.approx(
        sklearn.metrics.hamming_loss(truth, predicted), abs=EXACT
    )
    expected = sklearn.metrics.mean_squared_error(truth, probabilities.astype(np.float64))
    assert metrics.mean_squared_error(truth, probabilities) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("seed", range(20))
def test_cosine_equals_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.normal(size=(30, 12)), generator.normal(size=(30, 12)) * 100
    predicted[3] = 0
    expected = 1 - paired_cosine_distances(truth, predicted)
    expected[3] = 0  # scikit-learn gives a zero vector 0.5
    assert metrics.mean_cosine(truth, predicted) == pytest.approx(expected.mean(), abs=EXACT)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_ndcg_equals_scikit_learn(seed, k):
    generator = np.random.default_rng(seed)
    scores = generator.permutation(30).astype(float)
    relevance = np.zeros(30)
    relevance[generator.choice(30, size=int(generator.integers(1, 25)), replace=False)] = 1
    expected = sklearn.metrics.ndcg_score(relevance[None], scores[None], k=k)
    result = metrics.ndcg_at(
        np.argsort(-scores).tolist(), set(np.flatnonzero(relevance).tolist()), k
    )
    assert result == pytest.approx(expected, abs=EXACT)


def test_micro_f1_by_hand():
    truth = [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    predicted = [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert metrics.f1_micro(truth, predicted) == pytest.approx(2 * 2 / (2 * 2 + 2 + 1))
    assert metrics.f1_micro(np.zeros((2, 3), int), np.zeros((2, 3), int)) == 0
    assert metrics.f1_micro(["rock", "jazz", "folk"], ["rock", "folk", "folk"]) == pytest.approx(
        2 / 3
    )


def test_the_hamming_threshold_belongs_to_the_positive_side():
    assert metrics.hamming_loss([[1, 0]], [[0.5, 0.49]]) == 0
    assert metrics.hamming_loss([[1, 0]], [[0.5, 0.49]], threshold=0.51) == 0.5


def test_mean_squared_error_does_not_overflow_small_types():
    assert (
        metrics.mean_squared_error(np.array([[0, 255]], np.uint8), np.array([[255, 0]], np.uint8))
        == 255**2
    )


def test_ranking_metrics_by_hand():
    ranked, relevant = ["d", "a", "x", "b"], {"a", "b", "c"}
    assert metrics.recall_at(ranked, relevant, 2) == pytest.approx(1 / 3)
    assert metrics.recall_at(ranked, relevant, 10) == pytest.approx(2 / 3)
    assert metrics.precision_at(ranked, relevant, 2) == pytest.approx(1 / 2)
    assert metrics.precision_at(ranked, relevant, 10) == pytest.approx(2 / 10)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert metrics.ndcg_at(ranked, relevant, 4) == pytest.approx(
        (1 / math.log2(3) + 1 / math.log2(5)) / ideal
    )
    assert metrics.ndcg_at(ranked, relevant, 2) == pytest.approx(
        (1 / math.log2(3)) / (1 + 1 / math.log2(3))
    )
    assert metrics.ndcg_at(["c", "b", "a"], relevant, 2) == pytest.approx(1)
    assert metrics.ndcg_at(["x", "y"], relevant, 2) == 0


def test_mean_reciprocal_rank_by_hand():
    rankings = [["x", "a"], ["a", "x"], ["x", "y"], ["a", "b"]]
    targets = [{"a"}, {"a", "x"}, {"a"}, set()]
    assert metrics.mean_reciprocal_rank(rankings, targets) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert math.isnan(metrics.mean_reciprocal_rank([["a"]], [set()]))
    assert metrics.mean_reciprocal_rank([[]], [{"a"}]) == 0


@pytest.mark.parametrize("metric", [metrics.ndcg_at, metrics.recall_at, metrics.precision_at])
def test_without_a_relevant_item_metrics_are_nan(metric):
    assert math.isnan(metric(["a", "b"], set(), 2))
    with pytest.raises(ValueError, match="k = 0"):
        metric(["a"], {"a"}, 0)


def test_jaccard_of_neighbours_by_hand():
    # Four directions at 0, 10, 30 and 100 degrees.
    angles = np.radians([0, 10, 30, 100])
    vectors = np.stack((np.cos(angles), np.sin(angles)), axis=1) * [[1], [5], [0.1], [2]]
    # 0: neighbours {1, 2}, related {1, 3}: 1/3. 1: {0} and {0}: 1. 2: {1} and {3}: 0.
    # 3: no relation, left out.
    assert metrics.jaccard_neighbours(
        vectors, [{1, 3}, [0], np.array([3]), set()]
    ) == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert metrics.jaccard_neighbours(
        vectors, [{1, 3}, [0], np.array([3]), set()], block_rows=1
    ) == pytest.approx(4 / 9)
    assert math.isnan(metrics.jaccard_neighbours(vectors, [set()] * 4))


def test_mean_jaccard_by_hand():
    assert metrics.mean_jaccard([{1, 2}, set(), {3}], [{2, 3}, set(), set()]) == pytest.approx(
        (1 / 3 + 0) / 2
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.f1_micro([1, 2], [1]), r"truth \(2,\) and prediction \(1,\)"),
        (lambda: metrics.f1_micro([], []), "at least one row"),
        (lambda: metrics.f1_micro([[0, 1]], [[0.3, 1]]), "predicted holds 0.3"),
        (lambda: metrics.hamming_loss([[0, 2]], [[0.3, 1]]), "truth holds 2"),
        (lambda: metrics.mean_cosine([1.0, 2.0], [1.0, 2.0]), r"rows of vectors \(N, D\)"),
        (lambda: metrics.jaccard_neighbours(np.eye(2), [{1}]), "2 vectors and 1 related sets"),
        (lambda: metrics.mean_reciprocal_rank([["a"]], []), "1 rankings and 0 relevant sets"),
        (lambda: metrics.mean_jaccard([{1}], []), "1 true sets and 0 predicted sets"),
        (lambda: metrics.bootstrap_interval(np.array([np.nan]), 0), "no value to resample among 1"),
        (
            lambda: metrics.bootstrap_interval(np.ones(3), 0, groups=np.ones(2)),
            r"3 rows and groups of shape \(2,\)",
        ),
    ],
)
def test_wrong_inputs_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bootstrap_interval_has_the_width_of_the_normal_theory():
    values = np.random.default_rng(0).normal(3, 2, size=400)
    low, high = metrics.bootstrap_interval(values, 1, resamples=4000)
    error = values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert metrics.bootstrap_interval(values, 1, resamples=4000) == (low, high)
    narrow = metrics.bootstrap_interval(values, 1, resamples=4000, confidence=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_covers_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        low, high = metrics.bootstrap_interval(generator.normal(size=80), trial, resamples=300)
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_bootstrap_by_artist_is_wider_where_tracks_of_an_artist_agree():
    artists = np.repeat(np.arange(40), 10)
    values = np.random.default_rng(2).normal(size=40)[artists]
    by_track, by_artist = (
        metrics.bootstrap_interval(values, 0),
        metrics.bootstrap_interval(values, 0, groups=artists),
    )
    ratio = (by_artist[1] - by_artist[0]) / (by_track[1] - by_track[0])
    assert ratio == pytest.approx(math.sqrt(10), rel=0.15)


def test_paired_bootstrap_sees_a_difference_that_the_spread_hides():
    generator = np.random.default_rng(3)
    shared = generator.normal(0, 10, size=200)
    ours, theirs = (
        shared + 0.2 + generator.normal(0, 0.5, size=200),
        shared + generator.normal(0, 0.5, size=200),
    )
    low, high = metrics.bootstrap_interval(ours, 0, paired_with=theirs)
    assert 0 < low < 0.2 < high
    assert metrics.bootstrap_interval(ours, 0)[1] - metrics.bootstrap_interval(ours, 0)[0] > 2


def test_bootstrap_leaves_undefined_values_out():
    values = np.array([1.0, np.nan, 2.0, 3.0])
    assert metrics.bootstrap_interval(values, 0) == metrics.bootstrap_interval(
        np.array([1.0, 2.0, 3.0]), 0
    )


def test_bootstrap_in_blocks_equals_one_block(monkeypatch):
    values = np.random.default_rng(4).normal(size=30)
    whole = metrics.bootstrap_interval(values, 0, resamples=100)
    monkeypatch.setattr(bootstrap, "BLOCK", 70)
    assert metrics.bootstrap_interval(values, 0, resamples=100) == whole
