"""Which version of its file a URI names now: size and time of change, for a column of millions of URIs.

Files that lie together are listed (a thousand a request on object storage), the others are asked for one by one; both in many threads, for
all of it is waiting. A version is text that is compared and never taken apart. Where a storage tells none (http://), it is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from musicrec.catalog.locations import audio_uri
from musicrec.storage.store import StoreError, resolve

# The version of a file that is not there.
MISSING = "missing"
# A folder of which so many files are wanted is listed.
LISTED_FROM = 32
THREADS = 32
FILES_AT_A_TIME = 64
VERSIONS = pa.schema([("uri", pa.string()), ("version", pa.string())])


def file_versions(uris: pa.ChunkedArray, root: str) -> pa.ChunkedArray:
    """The version of each file (string); null where its storage tells none.

    Parameters
    ----------
    root
        The catalog's: folders below it that hold few of the files are listed together with all that lies beside them.

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
    known = np.array([_is_known(name) for name in names], bool)
    listed = np.array([home is not None for home in homes.values()], bool) & known
    place = folders.indices.to_numpy()
    alone = distinct.filter(pa.array((known & ~listed)[place]))
    together = sorted(
        {
            (home, home != name)
            for (name, home), wanted in zip(homes.items(), listed, strict=True)
            if wanted
        }
    )
    with ThreadPoolExecutor(THREADS) as pool:
        tables = list(pool.map(lambda folder: _listed(*folder), together))
        tables += pool.map(
            _asked,
            (
                alone.slice(start, FILES_AT_A_TIME)
                for start in range(0, len(alone), FILES_AT_A_TIME)
            ),
        )
    found = pa.concat_tables([VERSIONS.empty_table(), *tables])
    # A file that was listed twice, in its folder and from above, has two rows, of which the first is taken.
    versions = found.column("version").take(
        pc.index_in(distinct, value_set=found.column("uri").combine_chunks())
    )
    versions = pc.if_else(
        pa.array(known[place]), pc.fill_null(versions, MISSING), pa.scalar(None, pa.string())
    )
    return versions.take(pc.index_in(uris, value_set=distinct))


def _homes(counts: dict[str, int], root: str) -> dict[str, str | None]:
    """What to list for the files of each folder: itself, or one above it but below the root that has enough of them; None: nothing."""
    homes = {folder: folder for folder in counts}
    while True:
        held = Counter()
        for folder, home in homes.items():
            held[home] += counts[folder]
        above = {
            home: home.rstrip("/").rpartition("/")[0] + "/"
            for home, count in held.items()
            if count < LISTED_FROM
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


def _is_known(folder: str) -> bool:
    """Whether pyarrow has a file system for it."""
    try:
        return resolve(folder) is not None
    except StoreError:
        return False


def _listed(folder: str, recursive: bool) -> pa.Table:
    """The files of a folder."""
    filesystem, base = resolve(folder)
    try:
        infos = filesystem.get_file_info(
            fs.FileSelector(base, recursive=recursive, allow_not_found=True)
        )
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be listed: {error}. Allow it, or set extract.notice_changes to false"
        ) from error
    root = folder.removesuffix("/").removesuffix(base)
    return _versions((f"{root}{info.path}", info) for info in infos)


def _asked(uris: pa.Array) -> pa.Table:
    """The files of these URIs, asked for one by one."""
    return _versions(
        (uri, filesystem.get_file_info(path))
        for uri, (filesystem, path) in ((u, resolve(u)) for u in uris.to_pylist())
    )


def _versions(infos: Iterable[tuple[str, fs.FileInfo]]) -> pa.Table:
    rows = [
        (uri, f"{info.size}-{info.mtime_ns}")
        for uri, info in infos
        if info.type == fs.FileType.File
    ]
    columns = zip(*rows, strict=True) if rows else ((), ())
    return pa.table(list(columns), schema=VERSIONS)
