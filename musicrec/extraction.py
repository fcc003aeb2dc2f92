"""The Ray Data pipeline around ``musicrec.features`` and ``musicrec.artwork``: files in, Parquet blocks out.

A task reads the rows of one block, extracts them and commits the block to the store by itself; what travels through Ray is a summary of
some bytes, so memory stays flat whatever the size of the features. A task that is repeated writes the same block again.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from musicrec import monitoring
from musicrec.blocks import Blocks, failures
from musicrec.parallel import on_each_node
from musicrec.progress import Meter, event

# A block whose worker process dies is tried once more as a whole; then its rows are tried alone, each in a process of its own.
BLOCK_RETRIES = 1

# Reads the planned rows (item, uri, columns) of one block: a table with one row for each, in the same order, whose columns begin with
# track_id and end with reason and detail. Picklable. A row whose input cannot be read has a reason; it never raises for that.
Reader = Callable[[pa.Table], pa.Table]


class TooManyErrors(RuntimeError):
    """More rows failed than the configured ceiling allows."""


def run_blocks(
    blocks: Blocks, plan: pa.Table, reader: Reader, stage: str, maximum_failed_share: float, prepare: Callable[[], None] | None = None
) -> dict[str, float]:
    """Work on every block of the plan that is not committed yet; returns counts of what this call did.

    ``prepare`` is called once on each node before, where there is work.

    Raises
    ------
    TooManyErrors
        As soon as the failed rows of the plan exceed ``maximum_failed_share``.
    """
    counts = {"rows": 0, "errors": 0, "bytes": 0, "cpu_seconds": 0.0}
    failed_before = failures(blocks.outcomes()).num_rows
    total = plan.num_rows
    work = _outstanding(blocks, plan)
    if work and prepare is not None:
        on_each_node(prepare)
    if work:
        monitoring.blocks_queued(stage, len(work))
    with Meter(stage, sum(table.num_rows for table in work), "rows") as meter:
        for finished, summary in enumerate(_stream(blocks, work, reader, stage), start=1):
            for name in counts:
                counts[name] += summary[name]
            meter.advance(summary["rows"], errors=counts["errors"])
            monitoring.blocks_queued(stage, len(work) - finished)
            monitoring.block_done(stage, summary["rows"], summary["errors"], summary["audio_seconds"], summary["bytes"])
            _check_ceiling(failed_before + counts["errors"], total, stage, maximum_failed_share)
    _check_ceiling(failed_before + counts["errors"], total, stage, maximum_failed_share)
    return counts


def _check_ceiling(failed: int, total: int, stage: str, maximum_failed_share: float) -> None:
    if failed > maximum_failed_share * total:
        raise TooManyErrors(
            f"{stage}: {failed} of {total} rows failed, more than extract.maximum_failed_share = {maximum_failed_share:g} allows. "
            "Repair the files and run again with --extract.retry-errors, or raise the ceiling"
        )


def _outstanding(blocks: Blocks, plan: pa.Table) -> list[pa.Table]:
    """The plan's uncommitted blocks, one table each."""
    done = pa.array(sorted(blocks.done()), pa.string())
    rest = plan.filter(pc.invert(pc.is_in(plan.column("block"), value_set=done)))
    runs = pc.run_end_encode(rest.column("block").combine_chunks()).run_ends.to_pylist() if rest.num_rows else []
    return [rest.slice(start, stop - start).combine_chunks() for start, stop in zip([0, *runs], runs, strict=False)]


def _stream(blocks: Blocks, work: list[pa.Table], reader: Reader, stage: str) -> Iterator[dict[str, Any]]:
    """Summaries of the blocks as they are committed."""
    if not work:
        return
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    context = ray.data.DataContext.get_current().copy()
    context.max_errored_blocks = -1  # a block lost with its worker is taken up below, row by row
    with ray.data.DataContext.current(context), warnings.catch_warnings():
        # The retries of a task have no named argument in this release, and their default is to try for ever.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        dataset = ray.data.from_arrow(work).map_batches(
            lambda rows: pa.Table.from_pylist([_extract(rows, blocks, reader)]),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1,
            max_retries=BLOCK_RETRIES,
        )
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from batch.to_pylist()
    done = blocks.done()
    for rows in work:
        if rows.column("block")[0].as_py() not in done:
            yield _isolated(rows, blocks, reader, stage)


def _extract(rows: pa.Table, blocks: Blocks, reader: Reader) -> dict[str, Any]:
    started = time.process_time()
    summary = _commit(rows, blocks, reader(rows))
    return summary | {"cpu_seconds": time.process_time() - started}


def _commit(rows: pa.Table, blocks: Blocks, outcome: pa.Table) -> dict[str, Any]:
    block = rows.column("block")[0].as_py()
    size = blocks.commit(block, outcome)
    errors = outcome.num_rows - outcome.column("reason").null_count
    timed = "duration_seconds" in outcome.column_names
    audio = (pc.sum(outcome.column("duration_seconds")).as_py() or 0.0) if timed else 0.0
    return {"block": block, "rows": rows.num_rows, "errors": errors, "bytes": size, "cpu_seconds": 0.0, "audio_seconds": audio}


def _failed(row: pa.Table, reason: str, detail: str) -> pa.Table:
    return pa.table({"track_id": row.column("item"), "reason": [reason], "detail": [f"{row.column('uri')[0].as_py()}: {detail}"]})


def _read_alone(row: pa.Table, reader: Reader) -> pa.Table:
    return reader(row)


def _isolated(rows: pa.Table, blocks: Blocks, reader: Reader, stage: str) -> dict[str, Any]:
    """A block that took its worker with it: each row in a process of its own, so that the one to blame is known and the others are kept."""
    import ray

    block = rows.column("block")[0].as_py()
    event(stage, "a block could not be read as a whole: its rows are read one by one", block=block, rows=rows.num_rows)
    task = ray.remote(num_cpus=1, max_retries=0, max_calls=1)(_read_alone)
    outcomes = []
    for index in range(rows.num_rows):
        row = rows.slice(index, 1)
        try:
            outcomes.append(ray.get(task.remote(row, reader)))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            outcomes.append(_failed(row, "killed_worker", f"the process that read it ended ({type(error).__name__})"))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OSError):
                raise  # the storage, not the file: the same row may be read well the next time
            outcomes.append(_failed(row, "reader_failed", f"{type(error.cause).__name__}: {error.cause}"))
    return _commit(rows, blocks, pa.concat_tables(outcomes, promote_options="default"))
