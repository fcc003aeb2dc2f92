"""Build the index and the errors of an extraction from the outcomes of its blocks.

The index says where the inputs of each track are stored. Everything is columnar: an extraction of a
million tracks makes no Python object per row.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.rows import (
    failures,
    has_column,
    last_rows,
    row_keys,
    with_manifest_versions,
)

# Part and row of each modality of a track.
INDEX = pa.schema(
    [
        ("track_id", pa.string()),
        ("modality", pa.string()),
        ("part", pa.string()),
        ("row", pa.int32()),
    ]
)


def build_index(
    blocks: Blocks, items: pa.Table, columns: tuple[str, ...], stage: str
) -> tuple[pa.Table, pa.Table]:
    """Return the index and the errors of items (item, uri, version).

    The index has, for each column, the latest good row of an item's file in its present version.
    The errors have the items that lack a column, with their last error.

    Parameters
    ----------
    stage
        The stage's name in the rows of the errors.
    """
    outcomes = blocks.outcomes()
    keys = row_keys(with_manifest_versions(items, outcomes))
    good, failed = outcomes.filter(pc.is_null(outcomes.column("reason"))), failures(outcomes)
    index, lacking = [INDEX.empty_table()], np.zeros(len(keys), bool)
    for column in columns:
        extracted = good.filter(has_column(good, column))
        latest = last_rows(row_keys(extracted), keys)
        lacking |= latest < 0
        rows = extracted.take(pa.array(latest[latest >= 0]))
        parts = blocks.part_uris(rows.column("block"))
        values = {
            "track_id": rows.column("item"),
            "modality": pa.repeat(column, rows.num_rows),
            "part": parts,
            "row": rows.column("row"),
        }
        index.append(pa.table(values, schema=INDEX))
    latest = last_rows(row_keys(failed), keys)
    rows = failed.take(pa.array(latest[lacking & (latest >= 0)]))
    values = {"track_id": rows.column("item"), "stage": pa.repeat(stage, rows.num_rows)}
    values |= {name: rows.column(name) for name in ("reason", "detail")}
    return pa.concat_tables(index), pa.table(values, schema=schema.ERRORS)


def complete_tracks(index: pa.Table, columns: tuple[str, ...]) -> int:
    """Count the tracks that have all of the columns."""
    counts = index.group_by("track_id").aggregate([("modality", "count")]).column("modality_count")
    return pc.sum(pc.equal(counts, len(columns)), min_count=0).as_py()


def expand_to_tracks(table: pa.Table, tracks: pa.Table) -> pa.Table:
    """Turn rows about images into rows about the tracks (item) that show them (uri)."""
    position = pc.index_in(
        tracks.column("uri"), value_set=table.column("track_id").combine_chunks()
    )
    rows = table.take(position.filter(pc.is_valid(position)))
    return rows.set_column(
        0, table.schema.field(0), tracks.column("item").filter(pc.is_valid(position))
    )
