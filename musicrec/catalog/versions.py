"""Determine the current version of each file, size and modification time, for millions of URIs.

Files in one folder are listed together (a thousand per request on object storage), others are
looked up individually; both in many threads, because the time is spent waiting. Only on remote
storage a listing includes the folders below: in a local one links could make it endless. A version
is text that is only compared, never parsed. It is null for storage that reports none (http://).
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from musicrec.catalog.locations import audio_uri
from musicrec.storage.store import resolve
from musicrec.storage.uri import StoreError

# The version of a file that does not exist
MISSING = "missing"
# A folder is listed from this number of its files on.
LISTED_FROM = 32
THREADS = 32
FILES_AT_A_TIME = 64
VERSIONS = pa.schema([("uri", pa.string()), ("version", pa.string())])


def file_versions(uris: pa.ChunkedArray, root: str) -> pa.ChunkedArray:
    """Return the version of each file (string); null if its storage reports none.

    Parameters
    ----------
    root
        The catalog's root. Folders below it that hold few of the files are listed together with
        everything next to them.

    Raises
    ------
    StoreError
        A folder cannot be listed, or the storage does not answer.
    """
    distinct = uris.unique()
    folders = pc.replace_substring_regex(distinct, r"[^/]*$", "").dictionary_encode()
    names = folders.dictionary.to_pylist()
    counts = np.bincount(folders.indices.to_numpy(), minlength=len(names))
    homes = _homes(
        dict(zip(names, counts.tolist(), strict=True)), audio_uri(root, "").rstrip("/") + "/"
    )
    supported = np.array([_has_file_system(name) for name in names], bool)
    listed = np.array([home is not None for home in homes.values()], bool) & supported
    place = folders.indices.to_numpy()
    individual = distinct.filter(pa.array((supported & ~listed)[place]))
    listings = sorted(
        {
            (home, home != name)
            for (name, home), is_listed in zip(homes.items(), listed, strict=True)
            if is_listed
        }
    )
    with ThreadPoolExecutor(THREADS) as pool:
        tables = list(pool.map(lambda folder: _listed(*folder), listings))
        tables += pool.map(
            _look_up,
            (
                individual.slice(start, FILES_AT_A_TIME)
                for start in range(0, len(individual), FILES_AT_A_TIME)
            ),
        )
    files = pa.concat_tables([VERSIONS.empty_table(), *tables])
    # A file listed twice, in its folder and from a parent, has two rows; the first is used.
    versions = files.column("version").take(
        pc.index_in(distinct, value_set=files.column("uri").combine_chunks())
    )
    versions = pc.if_else(
        pa.array(supported[place]), pc.fill_null(versions, MISSING), pa.scalar(None, pa.string())
    )
    return versions.take(pc.index_in(uris, value_set=distinct))


def _homes(counts: dict[str, int], root: str) -> dict[str, str | None]:
    """Choose the folder to list for the files of each folder.

    This is the folder itself, or on remote storage a parent below the root that holds enough of the
    files; None if neither does.
    """
    homes = {folder: folder for folder in counts}
    while True:
        held = Counter()
        for folder, home in homes.items():
            held[home] += counts[folder]
        above = {
            home: home.rstrip("/").rpartition("/")[0] + "/"
            for home, count in held.items()
            if count < LISTED_FROM and "://" in home
        }
        above = {
            home: parent
            for home, parent in above.items()
            if parent.startswith(root) and parent != root
        }
        if not above:
            return {
                folder: home if held[home] >= LISTED_FROM else None
                for folder, home in homes.items()
            }
        homes = {folder: above.get(home, home) for folder, home in homes.items()}


def _has_file_system(folder: str) -> bool:
    """Return whether pyarrow has a file system for the folder."""
    try:
        return resolve(folder) is not None
    except StoreError:
        return False


def _listed(folder: str, recursive: bool) -> pa.Table:
    """List the files of a folder."""
    filesystem, base = resolve(folder)
    try:
        if isinstance(filesystem, fs.LocalFileSystem):
            return _table(_local_files(folder))
        infos = filesystem.get_file_info(
            fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        )
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be listed: {error}. Allow it, or set extract.notice_changes to false"
        ) from error
    root = folder.removesuffix("/").removesuffix(base)
    return _versions((f"{root}{info.path}", info) for info in infos)


def _local_files(folder: str) -> Iterator[tuple[str, str]]:
    """Yield path and version of each file of a local folder.

    Names that are not UTF-8, and links without a target, are left out: no catalog can name the
    former.
    """
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            try:
                status, _ = entry.stat(), entry.name.encode()
            except UnicodeEncodeError:
                continue
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP):
                    continue
                raise
            if stat.S_ISREG(status.st_mode):
                yield f"{folder}{entry.name}", f"{status.st_size}-{status.st_mtime_ns}"


def _look_up(uris: pa.Array) -> pa.Table:
    """Look up the files of these URIs one by one, and local paths in one call."""
    local = [uri for uri in uris.to_pylist() if "://" not in uri]
    remote = [uri for uri in uris.to_pylist() if "://" in uri]
    return _versions(
        itertools.chain(
            zip(local, fs.LocalFileSystem().get_file_info(local), strict=True),
            (
                (uri, filesystem.get_file_info(path))
                for uri, (filesystem, path) in ((uri, resolve(uri)) for uri in remote)
            ),
        )
    )


def _versions(infos: Iterable[tuple[str, fs.FileInfo]]) -> pa.Table:
    return _table(
        (uri, f"{info.size}-{info.mtime_ns}")
        for uri, info in infos
        if info.type == fs.FileType.File
    )


def _table(files: Iterable[tuple[str, str]]) -> pa.Table:
    rows = list(files)
    columns = zip(*rows, strict=True) if rows else ((), ())
    return pa.table(list(columns), schema=VERSIONS)
