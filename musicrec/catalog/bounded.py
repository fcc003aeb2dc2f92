"""Read untrusted tables without expanding more than a bound.

A small file can stand for millions of columns, or for one value millions of times.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = 200
HEADER_BYTES = 1 << 16
PARQUET_ROWS = 50_000_000
# Largest expanded size of a Parquet file: this constant plus a multiple of the file's size. Real
# tables reach six times.
EXPANDED_BYTES = 1 << 28
EXPANDED_TIMES = 16
CELL_BYTES = 8  # overhead per cell, in addition to its text
EXTENSION = b"ARROW:extension:name"


def check_header(head: bytes, name: str) -> None:
    """Check the first record of a CSV file, given the file's first ``HEADER_BYTES`` and its name.

    pyarrow.csv allocates a column for each of its cells, even for millions, and a name is copied
    into each problem of its column.

    Raises
    ------
    pa.ArrowInvalid
        It has too many cells, or does not end within these bytes.
    """
    cells, has_ended = _first_record(head)
    if cells > COLUMNS:
        counted = f"{cells:,} columns" if has_ended else f"at least {cells:,} columns"
        raise pa.ArrowInvalid(f"the first line of {name} has {counted}; the limit is {COLUMNS}")
    if not has_ended and len(head) == HEADER_BYTES:
        raise pa.ArrowInvalid(
            f"the first line of {name}, its header, has more than {HEADER_BYTES >> 10} KiB, which "
            "is the limit: look for a missing header or an unclosed double quote"
        )


def _first_record(head: bytes) -> tuple[int, bool]:
    """Count the cells in the first record, and tell whether it ends in these bytes."""
    cells = 1
    for number, text in enumerate(head.replace(b"\r", b"\n").split(b'"')):
        if number % 2 == 0:  # outside of quotes
            line, ended, _ = text.partition(b"\n")
            cells += line.count(b",")
            if ended:
                return cells, True
    return cells, False


def read_parquet(content: pa.Buffer, names: Collection[str]) -> pa.Table:
    """Read the named columns of a Parquet file, and the others as empty columns.

    The empty columns keep their names, so that the names can be checked.

    Raises
    ------
    pa.ArrowException, OSError
        The file is not Parquet, has a column that cannot be converted to text (pickled objects), or
        is too large when expanded.
    """
    as_written = pq.ParquetFile(pa.BufferReader(content))
    metadata, schema = as_written.metadata, as_written.schema_arrow
    if metadata.num_columns > COLUMNS:
        raise pa.ArrowInvalid(f"it has {metadata.num_columns} columns; the limit is {COLUMNS}")
    if metadata.num_rows > PARQUET_ROWS:
        raise pa.ArrowInvalid(f"it declares {metadata.num_rows} rows; the limit is {PARQUET_ROWS}")
    for field in schema:
        # Without an import of Ray's data sets their pickles look like bytes.
        extension = (field.metadata or {}).get(EXTENSION, b"").decode()
        if extension or isinstance(field.type, pa.BaseExtensionType):
            raise pa.ArrowInvalid(
                f"column '{field.name}' is {extension or field.type}: write it as text, "
                "numbers or lists of text"
            )
    leaves = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    # Dictionaries keep each text once, so that a value repeated a million times is detected before
    # it is expanded.
    text_columns = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    parquet = pq.ParquetFile(pa.BufferReader(content), read_dictionary=text_columns)
    limit = EXPANDED_BYTES + EXPANDED_TIMES * content.size
    read = [index for index, leaf in enumerate(leaves) if leaf.path.partition(".")[0] in names]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    _check(
        sum(group.column(index).total_uncompressed_size for group in groups for index in read),
        limit,
    )
    _check(CELL_BYTES * metadata.num_rows * len(read), limit)
    table = parquet.read(
        columns=[name for name in schema.names if name in names], use_threads=False
    )
    _check(sum(_expanded_bytes(column) for column in table.columns), limit)
    table = pa.table(
        {
            name: _expanded(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    for name in sorted({*schema.names} - {*names}):
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return table


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise pa.ArrowInvalid(
            f"it expands to {size:,} bytes; the limit for a file of this size is {limit:,}"
        )


def _expanded_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column with its dictionaries expanded."""
    return sum(CELL_BYTES * len(chunk) + _text_bytes(chunk) for chunk in column.chunks)


def _text_bytes(values: pa.Array) -> int:
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return CELL_BYTES * len(values.values) + _text_bytes(values.values)
    if not pa.types.is_dictionary(values.type):
        return values.nbytes
    lengths = pc.cast(pc.binary_length(values.dictionary), pa.int64())
    return pc.sum(lengths.take(values.indices)).as_py() or 0


def _expanded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_dictionary(
        kind.value_type
    ):
        return column.cast(pa.list_(kind.value_type.value_type))
    return column
