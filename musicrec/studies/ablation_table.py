"""The table of an ablation: what each row differs in, what it scored, and whether that is more than chance. Plain data in, text out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from musicrec.evaluation.metrics import bootstrap_interval
from musicrec.evaluation.thesis import Metric
from musicrec.studies.comparison import NOTHING, ComparisonRow, SeedResult, spread, table_line

COSINE = Metric("cosine", "test cosine", True, decimals=3)
NDCG = Metric("ndcg@10", "NDCG@10", True, decimals=3)
RECALL = Metric("recall@10", "recall@10", True, decimals=3)
METRICS = (COSINE, NDCG, RECALL)
# Those that a verdict looks at.
JUDGED = (COSINE, NDCG)
HELPS, HURTS, NOISE, MIXED, UNKNOWN = "helps", "hurts", "within noise", "mixed", "not run"
# What the verdict on a row says of the change that it leaves out.
LEFT_OUT = {
    HURTS: "needed",
    NOISE: "the change is worth no more than noise",
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
    """What one row scored with one seed.

    Attributes
    ----------
    values
        Of each metric, by test track (cosine) or test artist (retrieval).
    artist_of
        The artist of each test track.
    targets
        What the models predict: cosines to other targets are no cosines to compare.
    seconds
        Of all trainings that the row stands on.
    """

    seed: int
    values: Mapping[str, Mapping[str, float]]
    artist_of: Mapping[str, str]
    targets: str
    seconds: float

    def result(self) -> SeedResult:
        """The means, of an artist without a relation left out."""
        return SeedResult(
            {name: float(np.nanmean(list(of.values()))) for name, of in self.values.items()},
            seconds=self.seconds,
        )


@dataclass(frozen=True)
class Difference:
    """A row's mean less another's over what both were tested on, and its 95 % interval."""

    mean: float
    low: float
    high: float
    artists: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class AblationRow:
    """One configuration.

    Attributes
    ----------
    differs
        From what ``beside`` is, in a person's words.
    beside
        The row that it is compared with; None for the first.
    """

    name: str
    differs: str
    beside: str | None
    seeds: Sequence[SeedScores]
    differences: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def scores(self) -> ComparisonRow:
        """Means and deviations over the seeds."""
        return ComparisonRow(self.name, seeds=tuple(seed.result() for seed in self.seeds))

    @property
    def verdict(self) -> str:
        """Whether the row is better or worse than what it is compared with: an interval that leaves out 0 says so."""
        if self.beside is None:
            return NOTHING
        if not self.differences:
            return UNKNOWN
        judged = [
            self.differences[metric.name] for metric in JUDGED if metric.name in self.differences
        ]
        better, worse = any(each.low > 0 for each in judged), any(each.high < 0 for each in judged)
        return {(True, False): HELPS, (False, True): HURTS, (True, True): MIXED}.get(
            (better, worse), NOISE
        )


def difference(
    ours: Sequence[SeedScores], others: Sequence[SeedScores], metric: str
) -> Difference | None:
    """The paired difference over the seeds, tracks and artists that both have; None if there are none, or the targets of cosines differ.

    The interval is a bootstrap over artists, each drawn with its values of all seeds.
    """
    of_seed = {scores.seed: scores for scores in others}
    pairs = [(scores, of_seed[scores.seed]) for scores in ours if scores.seed in of_seed]
    if metric == COSINE.name and any(one.targets != other.targets for one, other in pairs):
        return None
    shared = [
        (one.artist_of.get(key, key), value, other.values[metric][key])
        for one, other in pairs
        for key, value in one.values.get(metric, {}).items()
        if key in other.values.get(metric, {})
    ]
    if not shared:
        return None
    artists, values, beside = (np.array(column) for column in zip(*shared, strict=True))
    low, high = bootstrap_interval(values, seed=0, groups=artists, paired_with=beside)
    return Difference(float(np.nanmean(values - beside)), low, high, len(set(artists.tolist())))


def ablation_rows(rows: Sequence[AblationRow]) -> list[AblationRow]:
    """The rows with their differences from those that they stand beside."""
    by_name = {row.name: row for row in rows}
    return [
        row
        if row.beside is None
        else AblationRow(
            row.name, row.differs, row.beside, row.seeds, _differences(row, by_name[row.beside])
        )
        for row in rows
    ]


def _differences(row: AblationRow, beside: AblationRow) -> dict[str, Difference]:
    found = {metric.name: difference(row.seeds, beside.seeds, metric.name) for metric in METRICS}
    return {name: value for name, value in found.items() if value is not None}


def to_markdown(rows: Sequence[AblationRow], seeds: Sequence[int], remark: str) -> str:
    """A heading, how to read it, the table, the rows that did not help, and what those that leave out a change say of it."""
    titles = ["row", "what differs", "beside"]
    for metric in METRICS:
        titles += [metric.title, *(["difference (95 %)"] if metric in JUDGED else [])]
    titles += ["training s", "seeds", "verdict"]
    base = rows[0].name
    lost = [
        f"{row.name} ({row.verdict})"
        for row in rows
        if row.beside == base and row.verdict in (HURTS, NOISE, MIXED)
    ]
    # A row beside another than the base leaves out one of that one's changes: where it hurts, the change has helped.
    leaving = [row for row in rows if row.beside not in (None, base)]
    lines = [
        f"# Ablation: {remark}",
        "",
        f"Means over the seeds {', '.join(map(str, seeds))} ± their standard deviation, each seed with a split by artist of its own. A "
        "difference is over the tracks (cosine) or artists (retrieval) that both rows tested; its interval is a bootstrap over artists. "
        "A row helps or hurts where an interval leaves out 0. "
        f"{NOTHING}: not there, or cosines to other targets, which are not comparable.",
        "",
        table_line(titles),
        table_line(["---"] * 3 + ["---:"] * (len(titles) - 4) + ["---"]),
        *(table_line(_cells(row)) for row in rows),
        "",
        f"Did not help: {', '.join(lost) or 'none'}.",
        *(f"{row.name}: {LEFT_OUT[row.verdict]}." for row in leaving if row.verdict in LEFT_OUT),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: AblationRow) -> list[str]:
    cells = [row.name, row.differs.replace("|", "\\|"), row.beside or NOTHING]
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
    """One line for each row and metric, in full precision; the columns are ``CSV_COLUMNS``. Empty: not there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
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
            writer.writerow(
                {
                    "row": row.name,
                    "differs": row.differs,
                    "beside": row.beside,
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
    return text.getvalue()
