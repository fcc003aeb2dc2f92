"""Read a table that names the artist or the album of each track."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from musicrec.catalog.bounded import read_parquet
from musicrec.config.errors import ConfigError
from musicrec.storage.store import resolve
from musicrec.telemetry.redact import redacted

# The columns of a catalog's tracks, of Music4All's id_information.csv, and of most exports.
COLUMNS = {
    "track": ("track_id", "id", "song", "track"),
    "artist": ("artist_id", "artist"),
    "album": ("album_id", "album_name", "album"),
}
BLOCK_BYTES = 32 << 20  # pyarrow.csv cannot read a row longer than its block


def read_lookup(location: str, item: str) -> pa.Table:
    """Return ``track`` and ``item`` of every row that has both; the first row of a track counts.

    Raises
    ------
    ConfigError
        The table is missing, cannot be read, or lacks a column.
    """
    shown = redacted(location)
    filesystem, path = resolve(location)
    try:
        with filesystem.open_input_file(path) as stream:
            content = stream.read_buffer()
    except FileNotFoundError as error:
        raise ConfigError(f"--relations.tracks {shown}: there is no such file") from error
    try:
        table = _read(content, path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"--relations.tracks {shown} is not readable: {reason}") from error
    columns = {}
    for use in ("track", item):
        names = [name for name in COLUMNS[use] if name in table.column_names]
        if not names:
            raise ConfigError(
                f"--relations.tracks {shown} has no column {' or '.join(COLUMNS[use])}; it has "
                f"{', '.join(table.column_names[:20])}"
            )
        columns["track" if use == "track" else "item"] = pc.utf8_trim_whitespace(
            table[names[0]].cast(pa.string())
        )
    rows = pa.table(columns)
    filled = pc.and_(*(pc.greater(pc.utf8_length(rows[name]), 0) for name in ("track", "item")))
    rows = rows.filter(pc.fill_null(filled, False))
    return (
        rows.group_by("track", use_threads=False)
        .aggregate([("item", "first")])
        .rename_columns({"track": "track", "item_first": "item"})
    )


def _read(content: pa.Buffer, path: str) -> pa.Table:
    if path.endswith(".parquet"):
        return read_parquet(content, sum(COLUMNS.values(), ()))
    head = bytes(content[: 1 << 16]).partition(b"\n")[0]
    tabs = head.count(b"\t") > head.count(b",")
    names = head.decode(errors="replace").split("\t" if tabs else ",")
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
        pyarrow.csv.ParseOptions(
            delimiter="\t" if tabs else ",",
            quote_char=False if tabs else '"',
            newlines_in_values=not tabs,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys((name.strip('"\r\ufeff') for name in names), pa.string())
        ),
    )
