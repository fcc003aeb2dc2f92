"""Planned rows read within bounds: a row that hangs or ends its process costs one error, and the rows beside it are kept."""

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

# A row on which nobody works for longer is given up, and is an error.
SECONDS_PER_FILE = 60.0
# A row that is tried alone is given up from within its process. One that lets nothing else run there (a loop in a decoder that holds
# Python's lock) ends with the process, so many seconds later.
SECONDS_TO_GIVE_UP = 5.0
KILLED = "killed_worker"

# Reads the planned rows (block, item, uri, columns) of one block: a table with one row for each, in the same order, whose columns begin
# with track_id and end with reason and detail. Picklable. A row whose input cannot be read has a reason; it never raises for that.
Reader = Callable[[pa.Table], pa.Table]


@contextmanager
def _ends_with_the_process(seconds: float) -> Iterator[None]:
    """End this process, whatever it hangs in, if the block is not left in time; its traceback goes to the process' log."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def read_bounded(
    rows: pa.Table, reader: Reader, seconds_per_file: float, as_batch: bool = False
) -> pa.Table:
    """What ``reader`` makes of the rows, one by one or, for one that gains by it, ``as_batch``; this process ends if it is not in time."""
    outcomes = []
    at_once = rows.num_rows if as_batch else 1
    for start in range(0, rows.num_rows, at_once):
        with _ends_with_the_process(at_once * seconds_per_file):
            outcomes.append(reader(rows.slice(start, at_once)))
    return pa.concat_tables(outcomes).combine_chunks()


def read_alone(row: pa.Table, reader: Reader, seconds: float) -> pa.Table | None:
    """What ``reader`` makes of one row, or None where it is not done in time: then the process is of no more use."""
    outcome: list[pa.Table] = []
    failure: list[BaseException] = []

    def read() -> None:
        try:
            outcome.append(reader(row))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            failure.append(error)

    thread = threading.Thread(target=read, daemon=True)
    with _ends_with_the_process(seconds + SECONDS_TO_GIVE_UP):
        thread.start()
        thread.join(seconds)
    if failure:
        raise failure[0]
    return outcome[0] if outcome else None


def read_isolated(
    groups: Sequence[pa.Table], reader: Reader, stage: str, seconds_per_file: float
) -> Iterator[pa.Table]:
    """What is made of each group of rows that could not be read as_batch, because one took its worker with it.

    Each row is read in a process of its own, so that the one to blame is known and the others are kept.

    Raises
    ------
    OSError
        The storage failed, not a file: the same row may be read well the next time.
    """
    if not groups:
        return
    import ray

    task, shared = ray.remote(num_cpus=1, max_retries=0, max_calls=1)(read_alone), ray.put(reader)
    for rows in groups:
        event(
            stage,
            "rows could not be read as_batch: they are read one by one",
            rows=rows.num_rows,
            first=rows.column("uri")[0].as_py(),
        )
        each = [rows.slice(index, 1) for index in range(rows.num_rows)]
        begun = [task.remote(row, shared, seconds_per_file) for row in each]
        outcomes = [
            _outcome(row, reading, seconds_per_file)
            for row, reading in zip(each, begun, strict=True)
        ]
        for index, row in enumerate(each):
            if outcomes[index].column("reason")[0].as_py() == KILLED:
                # Where memory is short Ray ends a process that may not be the one to blame: now nothing is read beside it.
                outcomes[index] = _outcome(
                    row, task.remote(row, shared, seconds_per_file), seconds_per_file
                )
        yield pa.concat_tables(outcomes, promote_options="default")


def _outcome(row: pa.Table, reading: Any, seconds_per_file: float) -> pa.Table:
    """What came of the task that reads a row: its outcome, or why there is none."""
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
