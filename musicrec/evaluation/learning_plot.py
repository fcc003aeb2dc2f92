"""The picture of a training: loss and validation metric by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from musicrec.evaluation.literal import literal_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@literal_text()
def plot_learning(history: Sequence[dict[str, float]], metric: str, title: str) -> Figure:
    """Draw the training loss and the validation metric one above the other; a line marks where a stage's learning rate begins.

    Parameters
    ----------
    history
        The records of the epochs, in their order.
    metric
        What the validation figure is called.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    curves = figure.subplots(2, sharex=True)
    epochs = [record["epoch"] + 1 for record in history]
    stages = [record["stage"] for record in history]
    for axes, name, label in zip(
        curves, ("loss", "validation"), ("training loss", f"validation {metric}"), strict=True
    ):
        axes.plot(epochs, [record[name] for record in history], marker=".", color="black")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        for place in range(1, len(stages)):
            if stages[place] != stages[place - 1]:
                axes.axvline(epochs[place] - 0.5, linestyle=":", color="grey")
    curves[0].set_title(title)
    curves[1].set_xlabel("epoch")
    curves[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
