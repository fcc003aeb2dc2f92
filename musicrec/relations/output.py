"""Write the relations as the table that a catalog has, CSV or Parquet."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq

from musicrec.config.errors import ConfigError
from musicrec.relations.groups import ITEMS
from musicrec.relations.rank import RANKED
from musicrec.relations.rank import STEP as RANKED_STEP
from musicrec.relations.shards import Steps
from musicrec.schema import RELATED
from musicrec.storage.store import resolve
from musicrec.telemetry.redact import redacted

ITEMS_FILE = "items.parquet"


def check_out(out: str) -> None:
    """Check the name of the output.

    Raises
    ------
    ConfigError
        It is neither CSV nor Parquet.
    """
    if not out.endswith((".csv", ".parquet")):
        raise ConfigError(f"--out {redacted(out)}: name a file that ends in .csv or .parquet")


def related_tables(steps: Steps, buckets: int) -> Iterator[pa.Table]:
    """Yield the relations of each bucket with their names, in the columns of ``RELATED``."""
    store = steps.stage.store
    items = store.read_table(steps.stage.path(ITEMS_FILE), ITEMS)
    hashes, names = items["item"].to_numpy(), items["name"].combine_chunks()
    for bucket in range(buckets):
        ranked = steps.read_table(RANKED_STEP, bucket, RANKED)
        columns = [
            names.take(pa.array(np.searchsorted(hashes, ranked[name].to_numpy())))
            for name in ("item", "related")
        ]
        yield pa.table([*columns, ranked["rank"]], schema=RELATED)


def write_related(out: str, item: str, tables: Iterator[pa.Table]) -> int:
    """Write the relations to a path or URI, where they appear whole; return their number.

    The columns are ``artist_id``, ``related_artist_id`` and ``rank`` for artists, and
    correspondingly for albums and tracks.
    """
    names = [f"{item}_id", f"related_{item}_id", "rank"]
    contract = pa.schema(
        [field.with_name(name) for field, name in zip(RELATED, names, strict=True)]
    )
    rows = 0
    with _output(out) as stream:
        if out.endswith(".csv"):
            writer = pyarrow.csv.CSVWriter(stream, contract)
        else:
            writer = pq.ParquetWriter(stream, contract)
        with writer:
            for table in tables:
                writer.write_table(table.rename_columns(names))
                rows += table.num_rows
    return rows


@contextlib.contextmanager
def _output(out: str) -> Iterator[pa.NativeFile]:
    filesystem, path = resolve(out)
    if not isinstance(filesystem, pa.fs.LocalFileSystem):
        with filesystem.open_output_stream(path) as stream:
            yield stream
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with pa.OSFile(str(temporary), "wb") as stream:
            yield stream
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
