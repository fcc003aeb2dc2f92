"""Parquet files of a store: written with checksums, and verified whenever they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet

from musicrec import schema
from musicrec.storage.checksums import VerifiedParquet, with_checksums
from musicrec.storage.damage import report
from musicrec.storage.record import DamagedError

if TYPE_CHECKING:
    from musicrec.storage.store import Store

Result = TypeVar("Result")


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
        write_page_checksum=True,  # for other readers
    )
    return with_checksums(memoryview(sink.getvalue()))


def parse_table(content: bytes, uri: str, contract: pa.Schema) -> pa.Table:
    """Return the table in the bytes of a Parquet file; columns that it lacks are null.

    Raises
    ------
    DamagedError
        The file is not the one that was written.
    """
    try:
        table = VerifiedParquet(pa.BufferReader(content)).read()
    except MemoryError:
        raise
    except Exception as error:  # of bytes in memory: they are damaged
        raise DamagedError(f"{uri} is damaged: {error}") from error
    return schema.conform(table, contract, uri)


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
            self._file = VerifiedParquet(self._stream)
        except Exception:  # noqa: BLE001  # the second reading tells what it was
            self._stream.close()
            self._file = self._read_again(lambda file: file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._file.names

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Read all rows."""
        return self._verified(lambda file: file.read(columns))

    def read_row_group(self, number: int, columns: list[str] | None = None) -> pa.Table:
        """Read one row group."""
        return self._verified(lambda file: file.read_row_group(number, columns))

    def _verified(self, read: Callable[[VerifiedParquet], Result]) -> Result:
        try:
            return read(self._file)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # the second reading tells what it was
            return self._read_again(read)

    def _read_again(self, read: Callable[[VerifiedParquet], Any]) -> Any:
        content = self._store.read(self._name)
        try:
            return read(VerifiedParquet(pa.BufferReader(content)))
        except MemoryError:
            raise
        except Exception as error:  # of bytes in memory: they are damaged
            raise report(self._store, self._name, str(error)) from error
