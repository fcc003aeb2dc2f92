"""What every job does around its one call: read the configuration, run, and end with an exit code that a scheduler can act on."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

from musicrec.config.errors import UserError
from musicrec.config.jobs import Config
from musicrec.config.load import EXIT_CONFIG, parse
from musicrec.runtime.allocator import use_one_arena
from musicrec.telemetry.redact import redacted


def _stop(number: int, frame: object) -> NoReturn:
    """A job that is told to end (`ray job stop`, Kubernetes) gives back what it holds; from ``ray.init`` on Ray's handler does the same."""
    raise SystemExit(128 + number)


def run_job(
    document: str,
    work: Callable[[Any], None],
    arguments: list[str] | None = None,
    kind: type = Config,
    default: Any = None,
) -> None:
    """Parse the command line, call ``work`` with the configuration, and exit: 0 done, 2 wrong configuration or catalog, 1 anything else.

    Parameters
    ----------
    document
        The job's docstring: it is what ``--help`` shows.
    """
    signal.signal(signal.SIGTERM, _stop)
    config = parse(sys.argv[1:] if arguments is None else arguments, document, kind, default)
    sys.excepthook = _print_redacted
    started = time.perf_counter()
    use_one_arena()
    try:
        work(config)
    except UserError as error:
        print(redacted(f"{type(error).__name__}: {error}"), file=sys.stderr)
        raise SystemExit(EXIT_CONFIG) from error
    from musicrec.telemetry.progress import event

    event("job", "done", minutes=round((time.perf_counter() - started) / 60, 2))


def _print_redacted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """An error that nobody expected, without the credentials that a library may have put into its text."""
    print(
        redacted("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr
    )
