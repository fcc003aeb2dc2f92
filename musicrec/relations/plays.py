"""Check the cells of plays, and give them types; a bad row becomes an error with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.catalog.tables import numbers

# Seconds since 1970 do not reach this before the year 5138, and milliseconds exceeded it in 1973.
MILLISECONDS_FROM = 1e11
LONGEST_DETAIL = 200  # characters
# Errors of a shard whose rows are listed. The others are counted by reason.
LISTED_ERRORS = 100_000


@dataclass
class Errors:
    """The bad rows of a shard: line, reason and detail; beyond ``LISTED_ERRORS`` only counts.

    ``last`` is the number of the last line that was read, good or bad.
    """

    lines: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    last: int = 0

    def add(self, line: int, reason: str, detail: str) -> None:
        """Add one bad row."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if len(self.lines) < LISTED_ERRORS:
            self.lines.append(line)
            self.reasons.append(reason)
            self.details.append(detail[:LONGEST_DETAIL])

    @property
    def total(self) -> int:
        """The number of bad rows."""
        return sum(self.counts.values())


@dataclass
class Rows:
    """Rows as text with their line numbers; checks remove the bad ones and count them."""

    lines: np.ndarray
    columns: dict[str, pa.Array]
    errors: Errors

    def reject(self, bad: np.ndarray, reason: str, details: pa.Array | str) -> None:
        """Move the rows of a mask to the errors."""
        where = np.flatnonzero(bad)
        if not len(where):
            return
        for index in where.tolist():
            detail = details if isinstance(details, str) else str(details[index].as_py())
            self.errors.add(int(self.lines[index]), reason, detail)
        kept = pa.array(~bad)
        self.lines = self.lines[~bad]
        self.columns = {name: column.filter(kept) for name, column in self.columns.items()}

    def decode(self) -> None:
        """Decode bytes to text without white space around it; rows that are not UTF-8 are bad."""
        texts, bad = {}, np.zeros(len(self.lines), bool)
        for name, column in self.columns.items():
            if not pa.types.is_binary(column.type):
                texts[name] = column.cast(pa.string())
                continue
            try:
                texts[name] = column.cast(pa.string())
            except pa.ArrowInvalid:
                cells = [_decoded(cell) for cell in column.to_pylist()]
                bad |= np.array([cell is False for cell in cells])
                texts[name] = pa.array([cell or None for cell in cells], pa.string())
        self.columns = {name: pc.utf8_trim_whitespace(column) for name, column in texts.items()}
        self.reject(bad, "not_utf8", "save the file as UTF-8")


def _decoded(cell: bytes | None) -> str | bool | None:
    try:
        return None if cell is None else cell.decode()
    except UnicodeDecodeError:
        return False


def typed(rows: Rows, lookup: pa.Table | None, aliases: pa.Table | None = None) -> pa.Table:
    """Return the good rows as hashes of user and item, with counts and times where given.

    Returns
    -------
    pa.Table
        ``user`` and ``item`` (uint64), ``name`` (the item's text, dictionary-encoded), ``count``
        (float64), and ``time`` (int64, seconds) if the rows have one. Rows with a ``score``
        (float64) are pairs of items: they have it instead of the count, and ``user_name``.

    Parameters
    ----------
    lookup
        Table of the item (``item``) of each track (``track``); the rows' items are tracks then.
    aliases
        Table of the same columns: an item that it names, in lower case, is replaced; others are
        kept.
    """
    rows.decode()
    for column in ("user", "item"):
        values = rows.columns[column]
        empty = pc.fill_null(pc.equal(values, ""), True).to_numpy(zero_copy_only=False)
        rows.reject(empty, f"missing_{column}", f"the cell of the {column} is empty")
    if lookup is not None:
        places = pc.index_in(rows.columns["item"], value_set=lookup["track"])
        unknown = places.is_null().to_numpy(zero_copy_only=False)
        rows.reject(unknown, "unknown_track", rows.columns["item"])
        places = places.filter(pa.array(~unknown))
        rows.columns["item"] = lookup["item"].combine_chunks().take(places)
    if aliases is not None:
        items = rows.columns["item"]
        places = pc.index_in(pc.utf8_lower(items), value_set=aliases["track"])
        rows.columns["item"] = pc.coalesce(aliases["item"].combine_chunks().take(places), items)
    if "count" in rows.columns:
        texts = rows.columns["count"]
        values, wrong = numbers(pa.chunked_array([texts]), whole=False)
        wrong = wrong | (values <= 0)
        rows.columns["count"] = pa.array(np.nan_to_num(values, nan=1.0))
        rows.reject(wrong, "not_a_count", texts)
    if "time" in rows.columns:
        texts = rows.columns["time"]
        seconds, wrong = _seconds(texts)
        rows.columns["time"] = pa.array(seconds)
        rows.reject(wrong, "not_a_time", pc.fill_null(texts, "the cell of the time is empty"))
    users, names = (rows.columns[name].dictionary_encode() for name in ("user", "item"))
    table = {"user": _hashes(users), "item": _hashes(names), "name": names}
    if "score" in rows.columns:
        return pa.table(
            table | {"user_name": users, "score": rows.columns["score"].cast(pa.float64())}
        )
    table["count"] = rows.columns.get("count", pa.array(np.ones(len(rows.lines))))
    if "time" in rows.columns:
        table["time"] = rows.columns["time"]
    return pa.table(table)


def _hashes(encoded: pa.DictionaryArray) -> pa.Array:
    """Return 64-bit hashes of texts; two of ten million are equal with a chance of 3e-6."""
    texts = np.array(encoded.dictionary.to_pylist(), dtype=object)
    hashes = pd.util.hash_array(texts, categorize=False)
    return pa.array(hashes[encoded.indices.to_numpy(zero_copy_only=False)], pa.uint64())


def _seconds(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return Unix times in seconds of numbers (seconds, milliseconds) or ISO 8601, and the bad."""
    values, not_numbers = numbers(pa.chunked_array([texts]), whole=False)
    values = np.where(values > MILLISECONDS_FROM, values / 1000, values)
    if not_numbers.any():
        others = pa.array(not_numbers)
        dates = pd.to_datetime(
            texts.filter(others).to_pandas(), errors="coerce", utc=True, format="ISO8601"
        )
        moments = dates.to_numpy(dtype="datetime64[s]")
        values[not_numbers] = np.where(np.isnat(moments), np.nan, moments.astype(np.float64))
    wrong = np.isnan(values)
    return np.nan_to_num(values).astype(np.int64), wrong
