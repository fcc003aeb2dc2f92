"""Read rows within bounds: one that hangs or ends its process is one error, the others are kept."""

from __future__ import annotations

import faulthandler
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from musicrec.storage.record import DamagedError
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

# A row whose reading takes longer is given up, and is an error.
SECONDS_PER_FILE = 60.0
# A row that is read in a process of its own is given up from within that process. If it lets no
# other thread run there (a loop in a decoder that holds Python's lock), the process ends this many
# seconds later.
SECONDS_TO_GIVE_UP = 5.0
KILLED = "killed_worker"
LONGEST_DETAIL = 500  # characters of an error's text


class Reader(Protocol):
    """Reads rows of the manifest (block, item, uri, columns), all of one block. Picklable.

    Both methods return a table with one row for each, in the same order and with the same schema:
    its columns begin with track_id and end with reason and detail.
    """

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Read the rows; one whose input cannot be read has a reason, and nothing is raised."""

    def failed(self, rows: pa.Table, reason: str, detail: str) -> pa.Table:
        """Return the rows as failed for a reason that arose outside of the reader."""


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
            outcomes.append(_read(rows.slice(start, batch_rows), reader))
    return pa.concat_tables(outcomes).combine_chunks()


def _read(rows: pa.Table, reader: Reader) -> pa.Table:
    """Read rows; whatever a decoder raises over the bytes of one row is that row's error.

    Raises
    ------
    OSError, ImportError
        The storage failed, or the worker lacks a package: no single file causes that.
    """
    try:
        return reader(rows)
    except (OSError, ImportError):
        raise
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything over broken bytes
        if rows.num_rows > 1:
            single_rows = (rows.slice(index, 1) for index in range(rows.num_rows))
            return pa.concat_tables([_read(row, reader) for row in single_rows])
        return _failed(row=rows, reader=reader, reason="reader_failed", detail=_text(error))


def read_alone(row: pa.Table, reader: Reader, seconds: float) -> pa.Table | None:
    """Return what ``reader`` makes of one row, or None after ``seconds``.

    After None the process is not usable any more: the reader still runs in one of its threads.
    """
    outcome: list[pa.Table] = []
    failure: list[BaseException] = []

    def read() -> None:
        try:
            outcome.append(_read(row, reader))
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
            _outcome(row, reader, reading, seconds_per_file)
            for row, reading in zip(single_rows, tasks, strict=True)
        ]
        for index, row in enumerate(single_rows):
            if outcomes[index].column("reason")[0].as_py() == KILLED:
                # Where memory is short, Ray may kill a process that is not the one to blame: read
                # the row again with nothing else running.
                outcomes[index] = _outcome(
                    row, reader, task.remote(row, shared, seconds_per_file), seconds_per_file
                )
        yield pa.concat_tables(outcomes)


def _outcome(row: pa.Table, reader: Reader, reading: Any, seconds_per_file: float) -> pa.Table:
    """Return the outcome of the task that reads a row, or an error row with the reason."""
    import ray

    try:
        outcome = ray.get(reading)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        detail = f"the process that read it crashed, or hung ({type(error).__name__})"
        return _failed(row, reader, KILLED, detail)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OSError | DamagedError):
            raise
        return _failed(row, reader, "reader_failed", _text(error.cause))
    if outcome is None:
        detail = f"not read within {seconds_per_file:g} s (extract.seconds_per_file)"
        return _failed(row, reader, "timed_out", detail)
    return outcome


def _failed(row: pa.Table, reader: Reader, reason: str, detail: str) -> pa.Table:
    """Return a row as failed, in the reader's own schema so that it unites with good rows."""
    return reader.failed(row, reason, redacted(f"{row.column('uri')[0].as_py()}: {detail}"))


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:LONGEST_DETAIL]
