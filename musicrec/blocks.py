"""A durable plan of which rows are worked on together, and the commit of what came out: extraction that never does a row twice.

A *plan* assigns rows (an item and the URI to read) to *blocks*, once and for ever; a block's output is one file under the block's own name,
with a row for each planned row in the plan's order, the failed ones among them with their reason. So it does not matter who works on a
block, how often, or whether a worker whose driver died is still at it: writing a block twice leaves one block, a row belongs to one block
only, and rows and errors are committed together. A later run with new rows, or with columns that were not asked for before, adds a plan
with those alone.

Layout under one folder of the store::

    plans/0000.parquet           block, item, uri, columns; written by create-if-absent, so that of two planners one wins
    parts/0000-000012.parquet    the outcome of a block
    outcomes/0000.parquet        item and reason of every row of a finished plan, so that the parts need not be asked again
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from musicrec import schema
from musicrec.store import Store, parquet_bytes

PLAN = pa.schema([("block", pa.string()), ("item", pa.string()), ("uri", pa.string()), ("columns", pa.list_(pa.string()))])
OUTCOME_FIELDS = (pa.field("reason", pa.string()), pa.field("detail", pa.string()))
# Where each planned row lies, and what became of it (reason is null for a good row).
OUTCOMES = pa.schema([*PLAN, pa.field("row", pa.int32()), *OUTCOME_FIELDS])
ROW_GROUP_ROWS = 8
# Reading the outcome of a part waits for the storage, not for the CPU.
READERS = 16


@dataclass(frozen=True)
class Blocks:
    """The blocks in one folder of a store."""

    store: Store
    folder: str

    def plan_names(self) -> list[str]:
        return [name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/plans")]

    def plan(self) -> pa.Table:
        """Every row that was ever assigned, oldest first."""
        return pa.concat_tables([PLAN.empty_table(), *(self._plan(name) for name in self.plan_names())])

    def done(self) -> set[str]:
        """The names of the committed blocks."""
        return {name.removesuffix(".parquet") for name in self.store.names(f"{self.folder}/parts")}

    def part_uri(self, block: str) -> str:
        return self.store.uri(f"{self.folder}/parts/{block}.parquet")

    def extend(self, items: pa.Table, columns: Iterable[str], rows_per_block: int, retry: bool = False) -> pa.Table:
        """Assign the rows of ``items`` (item, uri) that no plan holds yet to new blocks; returns the whole plan.

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
            unwritten = plan.filter(pc.invert(pc.is_in(plan.column("block"), value_set=pc.unique(outcomes.column("block")))))
            number = f"{1 + max(map(int, names), default=-1):04d}"
            new = _unplanned(plan, items, list(columns), _keys(failures(outcomes)), unwritten, number, rows_per_block)
            if new.num_rows == 0:
                return plan
            if self.store.create(f"{self.folder}/plans/{number}.parquet", parquet_bytes(new)):
                return pa.concat_tables([plan, new])
            # Another driver planned first: what it took is no longer ours to plan.

    def commit(self, block: str, rows: pa.Table) -> int:
        """Write the outcome of one block; returns its bytes."""
        content = parquet_bytes(rows, row_group_size=ROW_GROUP_ROWS, statistics=["track_id"])
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
            committed = plan.filter(pc.is_in(plan.column("block"), value_set=pa.array(sorted(done.intersection(blocks)), pa.string())))
            outcome = self._read_outcomes(committed)
            if outcome.num_rows == plan.num_rows:
                self.store.write_table(cached, outcome, OUTCOMES)
            tables.append(outcome)
        return pa.concat_tables(tables)

    def _plan(self, name: str) -> pa.Table:
        return self.store.read_table(f"{self.folder}/plans/{name}.parquet", PLAN)

    def _read_outcomes(self, plan: pa.Table) -> pa.Table:
        def read(block: str) -> pa.Table:
            contract = pa.schema([pa.field("track_id", pa.string()), *OUTCOME_FIELDS])
            return self.store.read_table(f"{self.folder}/parts/{block}.parquet", contract, columns=contract.names)

        with ThreadPoolExecutor(READERS) as pool:
            parts = list(pool.map(read, pc.unique(plan.column("block")).to_pylist()))
        rows = [index for part in parts for index in range(part.num_rows)]
        read_rows = pa.concat_tables([pa.schema([pa.field("track_id", pa.string()), *OUTCOME_FIELDS]).empty_table(), *parts])
        if not read_rows.column("track_id").equals(plan.column("item")):
            raise schema.SchemaError(
                f"{self.store.uri(self.folder)}/parts do not hold the rows of their plan: the folder was changed by hand"
            )
        columns = {name: plan.column(name) for name in PLAN.names}
        columns |= {"row": pa.array(rows, pa.int32()), "reason": read_rows.column("reason"), "detail": read_rows.column("detail")}
        return pa.table(columns, schema=OUTCOMES)


def failures(outcomes: pa.Table) -> pa.Table:
    """The outcomes that are errors, unless a later one of the same item, URI and columns is not."""
    failed = outcomes.filter(pc.is_valid(outcomes.column("reason")))
    good = outcomes.filter(pc.is_null(outcomes.column("reason")))
    healed = (
        {(r["item"], r["uri"], c) for r in good.select(["item", "uri", "columns"]).to_pylist() for c in r["columns"]}
        if failed.num_rows
        else set()
    )
    keep = [
        not all((r["item"], r["uri"], c) in healed for c in r["columns"]) for r in failed.select(["item", "uri", "columns"]).to_pylist()
    ]
    return failed.filter(pa.array(keep, pa.bool_()))


def _keys(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table.column("item").cast(pa.string()), table.column("uri").cast(pa.string()), "\x00")


def _keys_with(plan: pa.Table, column: str) -> pa.Array:
    """The keys of the rows that are planned for a column."""
    lists = plan.column("columns").combine_chunks()
    rows = pc.filter(pc.list_parent_indices(lists), pc.equal(pc.list_flatten(lists), column))
    return _keys(plan).take(rows).combine_chunks()


def _unplanned(
    plan: pa.Table, items: pa.Table, columns: list[str], failed: pa.ChunkedArray, unwritten: pa.Table, number: str, rows_per_block: int
) -> pa.Table:
    """New plan rows for the items that lack a column, or whose key is in ``failed`` and that wait in no unwritten block.

    Rows that lack the same columns share blocks.
    """
    keys = _keys(items)
    again = pc.is_in(keys, value_set=failed.combine_chunks())
    missing: dict[str, list[bool]] = {}
    for column in columns:
        planned = pc.is_in(keys, value_set=_keys_with(plan, column))
        waiting = pc.is_in(keys, value_set=_keys_with(unwritten, column))
        missing[column] = pc.or_(pc.invert(planned), pc.and_(again, pc.invert(waiting))).to_pylist()
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in range(items.num_rows):
        wanted = tuple(column for column in columns if missing[column][row])
        if wanted:
            groups.setdefault(wanted, []).append(row)
    tables, first = [PLAN.empty_table()], 0
    for wanted, rows in groups.items():
        blocks = [f"{number}-{first + index // rows_per_block:06d}" for index in range(len(rows))]
        first += -(-len(rows) // rows_per_block)
        chosen = items.take(pa.array(rows, pa.int64()))
        values = [blocks, chosen.column("item").to_pylist(), chosen.column("uri").to_pylist(), [list(wanted)] * len(rows)]
        tables.append(pa.table(dict(zip(PLAN.names, values, strict=True)), schema=PLAN))
    return pa.concat_tables(tables)
