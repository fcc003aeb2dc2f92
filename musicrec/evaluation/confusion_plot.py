"""Plot of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musicrec.evaluation.literal import literal_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# With more classes, names and numbers would overlap.
NAMED_CLASSES = 60
NUMBERED_CLASSES = 20
INCHES_PER_CLASS = 0.32


@literal_text()
def plot_confusion(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], title: str
) -> Figure:
    """Plot the fraction of each true class's tracks that is predicted as each class.

    Parameters
    ----------
    confusion
        (C, C) tracks, rows true and columns predicted. A class without tracks is a row of zeros.
    classes
        (C,) names.
    """
    from matplotlib.figure import Figure

    counts = np.asarray(confusion)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, INCHES_PER_CLASS * min(len(classes), NAMED_CLASSES))
    figure = Figure(figsize=(side + 2.5, side + 1.5), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(fractions, vmin=0, vmax=1, cmap="cividis")
    figure.colorbar(image, ax=axes, label="fraction of the true genre's tracks", shrink=0.8)
    axes.set(title=title, xlabel="predicted genre", ylabel="true genre")
    if len(classes) <= NAMED_CLASSES:
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= NUMBERED_CLASSES:
        for row, column in np.argwhere(counts > 0):
            shade = "black" if fractions[row, column] > 0.5 else "white"
            axes.text(
                column, row, counts[row, column], ha="center", va="center", color=shade, fontsize=7
            )
    return figure
