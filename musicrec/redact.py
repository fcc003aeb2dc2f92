"""Credentials do not leave the process: not in logs, parameters, results or error texts."""

from __future__ import annotations

import re
from typing import Any

# user:password@ of a URI, and the values of query parameters whose names say what they are.
_USER = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET = re.compile(r"((?:^|[?&])[^=&\s]*(?:secret|password|token|signature|access_key|credential)[^=&\s]*=)[^&\s]+", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """The value with credentials taken out of every URI in it; containers are copied."""
    if isinstance(value, str):
        return _SECRET.sub(r"\1***", _USER.sub("***@", value))
    if isinstance(value, dict):
        return {name: redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redacted(inner) for inner in value)
    return value
