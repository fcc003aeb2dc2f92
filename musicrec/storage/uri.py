"""Turn what a user or a catalog names into a local path; other URIs, such as ``s3://``, stay.

Everything that enters as a path or URI passes here: catalogs, stores, folders, outputs, the
``audio`` and ``artwork`` of a catalog, and the locations of served requests. So ``file://`` has one
meaning, and below only local paths and URIs of remote storage occur.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from musicrec.telemetry.redact import redacted

# file:///a, file://localhost/a, and file:/a, which Spark and Java write.
_FILE_URI = re.compile(r"file:(?://([^/]*))?(/.*)?", re.IGNORECASE | re.DOTALL)
_IS_FILE_URI = re.compile(r"file:/", re.IGNORECASE)


class StoreError(OSError):
    """A URI that cannot be used: the user has to change it, so that a job exits with code 2."""


def is_file_uri(uri: str) -> bool:
    """Return whether this is a ``file:`` URI."""
    return _IS_FILE_URI.match(uri) is not None


def why_unusable(uri: str) -> str | None:
    """Return why a local path or ``file:`` URI cannot be a path of this machine, or None."""
    if "\0" in uri or ("%00" in uri and is_file_uri(uri)):
        return "no location has a NUL character; remove it"
    if not is_file_uri(uri):
        return None
    host, path = _FILE_URI.fullmatch(uri).groups()
    if host and host != "~" and host.lower() != "localhost":
        return f"it names the machine {host!r}; write an absolute path as file:///folder/name"
    try:
        unquote(path or "", errors="strict")
    except UnicodeDecodeError:
        return "its percent-encoding is not UTF-8; rename the file"
    return None if path else "it has no path; write file:///folder/name"


def local_path(uri: str) -> str | None:
    """Return the absolute path of a local path or a ``file:`` URI, and None for any other URI.

    A local path is taken literally but for a leading ``~``. In a ``file:`` URI percent-encoded
    characters are decoded (RFC 8089); ``?`` and ``#`` belong to the name, since files have neither
    queries nor fragments. Segments ``..`` remain, because they may follow a symbolic link.

    Raises
    ------
    StoreError
        A NUL character, or a ``file:`` URI that names another machine, no path, or characters that
        are not UTF-8.
    """
    if reason := why_unusable(uri):
        raise StoreError(f"{redacted(uri)!r} is not a usable location: {reason}")
    if not is_file_uri(uri):
        return None if "://" in uri else str(Path(os.path.expanduser(uri)).absolute())
    host, path = _FILE_URI.fullmatch(uri).groups()
    return str(Path(os.path.expanduser(f"{'~' if host == '~' else ''}{unquote(path)}")))


def absolute(uri: str) -> str:
    """Return the local path of a path or ``file:`` URI, absolute; any other URI as it is.

    Both are valid in every process. Raises StoreError as ``local_path`` does.
    """
    path = local_path(uri)
    return uri.rstrip("/") if path is None else path
