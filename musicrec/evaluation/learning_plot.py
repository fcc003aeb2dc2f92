"""Plot of a training: loss and validation metric by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from musicrec.evaluation.literal import literal_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@literal_text()
def plot_learning(history: Sequence[dict[str, float]], metric: str, title: str) -> Figure:
    """Plot training loss and validation metric by epoch; a line marks each new learning rate.

    Parameters
    ----------
    history
        The epochs' records in order.
    metric
        Name of the validation metric.
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
