"""Run a reader over the rows of a manifest with Ray Data, and commit Parquet parts to the store.

Only the rows of a block and a summary of a few bytes (``musicrec.extraction.worker``) pass through
Ray, so memory does not grow with the size of the features.
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
from musicrec.extraction.manifest import Blocks
from musicrec.extraction.rows import failures
from musicrec.extraction.worker import commit, extract_block, rows_of
from musicrec.runtime.cluster import cpus, gpus, on_each_node
from musicrec.telemetry import metrics as monitoring
from musicrec.telemetry.progress import Meter, event

# A block whose worker process dies is retried once as a whole; then its rows are read one by one,
# each in a process of its own.
BLOCK_RETRIES = 1
# Blocks that are handed to Ray as one group, which a task there splits.
GROUP_BLOCKS = 256
# Split blocks that wait or run, at most, in all or per CPU (the larger); each takes some 30 KB of
# the driver. When the cluster grows meanwhile, the larger number has work for the new CPUs.
BLOCKS_AHEAD, BLOCKS_AHEAD_PER_CPU = 512, 4
# Ray Data lets the output of the first of two steps fill a quarter of an execution's memory limit.
OBJECT_STORE_FACTOR = 4
# Bytes of a split block in addition to its rows.
BLOCK_OVERHEAD_BYTES = 1024
# Blocks of one execution, in all or per CPU (the larger): until its end it keeps the rows of all of
# them in Ray's object store, and 2 KB of statistics per block in the driver. The next execution
# starts some seconds later.
EXECUTION_BLOCKS, EXECUTION_BLOCKS_PER_CPU = 16_384, 128
# This many blocks in a row that raise an error, in all or per CPU (the larger), have a cause that
# would fail the rest of the catalog as well. Fewer are read again later, row by row.
FAILED_IN_A_ROW, FAILED_IN_A_ROW_PER_CPU = 16, 4
# Blocks that an actor receives together: each has a name and some kilobytes, and is committed
# separately.
ACTOR_BLOCKS = 4


@dataclass(frozen=True)
class Actors:
    """Processes that each keep a reader that is large or slow to load."""

    count: int
    cpus: int
    gpus: int

    @classmethod
    def of_cluster(cls) -> Actors:
        """Return one actor per GPU with its fraction of the CPUs, or one per CPU without GPUs."""
        count, share = gpus()
        return cls(count, share, 1) if count else cls(cpus(), 1, 0)


class TooManyErrors(UserError, RuntimeError):
    """More rows failed than the configured limit allows."""


class BlocksFail(RuntimeError):
    """Block after block fails, for a reason that no single file causes."""


def run_blocks(
    blocks: Blocks,
    manifest: pa.Table,
    reader: Reader,
    stage: str,
    maximum_failed_share: float,
    prepare: Callable[[], None] | None = None,
    actors: Actors | None = None,
    seconds_per_file: float = SECONDS_PER_FILE,
) -> dict[str, float]:
    """Work on every uncommitted block of the manifest; return counts of what this call did.

    Parameters
    ----------
    prepare
        Called once on each node before the work, if there is any.
    actors
        Processes that keep the reader; without, it is sent along with every task.
    seconds_per_file
        A row that takes longer is an error.

    Raises
    ------
    TooManyErrors
        As soon as the failed rows of the manifest exceed ``maximum_failed_share``.
    BlocksFail
        Too many blocks fail in a row, for example because the store is read-only or a package is
        missing on the workers.
    """
    counts = {"rows": 0, "errors": 0, "bytes": 0, "cpu_seconds": 0.0}
    failed_before = failures(blocks.outcomes()).num_rows
    total = manifest.num_rows
    work = outstanding(blocks, manifest)
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
            if failed_before + counts["errors"] > maximum_failed_share * total:
                break
    if failed_before + counts["errors"] > maximum_failed_share * total:
        reasons = failures(blocks.outcomes()).column("reason")
        raise too_many_errors(stage, reasons, total, maximum_failed_share, blocks.store.root)
    return counts


def too_many_errors(
    stage: str, reasons: pa.ChunkedArray, total: int, maximum_failed_share: float, store: str
) -> TooManyErrors:
    """Return the error for more failed rows than allowed, with the three most frequent reasons."""
    counted = pc.value_counts(reasons.combine_chunks()).to_pylist()
    counted.sort(key=lambda each: (-each["counts"], each["values"]))
    frequent = ", ".join(f"{each['values']} {each['counts']:,}" for each in counted[:3])
    text = (
        f"{stage}: {len(reasons):,} of {total:,} rows failed ({frequent}), more than "
        f"extract.maximum_failed_share = {maximum_failed_share:g} allows. "
        f"See python jobs/errors.py --store {store}; repair the files and run again with "
        "--extract.retry-errors, or raise extract.maximum_failed_share"
    )
    if counted and counted[0]["values"] == "too_short":
        text += ". Clips need extract.minimum_seconds of audio (29 if not set)"
    return TooManyErrors(text)


def outstanding(blocks: Blocks, manifest: pa.Table) -> pa.Table:
    """Return the manifest's uncommitted blocks, one row each.

    The columns are ``block`` and ``columns``, and lists of the ``item`` and ``uri`` of its rows.
    """
    done = pa.array(sorted(blocks.done()), pa.string())
    is_done = pc.is_in(manifest.column("block"), value_set=done)
    rest = manifest.filter(pc.invert(is_done)).combine_chunks()
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
    """Work on the ``outstanding`` blocks; yield a summary of each as it is committed."""
    if not work.num_rows:
        return
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = -1  # a block lost with its worker is read below, row by row
    if actors is None:
        context.target_max_block_size = 1  # byte: each row of a group is passed on separately
        ahead = max(BLOCKS_AHEAD, BLOCKS_AHEAD_PER_CPU * cpus()) * (
            work.nbytes // work.num_rows + BLOCK_OVERHEAD_BYTES
        )
        context.execution_options.resource_limits = ray.data.ExecutionResources(
            object_store_memory=OBJECT_STORE_FACTOR * ahead
        )
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # Ray Data has no named argument for a task's retries in this release, and retries for ever
        # by default.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        failed_in_a_row = 0
        execution_blocks = max(EXECUTION_BLOCKS, EXECUTION_BLOCKS_PER_CPU * cpus())
        for start in range(0, work.num_rows, execution_blocks):
            some = work.slice(start, execution_blocks)
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
    outcomes = read_isolated(groups, reader, stage, seconds_per_file, actors.gpus if actors else 0)
    for rows, outcome in zip(groups, outcomes, strict=True):
        yield commit(rows, blocks, outcome)


def _check_failure(summary: dict[str, Any], before: int, stage: str) -> int:
    """Return the number of blocks failed in a row, including this one; BlocksFail if too many."""
    if summary["failure"] is None:
        return 0
    event(stage, "a block failed", block=summary["block"], error=summary["failure"])
    if before + 1 >= max(FAILED_IN_A_ROW, FAILED_IN_A_ROW_PER_CPU * cpus()):
        raise BlocksFail(
            f"{stage}: {before + 1} blocks in a row failed, the last with {summary['failure']}. "
            "No single file causes this. What is committed is kept; remove the cause and run again"
        )
    return before + 1


def _in_tasks(blocks: Blocks, work: pa.Table, reader: Reader, seconds_per_file: float) -> Any:
    import ray.data

    # Each block becomes an object on a worker when it is needed: creating a hundred thousand of
    # them here would take minutes. The step that splits the groups takes no CPU and is one task at
    # a time: with more, Ray Data would reserve some of the CPUs for it. It emits a group at once:
    # if it waited until blocks are taken (the default, two at a time), it would emit 5 per second.
    groups = [work.slice(start, GROUP_BLOCKS) for start in range(0, work.num_rows, GROUP_BLOCKS)]
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
    """An actor that works on one block after the other with a reader that it keeps.

    The reader arrives as a list with the reference to it, which Ray does not resolve.
    """

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

    # Not split by tasks: actors that take every CPU would leave none for them.
    groups = [work.slice(start, ACTOR_BLOCKS) for start in range(0, work.num_rows, ACTOR_BLOCKS)]
    return ray.data.from_arrow(groups).map_batches(
        _Actor,
        fn_constructor_args=(blocks, [ray.put(reader)], seconds_per_file),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(actors.count, len(groups))),
        num_cpus=actors.cpus,
        num_gpus=actors.gpus,
        max_restarts=-1,  # a block that ends its actor twice is given up, but not the actor
        max_task_retries=BLOCK_RETRIES,
    )
