"""Read tab-separated tables of published data sets as text; bad rows are reported by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pyarrow import fs

from musicrec.catalog.tables import Problem, RawCatalog, RawTable, limited

MAXIMUM_BYTES = 1 << 30
UNREADABLE = "use the published file, tab-separated and UTF-8"


@dataclass
class TabTable:
    """Columns of a table as text, None for an empty cell.

    Attributes
    ----------
    rows
        Numbers of the rows from 1 below the header.
    further
        The cells of each row after the last named column.
    """

    name: str
    columns: dict[str, list[str | None]]
    rows: list[int] = field(default_factory=list)
    further: list[list[str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def by(self, key: str, column: str) -> dict[str, str]:
        """Return the filled cells of a column by those of another; the first of a key counts."""
        pairs = zip(self.columns[key], self.columns[column], strict=True)
        values: dict[str, str] = {}
        for name, value in pairs:
            if name is not None and value is not None:
                values.setdefault(name, value)
        return values


def read_tabbed(
    filesystem: tuple[fs.FileSystem, str],
    file: str,
    columns: Sequence[str],
    *,
    optional: bool = False,
    further: bool = False,
) -> TabTable:
    """Read the named columns of a table under the catalog's root.

    Parameters
    ----------
    optional
        Whether a missing file is an empty table instead of a problem.
    further
        Whether rows may have more cells than the header.

    Raises
    ------
    OSError
        The storage does not answer.
    """
    store, base = filesystem
    table = TabTable(file, {column: [] for column in columns})
    info = store.get_file_info(f"{base.rstrip('/')}/{file}")
    if info.type != fs.FileType.File:
        if not optional:
            fix = f"{file} must be in the catalog's root, as published"
            table.problems.append(Problem(file, None, None, None, "missing table", fix))
        return table
    if info.size > MAXIMUM_BYTES:
        fix = f"it has {info.size:,} bytes; the limit is {MAXIMUM_BYTES:,}"
        table.problems.append(Problem(file, None, None, None, "not readable", fix))
        return table
    with store.open_input_stream(info.path, compression=None) as stream:
        lines = bytes(stream.read()).decode("utf-8-sig", "surrogateescape").split("\n")
    header = [cell.strip() for cell in lines[0].split("\t")]
    for column in columns:
        if header.count(column) != 1:
            fix = f"its first line must name it once; {UNREADABLE}"
            table.problems.append(Problem(file, None, column, None, "missing column", fix))
    if not table.problems:
        _add_rows(table, header, lines[1:], further)
    return table


def raw_catalog(
    root: str, read: Sequence[TabTable], columns: Callable[[], Mapping[str, list[str | None]]]
) -> RawCatalog:
    """Return a catalog of tracks only, with the problems of the tables that were read.

    Parameters
    ----------
    read
        The first is the table of the tracks.
    columns
        Called for the columns of ``tracks`` where that table has rows.
    """
    tracks, problems = read[0], [problem for each in read for problem in each.problems]
    if not tracks.rows:
        rule, fix = "no row that can be used", "use the published file"
        problems.append(Problem(tracks.name, None, None, None, rule, fix))
        return RawCatalog(root, {}, tuple(problems))
    table = RawTable.of_texts(columns(), tracks.rows)
    return RawCatalog(root, {"tracks": table}, tuple(problems))


def _add_rows(table: TabTable, header: list[str], lines: list[str], further: bool) -> None:
    places = {column: header.index(column) for column in table.columns}
    ragged: list[Problem] = []
    foreign: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        text = line.removesuffix("\r")
        cells = text.split("\t")
        if not text:
            continue
        if len(cells) < len(header) or (len(cells) > len(header) and not further):
            rule = "wrong number of cells"
            fix = f"expected {len(header)} cells, found {len(cells)}: use the published file"
            shown = text.encode("utf-8", "replace").decode()
            ragged.append(Problem(table.name, number, None, shown, rule, fix))
            continue
        if not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text):
            shown = text.encode("utf-8", "replace").decode()
            fix = "save the file as UTF-8"
            foreign.append(Problem(table.name, number, None, shown, "not UTF-8", fix))
            continue
        table.rows.append(number)
        table.further.append([cell.strip() for cell in cells[len(header) :]])
        for column, place in places.items():
            table.columns[column].append(cells[place].strip() or None)
    for problems in (ragged, foreign):
        table.problems += limited(problems, len(problems))
