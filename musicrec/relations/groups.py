"""Second step: the items of each user or session of a bucket, and how often each occurs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from musicrec.config.sections import RelationsSettings
from musicrec.relations.parts import Part, read_bucket, runs
from musicrec.relations.read import NAMES
from musicrec.relations.shards import Record, Steps

STEP = "groups"
PLAYS = pa.schema([("user", pa.uint64()), ("item", pa.uint64()), ("count", pa.float64())])
TIMED = PLAYS.append(pa.field("time", pa.int64()))
GROUPS = pa.schema([("group", pa.int64()), ("item", pa.uint64())])
COUNTS = pa.schema([("item", pa.uint64()), ("groups", pa.int64())])
ITEMS = pa.schema([*NAMES, ("groups", pa.int64())])


@dataclass(frozen=True)
class Grouping:
    """What the grouping depends on: the parts of the reading."""

    steps: Steps
    parts: list[Part]
    settings: RelationsSettings

    def __call__(self, bucket: int) -> Record:
        """Write the items of each group of a bucket, ordered by group."""
        settings, store = self.settings, self.steps.stage.store
        by_session = settings.group == "session"
        contract = TIMED if by_session else PLAYS
        tables = list(read_bucket(store, self.parts, bucket, contract))
        plays = pa.concat_tables([contract.empty_table(), *tables])
        if by_session:
            plays = sessions(plays, settings.session_minutes * 60)
        plays = plays.group_by(["user", "item"], use_threads=False).aggregate([("count", "sum")])
        user, item, count = (plays[name].to_numpy() for name in ("user", "item", "count_sum"))
        order = np.lexsort((item, -count, user))
        order = order[count[order] >= settings.minimum_plays]
        user, item = user[order], item[order]
        starts, sizes = runs(user)
        place = np.arange(len(user)) - np.repeat(starts, sizes)
        kept = place < settings.maximum_items  # the most played ones of a group
        groups = np.repeat(np.arange(len(starts)), sizes)[kept]
        table = pa.table([groups, item[kept]], schema=GROUPS)
        items, counts = np.unique(item[kept], return_counts=True)
        store.write_table(self.steps.name(STEP, bucket), table, GROUPS)
        counted = pa.table([items, counts], schema=COUNTS)
        store.write_table(self.steps.name(STEP, bucket, "-counts.parquet"), counted, COUNTS)
        sizes = np.minimum(sizes, settings.maximum_items)
        return {
            "groups": len(starts),
            "pairs": int((sizes * (sizes - 1) // 2).sum()),
            "cut": int((~kept).sum()),
        }


def sessions(plays: pa.Table, seconds: float) -> pa.Table:
    """Return the plays with the number of their session as ``user``.

    A user's session ends where the next play is more than ``seconds`` later.
    """
    user, time = plays["user"].to_numpy(), plays["time"].to_numpy()
    order = np.lexsort((time, user))
    user, time = user[order], time[order]
    begins = np.append(True, (user[1:] != user[:-1]) | (np.diff(time) > seconds))[: len(user)]
    plays = plays.take(pa.array(order))
    number = pa.array(np.cumsum(begins).astype(np.uint64))
    return plays.set_column(plays.schema.get_field_index("user"), "user", number)


def count_items(steps: Steps, buckets: int, minimum: int) -> pa.Table:
    """Return the items of at least ``minimum`` groups with their groups, ordered by hash."""
    total = COUNTS.empty_table()
    for bucket in range(buckets):
        counts = steps.read_table(STEP, bucket, COUNTS, "-counts.parquet")
        both = pa.concat_tables([total, counts])
        sums = both.group_by("item", use_threads=False).aggregate([("groups", "sum")])
        total = sums.rename_columns({"item": "item", "groups_sum": "groups"})
    total = total.sort_by("item")
    return total.filter(pa.array(total["groups"].to_numpy() >= minimum))


def with_names(steps: Steps, shards: int, items: np.ndarray, step: str) -> pa.Array:
    """Return the name of each item (ordered hashes), from the names that the shards have."""
    names = np.full(len(items), None, object)
    for shard in range(shards):
        table = steps.read_table(step, shard, NAMES, "-names.parquet")
        hashes = table["item"].to_numpy()
        places = np.searchsorted(items, hashes)
        there = places < len(items)
        there[there] = items[places[there]] == hashes[there]
        names[places[there]] = table["name"].to_numpy(zero_copy_only=False)[there]
    return pa.array(names, pa.string())
