"""Find files of a catalog that a symbolic link places outside the locations it may name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A folder is listed from this number of its files on; of fewer, each is looked at.
LISTED_FROM = 32
THREADS = 32


def outside_by_link(uris: pa.ChunkedArray, roots: Sequence[str]) -> np.ndarray:
    """Return the mask of the local files that are outside every root once links are resolved.

    A folder of many files costs one listing, so that a million files take seconds. URIs of remote
    storage, and files that do not exist, are not outside.

    Parameters
    ----------
    uris
        Absolute paths and URIs, each below one of the roots by its name.
    roots
        The catalog's root and the allowed ones; those of remote storage are ignored.
    """
    allowed = tuple(f"{_real(root).rstrip('/')}/" for root in roots if root.startswith("/"))
    outside = np.zeros(len(uris), bool)
    local = np.flatnonzero(pc.starts_with(uris, "/").to_numpy())
    paths = uris.take(pa.array(local)).combine_chunks()
    folders = pc.replace_substring_regex(paths, r"[^/]*$", "").dictionary_encode()
    place = folders.indices.to_numpy()
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(folders.dictionary) + 1))

    def rows_outside(number: int) -> list[int]:
        rows = order[starts[number] : starts[number + 1]]
        folder = folders.dictionary[number].as_py()
        if not f"{_real(folder)}/".startswith(allowed):
            return rows.tolist()
        links = _links(folder) if len(rows) >= LISTED_FROM else None
        if links == set():
            return []
        return [
            int(row)
            for row in rows
            if _is_link(path := paths[int(row)].as_py(), links)
            and not _real(path).startswith(allowed)
        ]

    with ThreadPoolExecutor(THREADS) as pool:
        for rows in pool.map(rows_outside, range(len(folders.dictionary))):
            outside[local[rows]] = True
    return outside


def _is_link(path: str, links: set[str] | None) -> bool:
    """Return whether a file is a link, by the names of its folder's links if they were listed."""
    return os.path.islink(path) if links is None else path.rpartition("/")[2] in links


def _links(folder: str) -> set[str]:
    """List the symbolic links in a folder; none if it cannot be listed, as reading reports that."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except (OSError, ValueError):
        return set()


def _real(path: str) -> str:
    """Return the path without links; a path that cannot exist as it is."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path
