"""Baselines for every result.

Each takes arrays and returns predictions for the queries, so that one metric scores baseline and
model. Rows are tracks. The trained baselines read clip statistics, standardised with the training
rows' mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from musicrec.evaluation.metrics import mean_cosine, unit_rows

INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
RIDGE_PENALTIES = tuple(10.0**power for power in range(0, 7))


def mean_embedding(train_targets: np.ndarray, queries: int) -> np.ndarray:
    """Predict the mean direction of the training targets: the best constant under mean cosine.

    Parameters
    ----------
    train_targets
        (N, D) of any length.

    Returns
    -------
    ndarray of float32
        (queries, D) unit length.
    """
    mean = unit_rows(unit_rows(train_targets).mean(axis=0, keepdims=True))
    return np.repeat(mean, queries, axis=0).astype(np.float32)


def random_unit_vectors(queries: int, dimensions: int, seed: int) -> np.ndarray:
    """Return (queries, dimensions) float32 vectors, uniform on the unit sphere."""
    return unit_rows(np.random.default_rng(seed).normal(size=(queries, dimensions))).astype(
        np.float32
    )


def ridge_embedding(
    train_statistics: np.ndarray,
    train_targets: np.ndarray,
    train_artists: np.ndarray,
    statistics: np.ndarray,
    *,
    penalties: Sequence[float] = RIDGE_PENALTIES,
    folds: int = 5,
) -> np.ndarray:
    """Fit a ridge regression from clip statistics to the direction of the artist's embedding.

    The penalty is chosen by mean cosine over folds of whole artists: tracks of one artist share
    their target, so folds of tracks would choose a penalty that memorises artists.

    Parameters
    ----------
    train_statistics, train_targets, train_artists
        (N, S), (N, D) of any length, (N,) the artist of each row.
    statistics
        (Q, S) of the queries.

    Returns
    -------
    ndarray of float32
        (Q, D).

    Raises
    ------
    ValueError
        There are fewer than two training artists.
    """
    train_statistics, statistics = np.asarray(train_statistics), np.asarray(statistics)
    targets = unit_rows(train_targets)
    artists = len(np.unique(train_artists))
    if artists < 2:
        raise ValueError(
            "ridge regression needs at least 2 training artists to choose its penalty, "
            f"got {artists}"
        )
    splits = list(GroupKFold(min(folds, artists)).split(train_statistics, groups=train_artists))

    def validation_cosine(penalty: float) -> float:
        fitted = [
            (_ridge(penalty).fit(train_statistics[train], targets[train]), held_out)
            for train, held_out in splits
        ]
        return float(
            np.mean(
                [
                    mean_cosine(targets[held_out], model.predict(train_statistics[held_out]))
                    for model, held_out in fitted
                ]
            )
        )

    best = max(penalties, key=validation_cosine)
    return _ridge(best).fit(train_statistics, targets).predict(statistics).astype(np.float32)


def _ridge(penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), Ridge(alpha=penalty))


def class_frequencies(train_labels: np.ndarray, classes: int, queries: int) -> np.ndarray:
    """Predict the log frequency of each class among the training tracks (majority baseline).

    Parameters
    ----------
    train_labels
        (N,) class indices, integers in [0, ``classes``).

    Returns
    -------
    ndarray of float64
        (queries, classes) log-probabilities; the highest is the most frequent class, the first of
        equally frequent ones.
    """
    counts = np.bincount(train_labels, minlength=classes)
    return np.repeat(log_probabilities(counts / counts.sum())[None], queries, axis=0)


def logistic_scores(
    train_statistics: np.ndarray,
    train_labels: np.ndarray,
    statistics: np.ndarray,
    classes: int,
    *,
    inverse_penalty: float = 1.0,
) -> np.ndarray:
    """Fit a multinomial logistic regression on clip statistics.

    Parameters
    ----------
    train_labels
        (N,) class indices, integers in [0, ``classes``). A class that does not occur gets the
        lowest score for every query.
    inverse_penalty
        Larger values regularise less.

    Returns
    -------
    ndarray of float64
        (Q, classes) log-probabilities.
    """
    if len(np.unique(train_labels)) == 1:
        return class_frequencies(train_labels, classes, len(statistics))
    model = _logistic(inverse_penalty).fit(train_statistics, train_labels)
    probabilities = np.zeros((len(statistics), classes))
    probabilities[:, model.classes_] = model.predict_proba(statistics)
    return log_probabilities(probabilities)


def chosen_logistic_scores(
    train_statistics: np.ndarray,
    train_labels: np.ndarray,
    validation_statistics: np.ndarray,
    validation_labels: np.ndarray,
    statistics: np.ndarray,
    classes: int,
    *,
    inverse_penalties: Sequence[float] = INVERSE_PENALTIES,
) -> np.ndarray:
    """Fit the logistic regression of `logistic_scores` with a penalty chosen on validation tracks.

    Thousands of correlated statistics need more regularisation than the default. The penalty with
    the greatest mean log-probability of the true class wins.

    Returns
    -------
    ndarray of float64
        (Q, classes) log-probabilities.
    """
    rows = np.arange(len(validation_labels))
    both = np.concatenate((validation_statistics, statistics))
    fitted = [
        logistic_scores(train_statistics, train_labels, both, classes, inverse_penalty=penalty)
        for penalty in inverse_penalties
    ]
    best = max(fitted, key=lambda scores: scores[rows, validation_labels].mean())
    return best[len(rows) :]


def svm_scores(
    train_statistics: np.ndarray,
    train_labels: np.ndarray,
    statistics: np.ndarray,
    classes: int,
    *,
    inverse_penalty: float = 1.0,
) -> np.ndarray:
    """Fit a support vector machine with a Gaussian kernel on clip statistics.

    The kernel's width is 1 / (number of statistics * their variance), scikit-learn's ``scale``. On
    FMA medium such a machine is published at 63.4 %, above every single network of the thesis.

    Parameters
    ----------
    train_labels
        (N,) class indices, integers in [0, ``classes``). A class that does not occur gets the
        lowest score for every query.
    inverse_penalty
        Larger values regularise less.

    Returns
    -------
    ndarray of float64
        (Q, classes) decision values, not probabilities: votes over pairs of classes, with ties
        broken by the margins.
    """
    present = np.unique(train_labels)
    if len(present) == 1:
        return class_frequencies(train_labels, classes, len(statistics))
    values = _svm(inverse_penalty).fit(train_statistics, train_labels).decision_function(statistics)
    if values.ndim == 1:  # scikit-learn returns only the second of two classes
        values = np.stack((-values, values), axis=1)
    scores = np.full((len(statistics), classes), values.min() - 1)
    scores[:, present] = values
    return scores


def label_frequencies(train_truth: np.ndarray, queries: int) -> np.ndarray:
    """Predict (queries, C) each label's training frequency: the constant with the least log loss.

    Parameters
    ----------
    train_truth
        (N, C) indicators, 0 or 1.
    """
    return np.repeat(np.mean(train_truth, axis=0, dtype=np.float64)[None], queries, axis=0)


def logistic_regression_labels(
    train_statistics: np.ndarray,
    train_truth: np.ndarray,
    statistics: np.ndarray,
    *,
    inverse_penalty: float = 1.0,
) -> np.ndarray:
    """Fit one logistic regression per label on clip statistics.

    Solved by Newton's method, whose time grows with the square of the number of statistics
    (measured: 0.8 s per label at 84,000 tracks and 168 statistics, one core). scikit-learn's faster
    default stops early on rare labels: at a frequency of 0.8 % its weights were half those.

    Parameters
    ----------
    train_statistics, train_truth
        (N, S), (N, C) indicators, 0 or 1.
    statistics
        (Q, S) of the queries.

    Returns
    -------
    ndarray of float64
        (Q, C) probabilities. A label of no or every training track keeps its frequency, 0 or 1.
    """
    frequencies = np.mean(train_truth, axis=0)
    probabilities = label_frequencies(train_truth, len(statistics))
    scaler = StandardScaler().fit(train_statistics)
    train_scaled, scaled = scaler.transform(train_statistics), scaler.transform(statistics)
    for label in np.flatnonzero((frequencies > 0) & (frequencies < 1)):
        model = LogisticRegression(C=inverse_penalty, solver="newton-cholesky", tol=1e-6).fit(
            train_scaled, train_truth[:, label]
        )
        probabilities[:, label] = model.predict_proba(scaled)[:, 1]
    return probabilities


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the log of probabilities, floored at float64's epsilon.

    A class that never occurred then costs 36 nats where it does occur, not infinitely many.
    """
    return np.log(np.maximum(probabilities, np.finfo(np.float64).eps))


def _logistic(inverse_penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))


def _svm(inverse_penalty: float) -> Pipeline:
    # 1 GB of kernel cache: 16 classes of 20,000 tracks fit in 30 s, not 38 s as with 200 MB.
    return make_pipeline(
        StandardScaler(), SVC(C=inverse_penalty, gamma="scale", break_ties=True, cache_size=1000)
    )
