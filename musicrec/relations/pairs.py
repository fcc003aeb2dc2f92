"""Third step: count in how many groups of a bucket two items occur together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from musicrec.relations.groups import COUNTS, GROUPS
from musicrec.relations.groups import STEP as GROUPED
from musicrec.relations.parts import runs, write_part
from musicrec.relations.shards import Record, Steps

STEP = "pairs"
# Pairs that are made at a time, and different pairs that a task holds.
CHUNK_PAIRS = 1_000_000
RUN_PAIRS = 2_000_000
PAIRS = pa.schema([("item", pa.int64()), ("related", pa.int64()), ("together", pa.int64())])
Counted = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Pairing:
    """What the counting depends on; ``buckets`` is the number of ranges of items."""

    steps: Steps
    items: str
    buckets: int

    def __call__(self, bucket: int) -> Record:
        """Write the pairs of a bucket's groups, in both directions, divided by the first item."""
        store = self.steps.stage.store
        hashes = store.read_table(self.items, COUNTS)["item"].to_numpy()
        table = self.steps.read_table(GROUPED, bucket, GROUPS)
        item, group = table["item"].to_numpy(), table["group"].to_numpy()
        places = np.searchsorted(hashes, item)
        frequent = places < len(hashes)
        frequent[frequent] = hashes[places[frequent]] == item[frequent]
        item, group = places[frequent], group[frequent]
        order = np.lexsort((item, group))
        parts, made = [], 0
        for run in runs_of(item[order], group[order], len(hashes)):
            name = self.steps.name(STEP, bucket, f"-{len(parts):04d}.parquet")
            parts.append((name, self._write(name, run, len(hashes))))
            made += int(run[1].sum())
        return {"parts": parts, "pairs": made}

    def _write(self, name: str, run: Counted, items: int) -> list[int]:
        codes, together = run
        first, second = np.divmod(codes, items)
        item, related = np.append(first, second), np.append(second, first)
        table = pa.table([item, related, np.append(together, together)], schema=PAIRS)
        buckets = bucket_of(item, items, self.buckets)
        return write_part(self.steps.stage.store, name, table, buckets, self.buckets)


def bucket_of(items: np.ndarray, count: int, buckets: int) -> np.ndarray:
    """Return the range of each of ``count`` items, of ``buckets`` ranges of equal size."""
    return items * buckets // max(count, 1)


def runs_of(item: np.ndarray, group: np.ndarray, count: int) -> Iterator[Counted]:
    """Yield codes of pairs (smaller item times ``count`` plus larger) and their groups.

    Each run has each pair once; the same pair may be in several runs.

    Parameters
    ----------
    item, group
        The items of every group, ordered by group, then item.
    """
    pending: list[Counted] = []
    for codes in _codes(item, group, count):
        pending.append(np.unique(codes, return_counts=True))
        if sum(len(each[0]) for each in pending) > RUN_PAIRS:
            merged = _merged(pending)
            pending = [merged]
            if len(merged[0]) > RUN_PAIRS // 2:
                yield merged
                pending = []
    if pending:
        yield _merged(pending)


def _merged(counted: list[Counted]) -> Counted:
    codes = np.concatenate([each[0] for each in counted])
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], np.concatenate([each[1] for each in counted])[order]
    starts, _ = runs(codes)
    return codes[starts], np.add.reduceat(counts, starts)


def _codes(item: np.ndarray, group: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield the codes of all pairs within groups, at most ``CHUNK_PAIRS`` and a group each."""
    starts, sizes = runs(group)
    made = np.cumsum(sizes * (sizes - 1) // 2)
    begin = 0
    while begin < len(sizes):
        before = made[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(made, before + CHUNK_PAIRS, "right")))
        rows = slice(int(starts[begin]), int(starts[end]) if end < len(starts) else len(item))
        some = item[rows]
        place = np.arange(len(some)) - np.repeat(starts[begin:end] - rows.start, sizes[begin:end])
        # An item is paired with those after it in its group.
        after = np.repeat(sizes[begin:end], sizes[begin:end]) - place - 1
        ends = np.cumsum(after)
        second = np.arange(ends[-1]) + np.repeat(np.arange(len(some)) + 1 - (ends - after), after)
        if len(second):
            yield np.repeat(some, after) * count + some[second]
        begin = end
