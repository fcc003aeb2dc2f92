"""Parquet files of a store: written with checksums, and verified whenever they are read.

Each page has a CRC-32, which Parquet defines. Parquet has none for the footer, which holds the
schema and says where the pages are. Between the last page and the footer, where no reader looks,
are therefore eight bytes (``MARK``) and the SHA-256 of the footer. Files of older versions have
neither, and are read without verification. Other Parquet readers read both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet

from musicrec.storage.damage import report
from musicrec.storage.record import DamagedError

if TYPE_CHECKING:
    from musicrec.storage.store import Store

Result = TypeVar("Result")

MARK = b"\x89mrSHA\r\n"
DIGEST_BYTES = 32
LENGTH_BYTES = 4  # of the footer, before the last four bytes
MAGIC_BYTES = 4
# Read at once from the end of a file, as pyarrow does: it holds most footers.
TAIL_BYTES = 64 * 1024


def parquet_bytes(
    table: pa.Table, row_group_size: int | None = None, statistics: list[str] | bool = True
) -> bytes:
    """Return a table as one Parquet file: zstd level 1, checksums, and no dictionaries.

    Dictionaries are pure loss on spectrograms (a third of the writing speed).
    """
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        row_group_size=row_group_size,
        write_statistics=statistics,
        write_page_checksum=True,
    )
    content = memoryview(sink.getvalue())
    footer = len(content) - _footer_bytes(content)
    digest = hashlib.sha256(content[footer:]).digest()
    return b"".join([content[:footer], MARK, digest, content[footer:]])


def _footer_bytes(tail: memoryview | bytes) -> int:
    """Return the size of the footer at the end of ``tail``, with its length and magic bytes."""
    length = tail[-LENGTH_BYTES - MAGIC_BYTES : -MAGIC_BYTES]
    return int.from_bytes(length, "little") + LENGTH_BYTES + MAGIC_BYTES


def open_verified(stream: pa.NativeFile) -> pa.parquet.ParquetFile:
    """Verify the footer of an open file; return a reader that verifies each page.

    The end of the file is read once, as without verification.

    Raises
    ------
    DamagedError
        The footer is not the one that was written.
    pyarrow.ArrowException, OSError
        It is no footer, or the storage failed.
    """
    size = stream.size()
    tail = _tail(stream, size, TAIL_BYTES)
    sealed = _footer_bytes(tail) + len(MARK) + DIGEST_BYTES
    if len(tail) < sealed <= size:
        tail = _tail(stream, size, sealed)
    mark, digest = len(tail) - sealed, len(tail) - sealed + len(MARK)
    if mark >= 0 and tail[mark:digest] == MARK:
        footer = tail[digest + DIGEST_BYTES :]
        if hashlib.sha256(footer).digest() != tail[digest : digest + DIGEST_BYTES]:
            raise DamagedError("the footer does not match its SHA-256")
    elif MARK in tail:
        raise DamagedError("the footer does not begin behind its SHA-256")
    metadata = pa.parquet.read_metadata(pa.BufferReader(tail))
    return pa.parquet.ParquetFile(stream, metadata=metadata, page_checksum_verification=True)


def parse_table(content: bytes, uri: str, schema: pa.Schema) -> pa.Table:
    """Return the table in the bytes of a Parquet file; columns that it lacks are null.

    Raises
    ------
    DamagedError
        The file is not the one that was written.
    """
    try:
        open_verified(pa.BufferReader(content))
        return pa.parquet.read_table(
            pa.BufferReader(content), schema=schema, page_checksum_verification=True
        )
    except Exception as error:  # of bytes in memory: they are damaged
        raise DamagedError(f"{uri} is damaged: {error}") from error


def _tail(stream: pa.NativeFile, size: int, length: int) -> bytes:
    """Return the last ``length`` bytes of a file, or all of a shorter one."""
    stream.seek(max(0, size - length))
    return stream.read(min(size, length))


class StoredParquet:
    """One Parquet file of a store; a context manager that closes it.

    What cannot be read is read a second time, as a whole, so that a failure of the storage is
    reported as such, and damage is certain. A damaged file is reported
    (``musicrec.storage.damage``).

    Raises
    ------
    DamagedError
        The file is not the one that was written; by every method, and by the constructor.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._name = store, name
        filesystem, path = store.locate(name)
        self._stream = filesystem.open_input_file(path)
        try:
            self._file = open_verified(self._stream)
        except Exception:  # noqa: BLE001  # the second reading tells what it was
            self._stream.close()
            self._file = self._read_again(lambda file: file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close(force=True)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._file.schema_arrow.names

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Read all rows."""
        return self._verified(lambda file: file.read(columns=columns))

    def read_row_group(self, number: int, columns: list[str] | None = None) -> pa.Table:
        """Read one row group."""
        return self._verified(lambda file: file.read_row_group(number, columns=columns))

    def _verified(self, read: Callable[[pa.parquet.ParquetFile], Result]) -> Result:
        try:
            return read(self._file)
        except Exception:  # noqa: BLE001  # the second reading tells what it was
            return self._read_again(read)

    def _read_again(self, read: Callable[[pa.parquet.ParquetFile], Any]) -> Any:
        content = self._store.read(self._name)
        try:
            return read(open_verified(pa.BufferReader(content)))
        except Exception as error:  # of bytes in memory: they are damaged
            raise report(self._store, self._name, str(error)) from error
