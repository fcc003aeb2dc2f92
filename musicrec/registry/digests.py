"""Check the files of a registered recommender by their SHA-256 digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from musicrec.config.errors import UserError

# In a recommender's folder: the digest of each of its other files, by relative path.
DIGESTS = "sha256.json"


class DamagedModel(UserError):
    """A file of a registered version is not the one that was registered."""


def write_digests(folder: Path) -> str:
    """Write the digests of a folder's files into ``DIGESTS`` and return the digest of that file."""
    content = json.dumps(file_digests(folder), indent=1, sort_keys=True).encode()
    (folder / DIGESTS).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder but ``DIGESTS``, by its relative path."""
    digests: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DIGESTS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def check_digests(folder: Path) -> str | None:
    """Return the digest of ``DIGESTS``, or None for a version older than the digests.

    Raises
    ------
    DamagedModel
        A file differs from its digest, or is missing.
    """
    if not (folder / DIGESTS).exists():
        return None
    content = (folder / DIGESTS).read_bytes()
    try:
        expected = json.loads(content)
    except ValueError as error:
        raise _damaged(folder / DIGESTS, "it is no JSON") from error
    actual = file_digests(folder)
    for name, digest in expected.items():
        if name not in actual:
            raise _damaged(folder / name, "it is missing")
        if actual[name] != digest:
            raise _damaged(
                folder / name, f"SHA-256 {actual[name][:16]}..., registered {digest[:16]}..."
            )
    return hashlib.sha256(content).hexdigest()


def _damaged(path: Path, reason: str) -> DamagedModel:
    return DamagedModel(
        f"{path} was damaged after the version was registered: {reason}. "
        "Restore the file from a backup, or serve another version"
    )
