"""Read published similarities: rows that say themselves which items are related."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from musicrec.config.errors import UserError
from musicrec.relations.files import Shard
from musicrec.relations.forms import Form, Names
from musicrec.relations.pieces import PIECE_BYTES, line_pieces
from musicrec.relations.plays import Errors, Rows
from musicrec.relations.rows import json_lines, parquet_batches
from musicrec.storage.store import resolve

SQLITE_ROWS = 500_000
# Line, item, related item and score (the higher, the closer).
Pair = tuple[int, Any, Any, float]


def similarities_of(
    shard: Shard, form: Form, names: Names, errors: Errors
) -> Iterator[tuple[int, Rows]]:
    """Yield the pairs of each piece of a shard with their number, those in errors included.

    A row of the file may have many pairs; each counts, and has the line of its row. The columns are
    ``user`` (the item), ``item`` (the related item) and ``score``.
    """
    reader = {"sqlite": _sqlite, "connections": _connections, "parquet": _lists}[form.layout]
    for count, pairs in reader(shard, names, errors):
        lines, items, related, scores = zip(*pairs, strict=True) if pairs else ((), (), (), ())
        columns = {
            "user": pa.array([_text(item) for item in items], pa.string()),
            "item": pa.array([_text(item) for item in related], pa.string()),
            "score": pa.array(map(repr, scores), pa.string()),
        }
        yield count, Rows(np.array(lines, np.int64), columns, errors)


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _sqlite(shard: Shard, names: Names, errors: Errors) -> Iterator[tuple[int, list[Pair]]]:
    """Read ``similarity(target, similar)`` of the Million Song Dataset, whose rows are in order."""
    filesystem, path = resolve(shard.uri)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "similarity.db")
        with filesystem.open_input_file(path) as source, copy.open("wb") as target:
            while content := source.read(PIECE_BYTES):
                target.write(content)
        try:
            with contextlib.closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)) as base:
                base.execute("PRAGMA trusted_schema = OFF")
                tables = base.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
                if ("similarity",) not in tables.fetchall():
                    raise UserError(f"{shard.uri} has no table 'similarity' (target, similar)")
                rows = base.execute("SELECT rowid, target, similar FROM similarity ORDER BY rowid")
                while batch := rows.fetchmany(SQLITE_ROWS):
                    yield len(batch), [(*row, -float(row[0])) for row in batch]
        except sqlite3.Error as error:
            raise UserError(f"{shard.uri} is not readable as SQLite: {error}") from error


def _connections(shard: Shard, names: Names, errors: Errors) -> Iterator[tuple[int, list[Pair]]]:
    """Read ``{"id": ..., "connections": [[id, similarity], ...]}``, one object a line."""
    before = 0
    for piece in line_pieces(shard):
        wrong = errors.total
        count, objects = json_lines(piece, before, errors)
        before = errors.last = before + count
        pairs: list[Pair] = []
        total = errors.total - wrong
        for line, row in objects:
            connections = row.get("connections")
            if not isinstance(connections, list):
                errors.add(line, "no_connections", "write [[id, similarity], ...]")
                total += 1
                continue
            total += len(connections)
            for connection in connections:
                if _is_connection(connection):
                    pairs.append((line, row.get("id"), connection[0], float(connection[1])))
                else:
                    errors.add(line, "not_a_connection", f"{connection!r}: write [id, similarity]")
        yield total, pairs


def _is_connection(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[1], int | float)
        and math.isfinite(value[1])
    )


def _lists(shard: Shard, names: Names, errors: Errors) -> Iterator[tuple[int, list[Pair]]]:
    """Read a list of related items per row, the closest first."""
    before = 0
    for batch in parquet_batches(shard, list(names.values())):
        items, lists = (batch.column(names[use]) for use in ("user", "item"))
        if not (pa.types.is_list(lists.type) or pa.types.is_large_list(lists.type)):
            raise UserError(
                f"{shard.uri}: column '{names['item']}' is {lists.type}: write a list of ids"
            )
        rows = enumerate(zip(items.to_pylist(), lists.to_pylist(), strict=True), start=before + 1)
        pairs: list[Pair] = [
            (line, item, related, -float(place))
            for line, (item, members) in rows
            for place, related in enumerate(members or (), start=1)
        ]
        before = errors.last = before + batch.num_rows
        yield len(pairs), pairs
