"""A name with dollar signs in a plot is shown literally, not parsed as a formula."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from musicrec.evaluation.confusion_plot import plot_confusion
from musicrec.evaluation.learning_plot import plot_learning
from musicrec.evaluation.spectrogram_plots import plot_edges, plot_feature

NAME = r"$\nothing$"
CLIP = np.zeros((12, 643), np.float32)
HISTORY = [{"epoch": 0, "stage": 0, "loss": 1.0, "validation": 0.5}]
PLOTS = {
    "confusion": lambda: plot_confusion([[1, 0], [0, 1]], [NAME, "Rock"], NAME),
    "learning": lambda: plot_learning(HISTORY, "cosine", NAME),
    "feature": lambda: plot_feature(CLIP, "chroma", NAME),
    "edges": lambda: plot_edges(CLIP, "chroma", NAME),
}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_a_name_is_no_formula(plot: Callable[[], Figure]) -> None:
    figure = plot()
    figure.savefig(io.BytesIO())
    assert any(
        NAME in text.get_text() and not text.get_parse_math() for text in figure.findobj(Text)
    )
