"""Recognise a published data set that was given as a catalog of tables."""

from __future__ import annotations

from pyarrow import fs

from musicrec.catalog.bounded import HEADER_BYTES
from musicrec.catalog.published.cifar100 import FILES, FOLDER
from musicrec.catalog.published.fma_tables import published_header
from musicrec.catalog.tables import Problem

FMA_HEADER_ROWS = 3
PICKLE = b"\x80"  # the first byte of pickles since protocol 2
READ_IT = (
    "read it with --catalog-rules.form {form} and --catalog FOLDER, where FOLDER holds {holds}"
)


def published_set(filesystem: tuple[fs.FileSystem, str]) -> Problem | None:
    """Return the problem that says how to read this folder, if it is of a published data set.

    It may be the data set's folder, or the one of its tables (``fma_metadata``) or pickles.
    """
    store, base = filesystem
    base = base.rstrip("/")

    def head(name: str) -> bytes:
        path = f"{base}/{name}"
        if store.get_file_info(path).type != fs.FileType.File:
            return b""
        with store.open_input_stream(path, compression=None) as stream:
            return stream.read(HEADER_BYTES)

    tables = ("tracks.csv", "fma_metadata/tracks.csv")
    if any("track.genre_top" in published_header(head(name), FMA_HEADER_ROWS) for name in tables):
        fix = READ_IT.format(form="fma", holds="fma_metadata/ and the clips (fma_medium/)")
        return Problem("tracks", None, None, None, "the FMA data set as published", fix)
    for folder in ("", f"{FOLDER}/"):
        if all(head(f"{folder}{name}").startswith(PICKLE) for name in FILES):
            fix = READ_IT.format(form="cifar100", holds=f"{FOLDER}/")
            return Problem("tracks", None, None, None, "CIFAR-100 as published", fix)
    return None
