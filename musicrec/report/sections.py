"""Building blocks of the report: sections of plots and tables, each with a guide to reading it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from musicrec.report.charts import Chart, Matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBER = re.compile(r"[-+\d.,%… ]+$")


@dataclass(frozen=True)
class Plot:
    """A plot of the page, also written to files as PNG and SVG.

    Attributes
    ----------
    name
        Name of its files and anchor on the page.
    reading
        How to read it.
    content
        A chart, interactive on the page, or a matplotlib figure, shown as it is.
    thesis
        Its counterpart in the thesis ("Figure 19"), or empty.
    still
        The version for its files; default: drawn from the content.
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
        Formatted texts.
    strong
        Indices of highlighted rows.
    breaks
        Indices of rows that are followed by a line.
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
    def numeric_columns(self) -> frozenset[int]:
        """Return the indices of the columns that hold only numbers, which are aligned right."""
        columns = [
            [row[number] for row in self.rows if row[number]] for number in range(len(self.columns))
        ]
        return frozenset(
            number
            for number, cells in enumerate(columns)
            if cells and all(map(_NUMBER.match, cells))
        )


@dataclass(frozen=True)
class Example:
    """A recommendation: facts about the query, its spectrogram (PNG) and caption, the answers."""

    name: str
    heading: str
    facts: str
    image: bytes | None
    caption: str
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
        Why it has nothing to show; it then has no content.
    """

    name: str
    title: str
    lead: str = ""
    content: tuple[Plot | Table | Example, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Card:
    """A number at the top of the page."""

    value: str
    label: str
    note: str


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number for a table: empty where it is missing or NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """Format two bounds for a table: empty where they are missing."""
    return "" if bounds is None else f"{bounds[0]:.{digits}f} … {bounds[1]:.{digits}f}"
