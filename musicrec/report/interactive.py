"""Charts as plotly figures for the page: as wide as the page, with hover texts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from musicrec.report.charts import Axis, Chart, Matrix, Series, short
from musicrec.report.palette import GRID, SEQUENTIAL

FONT = {
    "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    "size": 13,
    "color": "#222222",
}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1.02,
    "yanchor": "bottom",
    "font": {"size": 12},
}
# Height of a row of a matrix; plotly leaves out names that have less.
PIXELS_PER_CELL = 22


def to_plotly(chart: Chart | Matrix) -> dict[str, Any]:
    """Return the chart as JSON values: ``data`` and ``layout``."""
    figure = _matrix(chart) if isinstance(chart, Matrix) else _chart(chart)
    figure.update_layout(
        template="none",
        font=FONT,
        paper_bgcolor="white",
        plot_bgcolor="white",
        hoverlabel={
            "bgcolor": "white",
            "bordercolor": "#222222",
            "font": FONT,
            "align": "left",
            "namelength": 0,
        },
        hovermode="closest",
    )
    return figure.to_plotly_json()


def escaped(text: str) -> str:
    """Escape a text for plotly, which interprets some HTML tags."""
    return html.escape(text, quote=False)


def _chart(chart: Chart) -> go.Figure:
    figure = go.Figure([_trace(series) for series in chart.series])
    figure.update_layout(
        xaxis=_axis(chart.x),
        yaxis=_axis(chart.y),
        height=chart.height,
        showlegend=chart.legend,
        legend=LEGEND,
        barmode="overlay",
        margin={"l": 10, "r": 12, "t": 12, "b": 10},
    )
    return figure


def _trace(series: Series) -> go.Bar | go.Scatter:
    common = {
        "x": _numbers(series.x),
        "y": _numbers(series.y),
        "name": escaped(short(series.name)),
        "legendrank": 2000 if series.aside else 1000,
    }
    if series.hover:
        common |= {
            "hovertext": [escaped(text).replace("\n", "<br>") for text in series.hover],
            "hoverinfo": "text",
        }
    if series.kind != "points":
        orientation = "h" if series.kind == "horizontal bars" else "v"
        return go.Bar(**common, orientation=orientation, marker={"color": series.colour})
    mode = "+".join(
        part for part, there in (("lines", series.line), ("markers", series.size)) if there
    )
    marker = {
        "color": series.colour,
        "symbol": series.symbol,
        "size": series.size or 1,
        "line": {"width": 0.5, "color": "white"},
    }
    bounds = {}
    if series.low is not None:
        middle = series.x if series.along == "x" else series.y
        bars = {
            "type": "data",
            "symmetric": False,
            "array": _numbers(series.high - middle),
            "arrayminus": _numbers(middle - series.low),
        }
        bounds[f"error_{series.along}"] = bars | {
            "thickness": 1.6,
            "width": 0,
            "color": series.colour,
        }
    return go.Scatter(
        **common,
        mode=mode,
        marker=marker,
        line={"color": series.colour, "dash": series.line, "width": series.width},
        **bounds,
    )


def _axis(axis: Axis) -> dict[str, Any]:
    values: dict[str, Any] = {
        "title": {"text": escaped(axis.title), "standoff": 8, "font": {"size": 12}},
        "automargin": True,
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": "#8A9096",
        "showline": True,
        "ticks": "outside",
        "tickcolor": "#8A9096",
    }
    if axis.ticks:
        positions, labels = zip(*axis.ticks, strict=True)
        values |= {
            "tickvals": list(positions),
            "ticktext": [escaped(short(label)) for label in labels],
            "showgrid": False,
        }
    if axis.log:
        values |= {"type": "log", "dtick": 1}
    if axis.limits is not None:
        low, high = np.log10(axis.limits) if axis.log else axis.limits
        values |= {
            "range": [float(high), float(low)] if axis.reverse else [float(low), float(high)]
        }
    elif axis.reverse:
        values |= {"autorange": "reversed"}
    if not axis.numbers:
        values |= {"showticklabels": False, "ticks": "", "showgrid": False}
    return values


def _matrix(matrix: Matrix) -> go.Figure:
    texts = [[escaped(text).replace("\n", "<br>") for text in row] for row in matrix.texts]
    figure = go.Figure(
        go.Heatmap(
            z=[_numbers(row) for row in np.asarray(matrix.values)],
            hovertext=texts,
            hoverinfo="text",
            colorscale=SEQUENTIAL,
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorbar={
                "title": {"text": escaped(matrix.quantity), "side": "top"},
                "orientation": "h",
                "thickness": 12,
                "y": 1.02,
            },
        )
    )
    figure.update_layout(
        xaxis=_axis(_names(matrix.x, matrix.columns)) | {"tickangle": -90},
        yaxis=_axis(_names(matrix.y, matrix.rows, reverse=True)),
        height=int(np.clip(PIXELS_PER_CELL * len(matrix.rows) + 240, 380, 900)),
        margin={"l": 10, "r": 12, "t": 60, "b": 10},
    )
    return figure


def _names(title: str, names: Sequence[str], reverse: bool = False) -> Axis:
    return Axis(
        title, ticks=tuple(enumerate(names)), limits=(-0.5, len(names) - 0.5), reverse=reverse
    )


def _numbers(values: Any) -> list[float | None]:
    """Return plain floats of six digits, more than a screen shows; None where not finite."""
    return [
        float(f"{value:.6g}") if np.isfinite(value) else None
        for value in np.asarray(values, np.float64)
    ]
