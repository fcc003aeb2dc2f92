"""Results section: all models with baselines, thesis values and intervals, also by part."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from musicrec.evaluation.thesis import Metric
from musicrec.report.charts import Axis, Chart, Series, names_axis
from musicrec.report.palette import BLUE, OTHER, VERMILLION
from musicrec.report.scores import Scored, bounds_of, digits_of, number
from musicrec.report.sections import Plot, Section, Table, format_interval, format_number

# The first metrics have an interval in the table of all models, so that it fits a screen.
METRICS_WITH_INTERVAL = 2
_MEANINGS = {
    "coverage": "Coverage is the fraction of all artists that is ever recommended.",
    "hubness": "Hubness is the skewness of how often each artist is recommended: 0 evenly, above 1 "
    "where a few are hubs.",
}
_PARTS = {
    "head": "related artists: most named",
    "tail": "related artists: the others",
    "without_test_artists": "candidates: none from the test split",
}


def results_section(scored: Scored, facts: str) -> Section:
    """Return the table of all models with intervals, and all other scores.

    Parameters
    ----------
    facts
        Further facts about the run.
    """
    content = [_table(scored), *(_dots(scored, metric) for metric in scored.metrics[:2])]
    content += [table for table in (_others(scored), _groups(scored)) if table.rows]
    lead = (
        "Every model, with baselines that need no or little training, on artists whose music no "
        "model was trained on. " + facts
    )
    return Section("results", "Results", lead, tuple(content))


def _table(scored: Scored) -> Table:
    titles = [
        f"{metric.title}{'' if metric.higher_is_better else ' (lower is better)'}"
        for metric in scored.metrics
    ]
    columns = ["model"]
    for title, metric in zip(titles, scored.metrics, strict=True):
        columns += [title] + (["95 %"] if metric in _with_interval(scored) else [])
    columns += [f"thesis: {metric.title}" for metric in scored.published.metrics] + [
        "tracks",
        "validation",
        "epochs",
    ]
    chance = scored.scores.get("chance", {})
    names = [*scored.baselines, *scored.trained]
    rows = [_row(scored, name, scored.results[name]) for name in names if name in scored.results]
    first = [_row(scored, "chance (exact)", chance)] if chance else []
    reading = (
        "The test split; an interval shows how far the value moves with another draw of test "
        "artists. Then the thesis' value of the same model, on its own data set and not comparable "
        "with another one; the number of test tracks; the validation value that selected the "
        "weights; and the number of training epochs."
    )
    return Table(
        f"table-{scored.published.number}",
        "Test scores",
        reading,
        columns,
        first + rows,
        thesis=f"Table {scored.published.number}",
        strong=frozenset({len(first) + names.index(scored.leading)}),
        breaks=frozenset({len(first) + len(scored.baselines) - 1}),
    )


def _with_interval(scored: Scored) -> list[Metric]:
    """Return the first metrics that have an interval."""
    return [
        metric for metric in scored.metrics[:METRICS_WITH_INTERVAL] if _has_interval(scored, metric)
    ]


def _has_interval(scored: Scored, metric: Metric) -> bool:
    return any(bounds_of(scores, metric.name) for scores in scored.results.values())


def _row(scored: Scored, name: str, scores: Mapping[str, Any]) -> list[str]:
    validation, epochs = scored.trained.get(name, (None, None))
    cells = [name]
    for metric in scored.metrics:
        digits = digits_of(metric)
        cells.append(format_number(number(scores, metric.name), digits))
        if metric in _with_interval(scored):
            bounds = bounds_of(scores, metric.name)
            cells.append(format_interval(bounds, 2 if digits == 3 else digits))
    published = {row.model: row.values for row in scored.published.rows}
    values = published.get(name, (None,) * len(scored.published.metrics))
    cells += [
        format_number(value, digits_of(metric))
        for metric, value in zip(scored.published.metrics, values, strict=True)
    ]
    return [
        *cells,
        str(scores.get("tracks", "")),
        format_number(validation),
        "" if epochs is None else str(epochs),
    ]


def _dots(scored: Scored, metric: Metric) -> Plot:
    """Plot the score of every model and baseline as a point with its interval."""
    scored_names = [
        name
        for name in (*scored.baselines, *scored.trained)
        if number(scored.results.get(name, {}), metric.name) is not None
    ]
    kinds = {
        "baseline": (OTHER, "square"),
        "model": (BLUE, "circle"),
        scored.leading: (VERMILLION, "diamond"),
    }
    series = []
    for kind, (colour, symbol) in kinds.items():
        rows = [row for row, name in enumerate(scored_names) if _kind(scored, name) == kind]
        if rows:
            series.append(
                _points(
                    scored, metric, kind, [scored_names[row] for row in rows], rows, colour, symbol
                )
            )
    bounded = _has_interval(scored, metric)
    reading = "One point per model" + (
        ", with its 95 % interval over test artists. " if bounded else ". "
    )
    reading += "Further right is better." if metric.higher_is_better else "Further left is better."
    chart = Chart(
        tuple(series),
        Axis(f"{metric.title}, test split (no unit)"),
        names_axis(scored_names, reverse=True),
        height=110 + 26 * len(scored_names),
    )
    return Plot(
        f"scores-{metric.name.replace('@', '-at-')}",
        f"{metric.title[:1].upper()}{metric.title[1:]} of every model and baseline",
        reading,
        chart,
    )


def _kind(scored: Scored, name: str) -> str:
    return (
        scored.leading
        if name == scored.leading
        else "model"
        if name in scored.trained
        else "baseline"
    )


def _points(
    scored: Scored,
    metric: Metric,
    kind: str,
    names: Sequence[str],
    rows: Collection[int],
    colour: str,
    symbol: str,
) -> Series:
    values = np.array([number(scored.results[name], metric.name) for name in names])
    intervals = [bounds_of(scored.results[name], metric.name) for name in names]
    low, high = (
        np.array(
            [value if b is None else b[end] for value, b in zip(values, intervals, strict=True)]
        )
        for end in (0, 1)
    )
    digits = digits_of(metric)
    hover = [
        f"{name}\n{metric.title} {format_number(value, digits)}"
        + ("" if b is None else f"\n95 %: {format_interval(b, digits)}")
        for name, value, b in zip(names, values, intervals, strict=True)
    ]
    bounded = any(b is not None for b in intervals)
    bounds = {"low": low, "high": high, "along": "x"} if bounded else {}
    return Series(
        kind, values, np.array(list(rows), float), colour, hover, symbol=symbol, size=9, **bounds
    )


def _others(scored: Scored) -> Table:
    """Return all other scores of the leading model, with those of the baselines and chance."""
    hidden = {
        "tracks",
        "artists",
        "classes",
        "candidates",
        "absent_classes",
        "constant_classes",
        *(metric.name for metric in scored.metrics),
    }
    chance = scored.scores.get("chance", {})
    others = list(reversed(scored.baselines))
    names = [
        name
        for name in scored.scores
        if name not in hidden and number(scored.scores, name) is not None
    ]
    bounded = any(bounds_of(scored.scores, name) for name in names)
    rows = [
        [
            name,
            format_number(number(scored.scores, name)),
            *([format_interval(bounds_of(scored.scores, name))] if bounded else []),
            *(format_number(number(scored.results[baseline], name)) for baseline in others),
            *([format_number(number(chance, name))] if chance else []),
        ]
        for name in names
    ]
    columns = [
        "metric",
        scored.leading,
        *(["95 %"] if bounded else []),
        *others,
        *(["chance"] if chance else []),
    ]
    reading = "The same test split. " + " ".join(
        text for start, text in _MEANINGS.items() if any(name.startswith(start) for name in names)
    )
    return Table("more-scores", "More metrics", reading.strip(), columns, rows)


def _groups(scored: Scored) -> Table:
    """Return the leading model's scores on parts of the test split.

    Parts are queries by track, album or artist, and well-known and little-known artists.
    """
    parts = {f"query: {level}": part for level, part in scored.scores.get("levels", {}).items()}
    parts |= {
        title: scored.scores[name]
        for name, title in _PARTS.items()
        if number(scored.scores.get(name, {}), scored.metrics[0].name) is not None
    }
    names = [
        metric
        for metric in scored.metrics
        if any(number(part, metric.name) is not None for part in parts.values())
    ]
    first = scored.metrics[0]
    columns = [
        "part",
        "queries",
        *(metric.title for metric in names),
        f"95 % of {first.title}",
        f"chance: {first.title}",
    ]
    rows = []
    for title, part in parts.items():
        queries = part.get("queries", part.get("artists", scored.scores.get("artists", "")))
        values = [format_number(number(part, metric.name)) for metric in names]
        chance = format_number(number(part.get("chance", {}), first.name))
        bounds = format_interval(bounds_of(part, first.name))
        rows.append([title, str(queries), *values, bounds, chance])
    reading = (
        f"{scored.leading}, queried with one track, an album or all tracks of an artist; and on "
        "the related artists that are named most often (a third of all relations) and the others."
    )
    return Table("parts", "Results by part", reading, columns, rows)
