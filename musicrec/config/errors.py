"""Configuration errors, with did-you-mean suggestions."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable

from musicrec.telemetry.printable import printable
from musicrec.telemetry.redact import redacted

EXIT_CONFIG = 2


class UserError(Exception):
    """An error that the user has to fix before a retry can help; the job exits with code 2."""


class ConfigError(UserError, ValueError):
    """A configuration that cannot run: the key, its value and the fix, one line per violation."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'WORD'?)" with the closest known word, or "" if none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def print_error(error: Exception | str) -> None:
    """Print an error to stderr, each line with the prefix ``error:``.

    Credentials and control characters are removed.

    Indented lines continue the one before; lines with a prefix of their own keep it.
    """
    for line in printable(redacted(str(error))).split("\n"):
        continued = line.startswith((" ", "error: ", "warning: "))
        print(line if continued else f"error: {line}", file=sys.stderr)
