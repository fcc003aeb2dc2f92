"""Checksums of a Parquet file's footer and column chunks, verified whenever they are read.

Parquet has a CRC-32 for each page, but none for the headers of pages and none for the footer: a
flipped bit there can give other values without an error. So a block precedes the footer::

    CRC-32 of each column chunk (4 bytes each, little endian, row group by row group)
    SHA-256 of those and of everything after the mark
    MARK

Every reader of Parquet reads such a file, since nothing points to these bytes. Files without the
mark, of older versions, are read without verification.
"""

from __future__ import annotations

import bisect
import hashlib
import io
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet

MARK = b"\x89mrCRC\r\n"
MAGIC = b"PAR1"
END = 8  # bytes after the footer: its length (4, little endian) and the magic
DIGEST_BYTES = hashlib.sha256().digest_size
TAIL_BYTES = 64 * 1024  # read at once from the end, as pyarrow does; few footers are longer


def with_checksums(content: memoryview) -> bytes:
    """Return a Parquet file with its checksums before the footer."""
    footer = len(content) - END - footer_bytes(content)
    metadata = pa.parquet.read_metadata(pa.BufferReader(content[footer:]))
    checksums = [
        zlib.crc32(content[start : start + size])
        for group in range(metadata.num_row_groups)
        for start, size in column_chunks(metadata, group)
    ]
    block = np.array(checksums, "<u4").tobytes()
    digest = hashlib.sha256(block + content[footer:]).digest()
    return b"".join((content[:footer], block, digest, MARK, content[footer:]))


class VerifiedParquet:
    """A Parquet file of which every read verifies what it reads.

    Raises
    ------
    ValueError
        On opening or reading: the content is not what was written. pyarrow's errors may come first.
    """

    def __init__(self, source: pa.NativeFile) -> None:
        self._source, self._size = source, source.size()
        tail = self._tail(min(self._size, TAIL_BYTES))
        footer = len(tail) - END - footer_bytes(tail)
        self.metadata = pa.parquet.read_metadata(pa.BufferReader(tail[footer:]))
        self.names = self.metadata.schema.to_arrow_schema().names
        self._checksums: np.ndarray | None = None
        if tail[:footer].endswith(MARK):
            count = self.metadata.num_row_groups * self.metadata.num_columns
            digest = footer - len(MARK) - DIGEST_BYTES
            block = tail[max(digest - 4 * count, 0) : digest]
            if hashlib.sha256(block + tail[footer:]).digest() != tail[digest:][:DIGEST_BYTES]:
                raise ValueError("its footer does not match its SHA-256")
            self._checksums = np.frombuffer(block, "<u4").reshape(-1, self.metadata.num_columns)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Read all rows."""
        return self._read(list(range(self.metadata.num_row_groups)), columns)

    def read_row_group(self, number: int, columns: list[str] | None = None) -> pa.Table:
        """Read one row group."""
        return self._read([number], columns)

    def _read(self, groups: list[int], columns: list[str] | None) -> pa.Table:
        if self._checksums is None:
            self._source.seek(0)
            file = pa.parquet.ParquetFile(
                self._source,
                metadata=self.metadata,
                pre_buffer=True,
                page_checksum_verification=True,
            )
        else:
            chunks = _Chunks(self._size, dict(self._verified_chunks(groups, columns)))
            file = pa.parquet.ParquetFile(pa.PythonFile(chunks, "r"), metadata=self.metadata)
        return file.read_row_groups(groups, columns=columns)

    def _verified_chunks(
        self, groups: list[int], columns: list[str] | None
    ) -> Iterator[tuple[int, memoryview]]:
        """Read the chunks of row groups, those that adjoin at once, and yield each at its start."""
        leaves = [
            leaf
            for leaf in range(self.metadata.num_columns)
            if columns is None
            or self.metadata.schema.column(leaf).path.partition(".")[0] in columns
        ]
        chunks = [
            (*of_group[leaf], self._checksums[group, leaf])
            for group in groups
            for of_group in (column_chunks(self.metadata, group),)
            for leaf in leaves
        ]
        for first, last in _runs(chunks):
            start, end = chunks[first][0], sum(chunks[last][:2])
            self._source.seek(start)
            content = memoryview(self._source.read(end - start))
            for offset, size, checksum in chunks[first : last + 1]:
                chunk = content[offset - start :][:size]
                if zlib.crc32(chunk) != checksum:
                    raise ValueError(f"the bytes from {offset} do not match their CRC-32")
                yield offset, chunk

    def _tail(self, length: int) -> bytes:
        """Return at least ``length`` bytes from the end, with the whole footer and its block."""
        self._source.seek(self._size - length)
        tail = self._source.read(length)
        needed = min(self._size, 2 * footer_bytes(tail) + END + DIGEST_BYTES + len(MARK))
        return tail if needed <= length else self._tail(needed)


class _Chunks(io.RawIOBase):
    """A file of which only some chunks are there; elsewhere it has zeros.

    pyarrow reads bytes between chunks that it needs, to save requests, and does not look at them.
    """

    def __init__(self, size: int, chunks: dict[int, memoryview]) -> None:
        super().__init__()
        self._size, self._chunks, self._at = size, sorted(chunks.items()), 0
        self._ends = [start + len(chunk) for start, chunk in self._chunks]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        pieces = []
        index = bisect.bisect_right(self._ends, self._at)
        while self._at < end:
            start, chunk = self._chunks[index] if index < len(self._chunks) else (end, b"")
            if start > self._at:
                pieces.append(bytes(min(start, end) - self._at))
            else:
                pieces.append(chunk[self._at - start : end - start])
                index += 1
            self._at += len(pieces[-1])
        return b"".join(pieces)


def column_chunks(metadata: pa.parquet.FileMetaData, group: int) -> list[tuple[int, int]]:
    """Return the start and size of each column chunk of a row group."""
    columns = (metadata.row_group(group).column(leaf) for leaf in range(metadata.num_columns))
    return [
        (
            column.dictionary_page_offset
            if column.dictionary_page_offset is not None
            else column.data_page_offset,
            column.total_compressed_size,
        )
        for column in columns
    ]


def _runs(chunks: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the first and last index of each run of chunks that adjoin in the file."""
    first = 0
    for index in range(1, len(chunks) + 1):
        if index == len(chunks) or chunks[index][0] != sum(chunks[index - 1][:2]):
            yield first, index - 1
            first = index


def footer_bytes(tail: bytes | memoryview) -> int:
    """Return the length of the footer of a file that ends with these bytes."""
    if len(tail) < END or bytes(tail[-4:]) != MAGIC:
        raise ValueError("it does not end as a Parquet file")
    return int.from_bytes(tail[-END:-4], "little")
