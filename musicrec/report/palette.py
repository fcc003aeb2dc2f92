"""Colours that remain distinct on white with any colour vision, and marks that differ as well."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito (2008, Color Universal Design) without yellow, which is invisible on white. Black is
# the reference of a chart.
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#CC79A7",
    "#56B4E9",
    "#222222",
)
CATEGORIES = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "x")
DASHES = ("solid", "dash", "dot")
# Background of a chart: other categories, unknown ones, baselines.
OTHER, UNKNOWN, GRID = "#9AA0A6", "#C3C8CD", "#E3E6E9"
# Sequential map of matrices; its lightness rises evenly, also in grey.
SEQUENTIAL = "cividis"


def category(number: int) -> tuple[str, str]:
    """Return colour and mark of a category; they repeat after the seventh."""
    return CATEGORIES[number % len(CATEGORIES)], SYMBOLS[number % len(SYMBOLS)]


def ordered(count: int) -> Sequence[str]:
    """Return colours of ordered categories, from dark to light, none too light for white."""
    from matplotlib import colormaps, colors

    shades = colormaps["viridis"]
    return [colors.to_hex(shades(0.92 * step / max(1, count - 1))) for step in range(count)]
