"""Readers that fail: one whose process ends at one row, as on a fault in a decoder, and never ends at another; one that raises."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass

import pyarrow as pa
import ray

from musicrec.extraction.manifest import OUTCOME_FIELDS

ray.cloudpickle.register_pickle_by_value(
    sys.modules[__name__]
)  # the workers have no path to the tests
FIELDS = pa.schema([("track_id", pa.string()), ("value", pa.int64()), *OUTCOME_FIELDS])


@dataclass(frozen=True)
class KillsItsWorker:
    """Passes each other row on."""

    fatal: str
    endless: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        items = rows.column("item").to_pylist()
        if self.fatal in items:
            os._exit(1)
        if self.endless in items:
            threading.Event().wait()
        return pa.Table.from_pylist(
            [{"track_id": item, "value": len(item)} for item in items], schema=FIELDS
        )


@dataclass(frozen=True)
class Raises:
    """An error at each row that it is for, or at all; passes each other row on."""

    error: Exception
    item: str | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self.item is None or self.item in rows.column("item").to_pylist():
            raise self.error
        return KillsItsWorker("", "")(rows)
