"""A durable manifest of the rows to extract, and the commit of outcomes: no row is read twice.

The *manifest* assigns rows (an item, the URI to read and the version of its file) to *blocks*, once
and for all. A block's output is one *part*, a file under the block's own name, with a row for each
row of the block in the manifest's order; failed rows are among them with their reason. So it does
not matter which worker works on a block, how often, or whether a worker whose driver died is still
at it: writing a block twice leaves one part, a row belongs to one block only, and rows and errors
are committed together. A later run with new rows, changed files or new columns appends a file with
only those to the manifest.

Layout under one folder of the store::

    plans/0000.parquet           manifest: block, item, uri, columns, version; created if absent, so
                                 that one of two concurrent drivers wins
    parts/0000-000012.parquet    the outcome of a block
    outcomes/0000.parquet        item and reason of every row of a finished manifest file, so that
                                 its parts need not be read again
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from musicrec import schema
from musicrec.extraction.rows import failures, keys_with, row_keys, with_manifest_versions
from musicrec.storage.store import Store, parquet_bytes

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
OUTCOME_FIELDS = (pa.field("reason", pa.string()), pa.field("detail", pa.string()))
# Part (block) and row of each manifest row, and its outcome (reason is null for a good row).
OUTCOMES = pa.schema([*MANIFEST, pa.field("row", pa.int32()), *OUTCOME_FIELDS])
PART_OUTCOMES = pa.schema([pa.field("track_id", pa.string()), *OUTCOME_FIELDS])
BLOCK_DIGITS = 6
ROW_GROUP_ROWS = 8
# Threads that read outcomes of parts: they wait for the storage, not for the CPU.
READERS = 16
# Small tables take far more memory than their content: those of this many parts are joined at once.
PARTS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Blocks:
    """The blocks in one folder of a store."""

    store: Store
    folder: str

    def manifest_names(self) -> list[str]:
        """List the files of the manifest (``0000``, ``0001``, ...), oldest first."""
        return [name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/plans")]

    def manifest(self) -> pa.Table:
        """Read every row that was ever assigned (``MANIFEST``), oldest first."""
        return self._read_manifest(self.manifest_names())

    def done(self) -> set[str]:
        """Return the names of the committed blocks."""
        return {name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/parts")}

    def part_uris(self, blocks: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the URIs of the parts of blocks."""
        return pc.binary_join_element_wise(
            self.store.uri(f"{self.folder}/parts/"), blocks, ".parquet", ""
        )

    def extend(
        self, items: pa.Table, columns: Iterable[str], rows_per_block: int, retry: bool = False
    ) -> pa.Table:
        """Assign the rows of ``items`` (item, uri, version) that are new to blocks.

        Parameters
        ----------
        columns
            The columns to extract; a row that has some of them already is assigned again for the
            others only.
        retry
            Assign again the rows whose latest outcome is an error, unless an unwritten block has
            them.

        Returns
        -------
        pa.Table
            The whole manifest.
        """
        while True:
            names = self.manifest_names()
            manifest = self._read_manifest(names)
            outcomes = self.outcomes() if retry else OUTCOMES.empty_table()
            written = pc.unique(outcomes.column("block"))
            unwritten = manifest.filter(
                pc.invert(pc.is_in(manifest.column("block"), value_set=written))
            )
            number = f"{1 + max(map(int, names), default=-1):04d}"
            new = _unassigned(
                manifest,
                with_manifest_versions(items, manifest),
                list(columns),
                row_keys(failures(outcomes)),
                unwritten,
                number,
                rows_per_block,
            )
            if new.num_rows == 0:
                return manifest
            if self.store.create(f"{self.folder}/plans/{number}.parquet", parquet_bytes(new)):
                return pa.concat_tables([manifest, new])
            # Another driver was faster: the rows that it assigned are no longer ours to assign.

    def missing(self, items: pa.Table, columns: Iterable[str]) -> pa.Table:
        """Return the rows of ``items`` (item, uri, version) that lack an outcome for a column."""
        outcomes = self.outcomes()
        keys = row_keys(with_manifest_versions(items, outcomes))
        has_outcome = [pc.is_in(keys, value_set=keys_with(outcomes, name)) for name in columns]
        return items.filter(pc.invert(functools.reduce(pc.and_, has_outcome)))

    def commit(self, block: str, rows: pa.Table) -> int:
        """Write the outcome of one block; return its size in bytes."""
        content = part_bytes(rows)
        self.store.write(f"{self.folder}/parts/{block}.parquet", content)
        return len(content)

    def outcomes(self) -> pa.Table:
        """Return the outcome of every row whose block is committed (``OUTCOMES``), oldest first."""
        done = self.done()
        tables = [OUTCOMES.empty_table()]
        for name in self.manifest_names():
            cached = f"{self.folder}/outcomes/{name}.parquet"
            if self.store.exists(cached):
                tables.append(self.store.read_table(cached, OUTCOMES))
                continue
            manifest = self._read_manifest([name])
            blocks = pc.unique(manifest.column("block")).to_pylist()
            committed = manifest.filter(
                pc.is_in(
                    manifest.column("block"),
                    value_set=pa.array(sorted(done.intersection(blocks)), pa.string()),
                )
            )
            outcome = self._read_outcomes(committed)
            if outcome.num_rows == manifest.num_rows:
                self.store.write_table(cached, outcome, OUTCOMES)
            tables.append(outcome)
        return pa.concat_tables(tables)

    def _read_manifest(self, names: list[str]) -> pa.Table:
        files = (
            self.store.read_table(f"{self.folder}/plans/{name}.parquet", MANIFEST) for name in names
        )
        return pa.concat_tables([MANIFEST.empty_table(), *files])

    def _read_outcomes(self, manifest: pa.Table) -> pa.Table:
        def read(block: str) -> pa.Table:
            return self.store.read_table(
                f"{self.folder}/parts/{block}.parquet", PART_OUTCOMES, columns=PART_OUTCOMES.names
            )

        names = pc.unique(manifest.column("block")).to_pylist()
        parts, rows = [PART_OUTCOMES.empty_table()], [np.arange(0)]
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(names), PARTS_AT_A_TIME):
                batch = list(pool.map(read, names[start : start + PARTS_AT_A_TIME]))
                rows += [np.arange(part.num_rows) for part in batch]
                parts.append(pa.concat_tables(batch).combine_chunks())
        stored = pa.concat_tables(parts)
        if not stored.column("track_id").equals(manifest.column("item")):
            raise schema.SchemaError(
                f"{self.store.uri(self.folder)}/parts do not have the rows of their manifest: "
                "the folder was changed by hand"
            )
        columns = {name: manifest.column(name) for name in MANIFEST.names} | {
            "row": np.concatenate(rows).astype(np.int32)
        }
        return pa.table(
            columns | {name: stored.column(name) for name in ("reason", "detail")}, schema=OUTCOMES
        )


def part_bytes(rows: pa.Table) -> bytes:
    """Return a block's outcome as the bytes of its part."""
    return parquet_bytes(rows, row_group_size=ROW_GROUP_ROWS, statistics=["track_id"])


def _unassigned(
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
