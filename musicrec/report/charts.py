"""Content of a chart, drawn on the page by `interactive` and to files by `still`.

Positions are numbers. An axis of names has them as ticks, so that both renderers place them alike.
Texts are plain: the renderer escapes them, since names of artists and genres are the user's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

LONGEST_NAME = 32


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    title
        The quantity with its unit.
    ticks
        (position, label) for an axis of names instead of numbers.
    limits
        (low, high); default: the range of the data.
    reverse
        Positions rise downwards, like the lines of a table.
    """

    title: str
    ticks: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] | None = None
    log: bool = False
    reverse: bool = False
    numbers: bool = True
    """Whether the positions have a meaning; on a t-SNE map they do not."""


@dataclass(frozen=True)
class Series:
    """Points, a line or bars of one colour.

    Attributes
    ----------
    x, y
        (N,) positions; for horizontal bars ``x`` is the length.
    hover
        (N,) text shown for each point; its coordinates if empty.
    low, high
        (N,) bounds of an interval around each point, along ``along``.
    aside
        Background data: drawn first and put at the end of the legend.
    line
        How the points are joined; None: not at all.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    colour: str
    hover: Sequence[str] = ()
    kind: Literal["points", "bars", "horizontal bars"] = "points"
    symbol: str = "circle"
    size: float = 7
    """Size of a mark in pixels; 0: no mark."""
    line: Literal["solid", "dash", "dot"] | None = None
    width: float = 1.8
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    along: Literal["x", "y"] = "y"
    aside: bool = False


@dataclass(frozen=True)
class Chart:
    """Series on two axes.

    Attributes
    ----------
    height
        In pixels on the page; the width is the page's.
    """

    series: tuple[Series, ...]
    x: Axis
    y: Axis
    height: int = 380
    legend: bool = True


@dataclass(frozen=True)
class Matrix:
    """Values of rows and columns as shades.

    Attributes
    ----------
    values
        (R, C) between 0 and 1; they set the shade.
    texts
        (R, C) text shown for each cell.
    quantity
        Meaning of the shade.
    """

    values: np.ndarray
    texts: Sequence[Sequence[str]]
    rows: Sequence[str]
    columns: Sequence[str]
    x: str
    y: str
    quantity: str


def short(text: str) -> str:
    """Shorten a name for an axis or a legend; hovering shows it in full."""
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def names_axis(names: Sequence[str], title: str = "", **more: object) -> Axis:
    """Return an axis of names, the first at the top (or the left)."""
    return Axis(title, ticks=tuple(enumerate(names)), limits=(-0.7, len(names) - 0.3), **more)
