"""Run a step of work over shards with Ray Data, and commit each shard's outcome to the store.

A step's shard writes its files under names of its own, and its record last. So a shard is done when
its record exists, working on one twice leaves the same files, and a job that was killed continues
with the shards that have no record.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from musicrec.config.errors import UserError
from musicrec.config.sections import RaySettings
from musicrec.storage.record import DamagedError
from musicrec.storage.store import Stage, Store
from musicrec.telemetry.progress import Meter

READERS = 16
DIGITS = 6  # of a shard's number in names of files
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
        return self.stage.path(f"{step}/{number:0{DIGITS}d}{what}")

    def read_table(
        self, step: str, number: int, contract: pa.Schema, what: str = ".parquet"
    ) -> pa.Table:
        """Read a table of a step's shard; a damaged one makes the shard count as not done."""
        name = self.name(step, number, what)
        with undone_if_damaged(self.stage.store, name):
            return self.stage.store.read_table(name, contract)

    def run(self, step: str, count: int, work: Work) -> list[Record]:
        """Do a step's shards that have no record yet; return the records of all.

        Raises
        ------
        UserError
            The input has a fault that the user has to repair.
        """
        present = set(self.stage.store.names(self.stage.path(step)))
        written = [number for number in range(count) if f"{number:0{DIGITS}d}.json" in present]
        records = _in_threads(lambda number: self._record_if_whole(step, number), written)
        rest = [number for number in range(count) if records.get(number) is None]
        with Meter("relate", count, f"shards ({step})") as meter:
            meter.advance(count - len(rest))
            for _ in self._done(step, rest, work):
                meter.advance(1)
        records |= _in_threads(lambda number: self._record(step, number), rest)
        return [records[number] for number in range(count)]

    def _record(self, step: str, number: int) -> Record:
        return self.stage.store.read_json(self.name(step, number, ".json"))

    def _record_if_whole(self, step: str, number: int) -> Record | None:
        """Return a shard's record; None if it is damaged, so that the shard is done again."""
        try:
            return self._record(step, number)
        except DamagedError:  # named by now
            return None

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


@contextlib.contextmanager
def undone_if_damaged(store: Store, name: str) -> Iterator[None]:
    """While a file of a shard is read: if it is damaged, the next run does the shard again."""
    try:
        yield
    except DamagedError:
        folder, _, file = name.rpartition("/")
        store.remove(f"{folder}/{file[:DIGITS]}.json")
        raise


def _in_threads(read: Callable[[int], Any], numbers: list[int]) -> dict[int, Any]:
    """Return what ``read`` returns by number; the threads wait for the storage."""
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(numbers, pool.map(read, numbers), strict=True))


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
