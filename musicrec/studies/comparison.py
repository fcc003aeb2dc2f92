"""Tables of our results beside the thesis', as Markdown for a person and CSV for a program. Plain data in, text out."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from musicrec.evaluation.thesis import Metric, Table

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
    """What the figures were measured on.

    Attributes
    ----------
    train, validation, test, errors
        The tracks of each split, and how many are left out as rows in errors.
    classes, absent_classes
        Of a genre task: how many genres there are, and how many of them no test track has.
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
        """One line of Markdown."""
        splits = (
            f"{self.train:,} training, {self.validation:,} validation and {self.test:,} test tracks"
        )
        line = f"{self.data}: {splits}; {self.errors:,} in errors and left out."
        if not self.absent_classes:
            return line
        return (
            f"{line} {self.absent_classes} of {self.classes} classes have no test track: mAP and ROC-AUC leave them out, "
            "macro-F1 those that are not predicted either."
        )


@dataclass(frozen=True)
class SeedResult:
    """One run of one model.

    Attributes
    ----------
    figures
        By the metric's name.
    intervals
        95 % interval over the tested artists, by the metric's name, where there is one.
    seconds
        Of training; None where nothing was trained or it was not measured.
    """

    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """A model over all its seeds, beside the thesis.

    Attributes
    ----------
    thesis
        The thesis' figures by metric; empty for a baseline.
    seeds
        Our runs; empty for a model that was not trained.
    """

    name: str
    thesis: Mapping[str, float] = field(default_factory=dict)
    thesis_parameters: int | None = None
    seeds: Sequence[SeedResult] = ()

    def figures(self, metric: str) -> list[float]:
        """Of each seed that has the metric."""
        return [seed.figures[metric] for seed in self.seeds if metric in seed.figures]

    def mean(self, metric: str) -> float | None:
        """Over seeds."""
        figures = self.figures(metric)
        return fmean(figures) if figures else None

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over seeds (of a sample); None of fewer than two."""
        figures = self.figures(metric)
        return stdev(figures) if len(figures) > 1 else None

    def interval(self, metric: str) -> tuple[float, float] | None:
        """The seeds' intervals, each bound averaged: how far another draw of test artists would move one run's figure."""
        intervals = [seed.intervals[metric] for seed in self.seeds if metric in seed.intervals]
        return (
            (fmean(low for low, _ in intervals), fmean(high for _, high in intervals))
            if intervals
            else None
        )

    def difference(self, metric: str) -> float | None:
        """Our mean less the thesis' figure."""
        mean = self.mean(metric)
        return None if mean is None or metric not in self.thesis else mean - self.thesis[metric]

    @property
    def parameters(self) -> int | None:
        return next((seed.parameters for seed in self.seeds if seed.parameters is not None), None)

    @property
    def seconds(self) -> float | None:
        """Mean over the seeds that were timed."""
        measured = [seed.seconds for seed in self.seeds if seed.seconds is not None]
        return fmean(measured) if measured else None


def comparison_rows(
    table: Table,
    models: Mapping[str, Sequence[SeedResult]],
    baselines: Mapping[str, Sequence[SeedResult]],
) -> list[ComparisonRow]:
    """Rows of the thesis in its order, those without a run of ours too; then our models that it does not have; then the baselines."""
    published = [
        ComparisonRow(
            row.model,
            {
                metric.name: figure
                for metric, figure in zip(table.metrics, row.figures, strict=True)
            },
            row.parameters,
            tuple(models.get(row.model, ())),
        )
        for row in table.rows
    ]
    known = {row.model for row in table.rows}
    others = {name: seeds for name, seeds in models.items() if name not in known}
    return published + [
        ComparisonRow(name, seeds=tuple(seeds))
        for name, seeds in (*others.items(), *baselines.items())
    ]


def to_markdown(
    table: Table, rows: Sequence[ComparisonRow], tested_on: TestedOn, extra: Sequence[Metric] = ()
) -> str:
    """A heading, what was tested on, and one table.

    Parameters
    ----------
    extra
        Metrics beside the thesis' that get a column of our figure each (macro-F1, say).
    """
    titles = ["model"]
    for metric in table.metrics:
        direction = "higher" if metric.higher_is_better else "lower"
        titles += [
            f"thesis: {metric.title} ({direction} is better)",
            "ours",
            "95 % interval",
            "difference",
        ]
    titles += [metric.title for metric in extra] + [
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
        "Ours is the mean over seeds ± its standard deviation; the interval is over the tested artists; the difference is ours less the "
        f"thesis'. {NOTHING}: not there.",
        "",
        table_line(titles),
        table_line(["---"] + ["---:"] * (len(titles) - 1)),
        *(table_line(_cells(table, row, extra)) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def to_csv(
    table: Table, rows: Sequence[ComparisonRow], tested_on: TestedOn, extra: Sequence[Metric] = ()
) -> str:
    """One line for each model and metric, in full precision; the columns are ``CSV_COLUMNS``. Empty: not there."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for metric in (*table.metrics, *extra):
            low, high = row.interval(metric.name) or (None, None)
            writer.writerow(
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
                    "seeds": len(row.figures(metric.name)),
                    "seconds": row.seconds,
                    **vars(tested_on),
                }
            )
    return text.getvalue()


def _cells(table: Table, row: ComparisonRow, extra: Sequence[Metric]) -> list[str]:
    cells = [row.name.replace("|", "\\|")]
    for metric in table.metrics:
        interval, difference = row.interval(metric.name), row.difference(metric.name)
        cells += [
            figure(row.thesis.get(metric.name), metric),
            spread(row, metric),
            NOTHING
            if interval is None
            else f"{figure(interval[0], metric)} to {figure(interval[1], metric)}",
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
    deviation = row.deviation(metric.name)
    return figure(row.mean(metric.name), metric) + (
        "" if deviation is None else f" ± {figure(deviation, metric)}"
    )


def figure(value: float | None, metric: Metric) -> str:
    return NOTHING if value is None else f"{value:.{metric.decimals}f}"


def table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
