"""Baselines that stand beside every result.

Each takes arrays and returns predictions for the queries, so that the same metric scores it and the model. Rows are tracks. Inputs of the
trained ones are clip statistics, standardised with the training rows' mean and deviation.
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

STATISTICS = ("mean", "std", "skewness", "kurtosis", "median", "min", "max")
RIDGE_PENALTIES = tuple(10.0**power for power in range(0, 7))


def clip_statistics(feature: np.ndarray) -> np.ndarray:
    """Seven statistics of each row of a feature over time: the clip's summary that FMA's baselines use (Defferrard et al. 2017).

    Parameters
    ----------
    feature
        (F, T) un-standardised.

    Returns
    -------
    ndarray of float32
        (7 F,) all means first, then in the order of ``STATISTICS``. Standard deviation, skewness and excess kurtosis are the population's;
        a row that does not vary has skewness and kurtosis 0.

    Raises
    ------
    ValueError
        The feature is no matrix, has no frame, or holds a value that is not finite.
    """
    feature = np.asarray(feature, dtype=np.float64)
    if feature.ndim != 2 or not feature.size or not np.isfinite(feature).all():
        raise ValueError(f"clip statistics need a finite (frequency, time) feature with at least one frame, got shape {feature.shape}")
    mean = feature.mean(axis=1)
    centred = feature - mean[:, None]
    variance = np.mean(centred**2, axis=1)
    # Below this the differences are rounding errors of the mean, and their moments mean nothing.
    varies = variance > (np.finfo(np.float64).eps * np.abs(feature).max(axis=1)) ** 2
    scale = np.where(varies, variance, 1.0)
    skewness = np.where(varies, np.mean(centred**3, axis=1) / scale**1.5, 0.0)
    kurtosis = np.where(varies, np.mean(centred**4, axis=1) / scale**2 - 3, 0.0)
    rows = (mean, np.sqrt(variance), skewness, kurtosis, np.median(feature, axis=1), feature.min(axis=1), feature.max(axis=1))
    return np.concatenate(rows).astype(np.float32)


def mean_embedding(train_targets: np.ndarray, queries: int) -> np.ndarray:
    """The mean of the training targets' directions, for every query: the best constant under mean cosine.

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
    """(queries, dimensions) float32, uniform on the unit sphere."""
    return unit_rows(np.random.default_rng(seed).normal(size=(queries, dimensions))).astype(np.float32)


def ridge_embedding(
    train_statistics: np.ndarray,
    train_targets: np.ndarray,
    train_artists: np.ndarray,
    statistics: np.ndarray,
    *,
    penalties: Sequence[float] = RIDGE_PENALTIES,
    folds: int = 5,
) -> np.ndarray:
    """Ridge regression from clip statistics to the direction of the artist's embedding.

    The penalty with the best mean cosine over folds of whole artists is taken: tracks of one artist share their target, so that folds of
    tracks would choose a penalty that memorises artists.

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
        raise ValueError(f"ridge regression needs at least 2 training artists to choose its penalty, got {artists}")
    splits = list(GroupKFold(min(folds, artists)).split(train_statistics, groups=train_artists))

    def validation_cosine(penalty: float) -> float:
        fitted = [(_ridge(penalty).fit(train_statistics[train], targets[train]), held_out) for train, held_out in splits]
        return float(np.mean([mean_cosine(targets[held_out], model.predict(train_statistics[held_out])) for model, held_out in fitted]))

    best = max(penalties, key=validation_cosine)
    return _ridge(best).fit(train_statistics, targets).predict(statistics).astype(np.float32)


def _ridge(penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), Ridge(alpha=penalty))


def popularity_order(named: np.ndarray) -> np.ndarray:
    """(A,) all artists, those first that most others name as related; equal ones by position.

    Parameters
    ----------
    named
        (A,) how many artists name each one. Count only relations that may be known: those of held-out artists are what is asked for.
    """
    return np.argsort(-np.asarray(named), kind="stable")


def majority_class(train_labels: np.ndarray, queries: int) -> np.ndarray:
    """(queries,) the most frequent training label; of equally frequent ones the first in sorted order."""
    labels, counts = np.unique(train_labels, return_counts=True)
    return np.repeat(labels[np.argmax(counts)], queries)


def logistic_regression(
    train_statistics: np.ndarray, train_labels: np.ndarray, statistics: np.ndarray, *, inverse_penalty: float = 1.0
) -> np.ndarray:
    """(Q,) labels by multinomial logistic regression on clip statistics; a larger ``inverse_penalty`` regularises less."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    return model.fit(train_statistics, train_labels).predict(statistics)


def rbf_svm(train_statistics: np.ndarray, train_labels: np.ndarray, statistics: np.ndarray, *, inverse_penalty: float = 1.0) -> np.ndarray:
    """(Q,) labels by a support vector machine with a Gaussian kernel on clip statistics.

    The kernel's width is 1 / (number of statistics * their variance), scikit-learn's ``scale``. On FMA medium such a machine is published
    at 63.4 %, above every single network of the thesis.
    """
    model = make_pipeline(StandardScaler(), SVC(C=inverse_penalty, gamma="scale"))
    return model.fit(train_statistics, train_labels).predict(statistics)
