"""Table of a ladder: each rung's score, and whether it beats the best rung before it.

Plain data in, text out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from musicrec.catalog.joins import MINIMUM_TEST_ARTISTS
from musicrec.evaluation.paired import PairedDifference, paired_difference
from musicrec.telemetry.tables import csv_table, markdown_table

CSV_COLUMNS = ("rung", "seed", "artist_id", "ndcg")


@dataclass(frozen=True)
class Rung:
    """A system, and by seed its NDCG by test artist (NaN without a related artist)."""

    name: str
    scores: Mapping[int, Mapping[str, float]]

    def means(self) -> list[float]:
        """Return the mean of each seed that has a score."""
        finite = [
            [value for value in of.values() if math.isfinite(value)] for of in self.scores.values()
        ]
        return [fmean(values) for values in finite if values]

    def difference(self, other: Rung) -> PairedDifference | None:
        """Return the difference from another rung over the seeds and artists that both have."""
        return paired_difference(
            (artist, value, other.scores[seed][artist])
            for seed, of in self.scores.items()
            for artist, value in of.items()
            if artist in other.scores.get(seed, {})
        )


def verdicts(rungs: Sequence[Rung]) -> list[tuple[Rung, str, PairedDifference | None, str]]:
    """Return each rung with the rung that it is compared with, the difference and the verdict.

    A rung is compared with the best one before it, by the mean over the seeds.
    """
    rows: list[tuple[Rung, str, PairedDifference | None, str]] = []
    best: Rung | None = None
    for rung in rungs:
        means = rung.means()
        if not means:
            rows.append((rung, "", None, "no score"))
            continue
        if best is None:
            rows.append((rung, "", None, ""))
        else:
            difference = rung.difference(best)
            rows.append((rung, best.name, difference, _verdict(best.name, difference)))
        if best is None or fmean(means) > fmean(best.means()):
            best = rung
    return rows


def _verdict(name: str, difference: PairedDifference | None) -> str:
    if difference is None:
        return f"no artist in common with {name}"
    if difference.artists < MINIMUM_TEST_ARTISTS:
        return f"{difference.artists} test artists say nothing"
    return f"{difference.verdict} than {name}"


def to_markdown(rungs: Sequence[Rung], k: int) -> str:
    """Return a heading, a guide, one table with a row per rung, and a conclusion."""
    columns = ("rung", f"NDCG@{k}", "compared with", "difference (95 %)", "verdict")
    rows = verdicts(rungs)
    cells = []
    for rung, other, difference, verdict in rows:
        means = rung.means()
        score = f"{fmean(means):.3f}" if means else ""
        score += f" ± {stdev(means):.3f}" if len(means) > 1 else ""
        cells.append([rung.name, score, other, str(difference or ""), verdict])
    seeds = len(rungs[0].scores)
    lines = [
        "# What each part brings on this catalog",
        "",
        f"Retrieval of the artists related to each test artist: mean over {seeds} "
        f"{'splits of the artists' if seeds > 1 else 'split of the artists'}, ± the standard "
        "deviation. Each rung is compared with the best one above it, paired over test artists; "
        "the interval is a bootstrap over artists, each with all of its splits.",
        "",
        markdown_table(columns, cells, right=columns[1:2]),
        "",
        _conclusion(rows),
    ]
    return "\n".join(lines) + "\n"


def _conclusion(rows: Sequence[tuple[Rung, str, PairedDifference | None, str]]) -> str:
    proven = [rung.name for rung, _, difference, _ in rows if difference and difference.better]
    if not proven:
        return "No rung is proven better than those above it."
    return f"Proven better than everything above: {', '.join(proven)}."


def to_csv(rungs: Sequence[Rung]) -> str:
    """Return one line per rung, seed and test artist in full precision."""
    return csv_table(
        CSV_COLUMNS,
        (
            dict(zip(CSV_COLUMNS, (rung.name, seed, artist, value), strict=True))
            for rung in rungs
            for seed, of in rung.scores.items()
            for artist, value in of.items()
        ),
    )
