"""Open the bytes of a recording from a path, a URI or memory, without copying local files."""

from __future__ import annotations

import io
import mmap
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FileSystem, LocalFileSystem

from musicrec.audio.errors import AudioError

_URI = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]+://|(?i:file:/))")

# Return the file system of a URI, and the path within it.
Locate = Callable[[str], tuple[FileSystem, str]]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview


@dataclass(frozen=True)
class OpenSource:
    """The content of a recording (`data`), and the same as a seekable file for the decoders.

    `file` is a file descriptor where possible.
    """

    name: str
    data: bytes | mmap.mmap
    file: int | io.BytesIO

    def rewound(self) -> int | io.BytesIO:
        """Rewind the file and return it."""
        if isinstance(self.file, int):
            os.lseek(self.file, 0, os.SEEK_SET)
        else:
            self.file.seek(0)
        return self.file


@contextmanager
def open_source(source: Source, max_bytes: int, locate: Locate) -> Iterator[OpenSource]:
    """Open a local path, a URI, or bytes in memory.

    `locate` decides what a URI (``file://``, ``s3://``) names.

    Raises
    ------
    AudioError
        not_found, empty (no bytes), too_long (more than `max_bytes`), unreadable (a folder, no
        permission).
    OSError
        The storage behind a URI failed; the file itself may be intact.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        with in_memory(bytes(source), f"<{len(source)} bytes>", max_bytes) as opened:
            yield opened
        return
    name = os.fspath(source)
    if _URI.match(name):
        file_system, path = locate(name)
        if not isinstance(file_system, LocalFileSystem):
            content = _fetch(name, file_system, path, max_bytes)
            with in_memory(content, name, max_bytes) as opened:
                yield opened
            return
        name = path
    with _local(Path(name), max_bytes) as opened:
        yield opened


@contextmanager
def _local(path: Path, max_bytes: int) -> Iterator[OpenSource]:
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise AudioError("not_found", f"no file at {path}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise AudioError("unreadable", f"{path}: {error.strerror}") from error
    with file:
        _check_size(os.fstat(file.fileno()).st_size, str(path), max_bytes)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield OpenSource(str(path), data, file.fileno())


@contextmanager
def in_memory(data: bytes, name: str, max_bytes: int) -> Iterator[OpenSource]:
    """Open bytes as a source; raise AudioError as `open_source` does."""
    _check_size(len(data), name, max_bytes)
    if not hasattr(os, "memfd_create"):
        yield OpenSource(name, data, io.BytesIO(data))
        return
    # An anonymous file lets libsndfile read directly. Calling back into Python for every MPEG frame
    # costs a millisecond per clip.
    with os.fdopen(os.memfd_create("recording"), "w+b", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        yield OpenSource(name, data, file.fileno())


def _fetch(uri: str, file_system: FileSystem, path: str, max_bytes: int) -> bytes:
    try:
        with file_system.open_input_file(path) as file:
            _check_size(file.size(), uri, max_bytes)
            return file.read()
    except FileNotFoundError as error:
        raise AudioError("not_found", f"no object at {uri}") from error


def _check_size(size: int, name: str, max_bytes: int) -> None:
    if size == 0:
        raise AudioError("empty", f"{name} has 0 bytes")
    if size > max_bytes:
        raise AudioError(
            "too_long", f"{name} has {size:,} bytes, more than max_bytes={max_bytes:,}"
        )
