"""What long work tells a person: a progress bar at a terminal, one JSON line an event otherwise."""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from musicrec.telemetry.redact import redacted

# A log collector wants to see that work goes on, not each row of it.
SECONDS_BETWEEN_LINES = 10.0

# A log has no width of its own; tables are made for one that a person would choose.
LOG_WIDTH = 130

console = Console() if sys.stdout.isatty() else Console(width=LOG_WIDTH)


@functools.cache
def run_name() -> str:
    """What a collector of logs tells this process' lines apart by: the job's file and the second in which it began."""
    return f"{Path(sys.argv[0]).stem}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def event(stage: str, message: str, **counts: Any) -> None:
    """Say that something happened, without credentials: a line of prose at a terminal, a JSON line otherwise."""
    message, counts = redacted(message), redacted(counts)
    if console.is_terminal:
        facts = ", ".join(
            f"{name.replace('_', ' ')} {_readable(value)}" for name, value in counts.items()
        )
        console.print(
            f"[bold cyan]{stage:>14}[/]  {message}" + (f"  [dim]({facts})[/]" if facts else ""),
            highlight=False,
        )
    else:
        print(
            json.dumps(
                {
                    "time": round(time.time(), 3),
                    "run": run_name(),
                    "stage": stage,
                    "event": message,
                    **counts,
                },
                default=str,
            ),
            flush=True,
        )


def _readable(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Meter:
    """Counts done of a total, shown while a ``with`` block runs."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self.stage, self.total, self.unit = stage, total, unit
        self.done = 0
        self._counts: dict[str, Any] = {}
        self._last_line = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if console.is_terminal and self.total:
            self._bar = Progress(
                TextColumn(f"[bold cyan]{self.stage:>14}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn(self.unit),
                TimeElapsedColumn(),
                TextColumn(
                    "[dim]{task.fields[facts]}",
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=console,
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task(self.stage, total=self.total, facts="")
            self._bar.start()
        return self

    def advance(self, count: int = 1, **counts: Any) -> None:
        """``count`` more are done; ``counts`` are shown beside."""
        self.done += count
        self._counts.update(counts)
        if self._bar is not None:
            facts = "  ".join(
                f"{name.replace('_', ' ')} {_readable(value)}"
                for name, value in self._counts.items()
            )
            self._bar.update(self._task, completed=self.done, facts=facts)
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
        """No longer show a count."""
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
