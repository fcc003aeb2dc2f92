from __future__ import annotations

import numpy as np
import pytest

from musicrec.evaluation.confusion_plot import NAMED_CLASSES, plot_confusion


def test_a_confusion_matrix_is_drawn_as_fractions_of_its_rows() -> None:
    figure = plot_confusion([[3, 1], [0, 0]], ["Rock", "Jazz"], "mel.time")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Rock", "Jazz"]
    assert [text.get_text() for text in axes.texts] == ["3", "1"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
        "predicted genre",
        "true genre",
        "mel.time",
    )


@pytest.mark.parametrize("classes", [NAMED_CLASSES + 1, 161])
def test_many_classes_are_drawn_without_names(classes: int) -> None:
    axes = plot_confusion(
        np.eye(classes, dtype=int), [f"genre {number}" for number in range(classes)], ""
    ).axes[0]
    assert not any("genre" in label.get_text() for label in axes.get_xticklabels())
    assert not axes.texts
