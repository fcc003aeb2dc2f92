"""Text from catalogs and file names, without characters that control a terminal."""

from __future__ import annotations

import re

# C0 and C1 control characters apart from the line end (ESC begins every control sequence), marks
# and overrides of direction, line and paragraph separators, and halves of surrogate pairs, which
# no encoding writes.
_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return the text with each control character as its escape, such as ``\x1b``.

    Line ends stay. Source of the marks of direction: CVE-2021-42574.
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def printable_line(text: str) -> str:
    """Return the text as one line: like `printable`, with line ends escaped as well."""
    return printable(text).replace("\n", "\\n")
