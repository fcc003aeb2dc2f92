"""Files of rows that are divided into buckets: one row group of Parquet per bucket that has rows.

A task of the next step reads the row groups of its own bucket only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from musicrec.relations.shards import undone_if_damaged
from musicrec.storage.checksums import with_checksums
from musicrec.storage.parquet import StoredParquet
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
        sink,
        table.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        write_page_checksum=True,
    ) as writer:
        for bucket in present.tolist():
            rows = int(ends[bucket + 1] - ends[bucket])
            writer.write_table(table.slice(int(ends[bucket]), rows), row_group_size=rows)
    store.write(name, with_checksums(memoryview(sink.getvalue())))
    return present.tolist()


def read_bucket(
    store: Store, parts: Iterable[Sequence], bucket: int, contract: pa.Schema
) -> Iterable[pa.Table]:
    """Yield the rows of a bucket of each part that has some.

    Raises
    ------
    DamagedError
        A part is not what was written; the next run does its shard again.
    """
    for name, present in parts:
        if bucket in present:
            with undone_if_damaged(store, name), StoredParquet(store, name) as file:
                yield file.read_row_group(present.index(bucket), contract.names)


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each run of equal neighbours in ``values`` (N,) starts, and its length."""
    changes = np.append(True, values[1:] != values[:-1])[: len(values)]
    starts = np.flatnonzero(changes)
    return starts, np.diff(np.append(starts, len(values)))
