"""Calibration section: predicted similarity or probability against what is true."""

from __future__ import annotations

import numpy as np

from musicrec.evaluation.calibration import Calibration
from musicrec.report.charts import Axis, Chart, Series
from musicrec.report.palette import BLUE, OTHER, VERMILLION
from musicrec.report.sections import Plot, Section


def similarity_section(calibration: Calibration, model: str) -> Section:
    """Show how often a candidate of a given similarity is a related artist."""
    pairs, related = int(calibration.counts.sum()), int(calibration.positives.sum())
    base = related / pairs if pairs else 0.0
    curve = _curve(
        calibration,
        model,
        "fraction of related artists (0 to 1)",
        "similarity",
        calibration.edges[:-1] + np.diff(calibration.edges) / 2,
    )
    reference = Series(
        "fraction among all candidates",
        np.array([-1.0, 1.0]),
        np.array([base, base]),
        OTHER,
        size=0,
        line="dash",
    )
    chart = Chart(
        (curve, reference),
        Axis("predicted cosine similarity (no unit)", limits=(-1, 1)),
        Axis("fraction of related artists (0 to 1)"),
    )
    plots = (
        Plot(
            "calibration",
            "Does a higher similarity mean a related artist?",
            "Each point: the fraction of candidates of about this similarity that are related to "
            "the query's artist, with its 95 % interval. A useful model rises to the right, far "
            "above the dashed line, which is the fraction among all candidates.",
            chart,
        ),
        _counts(calibration, "predicted cosine similarity (no unit)", "pairs"),
    )
    lead = (
        f"{model}: {pairs:,} pairs of a test artist and a candidate, "
        f"{related:,} of them related ({base:.1%})."
    )
    return Section("calibration", "Calibration", lead, plots)


def probability_section(calibration: Calibration, model: str, what: str) -> Section:
    """Show how often a predicted probability comes true in a genre task.

    Parameters
    ----------
    what
        The predicted event ("the predicted genre").
    """
    curve = _curve(
        calibration, model, "fraction that is true (0 to 1)", "probability", calibration.means()
    )
    diagonal = Series(
        "perfectly calibrated",
        np.array([0.0, 1.0]),
        np.array([0.0, 1.0]),
        OTHER,
        size=0,
        line="dash",
    )
    chart = Chart(
        (curve, diagonal),
        Axis("predicted probability (0 to 1)", limits=(0, 1)),
        Axis("fraction that is true (0 to 1)", limits=(-0.02, 1.02)),
    )
    plots = (
        Plot(
            "calibration",
            f"Does the probability of {what} come true?",
            "Each point: the fraction of predictions of about this probability that are true, with "
            "its 95 % interval. Below the dashed line the model is overconfident, above it "
            "underconfident.",
            chart,
        ),
        _counts(calibration, "predicted probability (0 to 1)", "predictions"),
    )
    lead = f"{model}: probabilities of {what}, {int(calibration.counts.sum()):,} in all. "
    return Section(
        "calibration",
        "Calibration",
        lead + f"Expected calibration error: {calibration.error():.3f}.",
        plots,
    )


def _curve(
    calibration: Calibration, model: str, fraction: str, quantity: str, x: np.ndarray
) -> Series:
    filled, fractions = calibration.filled, calibration.fractions()
    low, high = calibration.intervals()
    places = x if len(x) == len(filled) else x[filled]
    hover = [
        f"{quantity} {calibration.edges[b]:.2f} … {calibration.edges[b + 1]:.2f}\n"
        f"{value:.3f} {fraction.partition(' (')[0]}\n"
        f"95 %: {lowest:.3f} … {highest:.3f}\n{int(calibration.counts[b]):,} predictions"
        for b, value, lowest, highest in zip(filled, fractions, low, high, strict=True)
    ]
    return Series(
        model, places, fractions, VERMILLION, hover, size=8, line="solid", low=low, high=high
    )


def _counts(calibration: Calibration, quantity: str, unit: str) -> Plot:
    filled = calibration.filled
    middle = (calibration.edges[:-1] + np.diff(calibration.edges) / 2)[filled]
    hover = [
        f"{calibration.edges[b]:.2f} … {calibration.edges[b + 1]:.2f}\n"
        f"{int(calibration.counts[b]):,} {unit}"
        for b in filled
    ]
    bars = Series(unit, middle, calibration.counts[filled].astype(float), BLUE, hover, kind="bars")
    limits = (float(calibration.edges[0]), float(calibration.edges[-1]))
    return Plot(
        "calibration-counts",
        "Number of predictions per point",
        f"Bars of the same ranges as above; few {unit} make a wide interval. "
        "The axis is logarithmic.",
        Chart(
            (bars,),
            Axis(quantity, limits=limits),
            Axis(f"{unit} (number)", limits=(0.8, 1.5 * float(calibration.counts.max())), log=True),
            height=260,
            legend=False,
        ),
    )
