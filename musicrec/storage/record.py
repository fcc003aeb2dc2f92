"""Records of finished stages carry their own SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any

DIGEST = "sha256"
PREFIX = "sha256:"


class DamagedError(ValueError):
    """A stored object whose content is not what was written; the message names it."""


def with_digest(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with its digest."""
    return {**record, DIGEST: _digest(record)}


def _digest(record: dict[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, default=str)
    return f"{PREFIX}{hashlib.sha256(text.encode()).hexdigest()}"


def verified(record: dict[str, Any], uri: str) -> dict[str, Any]:
    """Return a record without its digest; records of older versions have none.

    Raises
    ------
    DamagedError
        The record is not the one that was written.
    """
    digest = record.pop(DIGEST, None)
    # Without the key, a digest under any other name shows that the key itself was damaged.
    of_other_name = digest is None and any(
        isinstance(value, str) and value.startswith(PREFIX) for value in record.values()
    )
    if of_other_name or (digest is not None and digest != _digest(record)):
        raise DamagedError(f"{uri} is damaged: its content does not match its SHA-256")
    return record
