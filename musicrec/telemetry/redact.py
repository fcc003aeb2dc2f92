"""Remove credentials from everything that leaves the process: logs, parameters, results, errors."""

from __future__ import annotations

import re
from typing import Any

PASSWORD = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:]*:[^@\s]*@"
# user:password@ of a URI (a secret key may contain slashes), and the values of query parameters
# with telling names.
_USER = re.compile(r"(?<=://)(?:[^/@\s:]*:[^@\s]*|[^/@\s]+)@")
_NAMES = r"secret|password|passwd|token|signature|access_?key|api_?key|credential"
_SECRET = re.compile(rf"((?:^|[?&])(?:[^=&\s]*(?:{_NAMES})[^=&\s]*|sig)=)[^&\s]+", re.IGNORECASE)


def holds_password(uri: str) -> bool:
    """Return whether a URI has ``user:password@`` before its host."""
    return re.match(PASSWORD, uri) is not None


def redacted(value: Any) -> Any:
    """Return the value with credentials removed from every URI in it; containers are copied."""
    if isinstance(value, str):
        return _SECRET.sub(r"\1***", _USER.sub("***@", value))
    if isinstance(value, dict):
        return {name: redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redacted(inner) for inner in value)
    return value
