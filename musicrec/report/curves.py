"""Learning curves section: training loss and validation metric by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from musicrec.report.charts import Axis, Chart, Series
from musicrec.report.palette import BLACK, CATEGORIES, DASHES
from musicrec.report.sections import Plot, Section

History = Sequence[Mapping[str, float]]


def curves_section(
    histories: Mapping[str, History], metric: str, loss: str, leading: str
) -> Section:
    """Plot all training runs in two charts.

    Parameters
    ----------
    histories
        The epochs of each model, each with ``epoch``, ``loss`` and ``validation``.
    metric, loss
        Names of the validation metric and of the minimised loss.
    """
    trained = {name: history for name, history in histories.items() if history}
    if not trained:
        return Section(
            "curves", "Learning curves", missing="no model of this run was trained epoch by epoch"
        )
    plots = (
        Plot(
            "learning-curves-validation",
            f"Validation {metric} by epoch",
            "One line per model, on artists that it was not trained on. The weights of the best "
            "epoch are kept; a line that falls after it shows overfitting.",
            _lines(trained, "validation", f"validation {metric} (no unit)", leading),
        ),
        Plot(
            "learning-curves-loss",
            "Training loss by epoch",
            f"The {loss} on the training tracks, which falls as long as the model learns.",
            _lines(trained, "loss", f"{loss} (no unit)", leading),
        ),
    )
    return Section(
        "curves", "Learning curves", f"{len(trained)} training runs, epoch by epoch.", plots
    )


def _lines(histories: Mapping[str, History], field: str, title: str, leading: str) -> Chart:
    series = []
    colours = [colour for colour in CATEGORIES if colour != BLACK]
    for number, (name, history) in enumerate(histories.items()):
        epochs = np.array([epoch["epoch"] + 1 for epoch in history])
        values = np.array([epoch[field] for epoch in history])
        hover = [
            f"{name}\nepoch {epoch}: {value:.4g}"
            for epoch, value in zip(epochs, values, strict=True)
        ]
        main = name == leading
        colour, dash = colours[number % len(colours)], DASHES[number // len(colours) % len(DASHES)]
        look = (
            {"colour": BLACK, "line": "solid", "width": 3.0}
            if main
            else {"colour": colour, "line": dash}
        )
        series.append(Series(name, epochs, values, hover=hover, size=4, **look))
    return Chart(
        tuple(series), Axis("epoch (passes over the training tracks)"), Axis(title), height=420
    )
