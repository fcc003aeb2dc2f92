"""Run a job: read its configuration, call it, and exit with a code that a scheduler can act on."""

from __future__ import annotations

import errno
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn

from musicrec.config.errors import EXIT_CONFIG, UserError, print_error
from musicrec.config.jobs import Config
from musicrec.config.load import parse
from musicrec.runtime.allocator import use_one_arena
from musicrec.runtime.process import prepare
from musicrec.telemetry.printable import printable
from musicrec.telemetry.redact import redacted

EXIT_RETRY = 1
# A retry helps once there is space, or the storage works again.
STORAGE_FAILURES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of the quota",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EIO: "check the disk",
}


def run_job(
    document: str,
    work: Callable[[Any], None],
    arguments: list[str] | None = None,
    kind: type = Config,
    default: Any = None,
    sections: Sequence[str] | None = None,
) -> None:
    """Parse the command line, call ``work`` with the configuration, and exit.

    The exit code is 0 when the job is done, 2 for a configuration or a catalog that the user has to
    fix, 128 + the signal's number when it receives one, and 1 for anything else.

    Parameters
    ----------
    document
        The job's docstring, shown by ``--help``.
    work
        The job; called with the configuration.
    arguments
        The command line after the program's name; that of this process if not given.
    kind, default
        The job's configuration class, and its values where no preset gives them.
    sections
        The sections that the job reads, the most used first; ``--help`` shows only these.
    """
    prepare()
    signal.signal(signal.SIGTERM, _stop)
    words = sys.argv[1:] if arguments is None else arguments
    config = parse(words, document, kind, default, sections)
    sys.excepthook = _print_redacted
    started = time.perf_counter()
    use_one_arena()
    try:
        work(config)
    except Exception as error:
        if _is_of_the_user(error):
            print_error(error)
            raise SystemExit(EXIT_CONFIG) from error
        line = _storage_failure(error)
        if line is None:
            raise
        print_error(line)
        raise SystemExit(EXIT_RETRY) from error
    from musicrec.telemetry.progress import event

    event("job", "done", minutes=round((time.perf_counter() - started) / 60, 2))


def _is_of_the_user(error: Exception) -> bool:
    from musicrec.storage.uri import StoreError

    return isinstance(error, UserError | StoreError)


def _storage_failure(error: BaseException) -> str | None:
    """Return the line for an error that the storage caused, here or on a worker; None for others.

    pyarrow's errors of remote storage have no number. A damaged object is made again by the next
    run.
    """
    from musicrec.storage.record import DamagedError

    for each in _causes(error):
        if isinstance(each, DamagedError):
            return str(each)
        if not isinstance(each, OSError):
            continue
        if each.errno in STORAGE_FAILURES:
            return f"{each}: {STORAGE_FAILURES[each.errno]}, and start again"
        if type(each) is OSError and each.errno is None and _raised_by_pyarrow(each):
            return f"the storage failed: {each}. A retry is safe"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those that it wraps (Ray's ``cause``, Python's ``__cause__``)."""
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += [getattr(each, "cause", None), each.__cause__]


def _raised_by_pyarrow(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and "pyarrow" in frames[-1].filename


def _stop(number: int, frame: object) -> NoReturn:
    """Exit on SIGTERM; from ``ray.init`` on, the handler of Ray does the same."""
    raise SystemExit(128 + number)


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of an unexpected error without credentials or control characters."""
    text = "".join(traceback.format_exception(kind, error, trace))
    print(printable(redacted(text)), end="", file=sys.stderr)
