"""Read the CSV tables of FMA as text.

Only the required columns are read, cells may span lines, and malformed rows are reported by number.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
from pyarrow import fs

from musicrec.catalog.bounded import COLUMNS, HEADER_BYTES
from musicrec.catalog.tables import (
    CSV_BLOCK_BYTES,
    PROBLEM_LINES,
    Problem,
    Severity,
    as_text,
    limited,
    numbers,
)


@dataclass(frozen=True)
class FmaTable:
    """Named columns as text, None for an empty cell.

    ``rows`` are numbers from 1 below the header; checks append to ``problems``.
    """

    name: str
    columns: pa.Table
    rows: np.ndarray
    problems: list[Problem] = field(default_factory=list)

    def report(
        self,
        column: str,
        where: pa.Array | pa.ChunkedArray | np.ndarray,
        rule: str,
        fix: str,
        severity: Severity = "error",
    ) -> None:
        """Report a problem for each row of a mask."""
        indices = np.flatnonzero(np.asarray(where))
        values = self.columns[column]
        shown = [
            Problem(
                self.name,
                int(self.rows[index]),
                column,
                values[int(index)].as_py(),
                rule,
                fix,
                severity,
            )
            for index in indices[:PROBLEM_LINES]
        ]
        self.problems.extend(limited(shown, len(indices)))

    def report_table(
        self, column: str | None, rule: str, fix: str, value: str | None = None
    ) -> None:
        """Report a problem of the table or of a whole column."""
        self.problems.append(Problem(self.name, None, column, value, rule, fix))

    def where(self, mask: pa.ChunkedArray) -> FmaTable:
        """Select the rows of a mask; problems stay in one list."""
        return replace(
            self,
            columns=self.columns.filter(mask).combine_chunks(),
            rows=self.rows[np.asarray(mask)],
        )

    def whole_numbers(self, column: str) -> tuple[pa.Array, np.ndarray]:
        """Return a column of ids as plain text ("2", also for "2.0") and as float64.

        Values that are empty or malformed are null and NaN, and are reported.
        """
        texts = self.columns[column]
        values, wrong = numbers(texts, whole=True)
        wrong |= texts.is_null().to_numpy() | (values < 0)
        self.report(column, wrong, "not an id", "write a whole number")
        values = np.where(wrong, np.nan, values)
        whole = pa.array(values, pa.float64(), from_pandas=True).cast(pa.int64())
        return whole.cast(pa.string()), values

    def decimals(self, column: str, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
        """Return a column as float64, and the mask of malformed values.

        Values that are empty, malformed or out of range are NaN; the mask has the latter two.
        """
        values, wrong = numbers(self.columns[column], whole=False)
        wrong |= (values < low) | (values > high)
        return np.where(wrong, np.nan, values), wrong


def read_published(
    filesystem: tuple[fs.FileSystem, str],
    name: str,
    path: str,
    key: str,
    columns: Sequence[str],
    header_rows: int,
) -> FmaTable:
    """Read ``key`` (the first column) and ``columns`` of a published table.

    Parameters
    ----------
    columns
        Names; in a header of several rows those of its first two joined by a dot, for example
        ``track.genre_top``.

    Returns
    -------
    FmaTable
        Without columns, and with the reason among its problems, if the file is missing or is not
        such a table.

    Raises
    ------
    OSError
        The storage does not answer.
    """
    store, base = filesystem
    full = f"{base.rstrip('/')}/{path}"
    unread = FmaTable(name, pa.table({}), np.arange(0))
    if store.get_file_info(full).type != fs.FileType.File:
        unread.report_table(
            None,
            "missing table",
            f"{path} must be in the catalog's root: unpack fma_metadata.zip there",
        )
        return unread
    with store.open_input_stream(full, compression=None) as stream:
        header = published_header(stream.read(HEADER_BYTES), header_rows)
    if header[:1] != [key] or len(header) > COLUMNS:
        unread.report_table(
            None,
            "not readable",
            f"its header must be the published one of {header_rows} rows with {key} in the "
            "first column",
        )
        return unread
    for column in columns:
        if header.count(column) != 1:
            unread.report_table(
                column, "missing column", f"{path} must have it once: use the published file"
            )
    return (
        unread
        if unread.problems
        else _read(store, full, name, header, [key, *columns], header_rows)
    )


def published_header(content: bytes, rows: int) -> list[str]:
    """Return the columns' names.

    In a header of three rows the third names only the first column.
    """
    lines = content.decode("utf-8-sig", "replace").splitlines()[:rows]
    cells = list(csv.reader(lines))
    if len(cells) < rows or len({len(row) for row in cells}) > 1 or not cells[0]:
        return []
    if rows == 1:
        return cells[0]
    return [
        cells[2][0],
        *(f"{group}.{name}" for group, name in zip(cells[0][1:], cells[1][1:], strict=True)),
    ]


def _read(
    store: fs.FileSystem,
    path: str,
    name: str,
    header: list[str],
    columns: list[str],
    header_rows: int,
) -> FmaTable:
    ragged: list[int] = []
    problems: list[Problem] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row.number - header_rows)
        if len(ragged) <= PROBLEM_LINES:
            fix = (
                f"expected {row.expected_columns} cells, found {row.actual_columns}: "
                "use the published file"
            )
            problems.append(Problem(name, ragged[-1], None, row.text, "wrong number of cells", fix))
        return "skip"

    # One thread, so that rows have numbers: 0.8 s for a table of 320 MB (the published one has
    # 260).
    read = pyarrow.csv.ReadOptions(
        use_threads=False, block_size=CSV_BLOCK_BYTES, skip_rows=header_rows, column_names=header
    )
    parse = pyarrow.csv.ParseOptions(
        newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
    )
    convert = pyarrow.csv.ConvertOptions(
        include_columns=columns,
        column_types=dict.fromkeys(columns, pa.binary()),
        null_values=[""],
        strings_can_be_null=True,
        check_utf8=False,
    )
    try:
        with store.open_input_stream(path, compression=None) as stream:
            table = pyarrow.csv.read_csv(stream, read, parse, convert)
    except pa.ArrowInvalid as error:
        unread = FmaTable(name, pa.table({}), np.arange(0))
        long_row = (
            f"a row is longer than {CSV_BLOCK_BYTES >> 20} MB: look for an unclosed double quote"
        )
        unread.report_table(
            None,
            "not readable",
            long_row if "straddling" in str(error) else str(error).partition("\n")[0],
        )
        return unread
    rows = np.setdiff1d(np.arange(1, table.num_rows + len(ragged) + 1), ragged)
    raw, more = as_text(table, columns, rows, name)
    return FmaTable(
        name, raw.columns.combine_chunks(), raw.rows, [*limited(problems, len(ragged)), *more]
    )
