"""Last step: score the pairs of a range of items, and keep the closest of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from musicrec.config.sections import RelationsSettings
from musicrec.relations.groups import COUNTS
from musicrec.relations.pairs import PAIRS
from musicrec.relations.parts import Part, read_bucket, runs
from musicrec.relations.shards import Record, Steps

STEP = "ranked"
RANKED = pa.schema(
    [
        ("item", pa.uint64()),
        ("related", pa.uint64()),
        ("rank", pa.int32()),
        ("score", pa.float64()),
        ("together", pa.int64()),
    ]
)
SIMILAR = pa.schema([("user", pa.uint64()), ("item", pa.uint64()), ("score", pa.float64())])


@dataclass(frozen=True)
class Ranking:
    """What the ranking of co-occurring items depends on."""

    steps: Steps
    items: str
    parts: list[Part]
    settings: RelationsSettings

    def __call__(self, bucket: int) -> Record:
        """Score and rank the pairs of a range of items.

        The score of two items is the number of groups that have both, over the product of the
        numbers of groups that have each to the power of the damping.
        """
        store = self.steps.stage.store
        items = store.read_table(self.items, COUNTS)
        tables = [PAIRS.empty_table(), *read_bucket(store, self.parts, bucket, PAIRS)]
        pairs = pa.concat_tables(tables).group_by(["item", "related"], use_threads=False)
        pairs = pairs.aggregate([("together", "sum")])
        first, second, together = (
            pairs[name].to_numpy() for name in ("item", "related", "together_sum")
        )
        kept = together >= self.settings.minimum_support
        first, second, together = first[kept], second[kept], together[kept]
        groups, hashes = items["groups"].to_numpy().astype(np.float64), items["item"].to_numpy()
        damping = self.settings.popularity_damping
        score = together / (groups[first] * groups[second]) ** damping
        return _write(
            self.steps, bucket, self.settings, hashes[first], hashes[second], score, together
        )


@dataclass(frozen=True)
class RankingPublished:
    """What the ranking of published similarities depends on."""

    steps: Steps
    parts: list[Part]
    settings: RelationsSettings

    def __call__(self, bucket: int) -> Record:
        """Rank the similarities of a bucket of items; of a repeated pair the best score counts."""
        store = self.steps.stage.store
        tables = [SIMILAR.empty_table(), *read_bucket(store, self.parts, bucket, SIMILAR)]
        pairs = pa.concat_tables(tables).group_by(["user", "item"], use_threads=False)
        pairs = pairs.aggregate([("score", "max")])
        item, related, score = (pairs[name].to_numpy() for name in ("user", "item", "score_max"))
        kept = item != related
        together = np.ones(int(kept.sum()), np.int64)
        return _write(
            self.steps, bucket, self.settings, item[kept], related[kept], score[kept], together
        )


def _write(
    steps: Steps,
    bucket: int,
    settings: RelationsSettings,
    item: np.ndarray,
    related: np.ndarray,
    score: np.ndarray,
    together: np.ndarray,
) -> Record:
    """Write the closest related items of each item; equal scores are ordered by support, hash."""
    order = np.lexsort((related, -together, -score, item))
    item, related, score, together = (each[order] for each in (item, related, score, together))
    starts, sizes = runs(item)
    rank = np.arange(len(item)) - np.repeat(starts, sizes) + 1
    kept = rank <= settings.neighbours
    columns = [each[kept] for each in (item, related, rank.astype(np.int32), score, together)]
    steps.stage.store.write_table(
        steps.name(STEP, bucket), pa.table(columns, schema=RANKED), RANKED
    )
    return {"relations": int(kept.sum()), "items": len(starts)}
