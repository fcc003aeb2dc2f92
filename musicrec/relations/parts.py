"""Files of rows that are divided into buckets: one row group of Parquet per bucket that has rows.

A task of the next step reads the row groups of its own bucket only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.storage.store import Store

# A file's name, and the bucket of each of its row groups.
Part = tuple[str, list[int]]


def write_part(
    store: Store, name: str, table: pa.Table, buckets: np.ndarray, count: int
) -> list[int]:
    """Write a table, divided by the bucket of each row; return the buckets of its row groups."""
    order = np.argsort(buckets, kind="stable")
    ends = np.searchsorted(buckets[order], np.arange(count + 1))
    table, present = table.take(pa.array(order)), np.flatnonzero(np.diff(ends))
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, table.schema, compression="zstd", compression_level=1, use_dictionary=False
    ) as writer:
        for bucket in present.tolist():
            rows = int(ends[bucket + 1] - ends[bucket])
            writer.write_table(table.slice(int(ends[bucket]), rows), row_group_size=rows)
    store.write(name, memoryview(sink.getvalue()))
    return present.tolist()


def read_bucket(
    store: Store, parts: Iterable[Sequence], bucket: int, contract: pa.Schema
) -> Iterable[pa.Table]:
    """Yield the rows of a bucket of each part that has some."""
    for name, present in parts:
        if bucket not in present:
            continue
        filesystem, path = store.locate(name)
        with filesystem.open_input_file(path) as stream:
            yield pq.ParquetFile(stream).read_row_group(
                present.index(bucket), columns=contract.names, use_threads=False
            )
