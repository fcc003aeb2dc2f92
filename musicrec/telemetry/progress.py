"""Report progress: a bar on a terminal, otherwise one JSON line per event."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from musicrec.telemetry.log import console, logger, readable
from musicrec.telemetry.printable import printable_line

# Seconds between the progress lines of a log without a terminal.
SECONDS_BETWEEN_LINES = 10.0


def event(stage: str, message: str, **fields: Any) -> None:
    """Log an event of a stage with its numbers, without credentials.

    It is a line of prose on a terminal, and a JSON line otherwise.
    """
    logger().info("%s", message, extra={"stage": stage, "fields": fields})


class Meter:
    """Show how much of a total is done while a ``with`` block runs."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self._counts: dict[str, Any] = {}
        self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if console.is_terminal and self.total:
            self._bar = Progress(
                TextColumn("{task.description}", style="bold cyan", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}", markup=False),
                TimeElapsedColumn(),
                TextColumn(
                    "{task.fields[facts]}",
                    style="dim",
                    markup=False,
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=console,
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task(
                printable_line(f"{self.stage:>14}"),
                total=self.total,
                unit=printable_line(self.unit),
                facts="",
            )
            self._bar.start()
        return self

    def advance(self, count: int = 1, **counts: Any) -> None:
        """Add ``count`` to what is done, and show ``counts`` next to it."""
        self.done += count
        self._counts.update(counts)
        if self._bar is not None:
            facts = "  ".join(
                f"{name.replace('_', ' ')} {readable(value)}"
                for name, value in self._counts.items()
            )
            self._bar.update(self._task, completed=self.done, facts=printable_line(facts))
        elif not console.is_terminal and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            event(
                self.stage,
                "progress",
                done=self.done,
                total=self.total,
                unit=self.unit,
                **self._counts,
            )

    def drop(self, name: str) -> None:
        """Stop showing a count."""
        self._counts.pop(name, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            sys.stdout.flush()
