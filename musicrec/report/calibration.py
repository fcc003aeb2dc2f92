"""Calibration: what the model says beside what is so."""

from __future__ import annotations

import numpy as np

from musicrec.evaluation.calibration import Calibration
from musicrec.report.charts import Axis, Chart, Series
from musicrec.report.palette import BLUE, OTHER, VERMILLION
from musicrec.report.sections import Picture, Section


def similarity_section(calibration: Calibration, model: str) -> Section:
    """Of an embedding: how often a candidate of a certain similarity is a related artist."""
    pairs, related = int(calibration.counts.sum()), int(calibration.positives.sum())
    base = related / pairs if pairs else 0.0
    curve = _curve(
        calibration,
        model,
        "share of related artists (0 to 1)",
        "similarity",
        calibration.edges[:-1] + np.diff(calibration.edges) / 2,
    )
    reference = Series(
        "share among all candidates",
        np.array([-1.0, 1.0]),
        np.array([base, base]),
        OTHER,
        size=0,
        line="dash",
    )
    chart = Chart(
        (curve, reference),
        Axis("predicted cosine similarity (no unit)", limits=(-1, 1)),
        Axis("share of related artists (0 to 1)"),
    )
    pictures = (
        Picture(
            "calibration",
            "Does a higher similarity mean a related artist?",
            "Each point: of all candidates of about this similarity, the share that is really related to the artist of the query, with its "
            "95 % interval. A useful model rises to the right, far over the dashed line, which is the share among all candidates.",
            chart,
        ),
        _counts(calibration, "predicted cosine similarity (no unit)", "pairs"),
    )
    lead = f"{model}: {pairs:,} pairs of a test artist and a candidate, {related:,} of them related ({base:.1%})."
    return Section("calibration", "Calibration", lead, pictures)


def probability_section(calibration: Calibration, model: str, what: str) -> Section:
    """Of a genre task: how often a probability comes true.

    Parameters
    ----------
    what
        Whose probabilities they are ("the predicted genre").
    """
    curve = _curve(
        calibration, model, "share that is true (0 to 1)", "probability", calibration.means()
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
        Axis("share that is true (0 to 1)", limits=(-0.02, 1.02)),
    )
    pictures = (
        Picture(
            "calibration",
            f"Does the probability of {what} come true?",
            "Each point: predictions of about this probability, and the share of them that is true, with its 95 % interval. Under the "
            "dashed line the model is too sure of itself, over it too careful.",
            chart,
        ),
        _counts(calibration, "predicted probability (0 to 1)", "predictions"),
    )
    lead = f"{model}: probabilities of {what}, {int(calibration.counts.sum()):,} in all. "
    return Section(
        "calibration",
        "Calibration",
        lead + f"Expected calibration error: {calibration.error():.3f}.",
        pictures,
    )


def _curve(
    calibration: Calibration, model: str, share: str, quantity: str, x: np.ndarray
) -> Series:
    filled, shares = calibration.filled, calibration.shares()
    low, high = calibration.intervals()
    places = x if len(x) == len(filled) else x[filled]
    hover = [
        f"{quantity} {calibration.edges[b]:.2f} … {calibration.edges[b + 1]:.2f}\n{value:.3f} {share.partition(' (')[0]}\n"
        f"95 %: {lowest:.3f} … {highest:.3f}\n{int(calibration.counts[b]):,} predictions"
        for b, value, lowest, highest in zip(filled, shares, low, high, strict=True)
    ]
    return Series(
        model, places, shares, VERMILLION, hover, size=8, line="solid", low=low, high=high
    )


def _counts(calibration: Calibration, quantity: str, unit: str) -> Picture:
    filled = calibration.filled
    middle = (calibration.edges[:-1] + np.diff(calibration.edges) / 2)[filled]
    hover = [
        f"{calibration.edges[b]:.2f} … {calibration.edges[b + 1]:.2f}\n{int(calibration.counts[b]):,} {unit}"
        for b in filled
    ]
    bars = Series(unit, middle, calibration.counts[filled].astype(float), BLUE, hover, kind="bars")
    limits = (float(calibration.edges[0]), float(calibration.edges[-1]))
    return Picture(
        "calibration-counts",
        "How many predictions stand behind each point",
        f"Bars of the same ranges as above; few {unit} make a wide interval. The axis is logarithmic.",
        Chart(
            (bars,),
            Axis(quantity, limits=limits),
            Axis(f"{unit} (number)", limits=(0.8, 1.5 * float(calibration.counts.max())), log=True),
            height=260,
            legend=False,
        ),
    )
