"""All scores of a genre task as one JSON-ready dictionary; undefined scores are None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from musicrec.evaluation import metrics

MACRO_RESAMPLES = 1000  # 0.2 s at 2,571 clips and 16 classes
LABEL_RESAMPLES = 200  # a ranking of 10,000 clips by 161 labels takes 0.2 s


def single_label_scores(
    truth: np.ndarray,
    logits: np.ndarray,
    classes: Sequence[str],
    groups: np.ndarray,
    seed: int,
    *,
    probabilistic: bool = True,
) -> dict[str, Any]:
    """Score one genre per track (Whitell 2019, Table 3).

    Parameters
    ----------
    truth
        (N,) true class indices.
    logits
        (N, C); the highest is the prediction, the first of equal ones.
    classes
        (C,) names, in the order of the columns.
    groups
        (N,) the artist of each track: the bootstrap resamples artists.
    seed
        Of the bootstrap.
    probabilistic
        Whether softmax(logits) are probabilities; other scores (an SVM's) have no log loss.

    Returns
    -------
    dict
        ``tracks``; ``f1_micro`` (equal to the accuracy) and ``f1_macro``, each with its 95 %
        ``_interval``; ``f1_weighted``; ``log_loss``; ``absent_classes``, the names of classes
        without a track; ``per_class`` by name; ``confusion``, rows true and columns predicted.

    Raises
    ------
    ValueError
        Shapes do not match, a truth is not a column index, or a logit is NaN.
    """
    truth, logits = np.asarray(truth), np.asarray(logits)
    if logits.shape != (len(truth), len(classes)):
        raise ValueError(
            f"logits {logits.shape}: expected {len(truth)} tracks x {len(classes)} classes"
        )
    if np.isnan(logits).any():
        raise ValueError(
            f"the logits of {np.isnan(logits).any(axis=1).sum()} of {len(truth)} tracks are NaN"
        )
    predicted = logits.argmax(axis=1)
    confusion = metrics.confusion_matrix(truth, predicted, np.arange(len(classes)))
    of_class = metrics.scores_of_confusion(confusion)
    return {
        "tracks": len(truth),
        "f1_micro": metrics.f1_micro(truth, predicted),
        "f1_micro_interval": list(
            metrics.bootstrap_interval(truth == predicted, seed, groups=groups)
        ),
        "f1_macro": metrics.f1_macro(truth, predicted),
        "f1_macro_interval": list(
            metrics.bootstrap_metric(
                metrics.f1_macro, truth, predicted, seed, groups=groups, resamples=MACRO_RESAMPLES
            )
        ),
        "f1_weighted": metrics.f1_weighted(truth, predicted),
        "log_loss": metrics.log_loss(truth, logits) if probabilistic else None,
        "absent_classes": [
            name for name, tracks in zip(classes, of_class.support, strict=True) if not tracks
        ],
        "per_class": _by_name(classes, of_class),
        "confusion": confusion.tolist(),
    }


def multi_label_scores(
    truth: np.ndarray, probabilities: np.ndarray, groups: np.ndarray, seed: int
) -> dict[str, Any]:
    """Score many genres per track (Whitell 2019, Table 5).

    Threshold-free metrics accompany the thesis' Hamming loss, which on 161 sparse labels is close
    to that of predicting none.

    Parameters
    ----------
    truth
        (N, C) indicators, 0 or 1.
    probabilities
        (N, C).
    groups, seed
        As in `single_label_scores`.

    Returns
    -------
    dict
        ``tracks`` and ``classes``, their numbers; ``hamming`` at threshold 0.5 and ``mse``;
        ``f1_micro`` and ``f1_macro`` at 0.5; ``map_macro``, ``map_micro``, ``roc_auc_macro``,
        ``roc_auc_micro``; 95 % intervals of the losses and macro metrics as ``_interval``;
        ``absent_classes``, the number of classes without a track (not in either macro mean), and
        ``constant_classes``, the number that every track has (not in the macro ROC-AUC).
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    predicted = probabilities >= 0.5
    scores = {
        "hamming": metrics.hamming_loss(truth, probabilities),
        "mse": metrics.mean_squared_error(truth, probabilities),
        "f1_micro": metrics.f1_micro(truth, predicted),
        "f1_macro": metrics.f1_macro(truth, predicted),
        "map_macro": metrics.mean_average_precision(truth, probabilities),
        "map_micro": metrics.mean_average_precision(truth, probabilities, "micro"),
        "roc_auc_macro": metrics.mean_roc_auc(truth, probabilities),
        "roc_auc_micro": metrics.mean_roc_auc(truth, probabilities, "micro"),
    }
    ranked = {"map_macro": metrics.mean_average_precision, "roc_auc_macro": metrics.mean_roc_auc}
    macro = {name: (metric, probabilities) for name, metric in ranked.items()} | {
        "f1_macro": (metrics.f1_macro, predicted)
    }
    wrong = np.mean(truth != predicted, axis=1)
    squared = np.mean((truth.astype(np.float64) - probabilities) ** 2, axis=1)
    return {
        "tracks": len(truth),
        "classes": truth.shape[1],
        **{name: _defined(value) for name, value in scores.items()},
        "hamming_interval": list(metrics.bootstrap_interval(wrong, seed, groups=groups)),
        "mse_interval": list(metrics.bootstrap_interval(squared, seed, groups=groups)),
        **{
            f"{name}_interval": list(
                metrics.bootstrap_metric(
                    metric, truth, values, seed, groups=groups, resamples=LABEL_RESAMPLES
                )
            )
            for name, (metric, values) in macro.items()
            if not math.isnan(scores[name])
        },
        "absent_classes": len(metrics.absent_classes(truth)),
        "constant_classes": int(truth.astype(bool).all(axis=0).sum()),
    }


def _by_name(
    classes: Sequence[str], scores: metrics.ClassScores
) -> dict[str, dict[str, float | int | None]]:
    columns = zip(classes, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    return {
        name: {
            "precision": _defined(precision),
            "recall": _defined(recall),
            "f1": _defined(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in columns
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
