"""JSON objects that carry their own SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# The record of a finished stage, in its folder.
SUCCESS = "_SUCCESS.json"
DIGEST = "sha256"
PREFIX = "sha256:"


class DamagedError(ValueError):
    """A stored object whose content is not what was written; the message names it."""


def json_bytes(value: dict[str, Any]) -> bytes:
    """Return a JSON object with its digest and sorted keys; other types become strings."""
    plain = json.loads(json.dumps(value, default=str))
    return json.dumps({**plain, DIGEST: _digest(plain)}, indent=1, sort_keys=True).encode()


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True)
    return f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()}"


def parse_json(content: bytes, uri: str) -> dict[str, Any]:
    """Return a JSON object without its digest; those of older versions have none.

    Raises
    ------
    DamagedError
        It is not the one that was written.
    """
    try:
        value = json.loads(content)
    except ValueError as error:
        raise DamagedError(f"{uri} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{uri} is damaged: it holds no JSON object")
    digest = value.pop(DIGEST, None)
    # Without the key, a digest under any other name shows that the key itself was damaged.
    of_other_name = digest is None and any(
        isinstance(each, str) and each.startswith(PREFIX) for each in value.values()
    )
    if of_other_name or (digest is not None and digest != _digest(value)):
        raise DamagedError(f"{uri} is damaged: its content does not match its SHA-256")
    return value
