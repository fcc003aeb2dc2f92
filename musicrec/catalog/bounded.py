"""Tables from anybody, read without unfolding what a small file can stand for: millions of columns, or a value millions of times."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = 200
PARQUET_ROWS = 50_000_000
# What a Parquet file may unfold to: so many bytes, and so many times its own. Real tables reach six times.
UNFOLDED_BYTES = 1 << 28
UNFOLDED_TIMES = 16
CELL_BYTES = 8  # beside its text
EXTENSION = b"ARROW:extension:name"


def first_record_cells(head: bytes) -> int:
    """How many cells begin in the first record of a CSV file: pyarrow.csv makes room for all of them, were they millions."""
    cells = 1
    for number, text in enumerate(head.replace(b"\r", b"\n").split(b'"')):
        if number % 2 == 0:  # outside of quotes
            line, ended, _ = text.partition(b"\n")
            cells += line.count(b",")
            if ended:
                break
    return cells


def read_parquet(content: pa.Buffer, wanted: Collection[str]) -> pa.Table:
    """The ``wanted`` columns of a Parquet file, and the others as empty ones, so that their names can be checked.

    Raises
    ------
    pa.ArrowException, OSError
        It is no Parquet, holds what no text is made from (pickled objects), or unfolds to too much.
    """
    as_written = pq.ParquetFile(pa.BufferReader(content))
    metadata, schema = as_written.metadata, as_written.schema_arrow
    if metadata.num_columns > COLUMNS:
        raise pa.ArrowInvalid(
            f"it has {metadata.num_columns} columns, and at most {COLUMNS} are read"
        )
    if metadata.num_rows > PARQUET_ROWS:
        raise pa.ArrowInvalid(
            f"it announces {metadata.num_rows} rows, and at most {PARQUET_ROWS} are read"
        )
    for field in schema:
        name = (
            (field.metadata or {}).get(EXTENSION, b"").decode()
        )  # where Ray's data sets were not imported, their pickles look like bytes
        if name or isinstance(field.type, pa.BaseExtensionType):
            raise pa.ArrowInvalid(
                f"column '{field.name}' is {name or field.type}: write it as text, numbers or lists of text"
            )
    leaves = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    # Each text once and the rows as numbers: so a value that stands there a million times is seen before it is written out.
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    parquet = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
    limit = UNFOLDED_BYTES + UNFOLDED_TIMES * content.size
    read = [index for index, leaf in enumerate(leaves) if leaf.path.partition(".")[0] in wanted]
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    _check(
        sum(group.column(index).total_uncompressed_size for group in groups for index in read),
        limit,
    )
    _check(CELL_BYTES * metadata.num_rows * len(read), limit)
    table = parquet.read(
        columns=[name for name in schema.names if name in wanted], use_threads=False
    )
    _check(sum(_unfolded(column) for column in table.columns), limit)
    table = pa.table(
        {
            name: _written_out(column)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    for name in sorted({*schema.names} - {*wanted}):
        table = table.append_column(name, pa.nulls(table.num_rows, pa.string()))
    return table


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise pa.ArrowInvalid(
            f"it unfolds to {size:,} bytes, and at most {limit:,} are read from a file of this size"
        )


def _unfolded(column: pa.ChunkedArray) -> int:
    """Bytes of a column once its dictionaries are written out."""
    return sum(CELL_BYTES * len(chunk) + _texts(chunk) for chunk in column.chunks)


def _texts(values: pa.Array) -> int:
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return CELL_BYTES * len(values.values) + _texts(values.values)
    if not pa.types.is_dictionary(values.type):
        return values.nbytes
    lengths = pc.cast(pc.binary_length(values.dictionary), pa.int64())
    return pc.sum(lengths.take(values.indices)).as_py() or 0


def _written_out(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type)
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_dictionary(
        kind.value_type
    ):
        return column.cast(pa.list_(kind.value_type.value_type))
    return column
