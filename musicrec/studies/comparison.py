"""Tables of our results next to the thesis', as Markdown and CSV. Plain data in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from musicrec.evaluation.thesis import Metric, Table
from musicrec.telemetry.tables import csv_table, markdown_table

NOTHING = "-"
CSV_COLUMNS = (
    "table",
    "model",
    "metric",
    "thesis",
    "ours",
    "deviation",
    "interval_low",
    "interval_high",
    "difference",
    "thesis_parameters",
    "parameters",
    "seeds",
    "seconds",
    "data",
    "train",
    "validation",
    "test",
    "errors",
    "classes",
    "absent_classes",
)


@dataclass(frozen=True)
class TestedOn:
    """Size of the data set.

    Attributes
    ----------
    train, validation, test, errors
        Tracks of each split, and the number left out as rows in errors.
    classes, absent_classes
        For a genre task: the number of genres, and the number without a test track.
    """

    __test__ = False  # not a test case of pytest's

    data: str
    train: int
    validation: int
    test: int
    errors: int
    classes: int | None = None
    absent_classes: int | None = None

    def line(self) -> str:
        """Return one line of Markdown."""
        splits = (
            f"{self.train:,} training, {self.validation:,} validation and {self.test:,} test tracks"
        )
        line = f"{self.data}: {splits}; {self.errors:,} in errors and left out."
        if not self.absent_classes:
            return line
        return (
            f"{line} {self.absent_classes} of {self.classes} classes have no test track: mAP and "
            "ROC-AUC leave them out, macro-F1 those that are not predicted either."
        )


@dataclass(frozen=True)
class SeedResult:
    """One run of one model.

    Attributes
    ----------
    values
        By metric.
    intervals
        95 % interval over the test artists by metric, where there is one.
    seconds
        Training time; None where nothing was trained or it was not measured.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """A model over all its seeds, with the thesis' values.

    Attributes
    ----------
    thesis
        The thesis' values by metric; empty for a baseline.
    seeds
        Our runs; empty for a model that was not trained.
    """

    name: str
    thesis: Mapping[str, float] = field(default_factory=dict)
    thesis_parameters: int | None = None
    seeds: Sequence[SeedResult] = ()

    def values(self, metric: str) -> list[float]:
        """Return the value of each seed that has the metric."""
        return [seed.values[metric] for seed in self.seeds if metric in seed.values]

    def mean(self, metric: str) -> float | None:
        """Return the mean over seeds, or None."""
        values = self.values(metric)
        return fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Return the sample standard deviation over seeds; None with fewer than two."""
        values = self.values(metric)
        return stdev(values) if len(values) > 1 else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the mean of the seeds' bounds: how far other test artists would move one run."""
        intervals = [seed.intervals[metric] for seed in self.seeds if metric in seed.intervals]
        return (
            (fmean(low for low, _ in intervals), fmean(high for _, high in intervals))
            if intervals
            else None
        )

    def difference(self, metric: str) -> float | None:
        """Return our mean minus the thesis' value, or None."""
        mean = self.mean(metric)
        return None if mean is None or metric not in self.thesis else mean - self.thesis[metric]

    @property
    def parameters(self) -> int | None:
        """Return the number of parameters of the first seed that has one."""
        return next((seed.parameters for seed in self.seeds if seed.parameters is not None), None)

    @property
    def seconds(self) -> float | None:
        """Return the mean over the seeds that were timed."""
        measured = [seed.seconds for seed in self.seeds if seed.seconds is not None]
        return fmean(measured) if measured else None


def comparison_rows(
    table: Table,
    models: Mapping[str, Sequence[SeedResult]],
    baselines: Mapping[str, Sequence[SeedResult]],
) -> list[ComparisonRow]:
    """Return the thesis' rows in its order (with or without a run), our other models, baselines."""
    published = [
        ComparisonRow(
            row.model,
            {metric.name: value for metric, value in zip(table.metrics, row.values, strict=True)},
            row.parameters,
            tuple(models.get(row.model, ())),
        )
        for row in table.rows
    ]
    names = {row.model for row in table.rows}
    others = {name: seeds for name, seeds in models.items() if name not in names}
    return published + [
        ComparisonRow(name, seeds=tuple(seeds))
        for name, seeds in (*others.items(), *baselines.items())
    ]


def to_markdown(
    table: Table, rows: Sequence[ComparisonRow], tested_on: TestedOn, extra: Sequence[Metric] = ()
) -> str:
    """Return a heading, the size of the data set, and one table.

    Parameters
    ----------
    extra
        Metrics of ours in addition to the thesis' (macro-F1, for example), one column each.
    """
    columns = ["model"]
    for metric in table.metrics:
        direction = "higher" if metric.higher_is_better else "lower"
        columns += [
            f"thesis: {metric.title} ({direction} is better)",
            "ours",
            "95 % interval",
            "difference",
        ]
    columns += [metric.title for metric in extra] + [
        "parameters (thesis)",
        "parameters (ours)",
        "seeds",
        "seconds",
    ]
    lines = [
        f"# Table {table.number}: {table.title}",
        "",
        tested_on.line(),
        "",
        "Ours is the mean over seeds ± its standard deviation; the interval is over the test "
        f"artists; the difference is ours minus the thesis'. {NOTHING}: missing.",
        "",
        markdown_table(columns, (_cells(table, row, extra) for row in rows), right=columns[1:]),
    ]
    return "\n".join(lines) + "\n"


def to_csv(
    table: Table, rows: Sequence[ComparisonRow], tested_on: TestedOn, extra: Sequence[Metric] = ()
) -> str:
    """Return one line per model and metric in full precision; the columns are ``CSV_COLUMNS``."""
    records = []
    for row in rows:
        for metric in (*table.metrics, *extra):
            low, high = row.interval(metric.name) or (None, None)
            records.append(
                {
                    "table": table.number,
                    "model": row.name,
                    "metric": metric.name,
                    "thesis": row.thesis.get(metric.name),
                    "ours": row.mean(metric.name),
                    "deviation": row.deviation(metric.name),
                    "interval_low": low,
                    "interval_high": high,
                    "difference": row.difference(metric.name),
                    "thesis_parameters": row.thesis_parameters,
                    "parameters": row.parameters,
                    "seeds": len(row.values(metric.name)),
                    "seconds": row.seconds,
                    **vars(tested_on),
                }
            )
    return csv_table(CSV_COLUMNS, records)


def _cells(table: Table, row: ComparisonRow, extra: Sequence[Metric]) -> list[str]:
    cells = [row.name]
    for metric in table.metrics:
        interval, difference = row.interval(metric.name), row.difference(metric.name)
        cells += [
            format_value(row.thesis.get(metric.name), metric),
            spread(row, metric),
            NOTHING
            if interval is None
            else f"{format_value(interval[0], metric)} to {format_value(interval[1], metric)}",
            NOTHING if difference is None else f"{difference:+.{metric.decimals}f}",
        ]
    cells += [spread(row, metric) for metric in extra]
    counts = [
        NOTHING if count is None else f"{count:,}"
        for count in (row.thesis_parameters, row.parameters)
    ]
    return (
        cells
        + counts
        + [str(len(row.seeds)), NOTHING if row.seconds is None else f"{row.seconds:.1f}"]
    )


def spread(row: ComparisonRow, metric: Metric) -> str:
    """Format the mean over seeds ± its standard deviation."""
    deviation = row.deviation(metric.name)
    return format_value(row.mean(metric.name), metric) + (
        "" if deviation is None else f" ± {format_value(deviation, metric)}"
    )


def format_value(value: float | None, metric: Metric) -> str:
    """Format a value with the metric's decimals; a dash where it is missing."""
    return NOTHING if value is None else f"{value:.{metric.decimals}f}"
