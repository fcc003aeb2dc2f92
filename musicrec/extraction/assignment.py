"""Assign the rows to extract to blocks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.extraction.rows import keys_with, row_keys

# A row's file version (musicrec.catalog.versions) is null where it was unknown at the time.
MANIFEST = pa.schema(
    [
        ("block", pa.string()),
        ("item", pa.string()),
        ("uri", pa.string()),
        ("columns", pa.list_(pa.string())),
        ("version", pa.string()),
    ]
)
BLOCK_DIGITS = 6


def unassigned(
    manifest: pa.Table,
    items: pa.Table,
    columns: list[str],
    failed: pa.ChunkedArray,
    unwritten: pa.Table,
    number: str,
    rows_per_block: int,
) -> pa.Table:
    """Return new manifest rows for the items that lack a column or are to be retried.

    Retried are those whose key is in ``failed`` and that are in no unwritten block. Rows that lack
    the same columns share blocks.
    """
    keys = row_keys(items)
    retried = pc.is_in(keys, value_set=failed.combine_chunks())
    lacks = np.zeros((len(columns), items.num_rows), bool)
    for row, column in zip(lacks, columns, strict=True):
        assigned = pc.is_in(keys, value_set=keys_with(manifest, column))
        waiting = pc.is_in(keys, value_set=keys_with(unwritten, column))
        row[:] = pc.or_(pc.invert(assigned), pc.and_(retried, pc.invert(waiting))).to_numpy()
    # Rows that lack the same columns have the same code, one bit per column.
    codes = np.left_shift(1, np.arange(len(columns))) @ lacks
    unique_codes, first = np.unique(codes, return_index=True)
    tables, blocks = [MANIFEST.empty_table()], 0
    for code in unique_codes[np.argsort(first)]:
        if code == 0:
            continue
        rows = np.flatnonzero(codes == code)
        group = items.take(pa.array(rows))
        lacking = [column for bit, column in enumerate(columns) if code >> bit & 1]
        names = pa.array(blocks + np.arange(len(rows)) // rows_per_block).cast(pa.string())
        blocks += -(-len(rows) // rows_per_block)
        values = [
            pc.binary_join_element_wise(number, pc.utf8_lpad(names, BLOCK_DIGITS, "0"), "-"),
            group.column("item"),
            group.column("uri"),
            pa.array([lacking]).take(pa.array(np.zeros(len(rows), np.int8))),
            group.column("version"),
        ]
        tables.append(pa.table(dict(zip(MANIFEST.names, values, strict=True)), schema=MANIFEST))
    return pa.concat_tables(tables)
