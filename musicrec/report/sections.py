"""What the report is made of: sections of pictures and tables, each with a sentence on how to read it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from musicrec.report.charts import Chart, Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURE = re.compile(r"[-+\d.,%… ]+$")


@dataclass(frozen=True)
class Picture:
    """A picture of the page, which also lies beside it as PNG and SVG.

    Attributes
    ----------
    name
        Of its files and its place on the page.
    reading
        How to read it.
    content
        A chart, which can be hovered over on the page, or a figure of matplotlib's, which is shown as it is.
    thesis
        Its counterpart in the thesis ("Figure 19"), empty if there is none.
    still
        The picture for its files; drawn from the content if not given.
    """

    name: str
    title: str
    reading: str
    content: Chart | Matrix | Figure
    thesis: str = ""
    still: Figure | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    rows
        Texts as a person reads them.
    strong
        Numbers of the rows that stand out.
    breaks
        Numbers of the rows after which a line is drawn.
    """

    name: str
    title: str
    reading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    thesis: str = ""
    strong: frozenset[int] = frozenset()
    breaks: frozenset[int] = frozenset()

    @property
    def figures(self) -> frozenset[int]:
        """Numbers of the columns that hold nothing but figures, which are set to the right."""
        columns = [
            [row[number] for row in self.rows if row[number]] for number in range(len(self.columns))
        ]
        return frozenset(
            number
            for number, cells in enumerate(columns)
            if cells and all(map(_FIGURE.match, cells))
        )


@dataclass(frozen=True)
class Example:
    """A recommendation: what was asked with, a picture of how it sounds (PNG) with a line under it, and what was answered."""

    name: str
    heading: str
    facts: str
    picture: bytes | None
    under: str
    alt: str
    answer: Table


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    lead
        Its first sentences.
    missing
        Why it has nothing to show; then it has no content.
    """

    name: str
    title: str
    lead: str = ""
    content: tuple[Picture | Table | Example, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Card:
    """A figure that stands at the head of the page."""

    value: str
    label: str
    note: str


def figure(value: float | None, digits: int = 3) -> str:
    """A number as the tables have it: empty where it is not there or not defined."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """Two bounds as the tables have them."""
    return "" if bounds is None else f"{bounds[0]:.{digits}f} … {bounds[1]:.{digits}f}"
