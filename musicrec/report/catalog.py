"""Catalog sections: long tail by location, genre and year (Whitell 2019, Figure 7), and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.split import split_report, track_labels
from musicrec.report.charts import Axis, Chart, Series, names_axis
from musicrec.report.palette import BLUE, GREEN, VERMILLION
from musicrec.report.sections import Plot, Section, Table
from musicrec.schema import SPLITS

MOST_BARS = 30
MOST_LABELS = 15
YEAR_STEPS = (1, 2, 5, 10, 25, 50)
MOST_YEAR_BARS = 60
_LOOKS = dict(
    zip(SPLITS, ((BLUE, "circle"), (GREEN, "square"), (VERMILLION, "diamond")), strict=True)
)


def tail_section(tracks: pa.Table, artists: pa.Table) -> Section:
    """Show how the tracks are spread over countries, genres and years (Figure 7)."""
    labels = track_labels(tracks, artists)
    plots = []
    for kind, what in (("country", "location"), ("genre", "genre")):
        counts = {
            entry["values"]: entry["counts"]
            for entry in labels[kind].drop_null().value_counts().to_pylist()
        }
        if counts:
            plots.append(_tail(counts, kind, what, tracks.num_rows))
    years = tracks["year"].drop_null().to_numpy()
    if len(years):
        plots.append(_years(years, tracks.num_rows))
    if not plots:
        return Section(
            "tail",
            "Long tail of the catalog",
            missing="the catalog's tracks have no country, genre or year",
        )
    lead = f"{tracks.num_rows:,} tracks by {len(pc.unique(tracks['artist_id'])):,} artists."
    return Section("tail", "Long tail of the catalog", lead, tuple(plots))


def _tail(counts: Mapping[str, int], kind: str, what: str, tracks: int) -> Plot:
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    shown, total = ranked[:MOST_BARS], sum(counts.values())
    half = int(np.searchsorted(np.cumsum([count for _, count in ranked]), total / 2)) + 1
    plural = {"country": "countries", "genre": "genres"}[kind]
    facts = [f"{half} of {len(ranked)} {plural} have half of the tracks"]
    if rest := ranked[MOST_BARS:]:
        facts.append(f"the {len(rest)} not shown have {sum(count for _, count in rest):,} tracks")
    if total < tracks:
        facts.append(f"unknown for {tracks - total:,} tracks")
    values = np.array([count for _, count in shown], float)
    hover = [f"{label}\n{count:,} tracks ({count / total:.1%})" for label, count in shown]
    bars = Series(
        "tracks", values, np.arange(len(shown), dtype=float), BLUE, hover, kind="horizontal bars"
    )
    names = names_axis([label for label, _ in shown], reverse=True)
    return Plot(
        f"figure-07-{what}",
        f"Tracks by {what}" + (" (the artist's country)" if kind == "country" else ""),
        "; ".join(facts) + ".",
        Chart((bars,), Axis("tracks (number)"), names, height=100 + 19 * len(shown), legend=False),
        thesis="Figure 7",
    )


def _years(years: np.ndarray, tracks: int) -> Plot:
    first, last = int(years.min()), int(years.max())
    step = next(
        (step for step in YEAR_STEPS if (last - first) // step < MOST_YEAR_BARS), YEAR_STEPS[-1]
    )
    starts, counts = np.unique(years // step * step, return_counts=True)
    hover = [
        f"{start}" + (f" … {start + step - 1}" if step > 1 else "") + f"\n{count:,} tracks"
        for start, count in zip(starts, counts, strict=True)
    ]
    bars = Series("tracks", starts + (step - 1) / 2, counts.astype(float), BLUE, hover, kind="bars")
    reading = f"{first} to {last}, half of the tracks from {int(np.median(years))} on"
    reading += f"; a bar is {step} years." if step > 1 else "; a bar is a year."
    if len(years) < tracks:
        reading += f" Unknown for {tracks - len(years):,} tracks."
    chart = Chart((bars,), Axis("year"), Axis("tracks (number)"), height=320, legend=False)
    return Plot("figure-07-year", "Tracks by year", reading, chart, thesis="Figure 7")


def splits_section(tracks: pa.Table, artists: pa.Table) -> Section:
    """Show how many tracks and artists each split has, and how similar the splits are."""
    report = split_report(tracks, artists)
    total = sum(report["tracks"].values())
    rows = [
        [
            split,
            f"{report['tracks'][split]:,}",
            f"{report['tracks'][split] / max(1, total):.1%}",
            f"{report['artists'][split]:,}",
        ]
        for split in SPLITS
    ]
    table = Table(
        "splits",
        "Tracks and artists of each split",
        "No artist is in two splits.",
        ["split", "tracks", "fraction", "artists"],
        rows,
    )
    charts = [_ratios(kind, ratios) for kind, ratios in report["ratios"].items() if ratios]
    widest = [
        f"{kind}: {largest['label']}, by {100 * largest['difference']:.1f} points"
        for kind, largest in report["largest_difference"].items()
    ]
    lead = f"Labels that differ most between two splits: {'; '.join(widest)}." if widest else ""
    return Section("splits", "Training, validation and test", lead, (table, *charts))


def _ratios(kind: str, ratios: Mapping[str, Mapping[str, float]]) -> Plot:
    labels = sorted(ratios, key=lambda label: -sum(ratios[label].values()))[:MOST_LABELS]
    if kind == "era":
        labels = sorted(labels, key=lambda label: int(label.rstrip("s")))
    series = [_fractions(split, labels, ratios) for split in SPLITS]
    most = 100 * max(max(ratios[label].values()) for label in labels)
    more = (
        "" if len(labels) == len(ratios) else f" The {len(labels)} most frequent of {len(ratios)}."
    )
    return Plot(
        f"splits-{kind}",
        f"Fraction of each {kind} in each split",
        f"One point per split; the closer the three, the more similar the splits.{more}",
        Chart(
            tuple(series),
            Axis("fraction of the split's tracks (%)", limits=(-0.03 * most, 1.05 * most)),
            names_axis(labels, reverse=True),
            height=120 + 24 * len(labels),
        ),
    )


def _fractions(split: str, labels: list[str], ratios: Mapping[str, Mapping[str, float]]) -> Series:
    values = np.array([100 * ratios[label][split] for label in labels])
    hover = [
        f"{label}\n{value:.1f} % of {split}" for label, value in zip(labels, values, strict=True)
    ]
    colour, symbol = _LOOKS[split]
    return Series(
        split, values, np.arange(len(labels), dtype=float), colour, hover, symbol=symbol, size=9
    )


def failures_section(groups: Sequence[Mapping[str, Any]], errors: str) -> Section:
    """Show the rows of the errors table by reason.

    Parameters
    ----------
    groups
        With ``stage``, ``reason``, ``count`` and ``examples`` (`musicrec.inspection.errors.Group`).
    errors
        Location of the table.
    """
    if not groups:
        return Section("failures", "Unreadable input", missing="no file of this catalog failed")
    rows = [
        [
            group["stage"],
            group["reason"],
            f"{group['count']:,}",
            "; ".join(
                ": ".join(filter(None, (row["track_id"], row["detail"])))
                for row in group["examples"]
            ),
        ]
        for group in groups
    ]
    total = sum(group["count"] for group in groups)
    reading = f"{total:,} rows in all, each with its reason, in {errors}."
    table = Table(
        "errors", "Errors by reason", reading, ["stage", "reason", "rows", "for example"], rows
    )
    return Section(
        "failures",
        "Unreadable input",
        "Input that failed is left out of training and evaluation, and listed.",
        (table,),
    )
