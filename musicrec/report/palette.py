"""Colours that people with any form of colour vision tell apart on white, and marks that differ beside them."""

from __future__ import annotations

from collections.abc import Sequence

# Okabe and Ito (2008, Color Universal Design) without the yellow, which is lost on white. Black stands for the reference in a chart.
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
# Everything that a chart is not about: other categories, unknown ones, baselines.
OTHER, UNKNOWN, GRID = "#9AA0A6", "#C3C8CD", "#E3E6E9"
# The sequential map of matrices; lightness rises evenly, in grey too.
SEQUENTIAL = "cividis"


def category(number: int) -> tuple[str, str]:
    """Colour and mark of the category of this number; they repeat after the seventh."""
    return CATEGORIES[number % len(CATEGORIES)], SYMBOLS[number % len(SYMBOLS)]


def ordered(count: int) -> Sequence[str]:
    """Colours of ordered categories, from dark to light, none too light for white."""
    from matplotlib import colormaps, colors

    shades = colormaps["viridis"]
    return [colors.to_hex(shades(0.92 * step / max(1, count - 1))) for step in range(count)]
