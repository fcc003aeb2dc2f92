"""Remove credentials from everything that leaves the process: logs, parameters, results, errors."""

from __future__ import annotations

import re
from typing import Any

PASSWORD = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/\s:]*:\S*@"
# user:password@ of a URI, and the values of query parameters with telling names. A secret key may
# contain slashes and a password @, so that everything up to the last @ is removed.
_USER = re.compile(r"(?<=://)(?:[^/\s:]*:\S*|[^/\s]+)@")
_NAMES = r"secret|password|passwd|token|signature|access_?key|api_?key|credential"
_SECRET = re.compile(rf"((?:^|[?&])(?:[^=&\s]*(?:{_NAMES})[^=&\s]*|sig)=)[^&\s]+", re.IGNORECASE)


def holds_password(uri: str) -> bool:
    """Return whether a URI has ``user:password@`` before its host."""
    return re.match(PASSWORD, uri) is not None


def redacted(value: Any) -> Any:
    """Return the value with credentials removed from every URI in it.

    Containers are copied, and exceptions become their text.
    """
    if isinstance(value, BaseException):
        value = str(value)
    if isinstance(value, str):
        return _SECRET.sub(r"\1***", _USER.sub("***@", value))
    if isinstance(value, dict):
        return {redacted(name): redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redacted(inner) for inner in value)
    return value
