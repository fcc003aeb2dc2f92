"""Table of an ablation: each row's difference, scores, and whether they exceed noise.

Plain data in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from musicrec.catalog.joins import MINIMUM_TEST_ARTISTS
from musicrec.evaluation.paired import PairedDifference, paired_difference
from musicrec.evaluation.thesis import Metric
from musicrec.studies.comparison import NOTHING, ComparisonRow, SeedResult, spread
from musicrec.telemetry.tables import csv_table, markdown_table

COSINE = Metric("cosine", "test cosine", True, decimals=3)
NDCG = Metric("ndcg@10", "NDCG@10", True, decimals=3)
RECALL = Metric("recall@10", "recall@10", True, decimals=3)
METRICS = (COSINE, NDCG, RECALL)
# Metrics that decide a verdict.
JUDGED = (COSINE, NDCG)
HELPS, HURTS, NOISE, MIXED, UNKNOWN = "helps", "hurts", "within noise", "mixed", "not run"
FEW = "too few test artists"  # for a verdict
# Conclusion about a change from the verdict on the row without it.
LEFT_OUT = {
    HURTS: "needed",
    NOISE: "the change has no effect beyond noise",
    HELPS: "better without it",
    MIXED: "mixed",
}
CSV_COLUMNS = (
    "row",
    "differs",
    "beside",
    "metric",
    "mean",
    "deviation",
    "difference",
    "interval_low",
    "interval_high",
    "verdict",
    "seeds",
    "artists",
    "seconds",
)


@dataclass(frozen=True)
class SeedScores:
    """Scores of one row with one seed.

    Attributes
    ----------
    values
        By metric, then by test track (cosine) or test artist (retrieval).
    artist_of
        The artist of each test track.
    targets
        Key of the embeddings that the models predict: cosines to different targets are not
        comparable.
    seconds
        Training time of the row, including all models it needs.
    """

    seed: int
    values: Mapping[str, Mapping[str, float]]
    artist_of: Mapping[str, str]
    targets: str
    seconds: float

    def result(self) -> SeedResult:
        """Return the means; artists without a relation are left out."""
        return SeedResult(
            {name: float(np.nanmean(list(of.values()))) for name, of in self.values.items()},
            seconds=self.seconds,
        )


@dataclass(frozen=True)
class AblationRow:
    """One configuration.

    Attributes
    ----------
    differs
        Description of the difference from ``baseline``.
    baseline
        The row that it is compared with; None for the first.
    """

    name: str
    differs: str
    baseline: str | None
    seeds: Sequence[SeedScores]
    differences: Mapping[str, PairedDifference] = field(default_factory=dict)

    @property
    def scores(self) -> ComparisonRow:
        """Return means and deviations over the seeds."""
        return ComparisonRow(self.name, seeds=tuple(seed.result() for seed in self.seeds))

    @property
    def verdict(self) -> str:
        """Say whether the row is better or worse than its baseline: an interval excludes 0."""
        if self.baseline is None:
            return NOTHING
        if not self.differences:
            return UNKNOWN
        judged = [
            self.differences[metric.name] for metric in JUDGED if metric.name in self.differences
        ]
        judged = [each for each in judged if each.artists >= MINIMUM_TEST_ARTISTS]
        if not judged:
            return FEW
        better, worse = any(each.better for each in judged), any(each.worse for each in judged)
        return {(True, False): HELPS, (False, True): HURTS, (True, True): MIXED}.get(
            (better, worse), NOISE
        )


def difference(
    ours: Sequence[SeedScores], others: Sequence[SeedScores], metric: str
) -> PairedDifference | None:
    """Return the paired difference over the seeds, tracks and artists that both have.

    It is None if there are none, or if cosines have different targets.

    The interval is a bootstrap over artists, each drawn with its values of all seeds.
    """
    of_seed = {scores.seed: scores for scores in others}
    pairs = [(scores, of_seed[scores.seed]) for scores in ours if scores.seed in of_seed]
    if metric == COSINE.name and any(one.targets != other.targets for one, other in pairs):
        return None
    return paired_difference(
        (one.artist_of.get(key, key), value, other.values[metric][key])
        for one, other in pairs
        for key, value in one.values.get(metric, {}).items()
        if key in other.values.get(metric, {})
    )


def ablation_rows(rows: Sequence[AblationRow]) -> list[AblationRow]:
    """Return the rows with their differences from their baselines."""
    by_name = {row.name: row for row in rows}
    return [
        row
        if row.baseline is None
        else AblationRow(
            row.name, row.differs, row.baseline, row.seeds, _differences(row, by_name[row.baseline])
        )
        for row in rows
    ]


def _differences(row: AblationRow, baseline: AblationRow) -> dict[str, PairedDifference]:
    values = {metric.name: difference(row.seeds, baseline.seeds, metric.name) for metric in METRICS}
    return {name: value for name, value in values.items() if value is not None}


def to_markdown(rows: Sequence[AblationRow], seeds: Sequence[int], remark: str) -> str:
    """Return a heading, a guide, the table, the rows that did not help, and conclusions.

    The conclusions are about the changes that single rows leave out.
    """
    titles = ["row", "difference in settings", "baseline"]
    for metric in METRICS:
        titles += [metric.title, *(["difference (95 %)"] if metric in JUDGED else [])]
    titles += ["training s", "seeds", "verdict"]
    base = rows[0].name
    lost = [
        f"{row.name} ({row.verdict})"
        for row in rows
        if row.baseline == base and row.verdict in (HURTS, NOISE, MIXED)
    ]
    # A row with another baseline than the base leaves out one of its changes: if the row is worse,
    # the change helped.
    leaving = [row for row in rows if row.baseline not in (None, base)]
    lines = [
        f"# Ablation: {remark}",
        "",
        f"Means over the seeds {', '.join(map(str, seeds))} ± their standard deviation; each seed "
        "has its own split by artist. A difference is over the tracks (cosine) or artists "
        "(retrieval) that both rows tested; its interval is a bootstrap over artists. A row helps "
        f"or hurts where an interval excludes 0. {NOTHING}: missing, or cosines to different "
        "targets, which are not comparable.",
        "",
        markdown_table(titles, map(_cells, rows), right=titles[3:-1]),
        "",
        f"Did not help: {', '.join(lost) or 'none'}.",
        *(f"{row.name}: {LEFT_OUT[row.verdict]}." for row in leaving if row.verdict in LEFT_OUT),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: AblationRow) -> list[str]:
    cells = [row.name, row.differs, row.baseline or NOTHING]
    for metric in METRICS:
        cells.append(spread(row.scores, metric))
        if metric in JUDGED:
            cells.append(str(row.differences.get(metric.name, NOTHING)))
    seconds = row.scores.seconds
    return [
        *cells,
        NOTHING if seconds is None else f"{seconds:.0f}",
        str(len(row.seeds)),
        row.verdict,
    ]


def to_csv(rows: Sequence[AblationRow]) -> str:
    """Return one line per row and metric in full precision; the columns are ``CSV_COLUMNS``."""
    records = []
    for row in rows:
        for metric in METRICS:
            change = row.differences.get(metric.name)
            compared = (
                {}
                if change is None
                else {
                    "difference": change.mean,
                    "interval_low": change.low,
                    "interval_high": change.high,
                }
            )
            records.append(
                {
                    "row": row.name,
                    "differs": row.differs,
                    "beside": row.baseline,
                    "metric": metric.name,
                    "mean": row.scores.mean(metric.name),
                    "deviation": row.scores.deviation(metric.name),
                    **compared,
                    "verdict": row.verdict,
                    "seeds": len(row.seeds),
                    "artists": None if change is None else change.artists,
                    "seconds": row.scores.seconds,
                }
            )
    return csv_table(CSV_COLUMNS, records)
