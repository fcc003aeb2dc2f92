from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from musicrec.evaluation import baselines
from musicrec.evaluation.metrics import mean_cosine


def test_no_constant_prediction_beats_the_mean_embedding():
    generator = np.random.default_rng(1)
    targets = generator.normal([2, 0, 0, 1, 0, 0], 1, size=(60, 6)) * generator.uniform(
        0.1, 50, size=(60, 1)
    )
    mean = baselines.mean_embedding(targets, 60)
    assert mean.shape == (60, 6)
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1, atol=1e-6)
    best = mean_cosine(targets, mean)
    for other in baselines.random_unit_vectors(200, 6, seed=0) * 0.1 + mean[0]:
        assert mean_cosine(targets, np.tile(other, (60, 1))) <= best + 1e-9


def test_random_unit_vectors_are_uniform_and_seeded():
    vectors = baselines.random_unit_vectors(4000, 5, seed=2)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=4 / np.sqrt(5 * 4000))
    np.testing.assert_allclose(vectors.T @ vectors / 4000, np.eye(5) / 5, atol=0.02)
    np.testing.assert_array_equal(vectors, baselines.random_unit_vectors(4000, 5, seed=2))


@pytest.fixture
def regression():
    """Return tracks of 40 artists: noisy statistics of the embedding's direction, and noise."""
    generator = np.random.default_rng(3)
    artists = np.repeat(np.arange(40), 6)
    embedding = generator.normal(size=(40, 5))
    signal = embedding[artists] @ generator.normal(size=(5, 8)) + generator.normal(size=(240, 8))
    noise = 100 + 30 * generator.normal(size=(240, 60))
    return np.concatenate((signal, noise), axis=1), embedding[artists], artists


def test_ridge_finds_the_embedding_of_artists_it_never_saw(regression):
    statistics, targets, artists = regression
    train, test = artists < 30, artists >= 30
    result = baselines.ridge_embedding(
        statistics[train], targets[train], artists[train], statistics[test]
    )
    assert result.shape == (60, 5)
    mean = mean_cosine(targets[test], baselines.mean_embedding(targets[train], 60))
    assert mean_cosine(targets[test], result) > mean + 0.3


def test_ridge_chooses_its_penalty_on_artists_held_out(regression):
    statistics, targets, artists = regression
    # Columns that identify the artist but not the embedding: folds of tracks would choose the
    # smallest penalty, which uses them.
    voices = np.random.default_rng(7).normal(size=(40, 60))[artists] + 0.01 * np.random.default_rng(
        8
    ).normal(size=(240, 60))
    statistics = np.concatenate((statistics[:, :8], voices), axis=1)
    train, test = artists < 30, artists >= 30

    def cosine(*penalties):
        result = baselines.ridge_embedding(
            statistics[train], targets[train], artists[train], statistics[test], penalties=penalties
        )
        return mean_cosine(targets[test], result)

    small, large = cosine(1e-3), cosine(300.0)
    assert large > small + 0.1
    assert cosine(1e-3, 300.0) == large


def test_ridge_needs_two_artists(regression):
    statistics, targets, artists = regression
    with pytest.raises(ValueError, match="at least 2 training artists"):
        baselines.ridge_embedding(statistics[:6], targets[:6], artists[:6], statistics)


def test_classifiers_learn_what_they_can_and_no_more():
    generator = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], 60)
    centres = np.array([(0, 0), (4, 0), (0, 4)])
    separable = centres[labels] + generator.normal(size=(180, 2))
    # A ring around a core: no straight line separates them, a Gaussian kernel does.
    radius = np.where(np.arange(180) < 90, 1, 4) + 0.3 * generator.normal(size=180)
    angle = generator.uniform(0, 2 * np.pi, size=180)
    ring = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    ring_labels = (np.arange(180) < 90).astype(np.int64)
    train, test = np.arange(180) % 3 > 0, np.arange(180) % 3 == 0

    def accuracy(scores, statistics, truth):
        predicted = scores(statistics[train] * 1000, truth[train], statistics[test] * 1000, 3)
        return np.mean(predicted.argmax(axis=1) == truth[test])

    assert accuracy(baselines.logistic_scores, separable, labels) > 0.9
    assert accuracy(baselines.svm_scores, separable, labels) > 0.9
    assert accuracy(baselines.logistic_scores, ring, ring_labels) < 0.75
    assert accuracy(baselines.svm_scores, ring, ring_labels) > 0.95


@pytest.fixture
def genres():
    """Return four separable classes, of which the third never occurs in training."""
    generator = np.random.default_rng(5)
    labels = np.array([3] * 90 + [0] * 60 + [1] * 50)
    statistics = 100 * (
        np.eye(4)[labels] @ generator.normal(size=(4, 6)) * 4 + generator.normal(size=(200, 6))
    )
    return statistics, labels


def test_class_frequencies_are_the_majority_baseline(genres):
    scores = baselines.class_frequencies(genres[1], 4, 3)
    np.testing.assert_allclose(np.exp(scores), np.tile([0.3, 0.25, 0, 0.45], (3, 1)), atol=1e-12)
    assert np.isfinite(scores).all()
    assert scores.argmax(axis=1).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("scores", "classifier"),
    [
        (baselines.logistic_scores, LogisticRegression(max_iter=2000)),
        (baselines.svm_scores, SVC(break_ties=True)),
    ],
)
def test_class_scores_are_highest_for_the_label_that_the_classifier_predicts(
    genres, scores, classifier
):
    statistics, truth = genres
    queries = 100 * np.random.default_rng(6).normal(size=(500, 6)) * 3
    for kept in (np.ones(200, bool), truth != 1):  # three classes and two
        result = scores(statistics[kept], truth[kept], queries, 4)
        assert result.shape == (500, 4)
        fitted = make_pipeline(StandardScaler(), classifier).fit(statistics[kept], truth[kept])
        np.testing.assert_array_equal(result.argmax(axis=1), fitted.predict(queries))
        assert (result[:, 2] == result.min(axis=1)).all()
    only = scores(statistics[:90], truth[:90], queries, 4)  # nothing to fit
    assert (only.argmax(axis=1) == 3).all()


def test_logistic_scores_are_log_probabilities(genres):
    result = baselines.logistic_scores(*genres, genres[0], 4)
    np.testing.assert_allclose(np.exp(result).sum(axis=1), 1, atol=1e-12)
    assert np.exp(result)[np.arange(200), genres[1]].mean() > 0.9


def test_one_vs_rest_probabilities_equal_separate_fits_and_constant_labels_keep_their_frequency(
    genres,
):
    statistics, labels = genres
    generator = np.random.default_rng(7)
    truth = np.stack(
        (labels == 3, labels != 0, np.zeros(200), np.ones(200), generator.uniform(size=200) < 0.02),
        axis=1,
    ).astype(np.int64)
    queries = 100 * generator.normal(size=(40, 6))
    result = baselines.logistic_regression_labels(statistics, truth, queries)
    assert result.shape == (40, 5)
    np.testing.assert_array_equal(result[:, 2:4], np.tile([0, 1], (40, 1)))
    for label in (0, 1, 4):
        separate = make_pipeline(
            StandardScaler(), LogisticRegression(tol=1e-10, max_iter=5000)
        ).fit(statistics, truth[:, label])
        np.testing.assert_allclose(
            result[:, label], separate.predict_proba(queries)[:, 1], atol=1e-4
        )
    # The last label does not depend on the statistics, so its mean probability over the training
    # tracks is near its frequency.
    fitted = baselines.logistic_regression_labels(statistics, truth, statistics)
    np.testing.assert_allclose(
        fitted.mean(axis=0), baselines.label_frequencies(truth, 1)[0], atol=1e-4
    )


def test_label_frequencies_are_the_constant_with_the_least_log_loss():
    truth = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    frequencies = baselines.label_frequencies(truth, 2)
    np.testing.assert_array_equal(frequencies, [[0.75, 0.25, 0]] * 2)


def test_the_chosen_penalty_fits_the_validation_tracks_best():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 3, 150)
    values = generator.normal(size=(150, 300)) + 0.3 * np.eye(3, 300)[labels] * 5
    train, validation, test = np.split(np.arange(150), [60, 100])
    penalties = (1e-3, 1e-1, 10.0)

    def scores(rows: np.ndarray, penalty: float) -> np.ndarray:
        return baselines.logistic_scores(
            values[train], labels[train], values[rows], 3, inverse_penalty=penalty
        )

    likelihoods = [
        scores(validation, penalty)[np.arange(len(validation)), labels[validation]].mean()
        for penalty in penalties
    ]
    best = penalties[int(np.argmax(likelihoods))]
    assert best != penalties[-1]  # the weakest penalty overfits here
    chosen = baselines.chosen_logistic_scores(
        *(values[train], labels[train], values[validation], labels[validation], values[test], 3),
        inverse_penalties=penalties,
    )
    np.testing.assert_allclose(chosen, scores(test, best))
