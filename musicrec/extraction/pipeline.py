"""Run a reader over planned rows with Ray Data: rows in, Parquet blocks in the store.

Only the rows of a block and a summary of a few bytes (``musicrec.extraction.worker``) travel through Ray, so memory stays flat
whatever the size of the features.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.config.errors import UserError
from musicrec.extraction.isolation import SECONDS_PER_FILE, Reader, read_isolated
from musicrec.extraction.manifest import Blocks, failures
from musicrec.extraction.worker import commit, extract_block, rows_of
from musicrec.runtime.cluster import cpus, gpus, on_each_node
from musicrec.telemetry import metrics as monitoring
from musicrec.telemetry.progress import Meter, event

# A block whose worker process dies is tried once more as a whole; then its rows are tried alone, each in a process of its own.
BLOCK_RETRIES = 1
# Blocks that are handed to Ray together, and parted by a task there.
BLOCKS_IN_A_GROUP = 256
# Parted blocks that wait or are worked on, at most, or so many for each CPU; each takes some 30 KB of the driver. A cluster that grows
# meanwhile has work for as many CPUs.
BLOCKS_AHEAD, BLOCKS_AHEAD_OF_A_CPU = 512, 4
# Of the memory that an execution may use Ray Data lets the first of two steps fill a quarter with what it has done.
SHARE_AHEAD = 4
# Bytes of a parted block beside its rows.
BYTES_OF_A_BLOCK = 1024
# Blocks of one execution, or so many for each CPU: it holds the rows of all of them in Ray's object store and 2 KB of statistics of each in
# the driver until its end. Another one begins some seconds later.
BLOCKS_AT_ONCE, BLOCKS_AT_ONCE_OF_A_CPU = 16_384, 128
# So many blocks that raise an error one after the other, or so many for each CPU, are not the fault of files: what is wrong would fail the
# rest of a catalog as well. Fewer are taken up later, row by row.
FAILED_IN_A_ROW, FAILED_IN_A_ROW_OF_A_CPU = 16, 4
# Blocks that an actor is handed together: each has a name and some kilobytes, and is committed by itself.
BLOCKS_FOR_AN_ACTOR = 4


@dataclass(frozen=True)
class Actors:
    """Processes that each hold a reader that is large or slow to load, where it would otherwise be loaded for every block."""

    count: int
    cpus: int
    gpus: int

    @classmethod
    def of_cluster(cls) -> Actors:
        """One with each GPU of the cluster, and its share of the CPUs; one with each CPU where there is no GPU."""
        count, share = gpus()
        return cls(count, share, 1) if count else cls(cpus(), 1, 0)


class TooManyErrors(UserError, RuntimeError):
    """More rows failed than the configured ceiling allows."""


class BlocksFail(RuntimeError):
    """One block after the other fails, and not for its files."""


def run_blocks(
    blocks: Blocks,
    plan: pa.Table,
    reader: Reader,
    stage: str,
    maximum_failed_share: float,
    prepare: Callable[[], None] | None = None,
    actors: Actors | None = None,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> dict[str, float]:
    """Work on every block of the plan that is not committed yet; returns counts of what this call did.

    Parameters
    ----------
    prepare
        Is called once on each node before, where there is work.
    actors
        Hold the reader; it is sent along with every task if not given.
    seconds_per_file
        A row that takes longer is an error.

    Raises
    ------
    TooManyErrors
        As soon as the failed rows of the plan exceed ``maximum_failed_share``.
    BlocksFail
        No block is committed any more: each raises an error, as when the store takes no writes, or a worker's image lacks something.
    """
    counts = {"rows": 0, "errors": 0, "bytes": 0, "cpu_seconds": 0.0}
    failed_before = failures(blocks.outcomes()).num_rows
    total = plan.num_rows
    work = outstanding(blocks, plan)
    if work.num_rows and prepare is not None:
        on_each_node(prepare)
    if work.num_rows:
        monitoring.blocks_queued(stage, work.num_rows)
    with Meter(stage, len(pc.list_flatten(work.column("item"))), "rows") as meter:
        for finished, summary in enumerate(
            committed(blocks, work, reader, stage, actors, seconds_per_file), start=1
        ):
            for name in counts:
                counts[name] += summary[name]
            meter.advance(summary["rows"], errors=counts["errors"])
            monitoring.blocks_queued(stage, work.num_rows - finished)
            monitoring.block_done(
                stage,
                summary["rows"],
                summary["errors"],
                summary["audio_seconds"],
                summary["bytes"],
            )
            _check_ceiling(failed_before + counts["errors"], total, stage, maximum_failed_share)
    _check_ceiling(failed_before + counts["errors"], total, stage, maximum_failed_share)
    return counts


def _check_ceiling(failed: int, total: int, stage: str, maximum_failed_share: float) -> None:
    if failed > maximum_failed_share * total:
        raise TooManyErrors(
            f"{stage}: {failed} of {total} rows failed, more than extract.maximum_failed_share = {maximum_failed_share:g} allows. "
            "Repair the files and run again with --extract.retry-errors, or raise the ceiling"
        )


def outstanding(blocks: Blocks, plan: pa.Table) -> pa.Table:
    """The plan's uncommitted blocks, a row each: block and columns, and lists of the items and URIs of its rows."""
    done = pa.array(sorted(blocks.done()), pa.string())
    rest = plan.filter(pc.invert(pc.is_in(plan.column("block"), value_set=done))).combine_chunks()
    ends = pc.run_end_encode(rest.column("block").combine_chunks()).run_ends.to_numpy()
    offsets = np.append(0, ends).astype(np.int32) if rest.num_rows else np.zeros(1, np.int32)
    first = rest.select(["block", "columns"]).take(pa.array(offsets[:-1]))
    lists = {
        name: pa.ListArray.from_arrays(pa.array(offsets), rest.column(name).combine_chunks())
        for name in ("item", "uri")
    }
    return pa.table({"block": first.column("block"), "columns": first.column("columns"), **lists})


def committed(
    blocks: Blocks,
    work: pa.Table,
    reader: Reader,
    stage: str,
    actors: Actors | None = None,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> Iterator[dict[str, Any]]:
    """Work on the ``outstanding`` blocks: a summary of each as it is committed."""
    if not work.num_rows:
        return
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = -1  # a block lost with its worker is taken up below, row by row
    if actors is None:
        context.target_max_block_size = 1  # byte: each row of a group is handed on by itself
        ahead = max(BLOCKS_AHEAD, BLOCKS_AHEAD_OF_A_CPU * cpus()) * (
            work.nbytes // work.num_rows + BYTES_OF_A_BLOCK
        )
        context.execution_options.resource_limits = ray.data.ExecutionResources(
            object_store_memory=SHARE_AHEAD * ahead
        )
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # The retries of a task have no named argument in this release, and their default is to try for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        failed_in_a_row = 0
        at_once = max(BLOCKS_AT_ONCE, BLOCKS_AT_ONCE_OF_A_CPU * cpus())
        for start in range(0, work.num_rows, at_once):
            some = work.slice(start, at_once)
            if actors is None:
                dataset = _in_tasks(blocks, some, reader, seconds_per_file)
            else:
                dataset = _in_actors(blocks, some, reader, actors, seconds_per_file)
            for batch in dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for summary in batch.to_pylist():
                    failed_in_a_row = _check_failure(summary, failed_in_a_row, stage)
                    if summary["failure"] is None:
                        yield summary
            del dataset
            gc.collect()  # an execution and its statistics refer to each other
    lost = work.filter(
        pc.invert(
            pc.is_in(work.column("block"), value_set=pa.array(sorted(blocks.done()), pa.string()))
        )
    )
    groups = [rows_of(lost.slice(row, 1)) for row in range(lost.num_rows)]
    for rows, outcome in zip(
        groups, read_isolated(groups, reader, stage, seconds_per_file), strict=True
    ):
        yield commit(rows, blocks, outcome)


def _check_failure(summary: dict[str, Any], before: int, stage: str) -> int:
    """How many blocks failed one after the other, ``before`` them and with this one; BlocksFail where those are too many."""
    if summary["failure"] is None:
        return 0
    event(stage, "a block failed", block=summary["block"], error=summary["failure"])
    if before + 1 >= max(FAILED_IN_A_ROW, FAILED_IN_A_ROW_OF_A_CPU * cpus()):
        raise BlocksFail(
            f"{stage}: {before + 1} blocks one after the other failed, the last with {summary['failure']}. That is not the fault of single "
            "files. What is committed is kept; run again when the cause is mended"
        )
    return before + 1


def _in_tasks(blocks: Blocks, work: pa.Table, reader: Reader, seconds_per_file: float) -> Any:
    import ray.data

    # Each block becomes an object of its own on a worker and as it is needed: a hundred thousand of them made here would take minutes.
    # What parts the groups has no CPU of its own, and is one task at a time: of more, Ray Data would keep a part of the CPUs for it.
    # It hands over a group at once: if it waited until blocks are taken (the default, two at a time), it would give 5 a second.
    groups = [
        work.slice(start, BLOCKS_IN_A_GROUP) for start in range(0, work.num_rows, BLOCKS_IN_A_GROUP)
    ]
    return (
        ray.data.from_arrow(groups)
        .map_batches(
            lambda group: group,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.TaskPoolStrategy(size=1),
            num_cpus=0,
            _generator_backpressure_num_objects=-1,
        )
        .map_batches(
            lambda block: extract_block(block, blocks, reader, seconds_per_file),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            max_retries=BLOCK_RETRIES,
        )
    )


class _Actor:
    """Works on blocks, one after the other, with a reader that it keeps; it is sent as a list with the reference to it."""

    def __init__(self, blocks: Blocks, reader: Any, seconds_per_file: float) -> None:
        import ray

        self.blocks, self.reader, self.seconds_per_file = (
            blocks,
            ray.get(reader[0]),
            seconds_per_file,
        )

    def __call__(self, block: pa.Table) -> pa.Table:
        return extract_block(block, self.blocks, self.reader, self.seconds_per_file, as_batch=True)


def _in_actors(
    blocks: Blocks, work: pa.Table, reader: Reader, actors: Actors, seconds_per_file: float
) -> Any:
    import ray.data

    # Not parted by tasks: actors that take every CPU would leave none for them.
    groups = [
        work.slice(start, BLOCKS_FOR_AN_ACTOR)
        for start in range(0, work.num_rows, BLOCKS_FOR_AN_ACTOR)
    ]
    return ray.data.from_arrow(groups).map_batches(
        _Actor,
        fn_constructor_args=(blocks, [ray.put(reader)], seconds_per_file),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(actors.count, len(groups))),
        num_cpus=actors.cpus,
        num_gpus=actors.gpus,
        max_restarts=-1,  # a block that ends its actor twice is given up, the actor is not
        max_task_retries=BLOCK_RETRIES,
    )
