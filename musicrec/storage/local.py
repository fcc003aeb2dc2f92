"""Write files of a local folder whole, and down to the disk."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa


def replace(target: Path, content: bytes | memoryview | pa.Buffer) -> None:
    """Write a file, replacing any of the same name."""
    with _temporary(target) as temporary:
        _write_durably(temporary, content)
        os.replace(temporary, target)
        _sync_folder(target.parent)


def create(target: Path, content: bytes) -> bool:
    """Write a file unless it exists, and return whether it was written."""
    with _temporary(target) as temporary:
        _write_durably(temporary, content)
        try:
            # Fails if the name exists: the content appears whole, or not at all.
            os.link(temporary, target)
        except FileExistsError:
            return False
        _sync_folder(target.parent)
    return True


def _write_durably(path: Path, content: bytes | memoryview | pa.Buffer) -> None:
    """Write a file down to the disk: after a power failure a rename would else show it empty."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
