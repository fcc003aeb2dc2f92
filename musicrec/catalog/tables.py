"""Read the three tables of a catalog as text, give them types, write and fingerprint them.

Conventions
-----------
``read_raw`` reads every cell as text, so that a bad value is a ``Problem`` with its row instead of
a failed read; ``typed`` converts checked text to the columns of ``musicrec.schema``. Rows are
counted from 1 at the first row under the header; a row of empty cells only is skipped but counted.
White space around a cell is removed, except in lyrics. A list is one text with ``;`` between its
elements.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pyarrow import fs

from musicrec.catalog.bounded import COLUMNS, HEADER_BYTES, check_header, read_parquet
from musicrec.config.errors import UserError
from musicrec.schema import ARTISTS, RELATED, TRACKS, SchemaError, conform
from musicrec.telemetry.redact import redacted

Severity = Literal["error", "warning"]
TABLES = {"tracks": TRACKS, "artists": ARTISTS, "related": RELATED}
PROBLEM_LINES = 20  # lines per rule and table: more would hide the other rules on a terminal
CSV_BLOCK_BYTES = 32 << 20  # pyarrow.csv cannot read a row longer than its block
# Characters of a problem's line as shown; a column's name may have millions, and an unprintable one
# takes four.
LONGEST_LINE = 600
LONGEST_REASON = 500  # characters of pyarrow's message about a file
LIST_SEPARATOR = ";"
REPLACEMENT = "\ufffd"
FINGERPRINT_ROWS = 16_384  # rows hashed at a time; another number gives other fingerprints
NO_HEADER = f"the first line must name at most {COLUMNS} columns; save it as comma-separated UTF-8"
MISSING_FIX = "{name}.csv or {name}.parquet must be in the catalog's root"


@dataclass(frozen=True)
class Problem:
    """One violation: its place (``row`` from 1, without the header), its value and the fix.

    An error stops the job, a warning does not.
    """

    table: str
    row: int | None
    column: str | None
    value: str | None
    rule: str
    fix: str
    severity: Severity = "error"

    def __str__(self) -> str:
        row = "" if self.row is None else f" row {self.row}"
        column = "" if self.column is None else f", {self.column}"
        shown = None if self.value is None else redacted(self.value)
        value = "" if shown is None else f" {shown if len(shown) <= 80 else shown[:77] + '...'!r}"
        line = f"{self.severity}: {self.table}{row}{column}{value}: {self.rule}; {self.fix}"
        printable = "".join(
            character if character.isprintable() else repr(character)[1:-1]
            for character in line[: LONGEST_LINE + 1]
        )
        return printable if len(printable) <= LONGEST_LINE else f"{printable[:LONGEST_LINE]}..."


class CatalogError(UserError, ValueError):
    """A catalog that cannot be used; ``problems`` has the reasons, the message a line for each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "\n".join(
                [
                    "the catalog cannot be used (row 1 is the first below the header):",
                    *map(str, problems),
                ]
            )
        )


@dataclass(frozen=True)
class RawTable:
    """One table as text: string columns, None for an empty cell.

    ``rows`` (int64) are the numbers of its rows in the file.
    """

    columns: pa.Table
    rows: np.ndarray

    @classmethod
    def of_texts(cls, columns: Mapping[str, Iterable[str | None]], rows: Iterable[int]) -> RawTable:
        """Return the table of columns of texts; ``rows`` are the numbers of its rows."""
        table = pa.table({name: pa.array([*texts], pa.string()) for name, texts in columns.items()})
        return cls(table, np.array([*rows], np.int64))


@dataclass(frozen=True)
class RawCatalog:
    """The tables that exist, as text, and the problems in reading them.

    An unreadable table has no columns.
    """

    root: str
    tables: dict[str, RawTable]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """A catalog in the types of ``musicrec.schema``.

    Relative ``audio`` and ``artwork`` values start from ``root``, a folder or URI.
    """

    root: str
    tracks: pa.Table
    artists: pa.Table
    related: pa.Table


def limited(problems: list[Problem], total: int) -> list[Problem]:
    """Return the first ``PROBLEM_LINES`` problems of one rule, and one that counts the rest."""
    shown = list(problems[:PROBLEM_LINES])
    if total > len(shown) > 0:
        shown.append(
            replace(shown[-1], row=None, value=None, fix=f"... and {total - len(shown)} more")
        )
    return shown


def read_raw(root: str, filesystem: tuple[fs.FileSystem, str]) -> RawCatalog:
    """Read the tables that exist, each ``NAME.parquet`` or ``NAME.csv``, as text.

    Raises
    ------
    OSError
        The storage does not answer. Faults in a file's content never raise: they are in
        ``problems``.
    """
    store, base = filesystem
    tables: dict[str, RawTable] = {}
    problems: list[Problem] = []
    for name in TABLES:
        paths = [f"{base.rstrip('/')}/{name}{end}" for end in (".parquet", ".csv")]
        files = [info.path for info in store.get_file_info(paths) if info.type == fs.FileType.File]
        if not files:
            continue
        try:
            if len(files) == 2:
                raise pa.ArrowInvalid(
                    f"both {name}.parquet and {name}.csv exist: remove one of them"
                )
            tables[name], more = (_read_parquet if files[0].endswith(".parquet") else _read_csv)(
                store, files[0], name
            )
            problems += more
        except pa.ArrowInvalid as error:
            tables[name] = RawTable(pa.table({}), np.arange(0))
            long_row = (
                f"a row is longer than {CSV_BLOCK_BYTES >> 20} MB: "
                "look for an unclosed double quote"
            )
            fix = long_row if "straddling" in str(error) else str(error).partition("\n")[0]
            problems.append(Problem(name, None, None, None, "not readable", fix))
    return RawCatalog(root, tables, tuple(problems))


def _read_csv(store: fs.FileSystem, path: str, name: str) -> tuple[RawTable, list[Problem]]:
    ragged: list[int] = []
    problems: list[Problem] = []
    decoder = codecs.getincrementaldecoder("utf-8")("strict")

    # From the first wrong byte on, U+FFFD replaces wrong bytes: pyarrow.csv could not name their
    # rows.
    def utf8(content: pa.Buffer) -> bytes:
        try:
            return decoder.decode(content, len(content) == 0).encode()
        except UnicodeDecodeError:
            decoder.errors = "replace"
            return decoder.decode(content, len(content) == 0).encode()

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append(row.number)
        if len(ragged) <= PROBLEM_LINES:
            fix = (
                f"expected {row.expected_columns} cells, found {row.actual_columns}: "
                "quote cells that contain a comma"
            )
            problems.append(
                Problem(name, row.number - 1, None, row.text, "wrong number of cells", fix)
            )
        return "skip"

    # The header is read as a row, so that every column is bytes whatever its name; one thread, so
    # that rows have numbers.
    read = pyarrow.csv.ReadOptions(
        use_threads=False, block_size=CSV_BLOCK_BYTES, autogenerate_column_names=True
    )
    parse = pyarrow.csv.ParseOptions(
        newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
    )
    kinds = {f"f{index}": pa.binary() for index in range(COLUMNS)}
    convert = pyarrow.csv.ConvertOptions(
        column_types=kinds, null_values=[""], strings_can_be_null=True, check_utf8=False
    )
    with store.open_input_file(path) as stream:
        check_header(stream.read(HEADER_BYTES), f"{name}.csv")
    with store.open_input_stream(path, compression=None) as stream:
        table = pyarrow.csv.read_csv(pa.TransformInputStream(stream, utf8), read, parse, convert)
    header = [column[0].as_py() or b"" for column in table.columns[:COLUMNS]]
    if (
        table.num_columns > COLUMNS
        or not any(header)
        or header[0].startswith(2 * REPLACEMENT.encode())  # the beginning of UTF-16
    ):
        raise pa.ArrowInvalid(NO_HEADER)
    names = [cell.decode().strip() for cell in header]
    if len(names) == 1 and set(names[0]) & {";", "\t", "|"}:
        raise pa.ArrowInvalid(
            f"its first line is {names[0][:60]!r}: save it with commas between the cells"
        )
    rows = np.setdiff1d(np.arange(1, table.num_rows + len(ragged) + 1), ragged)[1:] - 1
    raw, more = as_text(table.slice(1), names, rows, name, replaced=decoder.errors == "replace")
    return raw, limited(problems, len(ragged)) + more


def _read_parquet(store: fs.FileSystem, path: str, name: str) -> tuple[RawTable, list[Problem]]:
    with store.open_input_file(path) as file:
        # Read before it is parsed, so that an OSError below is the file's fault and not the
        # storage's
        content = file.read_buffer()
    try:
        table = read_parquet(content, TABLES[name].names)
        return as_text(table, table.column_names, np.arange(1, table.num_rows + 1), name)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise pa.ArrowInvalid(f"as Parquet: {str(error)[:LONGEST_REASON]}") from error


def as_text(
    table: pa.Table, names: list[str], rows: np.ndarray, name: str, replaced: bool = False
) -> tuple[RawTable, list[Problem]]:
    """Convert every column to strings, empty cells to None, and drop empty rows.

    ``replaced``: a wrong byte was replaced by U+FFFD.
    """
    problems: list[Problem] = []
    columns: dict[str, pa.ChunkedArray] = {}
    filled = np.zeros(len(rows), dtype=bool)
    for column, values in zip(names, table.columns, strict=True):
        if column in columns:
            problems.append(
                Problem(name, None, column, None, "column named twice", "keep one of the two")
            )
            continue
        texts, broken = _decoded(_as_bytes(values, column))
        wrong = (
            np.flatnonzero(pc.fill_null(pc.match_substring(texts, REPLACEMENT), False))
            if broken or replaced
            else np.arange(0)
        )
        shown = [
            (int(rows[index]), column, texts[int(index)].as_py()) for index in wrong[:PROBLEM_LINES]
        ]
        problems += limited(
            [Problem(name, *place, "not UTF-8", "save the file as UTF-8") for place in shown],
            len(wrong),
        )
        texts = texts if column == "lyrics" else pc.utf8_trim_whitespace(texts)
        columns[column] = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
        filled |= columns[column].is_valid().to_numpy()
    result = pa.table(columns)
    return RawTable(
        result if filled.all() else result.filter(pa.array(filled)), rows[filled]
    ), problems


def _as_bytes(values: pa.ChunkedArray, column: str) -> pa.ChunkedArray:
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        raise pa.ArrowInvalid(
            f"column '{column}' is {kind}: write it as text, numbers or lists of text"
        )
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        joined = pc.binary_join(values.cast(pa.list_(pa.string())), LIST_SEPARATOR).cast(
            pa.binary()
        )
        if joined.null_count > values.null_count:
            raise pa.ArrowInvalid(
                f"column '{column}' has lists with missing elements: remove those elements"
            )
        return joined
    if pa.types.is_floating(kind):
        # pandas writes an empty cell as NaN
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    return values if pa.types.is_binary(kind) else values.cast(pa.string()).cast(pa.binary())


def _decoded(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, bool]:
    """Decode bytes to strings, and tell whether some are not UTF-8.

    Undecodable bytes become U+FFFD.
    """
    try:
        return values.cast(pa.string()), False
    except pa.ArrowInvalid:
        texts = [
            None if cell is None else cell.decode("utf-8", "replace") for cell in values.to_pylist()
        ]
        return pa.chunked_array([pa.array(texts, pa.string())]), True


def numbers(texts: pa.ChunkedArray, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Convert texts to float64, NaN where empty or malformed, and return the mask of the malformed.

    A whole number may end in ``.0``, as pandas writes it.
    """
    pattern = (
        r"^[+-]?\d{1,15}(\.0*)?$"
        if whole
        else r"^[+-]?(\d{1,15}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?$"
    )
    good = pc.fill_null(pc.match_substring_regex(texts, pattern), False)
    values = pc.if_else(good, pc.utf8_ltrim(texts, "+"), pa.scalar(None, pa.string())).cast(
        pa.float64()
    )
    return values.to_numpy(), pc.and_(texts.is_valid(), pc.invert(good)).to_numpy()


def split_lists(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Split texts at ``;`` into lists of strings.

    Empty elements are dropped, and an empty text is an empty list.
    """
    tidy = pc.utf8_trim(
        pc.replace_substring_regex(
            texts, rf"\s*{LIST_SEPARATOR}[\s{LIST_SEPARATOR}]*", LIST_SEPARATOR
        ),
        LIST_SEPARATOR,
    )
    filled = pc.if_else(pc.equal(tidy, ""), pa.scalar(None, pa.string()), tidy)
    return pc.fill_null(pc.split_pattern(filled, LIST_SEPARATOR), [])


def typed(raw: RawTable, name: str) -> pa.Table:
    """Convert a raw table to the columns and types of ``TABLES[name]``.

    Raises
    ------
    SchemaError
        A column is missing, or a value does not fit its type.
    """
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for field in TABLES[name]:
        present = field.name in raw.columns.column_names
        texts = (
            raw.columns[field.name]
            if present
            else pa.chunked_array([pa.nulls(len(raw.rows), pa.string())])
        )
        if pa.types.is_list(field.type):
            columns[field.name] = split_lists(texts)
        elif pa.types.is_string(field.type) and present:
            columns[field.name] = texts
        elif present:
            values, wrong = numbers(texts, whole=pa.types.is_integer(field.type))
            if wrong.any():
                index = int(np.argmax(wrong))
                raise SchemaError(
                    f"{name} row {raw.rows[index]}, {field.name} {texts[index].as_py()!r}: "
                    "not a number"
                )
            columns[field.name] = pa.array(values, pa.float64(), from_pandas=True).cast(field.type)
    return conform(pa.table(columns), TABLES[name], name)


def with_all_artists(artists: pa.Table, tracks: pa.Table) -> pa.Table:
    """Append a row, ordered by id, for each artist who has tracks only.

    The name is that of one of the tracks.
    """
    others = tracks.filter(
        pc.invert(pc.is_in(tracks["artist_id"], artists["artist_id"].combine_chunks()))
    )
    names = others.group_by("artist_id").aggregate([("artist", "min")]).sort_by("artist_id")
    genres = pa.array([[]] * names.num_rows, pa.list_(pa.string()))
    added = pa.table(
        {"artist_id": names["artist_id"], "name": names["artist_min"], "genres": genres}
    )
    return pa.concat_tables([artists, conform(added, ARTISTS, "artists")])


def read_catalog(root: str, filesystem: tuple[fs.FileSystem, str]) -> Catalog:
    """Read a catalog that has its splits and passed ``load_validated`` earlier.

    Types are checked (SchemaError), rules are not.

    Raises
    ------
    CatalogError
        A table is missing or unreadable (``artists`` may be missing).
    """
    raw = read_raw(root, filesystem)
    missing = {"tracks", "related"} - raw.tables.keys()
    problems = [
        Problem(name, None, None, None, "missing table", MISSING_FIX.format(name=name))
        for name in sorted(missing)
    ]
    if problems or raw.problems:
        raise CatalogError([*problems, *raw.problems])
    tracks, related = typed(raw.tables["tracks"], "tracks"), typed(raw.tables["related"], "related")
    artists = (
        typed(raw.tables["artists"], "artists")
        if "artists" in raw.tables
        else ARTISTS.empty_table()
    )
    return Catalog(root, tracks, with_all_artists(artists, tracks), related)


def fingerprint(catalog: Catalog) -> str:
    """Return the SHA-256 of the content of the three tables.

    It is the same for any order of rows, any file format and any root.
    """
    digest = hashlib.sha256()
    for name, schema in TABLES.items():
        table = getattr(catalog, name)
        keys = [
            column
            for column in ("track_id", "artist_id", "related_artist_id", "rank")
            if column in schema.names
        ]
        order = pc.sort_indices(table, sort_keys=[(key, "ascending") for key in keys])
        for start in range(0, len(order), FINGERPRINT_ROWS):
            part = table.take(order.slice(start, FINGERPRINT_ROWS))
            for column in part.columns:
                texts = (
                    pc.binary_join(column, LIST_SEPARATOR)
                    if pa.types.is_list(column.type)
                    else column.cast(pa.string())
                )
                filled = pc.fill_null(texts, "").combine_chunks()
                joined = pc.binary_join(pa.ListArray.from_arrays([0, len(filled)], filled), "")[
                    0
                ].as_py()
                for content in (
                    texts.is_valid().to_numpy(),
                    pc.binary_length(filled).to_numpy().astype("<i4"),
                    joined.encode(),
                ):
                    digest.update(content)
        digest.update(f"{name}:{table.num_rows}".encode())
    return digest.hexdigest()
