"""Confusion section of a genre task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicrec.evaluation.confusion_plot import plot_confusion
from musicrec.report.charts import Matrix, short
from musicrec.report.sections import Plot, Section, Table, format_number
from musicrec.report.still import style


def confusion_section(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], model: str
) -> Section:
    """Show the matrix (C, C), rows true and columns predicted, and the most confused pairs."""
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(totals, 1)
    texts = [
        [
            f"{true} predicted as {predicted}\n{counts[row, column]} of {totals[row, 0]} tracks"
            for column, predicted in enumerate(classes)
        ]
        for row, true in enumerate(classes)
    ]
    wrong = counts * ~np.eye(len(classes), dtype=bool)
    order = [
        np.unravel_index(place, wrong.shape)
        for place in np.argsort(-wrong, axis=None, kind="stable")[:10]
    ]
    rows = [
        [classes[a], classes[b], str(wrong[a, b]), format_number(fractions[a, b])]
        for a, b in order
        if wrong[a, b]
    ]
    with style():
        still = plot_confusion(counts, [short(name) for name in classes], f"{model}, test tracks")
    content = (
        Plot(
            "confusion-matrix",
            "Confusion matrix",
            "A row is a true genre, a column a predicted one; the shade is the fraction of the "
            "row's tracks. The diagonal is correct.",
            Matrix(
                fractions,
                texts,
                classes,
                classes,
                "predicted genre",
                "true genre",
                "fraction of the true genre's tracks",
            ),
            still=still,
        ),
        Table(
            "confused",
            "Most confused genres",
            "Pairs of genres by falling number of test tracks.",
            ["true genre", "predicted as", "tracks", "fraction of the true genre"],
            rows,
        ),
    )
    lead = f"{model}: {int(np.trace(counts)):,} of {int(counts.sum()):,} test tracks correct."
    return Section("confusion", "Confusion of genres", lead, content)
