"""Keep what MLflow could not take during an outage, and log it when it answers again."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from musicrec.registry.outages import is_outage, short
from musicrec.telemetry.progress import event

if TYPE_CHECKING:
    from musicrec.registry.training_log import TrainingLog

# A server that is down for long must not hold up training: after a failed call the next ones wait
# in memory for this long before one of them is tried.
PAUSE_SECONDS = 30
# Logs of this process that ended during an outage; the registration sends them.
_unsent: list[DeferredLog] = []


class DeferredLog:
    """Log as ``TrainingLog`` does, in the order of the calls, and keep calls during an outage.

    The log is opened by the first call that reaches MLflow. Calls that are left are tried again by
    later ones and at the end of the ``with`` block; what is left then waits for ``send_unsent``.
    An error that is no outage is raised.

    Parameters
    ----------
    open_log
        Opens the log; what it enters on the stack is closed with the log.
    """

    def __init__(self, open_log: Callable[[contextlib.ExitStack], TrainingLog]) -> None:
        self._open_log = open_log
        self._log: TrainingLog | None = None
        self._stack = contextlib.ExitStack()
        self._pending: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._not_before = 0.0
        # The runs of ``begin``, which a log that is opened again has to know.
        self._runs: dict[str, str] = {}
        self._folders: list[tempfile.TemporaryDirectory[str]] = []

    def __enter__(self) -> DeferredLog:
        """Open the log if MLflow answers."""
        self.flush()
        return self

    def __exit__(self, *error: Any) -> None:
        """Log what is left, close the log, and keep what still cannot be logged."""
        try:
            if not self.flush(force=True):
                _unsent.append(self)
                event("mlflow", f"{len(self._pending)} log entries wait for MLflow to answer again")
        except Exception:
            if error[0] is None:
                raise  # otherwise the error of the block is the one to show
        finally:
            self._close(*error)

    def begin(self, name: str, training_key: str, parameters: dict[str, Any]) -> None:
        """Find or create the MLflow run of a training run."""
        self._submit("begin", name, training_key, parameters)

    def epoch(
        self, name: str, metric: str, record: dict[str, float], now: float | None = None
    ) -> None:
        """Log one epoch, with the time of this call or ``now`` (seconds)."""
        self._submit("epoch", name, metric, record, time.time() if now is None else now)

    def end(self, name: str, metric: str, history: list[dict[str, float]]) -> None:
        """Log the missing epochs and the plot of learning curves, and close the run."""
        self._submit("end", name, metric, history)

    def fail(self, name: str, reason: str) -> None:
        """Close the run as failed, with the reason as a tag."""
        self._submit("fail", name, reason)

    def scores(self, name: str, values: dict[str, float], figures: dict[str, Any]) -> None:
        """Log test scores and matplotlib plots to the run of a finished training."""
        self._submit("scores", name, values, figures)

    def text(self, name: str, text: str) -> None:
        """Log a text file to the parent run."""
        self._submit("text", name, text)

    def log_plot(self, name: str, figure: Any) -> None:
        """Log a matplotlib plot to the parent run."""
        self._submit("log_plot", name, figure)

    def folder(self, name: str, path: str) -> None:
        """Log the files of a local folder to the parent run; they are copied if they must wait."""
        self._submit("folder", name, path)
        if self._pending:
            kept = tempfile.TemporaryDirectory()
            self._folders.append(kept)
            shutil.copytree(path, kept.name, dirs_exist_ok=True)
            self._pending[-1] = ("folder", (name, kept.name))

    def flush(self, force: bool = False) -> bool:
        """Log what is left, and return whether nothing is; ``force``: without the pause."""
        if self._log is not None and not self._pending:
            return True
        if not force and time.monotonic() < self._not_before:
            return False
        try:
            self._send()
        except Exception as error:
            if not is_outage(error):
                raise
            self._not_before = time.monotonic() + PAUSE_SECONDS
            event(
                "mlflow",
                f"does not answer, {len(self._pending)} log entries are kept: {short(error)}",
            )
            return False
        return True

    def send(self) -> None:
        """Open the log again, log what is left and close it; an outage is raised."""
        try:
            self._send()
        finally:
            self._close()

    def _send(self) -> None:
        if self._log is None:
            self._open()
        while self._pending:
            name, arguments = self._pending[0]
            getattr(self._log, name)(*arguments)
            self._pending.popleft()

    def _submit(self, name: str, *arguments: Any) -> None:
        self._pending.append((name, arguments))
        self.flush()

    def _open(self) -> None:
        with contextlib.ExitStack() as opening:
            self._log = self._open_log(opening)
            self._log.runs = self._runs
            self._stack = opening.pop_all()

    def _close(self, *error: Any) -> None:
        """Close the log; an outage now leaves the run open in MLflow, for the registration."""
        self._log, stack = None, self._stack
        self._stack = contextlib.ExitStack()
        try:
            stack.__exit__(*(error or (None, None, None)))
        except Exception as problem:
            if error and problem is error[1]:
                return  # the block's own error, which the caller raises
            if not is_outage(problem):
                raise
            event("mlflow", f"the run could not be closed: {short(problem)}")


def send_unsent() -> None:
    """Log what earlier logs of this process could not.

    Raises
    ------
    Exception
        MLflow still does not answer; nothing is lost, and the call can be repeated.
    """
    while _unsent:
        _unsent[0].send()
        _unsent.pop(0)
