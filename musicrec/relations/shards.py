"""Run a step of work over shards with Ray Data, and commit each shard's outcome to the store.

A step's shard writes its files under names of its own, and its record last. So a shard is done when
its record exists, working on one twice leaves the same files, and a job that was killed continues
with the shards that have no record.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from musicrec.config.errors import UserError
from musicrec.config.sections import RaySettings
from musicrec.storage.store import Stage
from musicrec.telemetry.progress import Meter

READERS = 16
# A shard whose worker process dies is retried this many times, then the job ends.
SHARD_RETRIES = 2
Record = dict[str, Any]
Work = Callable[[int], Record]
# Steps of few shards are done in this process: a Ray would take longer to start.
SHARDS_HERE = 1


@dataclass(frozen=True)
class Steps:
    """The steps of one run, in the folder of its stage."""

    stage: Stage
    ray: RaySettings

    def name(self, step: str, number: int, what: str = ".parquet") -> str:
        """Return the store's name of a file of a step's shard."""
        return self.stage.path(f"{step}/{number:06d}{what}")

    def run(self, step: str, count: int, work: Work) -> list[Record]:
        """Do a step's shards that have no record yet; return the records of all.

        Raises
        ------
        UserError
            The input has a fault that the user has to repair.
        """
        store = self.stage.store
        done = {name for name in store.names(self.stage.path(step)) if name.endswith(".json")}
        rest = [number for number in range(count) if f"{number:06d}.json" not in done]
        with Meter("relate", count, f"shards ({step})") as meter:
            meter.advance(count - len(rest))
            for _ in self._done(step, rest, work):
                meter.advance(1)
        with ThreadPoolExecutor(READERS) as pool:
            names = [self.name(step, number, ".json") for number in range(count)]
            return list(pool.map(store.read_json, names))

    def _done(self, step: str, rest: list[int], work: Work) -> Iterator[int]:
        def commit(number: int) -> None:
            self.stage.store.write_json(self.name(step, number, ".json"), work(number))

        if len(rest) <= SHARDS_HERE:
            for number in rest:
                commit(number)
                yield number
            return
        from musicrec.runtime.cluster import connect

        connect(self.ray)
        for number, failure in _in_ray(rest, commit):
            if failure is not None:
                raise UserError(failure)
            yield number


def _in_ray(rest: list[int], commit: Callable[[int], None]) -> Iterator[tuple[int, str | None]]:
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    def run_batch(batch: pa.Table) -> pa.Table:
        (number,) = batch.column("number").to_pylist()
        failure = None
        try:
            commit(number)
        except UserError as error:
            failure = str(error)
        return pa.table({"number": [number], "failure": pa.array([failure], pa.string())})

    with warnings.catch_warnings():
        # Ray Data has no named argument for a task's retries in this release.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = ray.data.from_arrow([pa.table({"number": [number]}) for number in rest])
        dataset = dataset.map_batches(
            run_batch,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            max_retries=SHARD_RETRIES,
        )
        batches = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for batch in batches:
            for row in batch.to_pylist():
                yield row["number"], row["failure"]
