"""List the input's files, and divide them into shards that tasks read on their own."""

from __future__ import annotations

import codecs
import csv
import fnmatch
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from musicrec.catalog.bounded import COLUMNS
from musicrec.config.errors import ConfigError
from musicrec.relations.forms import FORMS, Form, Names, missing_column
from musicrec.storage.store import resolve
from musicrec.telemetry.redact import redacted

# A shard of 64 MiB of text is about 1.5 million plays, and takes some seconds to read.
SHARD_BYTES = 64 << 20
HEADER_BYTES = 1 << 16
OPTIONS = {
    "user": "--relations.user-column",
    "item": "--relations.item-column",
    "count": "--relations.count-column",
    "time": "--relations.time-column",
}


@dataclass(frozen=True)
class File:
    """An input file: its path in its file system, size in bytes and version (seconds)."""

    path: str
    size: int
    version: float

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Shard:
    """A part of a file: a range of bytes, or of row groups of Parquet.

    Attributes
    ----------
    first
        Number of the first row's line in the file if the shard begins the file, else None.
    """

    number: int
    uri: str
    start: int
    end: int
    first: int | None
    columns: tuple[str, ...] = ()


def list_files(location: str, form: str) -> list[File]:
    """Return the files of a form at a location, sorted by path.

    Raises
    ------
    ConfigError
        There is no such location, or it has no file of the form.
    """
    filesystem, path = resolve(location)
    place, shown = filesystem.get_file_info(path), redacted(location)
    if place.type == pa.fs.FileType.NotFound:
        raise ConfigError(f"--plays {shown}: there is no such file or folder")
    selector = pa.fs.FileSelector(path, recursive=True)
    infos = [place] if place.is_file else filesystem.get_file_info(selector)
    patterns = FORMS[form].patterns
    files = [
        File(info.path, info.size, info.mtime.timestamp() if info.mtime else 0.0)
        for info in infos
        if info.is_file
        and info.size
        and any(fnmatch.fnmatchcase(info.base_name, pattern) for pattern in patterns)
    ]
    if not files:
        plain = ", ".join(p for p in patterns if not p.endswith((".gz", ".bz2", ".zst")))
        raise ConfigError(
            f"--plays {shown}: no file with content is named {plain}, as form {form} has them: "
            "correct the location, or choose another --form"
        )
    return sorted(files, key=lambda file: file.path)


def is_parquet(form: Form, file: File) -> bool:
    """Return whether a file is read as Parquet."""
    return form.layout == "parquet" or file.path.endswith(".parquet")


def is_compressed(path: str) -> bool:
    """Return whether a file's name says that it is compressed as a whole."""
    return path.endswith((".gz", ".bz2", ".zst"))


def shards_of(location: str, form_name: str, files: list[File], names: Names) -> list[Shard]:
    """Divide the files, after checking that each has the columns.

    Raises
    ------
    ConfigError
        A file lacks a column or is no Parquet.
    """
    filesystem, _ = resolve(location)
    scheme = location.partition("://")[0] + "://" if "://" in location else ""
    form, shards = FORMS[form_name], []

    def add(file: File, start: int, end: int, first: int | None, columns: list[str]) -> None:
        uri = f"{scheme}{file.path}" if scheme else file.path
        shards.append(Shard(len(shards), uri, start, end, first, tuple(columns)))

    for file in files:
        if is_parquet(form, file):
            for start, end, first in _row_groups(filesystem, file, names):
                add(file, start, end, first, list(names.values()))
            continue
        columns, start, first = list(form.columns), 0, 1
        if form.header:
            columns, start = _header(filesystem, file, form)
            first = 2
            _check_columns(file, columns, names)
        if form.layout == "sqlite" or is_compressed(file.path):
            add(file, start, file.size, first, columns)
            continue
        for begin in range(start, file.size, SHARD_BYTES):
            end = min(begin + SHARD_BYTES, file.size)
            add(file, begin, end, first if begin == start else None, columns)
    return shards


def _row_groups(
    filesystem: pa.fs.FileSystem, file: File, names: Names
) -> list[tuple[int, int, int | None]]:
    """Return ranges of row groups of at most ``SHARD_BYTES``."""
    try:
        with filesystem.open_input_file(file.path) as stream:
            parquet = pq.ParquetFile(stream)
            _check_columns(file, parquet.schema_arrow.names, names)
            sizes = [
                parquet.metadata.row_group(number).total_byte_size
                for number in range(parquet.metadata.num_row_groups)
            ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"{file.path} is not readable as Parquet: {error}") from error
    ranges, start, total = [], 0, 0
    for number, size in enumerate(sizes, start=1):
        total += size
        if total >= SHARD_BYTES or number == len(sizes):
            ranges.append((start, number, 1 if start == 0 else None))
            start, total = number, 0
    return ranges


def _header(filesystem: pa.fs.FileSystem, file: File, form: Form) -> tuple[list[str], int]:
    """Return the names in a file's first line, and the byte after it."""
    with filesystem.open_input_stream(file.path, compression=None) as raw:
        stream = decompressed(raw, file.path)
        try:
            head = stream.read(HEADER_BYTES)
        except OSError as error:
            raise ConfigError(f"{file.path} cannot be decompressed: {error}") from error
    line, newline, _ = head.partition(b"\n")
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.path}: its first line is not UTF-8; save it as UTF-8") from error
    delimiter = form.delimiter
    columns = next(csv.reader([text], delimiter=delimiter), [])
    columns = [column.strip() for column in columns]
    other = next((c for c in ";\t|," if c != delimiter and c in text), None)
    if len(columns) < 2 and other is not None:
        between = "commas" if delimiter == "," else "tabs"
        raise ConfigError(
            f"{file.path}: its first line is {text[:60]!r}: save it with {between} between the "
            "cells"
        )
    if len(columns) > COLUMNS or (not newline and len(head) == HEADER_BYTES):
        raise ConfigError(
            f"{file.path}: the first line must name at most {COLUMNS} columns in "
            f"{HEADER_BYTES >> 10} KiB"
        )
    return columns, len(line) + len(newline)


def _check_columns(file: File, present: list[str], names: Names) -> None:
    for use, column in names.items():
        if column not in present:
            raise missing_column(file.path, column, present, OPTIONS[use])


def decompressed(stream: Any, path: str) -> Any:
    """Return a stream of the decompressed content of a file, by its name."""
    codec = {"gz": "gzip", "bz2": "bz2", "zst": "zstd"}.get(path.rpartition(".")[2])
    return stream if codec is None else pa.CompressedInputStream(stream, codec)
