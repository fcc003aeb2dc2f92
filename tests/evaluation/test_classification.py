from __future__ import annotations

import json

import numpy as np
import pytest

from musicrec.evaluation.classification import multi_label_scores, single_label_scores

CLASSES = ("blues", "folk", "jazz", "rock")


def test_single_label_scores_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 3, 3])
    logits = np.log(
        np.array(
            [[6, 2, 1, 1], [2, 6, 1, 1], [1, 6, 2, 1], [1, 6, 2, 1], [2, 1, 1, 6], [2, 1, 6, 1]]
        )
        / 10
    )
    result = single_label_scores(truth, logits, CLASSES, np.array(list("aabbcc")), seed=0)
    assert result["tracks"] == 6
    assert result["f1_micro"] == pytest.approx(4 / 6)
    assert result["f1_macro"] == pytest.approx(
        (2 / 3 + 4 / 5 + 0 + 2 / 3) / 4
    )  # jazz is predicted, wrongly: it counts
    assert result["f1_weighted"] == pytest.approx((2 / 3 + 4 / 5 + 2 / 3) / 3)
    assert result["log_loss"] == pytest.approx(-np.log([0.6, 0.2, 0.6, 0.6, 0.6, 0.1]).mean())
    assert result["absent_classes"] == ["jazz"]
    assert result["per_class"]["jazz"] == {
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "support": 0,
    }
    assert result["confusion"] == [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1]]
    for name in ("f1_micro", "f1_macro"):
        low, high = result[f"{name}_interval"]
        assert low <= result[name] <= high
        assert low < high
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_an_absent_class_is_undefined_and_other_scores_have_no_log_loss() -> None:
    result = single_label_scores(
        np.array([0, 1]), np.eye(4)[:2], CLASSES, np.array([0, 1]), seed=0, probabilistic=False
    )
    assert result["log_loss"] is None
    assert result["per_class"]["rock"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    assert result["f1_macro"] == 1
    assert result["absent_classes"] == ["jazz", "rock"]


def test_multi_label_scores_by_hand() -> None:
    truth = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1]])
    probabilities = np.array([[0.9, 0.2, 0.1, 0.8], [0.4, 0.6, 0.1, 0.7], [0.3, 0.1, 0.5, 0.6]])
    result = multi_label_scores(truth, probabilities, np.array(["x", "y", "x"]), seed=0)
    assert result["hamming"] == pytest.approx(2 / 12)
    assert result["mse"] == pytest.approx(((truth - probabilities) ** 2).mean())
    assert result["f1_micro"] == pytest.approx(2 * 5 / (6 + 6))
    assert result["f1_macro"] == pytest.approx((2 / 3 + 1 + 0 + 1) / 4)
    assert result["map_macro"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    assert result["roc_auc_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert (
        result["tracks"],
        result["classes"],
        result["absent_classes"],
        result["constant_classes"],
    ) == (3, 4, 1, 1)
    for name in ("hamming", "mse", "map_macro", "roc_auc_macro", "f1_macro"):
        assert result[f"{name}_interval"][0] <= result[name] <= result[f"{name}_interval"][1]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_multi_label_scores_of_tracks_without_a_genre_are_undefined_not_nan() -> None:
    result = multi_label_scores(np.zeros((3, 2), int), np.full((3, 2), 0.1), np.arange(3), seed=0)
    assert (result["map_macro"], result["roc_auc_micro"], result["f1_macro"]) == (None, None, None)
    assert (result["absent_classes"], result["hamming"]) == (2, 0)
    assert "map_macro_interval" not in result


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((2, 3)), r"logits \(2, 3\): expected 2 tracks x 4 classes"),
        (np.full((2, 4), np.nan), "2 of 2 tracks are NaN"),
    ],
)
def test_logits_that_do_not_fit_are_named(logits: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        single_label_scores(np.array([0, 1]), logits, CLASSES, np.arange(2), seed=0)
