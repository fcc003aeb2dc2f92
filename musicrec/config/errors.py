"""What is said of a configuration that cannot be run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user must change before a retry can help: the job ends with exit code 2."""


class ConfigError(UserError, ValueError):
    """A configuration that cannot be run: the key, its value and the fix."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, in brackets; nothing where none is close."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
