"""Plot of a training's epochs."""

from __future__ import annotations

from musicrec.evaluation.learning_plot import plot_learning


def test_both_curves_are_drawn_and_the_phases_are_separated() -> None:
    rows = [(0, 0.5, 0.1), (0, 0.3, 0.2), (1, 0.2, 0.4)]
    history = [
        {"epoch": epoch, "stage": stage, "loss": loss, "validation": value}
        for epoch, (stage, loss, value) in enumerate(rows)
    ]
    upper, lower = plot_learning(history, "cosine", "mel.time").axes
    assert upper.get_title() == "mel.time"
    assert upper.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.3], [3, 0.2]]
    assert lower.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2], [3, 0.4]]
    assert lower.get_ylabel() == "validation cosine"
    assert [list(line.get_xdata()) for axes in (upper, lower) for line in axes.lines[1:]] == [
        [2.5, 2.5],
        [2.5, 2.5],
    ]
