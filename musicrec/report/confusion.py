"""Which genre is taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicrec.evaluation.confusion_plot import plot_confusion
from musicrec.report.charts import Matrix, short
from musicrec.report.sections import Picture, Section, Table, figure
from musicrec.report.still import style


def confusion_section(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], model: str
) -> Section:
    """The matrix (C, C), rows true and columns predicted, and the pairs that are most often confused."""
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    texts = [
        [
            f"{true} taken for {predicted}\n{counts[row, column]} of {totals[row, 0]} tracks"
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
        [classes[a], classes[b], str(wrong[a, b]), figure(shares[a, b])]
        for a, b in order
        if wrong[a, b]
    ]
    with style():
        still = plot_confusion(counts, [short(name) for name in classes], f"{model}, test tracks")
    content = (
        Picture(
            "confusion-matrix",
            "Confusion matrix",
            "A row is a true genre, a column a predicted one; the shade is the share of the row's tracks. The diagonal is what is right.",
            Matrix(
                shares,
                texts,
                classes,
                classes,
                "predicted genre",
                "true genre",
                "share of the true genre's tracks",
            ),
            still=still,
        ),
        Table(
            "confused",
            "Most often confused",
            "Pairs of genres by falling number of test tracks.",
            ["true genre", "taken for", "tracks", "share of the true genre's"],
            rows,
        ),
    )
    lead = f"{model}: {int(np.trace(counts)):,} of {int(counts.sum()):,} test tracks right."
    return Section("confusion", "Confusion of genres", lead, content)
