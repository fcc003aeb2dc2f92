"""Compare rows of manifests and outcomes: same file, latest version, failed or not.

All of it is columnar; a manifest of a million rows makes no Python object per row.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.versions import MISSING


def row_keys(
    table: pa.Table, names: tuple[str, ...] = ("item", "uri", "version")
) -> pa.ChunkedArray:
    """Return the identity of rows: item, URI and version, joined.

    Large strings, since those of some ten million rows exceed 2 GB.
    """
    parts = (pc.fill_null(table.column(name).cast(pa.large_string()), "") for name in names)
    return pc.binary_join_element_wise(*parts, pa.scalar("\x00", pa.large_string()))


def with_manifest_versions(items: pa.Table, manifest: pa.Table) -> pa.Table:
    """Return the items (item, uri, version) with the versions that the manifest uses for them.

    A file that is gone, or whose version is unknown (null, or no such column), counts as the
    version assigned last, so that what was extracted from it stays in use. So does every file
    that was assigned last without a version.
    """
    if "version" not in items.column_names:
        items = items.append_column("version", pa.nulls(items.num_rows, pa.string()))
    names = ("item", "uri")
    last = last_rows(row_keys(manifest, names), row_keys(items, names))
    before = manifest.column("version").take(pa.array(last, mask=last < 0))
    now = items.column("version")
    unknown = pc.or_(pc.is_null(now), pc.equal(pc.fill_null(now, MISSING), MISSING))
    kept = pc.and_(pa.array(last >= 0), pc.or_(unknown, pc.is_null(before)))
    return items.set_column(
        items.column_names.index("version"), "version", pc.if_else(kept, before, now)
    )


def last_rows(keys: pa.ChunkedArray, distinct: pa.ChunkedArray) -> np.ndarray:
    """Return for each of the distinct keys the last row (int64) that has it, or -1."""
    position = pc.fill_null(
        pc.index_in(keys, value_set=distinct.combine_chunks()), len(distinct)
    ).to_numpy()
    # Rows of other keys share one place past the last, which is cut off.
    last = np.full(len(distinct) + 1, -1, np.int64)
    np.maximum.at(last, position, np.arange(len(position)))
    return last[:-1]


def has_column(rows: pa.Table, column: str) -> pa.Array:
    """Return which rows (bool) of a manifest or of outcomes are about a column."""
    lists = rows.column("columns").combine_chunks()
    has = np.zeros(rows.num_rows, bool)
    has[
        pc.list_parent_indices(lists).filter(pc.equal(pc.list_flatten(lists), column)).to_numpy()
    ] = True
    return pa.array(has)


def failures(outcomes: pa.Table) -> pa.Table:
    """Return the outcomes that are errors and have no good counterpart.

    A failed row has one where good rows of the same item, URI and version, earlier or later, have
    all of its columns.
    """
    failed = outcomes.filter(pc.is_valid(outcomes.column("reason")))
    keys = row_keys(failed)
    good = outcomes.filter(
        pc.and_(
            pc.is_null(outcomes.column("reason")),
            pc.is_in(row_keys(outcomes), keys.combine_chunks()),
        )
    )
    has_counterpart = pa.repeat(True, failed.num_rows)
    for column in pc.unique(pc.list_flatten(failed.column("columns"))).to_pylist():
        lacking = pc.and_(
            has_column(failed, column), pc.invert(pc.is_in(keys, keys_with(good, column)))
        )
        has_counterpart = pc.and_(has_counterpart, pc.invert(lacking))
    return failed.filter(pc.invert(has_counterpart))


def keys_with(rows: pa.Table, column: str) -> pa.Array:
    """Return the keys of the rows that are about a column."""
    return row_keys(rows.filter(has_column(rows, column))).combine_chunks()


def failed_rows(
    rows: pa.Table, outcome: pa.Schema, reason: str, detail: str, **columns: str
) -> pa.Table:
    """Return rows of the manifest as failed rows of a reader's schema; other columns are null.

    Parameters
    ----------
    rows
        Rows of the manifest (item, uri, ...).
    outcome
        The schema of the reader's table.
    columns
        Values of further columns, the same for every row.
    """
    same = {"reason": reason, "detail": detail} | columns
    audio = "audio" in outcome.names
    failed = [
        {"track_id": row["item"]} | ({"audio": row["uri"]} if audio else {}) | same
        for row in rows.select(["item", "uri"]).to_pylist()
    ]
    return pa.Table.from_pylist(failed, schema=outcome)
