"""Read rows within bounds: one that hangs or ends its process is one error, the others are kept."""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

# A row whose reading takes longer is given up, and is an error.
SECONDS_PER_FILE = 60.0
# A row that is read in a process of its own is given up from within that process. If it lets no
# other thread run there (a loop in a decoder that holds Python's lock), the process ends this many
# seconds later.
SECONDS_TO_GIVE_UP = 5.0
KILLED = "killed_worker"

# Reads rows of the manifest (block, item, uri, columns), all of one block, and returns a table with
# one row for each, in the same order; its columns begin with track_id and end with reason and
# detail. Picklable. A row whose input cannot be read has a reason; a reader never raises for that.
Reader = Callable[[pa.Table], pa.Table]


@contextmanager
def _process_deadline(seconds: float) -> Iterator[None]:
    """End this process, whatever it hangs in, if the block takes longer; log its traceback."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def read_bounded(
    rows: pa.Table, reader: Reader, seconds_per_file: float, as_batch: bool = False
) -> pa.Table:
    """Return what ``reader`` makes of the rows, or end this process if it takes too long.

    Parameters
    ----------
    as_batch
        Pass all rows to the reader at once, for one that gains by it, instead of one by one.
    """
    outcomes = []
    batch_rows = rows.num_rows if as_batch else 1
    for start in range(0, rows.num_rows, batch_rows):
        with _process_deadline(batch_rows * seconds_per_file):
            outcomes.append(reader(rows.slice(start, batch_rows)))
    return pa.concat_tables(outcomes).combine_chunks()


def read_alone(row: pa.Table, reader: Reader, seconds: float) -> pa.Table | None:
    """Return what ``reader`` makes of one row, or None after ``seconds``.

    After None the process is not usable any more: the reader still runs in one of its threads.
    """
    outcome: list[pa.Table] = []
    failure: list[BaseException] = []

    def read() -> None:
        try:
            outcome.append(reader(row))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failure.append(error)

    thread = threading.Thread(target=read, daemon=True)
    with _process_deadline(seconds + SECONDS_TO_GIVE_UP):
        thread.start()
        thread.join(seconds)
    if failure:
        raise failure[0]
    return outcome[0] if outcome else None


def read_isolated(
    groups: Sequence[pa.Table],
    reader: Reader,
    stage: str,
    seconds_per_file: float,
    gpus: int = 0,
) -> Iterator[pa.Table]:
    """Read each group of rows again, one row at a time, after a row took the group's worker down.

    Each row is read in a process of its own, which identifies the row to blame and keeps the
    others.

    Parameters
    ----------
    gpus
        GPUs that the reader needs.

    Raises
    ------
    OSError
        The storage failed, not a file: the same row may be readable the next time.
    """
    if not groups:
        return
    import ray

    task, shared = (
        ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0, max_calls=1)(read_alone),
        ray.put(reader),
    )
    for rows in groups:
        event(
            stage,
            "rows could not be read together: they are read one by one",
            rows=rows.num_rows,
            first=rows.column("uri")[0].as_py(),
        )
        single_rows = [rows.slice(index, 1) for index in range(rows.num_rows)]
        tasks = [task.remote(row, shared, seconds_per_file) for row in single_rows]
        outcomes = [
            _outcome(row, reading, seconds_per_file)
            for row, reading in zip(single_rows, tasks, strict=True)
        ]
        for index, row in enumerate(single_rows):
            if outcomes[index].column("reason")[0].as_py() == KILLED:
                # Where memory is short, Ray may kill a process that is not the one to blame: read
                # the row again with nothing else running.
                outcomes[index] = _outcome(
                    row, task.remote(row, shared, seconds_per_file), seconds_per_file
                )
        yield pa.concat_tables(outcomes, promote_options="default")


def _outcome(row: pa.Table, reading: Any, seconds_per_file: float) -> pa.Table:
    """Return the outcome of the task that reads a row, or an error row with the reason."""
    import ray

    try:
        outcome = ray.get(reading)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        return _failed(
            row, KILLED, f"the process that read it crashed, or hung ({type(error).__name__})"
        )
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OSError):
            raise
        return _failed(row, "reader_failed", f"{type(error.cause).__name__}: {error.cause}")
    return (
        _failed(
            row, "timed_out", f"not read within {seconds_per_file:g} s (extract.seconds_per_file)"
        )
        if outcome is None
        else outcome
    )


def _failed(row: pa.Table, reason: str, detail: str) -> pa.Table:
    detail = redacted(f"{row.column('uri')[0].as_py()}: {detail}")
    return pa.table({"track_id": row.column("item"), "reason": [reason], "detail": [detail]})
