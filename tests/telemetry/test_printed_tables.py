"""Tables for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io

from rich.console import Console

from musicrec.telemetry.tables import csv_table, markdown_table, terminal_table


def test_a_terminal_table_aligns_numbers_right() -> None:
    table = terminal_table(("model", "score"), title="Scores", right={"score"})
    table.add_row("ridge", "0.3")
    stream = io.StringIO()
    Console(file=stream, width=40).print(table)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert lines[0] == "Scores"
    assert "ridge    0.3" in lines[-2] + lines[-1]
    assert [column.justify for column in table.columns] == ["left", "right"]


def test_a_markdown_table_escapes_pipes() -> None:
    assert markdown_table(("a", "b"), [["x|y", "1"]], right={"b"}).splitlines() == [
        "| a | b |",
        "| --- | ---: |",
        "| x\\|y | 1 |",
    ]


def test_a_csv_table_leaves_missing_values_empty() -> None:
    text = csv_table(("a", "b", "c"), [{"a": "x,\n", "b": None}])
    assert list(csv.reader(io.StringIO(text))) == [["a", "b", "c"], ["x,\n", "", ""]]
