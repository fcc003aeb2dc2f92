"""Tables as text: for a terminal (rich), as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from musicrec.telemetry.printable import printable


class PlainTable(Table):
    """A table whose cells are texts: no markup, no emoji codes, no control characters."""

    def add_row(self, *cells: str, **options: Any) -> None:
        """Add a row of one text per column."""
        super().add_row(*(Text(printable(cell)) for cell in cells), **options)


def terminal_table(
    columns: Sequence[str],
    *,
    title: str | None = None,
    right: Collection[str] = (),
    no_wrap: Collection[str] = (),
    **options: Any,
) -> PlainTable:
    """Return an empty rich table in the style of every job.

    Parameters
    ----------
    columns
        Headings, each different.
    right, no_wrap
        Headings of the columns to align right (numbers), and of those that are never wrapped.
    options
        Further arguments of `rich.table.Table`.
    """
    style = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}
    heading = None if title is None else Text(printable(title), "table.title")
    table = PlainTable(title=heading, title_justify="left", **style | options)
    for column in columns:
        table.add_column(
            printable(column),
            justify="right" if column in right else "left",
            no_wrap=column in no_wrap,
        )
    return table


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()
) -> str:
    """Return a Markdown table without a final line end; ``|`` in a cell is escaped.

    Parameters
    ----------
    right
        Headings of the columns to align right.
    """
    rule = ["---:" if column in right else "---" for column in columns]
    cells = ([str(cell).replace("|", "\\|") for cell in row] for row in (columns, *rows))
    heading, *lines = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join([heading, f"| {' | '.join(rule)} |", *lines])


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows by column name as CSV with a heading line; missing and None values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
