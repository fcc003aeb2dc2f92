"""The logger ``musicrec``: prose on a terminal, one JSON line per record otherwise.

Every record passes a filter that removes credentials. The environment variable MUSICREC_LOG_LEVEL
sets the level (INFO if not given).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from musicrec.telemetry.printable import printable
from musicrec.telemetry.redact import redacted

NAME = "musicrec"
LEVEL = "MUSICREC_LOG_LEVEL"
# A log has no width of its own; its tables have one that suits a reader.
LOG_WIDTH = 130


class PlainConsole(Console):
    """A console that prints texts as they are: no markup, no emoji codes, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts and renderables, such as the tables of `musicrec.telemetry.tables`."""
        shown = (printable(each) if isinstance(each, str) else each for each in objects)
        super().print(*shown, **options)


console = PlainConsole() if sys.stdout.isatty() else PlainConsole(width=LOG_WIDTH)


@functools.cache
def run_name() -> str:
    """Return the name that marks this process' lines in a log collector: the job and its start."""
    return f"{Path(sys.argv[0]).stem}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


@functools.cache
def logger() -> logging.Logger:
    """Return the logger ``musicrec`` with its handler, created once per process."""
    created = logging.getLogger(NAME)
    created.setLevel(os.environ.get(LEVEL, "INFO").upper())
    created.propagate = False
    created.addHandler(_Handler())
    return created


class Redaction(logging.Filter):
    """Remove credentials from a record: its message, its fields and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place and keep it."""
        record.msg, record.args = redacted(record.getMessage()), None
        record.fields = redacted(getattr(record, "fields", {}))
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON line: time, run, stage, event and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON line."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "run": run_name(),
            "stage": getattr(record, "stage", record.name),
            "event": record.getMessage(),
            **record.fields,
        }
        if record.levelno != logging.INFO:
            line["level"] = record.levelname.lower()
        if record.exc_text:
            line["traceback"] = record.exc_text
        return json.dumps(line, default=str)


class _Handler(logging.Handler):
    """Write records to the process' present stdout, where a job's other output goes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.addFilter(Redaction())

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as prose on a terminal, as a JSON line otherwise."""
        if not console.is_terminal:
            print(self.format(record), flush=True)
            return
        facts = ", ".join(
            f"{name.replace('_', ' ')} {readable(value)}" for name, value in record.fields.items()
        )
        stage = printable(f"{getattr(record, 'stage', record.name):>14}")
        line = Text.assemble((stage, "bold cyan"), "  ", printable(record.getMessage()))
        if facts:
            line.append(f"  ({printable(facts)})", "dim")
        console.print(line, highlight=False)
        if record.exc_text:
            console.print(record.exc_text, highlight=False)


def readable(value: Any) -> str:
    """Return a value as a person reads it: floats with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
