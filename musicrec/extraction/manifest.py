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
    damaged/0000-000012.json     a block whose part was found damaged: it counts as not done until
                                 it is committed again
    damaged/plan-0000.json       a manifest file that was found damaged and could not be restored:
                                 it and its blocks no longer count, and its rows are new
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec import schema
from musicrec.extraction.assignment import MANIFEST, unassigned
from musicrec.extraction.rows import failures, keys_with, row_keys, with_manifest_versions
from musicrec.storage.damage import DAMAGED, PARTS
from musicrec.storage.damage import OUTCOMES as OUTCOMES_FOLDER
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Store
from musicrec.telemetry.progress import event

OUTCOME_FIELDS = (pa.field("reason", pa.string()), pa.field("detail", pa.string()))
# Part (block) and row of each manifest row, and its outcome (reason is null for a good row).
OUTCOMES = pa.schema([*MANIFEST, pa.field("row", pa.int32()), *OUTCOME_FIELDS])
PART_OUTCOMES = pa.schema([pa.field("track_id", pa.string()), *OUTCOME_FIELDS])
ROW_GROUP_ROWS = 8
# Threads that read outcomes of parts: they wait for the storage, not for the CPU.
READERS = 16
# Small tables take far more memory than their content: those of this many parts are joined at once.
PARTS_AT_A_TIME = 1024
# In a folder's ``damaged``, before the name of a manifest file.
VOID = "plan-"


@dataclass(frozen=True)
class Blocks:
    """The blocks in one folder of a store."""

    store: Store
    folder: str

    def manifest_names(self) -> list[str]:
        """List the files of the manifest (``0000``, ``0001``, ...), oldest first."""
        return self._not_void(self._names("plans"))

    def manifest(self, columns: list[str] | None = None) -> pa.Table:
        """Read every row that was ever assigned (``MANIFEST``, or some columns), oldest first."""
        return self._read_manifest(self.manifest_names(), columns)

    def done(self) -> set[str]:
        """Return the names of the committed blocks whose part is not known to be damaged."""
        damaged = self._damaged()
        return {
            name
            for name in self._names(PARTS)
            if name not in damaged and f"{VOID}{_file_of(name)}" not in damaged
        }

    def damaged(self) -> set[str]:
        """Return the names of the blocks to do again, since their part was found damaged."""
        return {name for name in self._damaged() if not name.startswith(VOID)}

    def _not_void(self, names: list[str]) -> list[str]:
        """Return the files of the manifest that count, among all of them."""
        void = self._damaged()
        return [name for name in names if f"{VOID}{name}" not in void]

    def _damaged(self) -> set[str]:
        return set(self._names(DAMAGED))

    def _names(self, folder: str) -> list[str]:
        """List the files of a folder, without their endings."""
        return [name.rpartition(".")[0] for name in self.store.names(f"{self.folder}/{folder}")]

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
            names = self._names("plans")
            manifest = self._read_manifest(self._not_void(names))
            outcomes = self.outcomes() if retry else OUTCOMES.empty_table()
            written = pc.unique(outcomes.column("block"))
            unwritten = manifest.filter(
                pc.invert(pc.is_in(manifest.column("block"), value_set=written))
            )
            number = f"{1 + max(map(int, names), default=-1):04d}"
            new = unassigned(
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
        self.store.write(f"{self.folder}/{PARTS}/{block}.parquet", content)
        marker = f"{self.folder}/{DAMAGED}/{block}.json"
        if self.store.exists(marker):
            # The new attempt may have another outcome: its file may be gone.
            self.store.remove(self._outcomes_file(_file_of(block)))
            self.store.remove(marker)
        return len(content)

    def outcomes(self) -> pa.Table:
        """Return the outcome of every row whose block is committed (``OUTCOMES``), oldest first."""
        done = self.done()
        tables = [OUTCOMES.empty_table()]
        for name in self.manifest_names():
            cached = self._read_cached(name)
            if cached is not None:
                tables.append(cached)
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
                self.store.write_table(self._outcomes_file(name), outcome, OUTCOMES)
            tables.append(outcome)
        return pa.concat_tables(tables)

    def _outcomes_file(self, manifest_name: str) -> str:
        return f"{self.folder}/{OUTCOMES_FOLDER}/{manifest_name}.parquet"

    def _read_cached(self, manifest_name: str) -> pa.Table | None:
        """Return the outcomes of a finished manifest file; None if they must be read from parts."""
        cached = self._outcomes_file(manifest_name)
        if not self.store.exists(cached):
            return None
        try:
            return self.store.read_table(cached, OUTCOMES)
        except DamagedError:  # named by now
            return None

    def _read_manifest(self, names: list[str], columns: list[str] | None = None) -> pa.Table:
        columns = MANIFEST.names if columns is None else columns
        files = (self._read_manifest_file(name, columns) for name in names)
        return pa.concat_tables([MANIFEST.empty_table().select(columns), *files])

    def _read_manifest_file(self, name: str, columns: list[str]) -> pa.Table:
        """Read a file of the manifest; restore a damaged one from its outcomes, or void it."""
        file = f"{self.folder}/plans/{name}.parquet"
        try:
            return self.store.read_table(file, MANIFEST, columns)
        except DamagedError as error:
            cached = self._read_cached(name)
            if cached is not None:
                rows = cached.select(MANIFEST.names)
                self.store.write_table(file, rows, MANIFEST)
                event("extract", f"{self.store.uri(file)} was restored from its outcomes")
                return rows.select(columns)
            marker = f"{self.folder}/{DAMAGED}/{VOID}{name}.json"
            self.store.write_json(marker, {"reason": str(error)})
            event("extract", f"{self.store.uri(file)} is void: its rows are assigned anew")
            return MANIFEST.empty_table().select(columns)

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


def _file_of(block: str) -> str:
    """Return the file of the manifest that assigned a block's rows."""
    return block.partition("-")[0]


def part_bytes(rows: pa.Table) -> bytes:
    """Return a block's outcome as the bytes of its part."""
    return parquet_bytes(rows, row_group_size=ROW_GROUP_ROWS, statistics=["track_id"])
