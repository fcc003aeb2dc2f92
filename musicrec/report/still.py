"""Draw charts with matplotlib, and write figures as PNG and SVG."""

from __future__ import annotations

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from musicrec.report.charts import Axis, Chart, Series, short
from musicrec.report.palette import GRID

INCHES_WIDE = 7.5
PIXELS_OF_INCH = 110  # of the page's chart, so that a still has about its shape
TITLE_LETTERS = 70  # per line of a title
PIXELS_PER_INCH = 130  # of a PNG
_SYMBOLS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "cross": "P",
    "triangle-down": "v",
    "x": "X",
}
_LINES = {"solid": "-", "dash": "--", "dot": ":"}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Set the style of all stills.

    Texts are literal (a name may contain a dollar sign), and stay text in an SVG, which can then
    show any script.
    """
    settings = {
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "musicrec",
        "font.size": 10,
        "axes.axisbelow": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A PNG has a box where matplotlib's font lacks a character; the SVG and the page have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def render_still(content: Chart | Figure, title: str, kinds: Sequence[str]) -> dict[str, bytes]:
    """Render a chart or figure in each of the formats ("png", "svg")."""
    with style():
        drawn = content if isinstance(content, Figure) else draw(content, title)
        images = {}
        for kind in kinds:
            images[kind] = _save(drawn, kind)
            drawn.set_layout_engine("none")  # the layout is final after the first rendering
        return images


def _save(drawn: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(
        stream, format=kind, dpi=PIXELS_PER_INCH, metadata={"Date": None} if kind == "svg" else None
    )
    return stream.getvalue()


def draw(chart: Chart, title: str) -> Figure:
    """Draw a chart with its title."""
    drawn = Figure(figsize=(INCHES_WIDE, chart.height / PIXELS_OF_INCH + 0.5), layout="constrained")
    axes = drawn.add_subplot()
    handles = [_draw_series(axes, series) for series in chart.series]
    axes.set(xlabel=chart.x.title, ylabel=chart.y.title)
    axes.spines[["top", "right"]].set_visible(False)
    for name, axis in (("x", chart.x), ("y", chart.y)):
        _apply(axes, name, axis)
    if chart.legend:
        order = sorted(range(len(handles)), key=lambda number: chart.series[number].aside)
        # A legend skips names that begin with an underscore.
        names = [
            " " * chart.series[number].name.startswith("_") + short(chart.series[number].name)
            for number in order
        ]
        drawn.legend(
            [handles[number] for number in order],
            names,
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=8,
        )
    axes.set_title(textwrap.fill(title, TITLE_LETTERS), loc="left", fontsize=11)
    return drawn


def _draw_series(axes: Axes, series: Series) -> Container:
    x, y = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    if series.kind == "bars":
        step = float(np.diff(x).min()) if len(x) > 1 else 1.0
        return axes.bar(x, y, width=0.85 * step, color=series.colour)
    if series.kind == "horizontal bars":
        return axes.barh(y, x, color=series.colour)
    bounds = {}
    if series.low is not None:
        middle = x if series.along == "x" else y
        bounds[f"{series.along}err"] = np.maximum([middle - series.low, series.high - middle], 0)
    return axes.errorbar(
        x,
        y,
        **bounds,
        color=series.colour,
        marker=_SYMBOLS[series.symbol] if series.size else None,
        markersize=series.size * 0.75,  # a pixel on the page is 0.75 points
        markeredgecolor="white",
        markeredgewidth=0.3,
        linestyle=_LINES[series.line] if series.line else "none",
        linewidth=series.width if series.line else None,
        elinewidth=1.6,
    )


def _apply(axes: Axes, name: str, axis: Axis) -> None:
    set_scale, set_limits, set_ticks = (
        getattr(axes, f"set_{name}{what}") for what in ("scale", "lim", "ticks")
    )
    if axis.log:
        set_scale("log")
    if axis.limits is not None:
        set_limits(*axis.limits)
    if axis.reverse:
        getattr(axes, f"invert_{name}axis")()
    if axis.ticks:
        positions, labels = zip(*axis.ticks, strict=True)
        set_ticks(positions, [short(label) for label in labels], fontsize=8)
    elif not axis.numbers:
        set_ticks([])
    else:
        own = getattr(axes, f"{name}axis")
        if axis.log:
            # matplotlib writes powers of ten as formulas.
            own.set_major_formatter(StrMethodFormatter("{x:,g}"))
        else:
            own.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        axes.grid(axis=name, color=GRID, linewidth=0.8)
