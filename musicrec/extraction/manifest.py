"""A durable plan of which rows are worked on together, and the commit of what came out: extraction that never does a row twice.

A *plan* assigns rows (an item, the URI to read and the version of its file) to *blocks*, once and for ever; a block's output is one file
under the block's own name, with a row for each planned row in the plan's order, the failed ones among them with their reason. So it does
not matter who works on a block, how often, or whether a worker whose driver died is still at it: writing a block twice leaves one block, a
row belongs to one block only, and rows and errors are committed together. A later run with new rows, with files that have changed, or with
columns that were not asked for before, adds a plan with those alone.

Layout under one folder of the store::

    plans/0000.parquet           block, item, uri, columns, version; written by create-if-absent, so that of two planners one wins
    parts/0000-000012.parquet    the outcome of a block
    outcomes/0000.parquet        item and reason of every row of a finished plan, so that the parts need not be asked again
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
from musicrec.catalog.versions import MISSING
from musicrec.storage.store import Store, parquet_bytes

# The version of a row's file (musicrec.catalog.versions) is null where none was known when it was planned.
PLAN = pa.schema(
    [
        ("block", pa.string()),
        ("item", pa.string()),
        ("uri", pa.string()),
        ("columns", pa.list_(pa.string())),
        ("version", pa.string()),
    ]
)
OUTCOME_FIELDS = (pa.field("reason", pa.string()), pa.field("detail", pa.string()))
# Where each planned row lies, and what became of it (reason is null for a good row).
OUTCOMES = pa.schema([*PLAN, pa.field("row", pa.int32()), *OUTCOME_FIELDS])
PART_OUTCOMES = pa.schema([pa.field("track_id", pa.string()), *OUTCOME_FIELDS])
BLOCK_DIGITS = 6
ROW_GROUP_ROWS = 8
# Reading the outcome of a part waits for the storage, not for the CPU.
READERS = 16
# Small tables take far more memory than what they hold: those of so many parts are joined as they come.
PARTS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Blocks:
    """The blocks in one folder of a store."""

    store: Store
    folder: str

    def plan_names(self) -> list[str]:
        return [name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/plans")]

    def plan(self) -> pa.Table:
        """Every row that was ever assigned, oldest first."""
        return pa.concat_tables(
            [PLAN.empty_table(), *(self._plan(name) for name in self.plan_names())]
        )

    def done(self) -> set[str]:
        """The names of the committed blocks."""
        return {name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/parts")}

    def part_uri(self, block: str) -> str:
        return self.store.uri(f"{self.folder}/parts/{block}.parquet")

    def part_uris(self, blocks: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.binary_join_element_wise(
            self.store.uri(f"{self.folder}/parts/"), blocks, ".parquet", ""
        )

    def extend(
        self, items: pa.Table, columns: Iterable[str], rows_per_block: int, retry: bool = False
    ) -> pa.Table:
        """Assign the rows of ``items`` (item, uri, version) that no plan holds yet to new blocks; returns the whole plan.

        Parameters
        ----------
        columns
            What is to be extracted; a row that was planned for some of them is planned again for the others only.
        retry
            Plan again the rows whose latest outcome is an error, unless a block that holds them again is still to be written.
        """
        while True:
            names = self.plan_names()
            plan = pa.concat_tables([PLAN.empty_table(), *(self._plan(name) for name in names)])
            outcomes = self.outcomes() if retry else OUTCOMES.empty_table()
            unwritten = plan.filter(
                pc.invert(
                    pc.is_in(plan.column("block"), value_set=pc.unique(outcomes.column("block")))
                )
            )
            number = f"{1 + max(map(int, names), default=-1):04d}"
            new = _unplanned(
                plan,
                as_planned(items, plan),
                list(columns),
                row_keys(failures(outcomes)),
                unwritten,
                number,
                rows_per_block,
            )
            if new.num_rows == 0:
                return plan
            if self.store.create(f"{self.folder}/plans/{number}.parquet", parquet_bytes(new)):
                return pa.concat_tables([plan, new])
            # Another driver planned first: what it took is no longer ours to plan.

    def missing(self, items: pa.Table, columns: Iterable[str]) -> pa.Table:
        """The rows of ``items`` (item, uri, version) that are not committed, well or as errors, with each of the columns."""
        outcomes = self.outcomes()
        keys = row_keys(as_planned(items, outcomes))
        held = [pc.is_in(keys, value_set=_keys_with(outcomes, column)) for column in columns]
        return items.filter(pc.invert(functools.reduce(pc.and_, held)))

    def commit(self, block: str, rows: pa.Table) -> int:
        """Write the outcome of one block; returns its bytes."""
        content = part_bytes(rows)
        self.store.write(f"{self.folder}/parts/{block}.parquet", content)
        return len(content)

    def outcomes(self) -> pa.Table:
        """What became of every planned row whose block is committed (``OUTCOMES``), oldest first."""
        done = self.done()
        tables = [OUTCOMES.empty_table()]
        for name in self.plan_names():
            cached = f"{self.folder}/outcomes/{name}.parquet"
            if self.store.exists(cached):
                tables.append(self.store.read_table(cached, OUTCOMES))
                continue
            plan = self._plan(name)
            blocks = pc.unique(plan.column("block")).to_pylist()
            committed = plan.filter(
                pc.is_in(
                    plan.column("block"),
                    value_set=pa.array(sorted(done.intersection(blocks)), pa.string()),
                )
            )
            outcome = self._read_outcomes(committed)
            if outcome.num_rows == plan.num_rows:
                self.store.write_table(cached, outcome, OUTCOMES)
            tables.append(outcome)
        return pa.concat_tables(tables)

    def _plan(self, name: str) -> pa.Table:
        return self.store.read_table(f"{self.folder}/plans/{name}.parquet", PLAN)

    def _read_outcomes(self, plan: pa.Table) -> pa.Table:
        def read(block: str) -> pa.Table:
            return self.store.read_table(
                f"{self.folder}/parts/{block}.parquet", PART_OUTCOMES, columns=PART_OUTCOMES.names
            )

        names = pc.unique(plan.column("block")).to_pylist()
        parts, rows = [PART_OUTCOMES.empty_table()], [np.arange(0)]
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(names), PARTS_AT_A_TIME):
                read_now = list(pool.map(read, names[start : start + PARTS_AT_A_TIME]))
                rows += [np.arange(part.num_rows) for part in read_now]
                parts.append(pa.concat_tables(read_now).combine_chunks())
        found = pa.concat_tables(parts)
        if not found.column("track_id").equals(plan.column("item")):
            raise schema.SchemaError(
                f"{self.store.uri(self.folder)}/parts do not hold the rows of their plan: the folder was changed by hand"
            )
        columns = {name: plan.column(name) for name in PLAN.names} | {
            "row": np.concatenate(rows).astype(np.int32)
        }
        return pa.table(
            columns | {name: found.column(name) for name in ("reason", "detail")}, schema=OUTCOMES
        )


def part_bytes(rows: pa.Table) -> bytes:
    """A block's outcome as it is stored."""
    return parquet_bytes(rows, row_group_size=ROW_GROUP_ROWS, statistics=["track_id"])


def row_keys(
    table: pa.Table, names: tuple[str, ...] = ("item", "uri", "version")
) -> pa.ChunkedArray:
    """What tells rows apart: their item, URI and version. Large strings, since those of some ten million rows pass 2 GB."""
    parts = (pc.fill_null(table.column(name).cast(pa.large_string()), "") for name in names)
    return pc.binary_join_element_wise(*parts, pa.scalar("\x00", pa.large_string()))


def as_planned(items: pa.Table, plan: pa.Table) -> pa.Table:
    """The items (item, uri, version) with the versions by which the plan knows their files as they are now.

    A file that is gone or whose version is not known (null, or no such column) counts as what was planned last, so that what was extracted
    of it stays in use; so does every file that was planned last without a version.
    """
    if "version" not in items.column_names:
        items = items.append_column("version", pa.nulls(items.num_rows, pa.string()))
    names = ("item", "uri")
    last = last_rows(row_keys(plan, names), row_keys(items, names))
    before = plan.column("version").take(pa.array(last, mask=last < 0))
    now = items.column("version")
    unknown = pc.or_(pc.is_null(now), pc.equal(pc.fill_null(now, MISSING), MISSING))
    kept = pc.and_(pa.array(last >= 0), pc.or_(unknown, pc.is_null(before)))
    return items.set_column(
        items.column_names.index("version"), "version", pc.if_else(kept, before, now)
    )


def last_rows(keys: pa.ChunkedArray, wanted: pa.ChunkedArray) -> np.ndarray:
    """For each wanted key (they differ) the last row (int64) that has it, -1 where there is none."""
    position = pc.fill_null(
        pc.index_in(keys, value_set=wanted.combine_chunks()), len(wanted)
    ).to_numpy()
    last = np.full(
        len(wanted) + 1, -1, np.int64
    )  # rows of other keys are counted in one place past the last, and cut off
    np.maximum.at(last, position, np.arange(len(position)))
    return last[:-1]


def has_column(rows: pa.Table, column: str) -> pa.Array:
    """Which rows of a plan or of outcomes are about a column."""
    lists = rows.column("columns").combine_chunks()
    held = np.zeros(rows.num_rows, bool)
    held[
        pc.list_parent_indices(lists).filter(pc.equal(pc.list_flatten(lists), column)).to_numpy()
    ] = True
    return pa.array(held)


def failures(outcomes: pa.Table) -> pa.Table:
    """The outcomes that are errors, unless others of the same item, URI and version are not, and have all of its columns."""
    failed = outcomes.filter(pc.is_valid(outcomes.column("reason")))
    keys = row_keys(failed)
    good = outcomes.filter(
        pc.and_(
            pc.is_null(outcomes.column("reason")),
            pc.is_in(row_keys(outcomes), keys.combine_chunks()),
        )
    )
    healed = pa.repeat(True, failed.num_rows)
    for column in pc.unique(pc.list_flatten(failed.column("columns"))).to_pylist():
        lacking = pc.and_(
            has_column(failed, column), pc.invert(pc.is_in(keys, _keys_with(good, column)))
        )
        healed = pc.and_(healed, pc.invert(lacking))
    return failed.filter(pc.invert(healed))


def _keys_with(rows: pa.Table, column: str) -> pa.Array:
    """The keys of the rows that are about a column."""
    return row_keys(rows.filter(has_column(rows, column))).combine_chunks()


def _unplanned(
    plan: pa.Table,
    items: pa.Table,
    columns: list[str],
    failed: pa.ChunkedArray,
    unwritten: pa.Table,
    number: str,
    rows_per_block: int,
) -> pa.Table:
    """New plan rows for the items that lack a column, or whose key is in ``failed`` and that wait in no unwritten block.

    Rows that lack the same columns share blocks.
    """
    keys = row_keys(items)
    again = pc.is_in(keys, value_set=failed.combine_chunks())
    lacks = np.zeros((len(columns), items.num_rows), bool)
    for row, column in zip(lacks, columns, strict=True):
        planned = pc.is_in(keys, value_set=_keys_with(plan, column))
        waiting = pc.is_in(keys, value_set=_keys_with(unwritten, column))
        row[:] = pc.or_(pc.invert(planned), pc.and_(again, pc.invert(waiting))).to_numpy()
    # Rows that lack the same columns have the same number, one bit a column.
    codes = np.left_shift(1, np.arange(len(columns))) @ lacks
    found, first = np.unique(codes, return_index=True)
    tables, blocks = [PLAN.empty_table()], 0
    for code in found[np.argsort(first)]:
        if code == 0:
            continue
        rows = np.flatnonzero(codes == code)
        chosen, wanted = (
            items.take(pa.array(rows)),
            [column for bit, column in enumerate(columns) if code >> bit & 1],
        )
        names = pa.array(blocks + np.arange(len(rows)) // rows_per_block).cast(pa.string())
        blocks += -(-len(rows) // rows_per_block)
        values = [
            pc.binary_join_element_wise(number, pc.utf8_lpad(names, BLOCK_DIGITS, "0"), "-"),
            chosen.column("item"),
            chosen.column("uri"),
            pa.array([wanted]).take(pa.array(np.zeros(len(rows), np.int8))),
            chosen.column("version"),
        ]
        tables.append(pa.table(dict(zip(PLAN.names, values, strict=True)), schema=PLAN))
    return pa.concat_tables(tables)
