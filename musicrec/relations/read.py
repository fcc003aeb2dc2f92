"""First step: read a shard of plays, and write its rows divided by their users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from musicrec.config.sections import RelationsSettings
from musicrec.relations.files import Shard
from musicrec.relations.forms import FORMS, Names
from musicrec.relations.parts import write_part
from musicrec.relations.plays import Errors, typed
from musicrec.relations.rows import pieces_of
from musicrec.relations.shards import Record, Steps
from musicrec.relations.similarities import similarities_of

STEP = "read"
# Rows that a task holds before it writes them: 32 MB with their times.
BUFFER_ROWS = 1_000_000
NAMES = pa.schema([("item", pa.uint64()), ("name", pa.string())])
ERRORS = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass(frozen=True)
class Reading:
    """What a shard's reading depends on; ``buckets`` is the number of groups of users."""

    steps: Steps
    shards: list[Shard]
    form: str
    names: Names
    settings: RelationsSettings
    lookup: pa.Table | None
    aliases: pa.Table | None
    buckets: int

    def __call__(self, number: int) -> Record:
        """Read a shard; return its counts and its parts."""
        errors, names = Errors(), _NamesOfItems()
        buffer, parts, rows, used, shard = [], [], 0, 0, self.shards[number]
        for count, table in self._tables(shard, errors):
            rows, used = rows + count, used + table.num_rows
            names.add(table)
            texts = [name for name in ("name", "user_name") if name in table.column_names]
            buffer.append(self._aggregated(table.drop_columns(texts)))
            if sum(each.num_rows for each in buffer) > BUFFER_ROWS:
                parts.append(self._write(number, len(parts), buffer))
                buffer = []
        if buffer:
            parts.append(self._write(number, len(parts), buffer))
        store = self.steps.stage.store
        store.write_table(self.steps.name(STEP, number, "-names.parquet"), names.table(), NAMES)
        listed = pa.table([errors.lines, errors.reasons, errors.details], schema=ERRORS)
        store.write_table(self.steps.name(STEP, number, "-errors.parquet"), listed, ERRORS)
        return {
            "rows": rows,
            "lines": errors.last,
            "used": used,
            "errors": errors.counts,
            "parts": parts,
        }

    def _tables(self, shard: Shard, errors: Errors) -> Iterator[tuple[int, pa.Table]]:
        form = FORMS[self.form]
        if form.similarities:
            pieces = similarities_of(shard, form, self.names, errors)
        else:
            pieces = pieces_of(shard, form, self.names, self.settings, errors)
        for count, rows in pieces:
            yield count, typed(rows, self.lookup, self.aliases)

    def _aggregated(self, table: pa.Table) -> pa.Table:
        """Add up a user's plays of an item, where their times are not needed."""
        if "count" not in table.column_names or "time" in table.column_names:
            return table
        sums = table.group_by(["user", "item"], use_threads=False).aggregate([("count", "sum")])
        return sums.rename_columns({"user": "user", "item": "item", "count_sum": "count"})

    def _write(self, number: int, run: int, tables: list[pa.Table]) -> tuple[str, list[int]]:
        table = self._aggregated(pa.concat_tables(tables))
        buckets = (table["user"].to_numpy() % np.uint64(self.buckets)).astype(np.int64)
        name = self.steps.name(STEP, number, f"-{run:04d}.parquet")
        return name, write_part(self.steps.stage.store, name, table, buckets, self.buckets)


class _NamesOfItems:
    """The names of the items of a shard by their hashes, each once."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}

    def add(self, table: pa.Table) -> None:
        """Add the names of a table of plays, or of pairs of items."""
        for hashes, names in (("item", "name"), ("user", "user_name")):
            if names not in table.column_names:
                continue
            column = table[names].combine_chunks()
            codes = column.indices.to_numpy(zero_copy_only=False)
            _, first = np.unique(codes, return_index=True)
            keys = table[hashes].to_numpy()[first].tolist()
            texts = column.dictionary.take(pa.array(codes[first])).to_pylist()
            self.names.update(zip(keys, texts, strict=True))

    def table(self) -> pa.Table:
        """Return the names, ordered by their hashes."""
        keys = sorted(self.names)
        return pa.table([keys, [self.names[key] for key in keys]], schema=NAMES)
