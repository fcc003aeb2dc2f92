"""Readers that fail: one that ends its process or hangs at some rows, and one that raises."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass

import pyarrow as pa
import ray

from musicrec.extraction.manifest import OUTCOME_FIELDS
from musicrec.extraction.rows import failed_rows

# Workers have no path to the tests.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
FIELDS = pa.schema([("track_id", pa.string()), ("value", pa.int64()), *OUTCOME_FIELDS])


class Failed:
    """Failed rows of the readers here."""

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        return failed_rows(rows, FIELDS, reason, detail)


@dataclass(frozen=True)
class KillsItsWorker(Failed):
    """Ends its process at the row ``fatal``, hangs at ``endless``, and passes other rows on."""

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
class Raises(Failed):
    """Raises an error at one row (or at all of them), and passes the other rows on."""

    error: Exception
    item: str | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self.item is None or self.item in rows.column("item").to_pylist():
            raise self.error
        return KillsItsWorker("", "")(rows)
