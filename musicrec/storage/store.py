"""The store: one root URI (a folder or ``s3://...``) and the layout of everything under it.

Layout::

    ROOT/catalogs/NAME/                 catalogs that musicrec made (the demo)
    ROOT/features/KEY/...               extracted rows (see musicrec.extraction.manifest)
    ROOT/STAGE/KEY/config.json          the resolved configuration that KEY is computed from
    ROOT/STAGE/KEY/locks/0001.json      the present and past owners (see musicrec.storage.lock)
    ROOT/STAGE/KEY/blocks.json          of extraction: the folders of its blocks, to show progress
    ROOT/STAGE/KEY/...                  the stage's output
    ROOT/STAGE/KEY/_SUCCESS.json        written last: rows in, out and in errors, versions, seconds

KEY is a hash of everything that decides the output (configuration and the keys of the inputs). So
two configurations never mix, a finished stage is recognised without reading its output, and an
interrupted stage is resumed under the same key. Every write is atomic: a reader sees either the old
content or the new, never a part.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs

from musicrec import schema
from musicrec.storage import local, s3
from musicrec.storage.damage import report
from musicrec.storage.parquet import StoredParquet, parquet_bytes
from musicrec.storage.record import SUCCESS, DamagedError, json_bytes, parse_json
from musicrec.storage.uri import StoreError, absolute, local_path
from musicrec.telemetry.progress import event
from musicrec.telemetry.redact import redacted

BLOCKS = "blocks.json"
# Threads that read records: they wait for the storage, not for the CPU.
READERS = 16
# Google's client retries for 15 minutes by default, and handles no signal meanwhile. A job notices
# a missing network after two requests.
GOOGLE_RETRY_SECONDS = 15
# Listings of a local folder, in which pyarrow fails at a file that vanishes meanwhile.
LISTINGS = 20


def resolve(uri: str) -> tuple[pa.fs.FileSystem, str]:
    """Return the file system of a URI (or local path) and the path within it.

    Raises
    ------
    StoreError
        The scheme is unknown, or the URI is not well formed.
    """
    if (path := local_path(uri)) is not None:
        return pa.fs.LocalFileSystem(), path
    if uri.startswith("s3://"):
        return s3.filesystem(), uri.removeprefix("s3://").rstrip("/")
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(_with_time_limit(uri))
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(
            f"'{redacted(uri)}' is not a usable location: {redacted(str(error))}. Use a folder, "
            "s3://bucket/prefix or another pyarrow.fs URI"
        ) from error
    return filesystem, path.rstrip("/")


def _listed(filesystem: pa.fs.FileSystem, selector: pa.fs.FileSelector) -> list[pa.fs.FileInfo]:
    """List a folder; once more where a temporary file of a writer vanished meanwhile."""
    for _ in range(LISTINGS):
        with contextlib.suppress(FileNotFoundError):
            return filesystem.get_file_info(selector)
    return filesystem.get_file_info(selector)


def _with_time_limit(uri: str) -> str:
    """Return the URI with a limit on the retries of Google's client, unless it sets its own."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    separator = "&" if "?" in uri else "?"
    return f"{uri}{separator}retry_limit_seconds={GOOGLE_RETRY_SECONDS}"


def fingerprint(*parts: Any) -> str:
    """Return a short stable hash (16 hexadecimal digits) of values that JSON can represent."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Store:
    """Files under one root. Names are relative to it, with ``/`` between their parts."""

    root: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", absolute(self.root))

    def uri(self, name: str) -> str:
        """Return the full URI of a name."""
        return f"{self.root}/{name}"

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine (or one mounted on it)."""
        return isinstance(resolve(self.root)[0], pa.fs.LocalFileSystem)

    def locate(self, name: str) -> tuple[pa.fs.FileSystem, str]:
        """Return the file system of a name and its path there."""
        filesystem, base = resolve(self.root)
        return filesystem, f"{base}/{name}"

    def exists(self, name: str) -> bool:
        """Return whether a file or folder of this name exists."""
        filesystem, path = self.locate(name)
        return filesystem.get_file_info(path).type != pa.fs.FileType.NotFound

    def names(self, folder: str) -> list[str]:
        """List the files directly in a folder, sorted; empty if there is no such folder."""
        filesystem, path = self.locate(folder)
        selector = pa.fs.FileSelector(path, allow_not_found=True)
        return sorted(
            i.base_name
            for i in _listed(filesystem, selector)
            if i.type == pa.fs.FileType.File and not i.base_name.startswith(".")
        )

    def folders(self, folder: str) -> list[str]:
        """List the folders directly in a folder (``""``: the root), sorted; empty if none."""
        filesystem, path = self.locate(folder)
        selector = pa.fs.FileSelector(path.rstrip("/"), allow_not_found=True)
        return sorted(
            i.base_name for i in _listed(filesystem, selector) if i.type == pa.fs.FileType.Directory
        )

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        filesystem, path = self.locate(name)
        with filesystem.open_input_file(path) as stream:
            return stream.read()

    def write(self, name: str, content: bytes | memoryview) -> None:
        """Write a whole file, replacing any of the same name."""
        filesystem, path = self.locate(name)
        write_atomically(filesystem, path, content)

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        filesystem, path = self.locate(name)
        if self.exists(name):
            filesystem.delete_file(path)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists, and return whether it was written.

        Of several concurrent writers, exactly one succeeds.
        """
        filesystem, path = self.locate(name)
        if isinstance(filesystem, pa.fs.LocalFileSystem):
            return local.create(Path(path), content)
        if isinstance(filesystem, pa.fs.S3FileSystem):
            return s3.create(path, content)
        raise StoreError(
            f"{self.root}: a store needs conditional writes, which musicrec has for folders and "
            "s3:// only"
        )

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object and verify its SHA-256.

        Raises
        ------
        DamagedError
            It is not the one that was written; what it was a part of counts as not done.
        """
        try:
            return parse_json(self.read(name), self.uri(name))
        except DamagedError as error:
            raise report(self, name, str(error)) from error

    def write_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object with its SHA-256; paths and other types become strings."""
        self.write(name, json_bytes(value))

    def read_table(
        self, name: str, contract: pa.Schema, columns: list[str] | None = None
    ) -> pa.Table:
        """Read one Parquet file, verify it and check it against its contract.

        Raises
        ------
        DamagedError
            It is not the one that was written; what it was a part of counts as not done.
        """
        if columns is not None:
            contract = pa.schema([contract.field(column) for column in columns])
        with StoredParquet(self, name) as file:
            return schema.conform(file.read(columns), contract, name)

    def write_table(self, name: str, table: pa.Table, contract: pa.Schema) -> None:
        """Check a table against its contract and write it as one Parquet file."""
        self.write(name, parquet_bytes(schema.conform(table, contract, name)))

    def stage(self, name: str, key: str) -> Stage:
        """Return the stage of a name and key."""
        return Stage(self, name, key)


@dataclass(frozen=True)
class Stage:
    """The folder of one stage's output: ``STAGE/KEY``."""

    store: Store
    name: str
    key: str

    @property
    def folder(self) -> str:
        """The store's name of this folder."""
        return f"{self.name}/{self.key}"

    def path(self, name: str) -> str:
        """Return the store's name of a file in this folder."""
        return f"{self.folder}/{name}"

    def success(self) -> dict[str, Any] | None:
        """Return the record of a finished stage, or None.

        A damaged record is logged, and the stage counts as not finished.
        """
        name = self.path(SUCCESS)
        if not self.store.exists(name):
            return None
        try:
            return parse_json(self.store.read(name), self.store.uri(name))
        except DamagedError as error:
            event(self.name, "the record is damaged: the stage is done again", error=str(error))
            return None

    def finish(self, record: dict[str, Any]) -> dict[str, Any]:
        """Write the record that makes this stage complete, with its SHA-256."""
        self.store.write_json(self.path(SUCCESS), record)
        return record


def complete_stages(store: Store, name: str) -> list[tuple[Stage, dict[str, Any]]]:
    """Return the complete stages of a name with their records, newest first."""
    with ThreadPoolExecutor(READERS) as pool:
        stages = [store.stage(name, key) for key in store.folders(name)]
        complete = [
            (stage, record)
            for stage, record in zip(stages, pool.map(Stage.success, stages), strict=True)
            if record is not None
        ]
    return sorted(complete, key=lambda each: each[1]["finished"], reverse=True)


def check_counts(stage: str, rows_in: int, rows_out: int, rows_in_errors: int) -> None:
    """Check that every row is accounted for.

    Raises
    ------
    RuntimeError
        Rows were lost or duplicated.
    """
    if rows_in != rows_out + rows_in_errors:
        raise RuntimeError(
            f"{stage}: {rows_in} rows in, but {rows_out} out and {rows_in_errors} in errors: "
            "rows were lost or duplicated"
        )


def write_atomically(
    filesystem: pa.fs.FileSystem, path: str, content: bytes | memoryview | pa.Buffer
) -> None:
    """Write a whole file so that no reader ever sees a part of it."""
    if not isinstance(filesystem, pa.fs.LocalFileSystem):
        # An object appears, whole, when its upload is closed.
        with filesystem.open_output_stream(path) as stream:
            stream.write(content)
        return
    local.replace(Path(path), content)
