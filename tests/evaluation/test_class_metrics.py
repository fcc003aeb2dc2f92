"""Compare F1, confusion, average precision, ROC-AUC and log loss with scikit-learn or by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics

from musicrec.evaluation import metrics

EXACT = {"abs": 1e-9, "rel": 0, "nan_ok": True}
CLASSES = np.arange(9)


def labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 8 is neither true nor predicted, class 7 never true, class 0 never predicted."""
    generator = np.random.default_rng(seed)
    return generator.integers(7, size=60), generator.integers(1, 8, size=60)


def ranked(seed: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indicators of 12 classes and scores, with many ties for few digits.

    No track has column 3, every track has column 5.
    """
    generator = np.random.default_rng(seed)
    truth = (generator.uniform(size=(50, 12)) < generator.uniform(0.02, 0.6, size=12)).astype(
        np.int64
    )
    truth[:, 3], truth[:, 5] = 0, 1
    return truth, np.round(generator.uniform(size=(50, 12)) + 0.3 * truth, digits).astype(
        np.float32
    )


@pytest.mark.parametrize("seed", range(20))
def test_single_label_scores_equal_scikit_learn(seed: int) -> None:
    truth, predicted = labels(seed)
    reference = sklearn.metrics.f1_score
    assert metrics.f1_macro(truth, predicted) == pytest.approx(
        reference(truth, predicted, average="macro"), **EXACT
    )
    assert metrics.f1_weighted(truth, predicted) == pytest.approx(
        reference(truth, predicted, average="weighted"), **EXACT
    )
    expected = sklearn.metrics.precision_recall_fscore_support(
        truth, predicted, labels=CLASSES, zero_division=np.nan
    )
    result = metrics.class_scores(truth, predicted, CLASSES)
    for ours, theirs in zip(
        (result.precision, result.recall, result.f1, result.support), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)
    matrix = metrics.confusion_matrix(truth, predicted, CLASSES)
    np.testing.assert_array_equal(
        matrix, sklearn.metrics.confusion_matrix(truth, predicted, labels=CLASSES)
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.4])
def test_many_label_f1_equals_scikit_learn(seed: int, fraction: float) -> None:
    generator = np.random.default_rng(seed)
    truth, predicted = (generator.uniform(size=(2, 30, 11)) < fraction).astype(np.int64)
    expected = sklearn.metrics.precision_recall_fscore_support(
        truth, predicted, zero_division=np.nan
    )
    result = metrics.class_scores(truth, predicted)
    for ours, theirs in zip(
        (result.precision, result.recall, result.f1, result.support), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of the mean of nothing
        macro = sklearn.metrics.f1_score(truth, predicted, average="macro", zero_division=np.nan)
        weighted = sklearn.metrics.f1_score(
            truth, predicted, average="weighted", zero_division=np.nan
        )
    assert metrics.f1_macro(truth, predicted) == pytest.approx(macro, **EXACT)
    assert metrics.f1_weighted(truth, predicted) == pytest.approx(weighted, **EXACT)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("digits", [1, 2, 7])
def test_rankings_of_classes_equal_scikit_learn(seed: int, digits: int) -> None:
    truth, scores = ranked(seed, digits)
    precision, area = metrics.average_precision(truth, scores), metrics.roc_auc(truth, scores)
    absent = set(metrics.absent_classes(truth).tolist())
    constant = set(np.flatnonzero(truth.all(axis=0)).tolist())
    assert 3 in absent
    assert 5 in constant
    assert set(np.flatnonzero(np.isnan(precision))) == absent
    assert set(np.flatnonzero(np.isnan(area))) == absent | constant
    expected = {
        c: sklearn.metrics.average_precision_score(truth[:, c], scores[:, c])
        for c in range(12)
        if c not in absent
    }
    np.testing.assert_allclose(
        precision[list(expected)], list(expected.values()), atol=1e-9, rtol=0
    )
    assert metrics.mean_average_precision(truth, scores) == pytest.approx(
        np.mean(list(expected.values())), **EXACT
    )
    expected = {
        c: sklearn.metrics.roc_auc_score(truth[:, c], scores[:, c])
        for c in range(12)
        if c not in absent | constant
    }
    np.testing.assert_allclose(area[list(expected)], list(expected.values()), atol=1e-9, rtol=0)
    assert metrics.mean_roc_auc(truth, scores) == pytest.approx(
        np.mean(list(expected.values())), **EXACT
    )
    micro = sklearn.metrics.average_precision_score(truth, scores, average="micro")
    assert metrics.mean_average_precision(truth, scores, "micro") == pytest.approx(micro, **EXACT)
    micro = sklearn.metrics.roc_auc_score(truth.ravel(), scores.ravel())
    assert metrics.mean_roc_auc(truth, scores, "micro") == pytest.approx(micro, **EXACT)


@pytest.mark.parametrize("seed", range(20))
def test_log_loss_equals_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, logits = generator.integers(4, size=40), generator.normal(0, 5, size=(40, 6))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert metrics.log_loss(truth, logits) == pytest.approx(
        sklearn.metrics.log_loss(truth, probabilities, labels=range(6)), **EXACT
    )
    assert metrics.log_loss(truth, logits + 1e4) == pytest.approx(
        metrics.log_loss(truth, logits), abs=1e-6
    )


def test_macro_f1_by_hand_leaves_out_what_never_occurs() -> None:
    truth, predicted = ["folk", "folk", "jazz", "rock"], ["folk", "jazz", "jazz", "blues"]
    scores = metrics.class_scores(truth, predicted, ["rock", "folk", "jazz", "blues", "soul"])
    np.testing.assert_allclose(scores.precision, [math.nan, 1, 1 / 2, 0, math.nan])
    np.testing.assert_allclose(scores.recall, [0, 1 / 2, 1, math.nan, math.nan])
    np.testing.assert_allclose(scores.f1, [0, 2 / 3, 2 / 3, 0, math.nan])
    assert scores.support.tolist() == [1, 2, 1, 0, 0]
    assert metrics.f1_macro(truth, predicted) == pytest.approx((2 / 3 + 2 / 3) / 4)
    assert metrics.f1_weighted(truth, predicted) == pytest.approx((2 * 2 / 3 + 2 / 3) / 4)


def test_average_precision_and_roc_by_hand_with_ties() -> None:
    truth = np.array([[1], [0], [1], [0]])
    scores = np.array([[0.9], [0.5], [0.5], [0.1]])
    # Thresholds 0.9 (precision 1, recall 1/2), then both at 0.5 (precision 2/3, recall 1).
    np.testing.assert_allclose(metrics.average_precision(truth, scores), [1 / 2 + 2 / 3 / 2])
    # Pairs: 0.9 above both, 0.5 equal to one and above the other.
    np.testing.assert_allclose(metrics.roc_auc(truth, scores), [3.5 / 4])
    assert metrics.mean_average_precision(truth, np.ones((4, 1))) == pytest.approx(1 / 2)
    assert metrics.mean_roc_auc(truth, np.ones((4, 1))) == pytest.approx(1 / 2)


def test_without_a_defined_class_the_metrics_are_nan() -> None:
    nothing, scores = np.zeros((3, 2), int), np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    assert math.isnan(metrics.mean_average_precision(nothing, scores))
    assert math.isnan(metrics.mean_roc_auc(nothing, scores, "micro"))
    assert math.isnan(metrics.mean_roc_auc(1 - nothing, scores))
    assert math.isnan(metrics.f1_macro(nothing, nothing))
    assert math.isnan(metrics.f1_weighted(nothing, 1 - nothing))


def test_bootstrap_of_a_metric_equals_that_of_its_mean() -> None:
    generator = np.random.default_rng(5)
    groups = generator.integers(60, size=500)
    truth, predicted = labels_of_groups(groups, generator)
    result = metrics.bootstrap_metric(
        metrics.f1_micro, truth, predicted, 7, groups=groups, resamples=1000
    )
    # The same draws of groups: the two must agree to rounding, not only in distribution.
    expected = metrics.bootstrap_interval(truth == predicted, 7, groups=groups, resamples=1000)
    assert result == pytest.approx(expected, abs=1e-12)


def labels_of_groups(
    groups: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    truth = (groups % 5).astype(np.int64)
    return truth, np.where(
        generator.uniform(size=len(groups)) < 0.6, truth, generator.integers(5, size=len(groups))
    )


def test_bootstrap_of_a_metric_draws_whole_groups() -> None:
    seen: list[np.ndarray] = []
    groups = np.array(["b", "a", "b", "c", "a", "b"])

    def rows(truth: np.ndarray, predicted: np.ndarray) -> float:
        np.testing.assert_array_equal(truth, predicted)
        seen.append(truth)
        return float(len(truth))

    metrics.bootstrap_metric(rows, np.arange(6), np.arange(6), 0, groups=groups, resamples=50)
    members = {"a": {1, 4}, "b": {0, 2, 5}, "c": {3}}
    for drawn in seen:
        counts = {row: int((drawn == row).sum()) for row in range(6)}
        for rows_of_group in members.values():
            assert len({counts[row] for row in rows_of_group}) == 1
        assert sum(counts[min(rows_of_group)] for rows_of_group in members.values()) == 3


def test_bootstrap_leaves_out_resamples_with_nan() -> None:
    truth, scores = np.zeros((12, 1), int), np.linspace(0, 1, 12)[:, None]
    truth[11] = 1  # a third of the resamples do not contain it
    low, high = metrics.bootstrap_metric(
        metrics.mean_average_precision, truth, scores, 0, resamples=200
    )
    assert (low, high) == (1, 1)
    with pytest.raises(ValueError, match="NaN on all 5 resamples of 12 rows"):
        metrics.bootstrap_metric(
            metrics.mean_average_precision, np.zeros((12, 1), int), scores, 0, resamples=5
        )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.confusion_matrix(["a"], ["b"], ["a", "c"]),
            "label 'b' is none of the 2 classes",
        ),
        (lambda: metrics.average_precision([[1]], [[math.nan]]), "1 scores are NaN"),
        (lambda: metrics.roc_auc([1, 0], [0.5, 0.1]), r"\(N, C\), got \(2,\)"),
        (
            lambda: metrics.mean_roc_auc([[1]], [[0.5]], "samples"),
            "average='samples' must be macro or micro",
        ),
        (lambda: metrics.log_loss([0, 1], np.zeros((3, 2))), r"truth \(2,\) and logits \(3, 2\)"),
        (
            lambda: metrics.bootstrap_metric(metrics.f1_micro, [1, 2], [1], 0),
            "2 true and 1 predicted rows",
        ),
    ],
)
def test_wrong_inputs_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
