"""Work on one block: read its rows, commit their outcome to the store, and summarise the work.

Working on a block again writes the same rows again.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.extraction.isolation import Reader, read_bounded
from musicrec.extraction.manifest import Blocks
from musicrec.telemetry.redact import redacted

LONGEST_FAILURE = 1000  # characters
SUMMARY = pa.schema(
    [
        ("block", pa.string()),
        ("rows", pa.int64()),
        ("errors", pa.int64()),
        ("bytes", pa.int64()),
        ("audio_seconds", pa.float64()),
        ("cpu_seconds", pa.float64()),
        ("failure", pa.string()),
    ]
)


def rows_of(block: pa.Table) -> pa.Table:
    """Return the manifest rows of a block from its single-row form (``pipeline.outstanding``)."""
    lists = {name: pc.list_flatten(block.column(name)) for name in ("item", "uri")}
    repeated = {
        name: block.column(name).take(pa.array(np.zeros(len(lists["item"]), np.int8)))
        for name in ("block", "columns")
    }
    return pa.table(repeated | lists)


def extract_block(
    block: pa.Table, blocks: Blocks, reader: Reader, seconds_per_file: float, as_batch: bool = False
) -> pa.Table:
    """Read and commit a block; return its summary, a table of one row (``SUMMARY``).

    An error that no file causes (a store that refuses writes, a reader that raises) becomes
    ``failure`` in the summary and nothing is committed: the driver knows whether other blocks fail
    as well.
    """
    started, rows = time.process_time(), rows_of(block)
    try:
        summary = commit(rows, blocks, read_bounded(rows, reader, seconds_per_file, as_batch))
    except Exception as error:  # noqa: BLE001 - the driver decides, whatever it is
        summary = _summary(
            rows, failure=redacted(f"{type(error).__name__}: {error}")[:LONGEST_FAILURE]
        )
    return pa.Table.from_pylist(
        [summary | {"cpu_seconds": time.process_time() - started}], schema=SUMMARY
    )


def commit(rows: pa.Table, blocks: Blocks, outcome: pa.Table) -> dict[str, Any]:
    """Write the outcome of a block's rows; return the block's summary."""
    size = blocks.commit(rows.column("block")[0].as_py(), outcome)
    audio = (
        pc.sum(outcome.column("duration_seconds")).as_py()
        if "duration_seconds" in outcome.column_names
        else None
    )
    errors = outcome.num_rows - outcome.column("reason").null_count
    return _summary(rows, rows=rows.num_rows, errors=errors, bytes=size, audio_seconds=audio or 0.0)


def _summary(block_rows: pa.Table, **values: Any) -> dict[str, Any]:
    counts = {
        "rows": 0,
        "errors": 0,
        "bytes": 0,
        "audio_seconds": 0.0,
        "cpu_seconds": 0.0,
        "failure": None,
    }
    return {"block": block_rows.column("block")[0].as_py()} | counts | values
