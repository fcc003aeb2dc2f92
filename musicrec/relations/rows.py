"""Divide the pieces of a shard into rows, by the layout of its file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from musicrec.config.errors import UserError
from musicrec.config.sections import RelationsSettings
from musicrec.relations.files import Shard
from musicrec.relations.forms import Form, Names
from musicrec.relations.pieces import PIECE_BYTES, line_pieces
from musicrec.relations.plays import Errors, Rows
from musicrec.storage.store import resolve

PARQUET_ROWS = 1 << 19  # rows of a piece of Parquet
LONGEST_JSON_REASON = 80


def pieces_of(
    shard: Shard, form: Form, names: Names, settings: RelationsSettings, errors: Errors
) -> Iterator[tuple[int, Rows]]:
    """Yield the rows of each piece of a shard of plays with the number of rows that were read.

    Line numbers count from 1 at the shard's first row.
    """
    if shard.uri.endswith(".parquet"):
        yield from _parquet(shard, names, errors)
        return
    before = 0
    for piece in line_pieces(shard):
        if form.layout == "listens":
            count, rows = _listens(piece, before, settings, errors)
        else:
            count, rows = _delimited(piece, before, shard, form, names, errors)
        before = errors.last = before + count
        yield count, rows


def _parquet(shard: Shard, names: Names, errors: Errors) -> Iterator[tuple[int, Rows]]:
    before = 0
    for batch in parquet_batches(shard, list(names.values())):
        columns = {use: batch.column(name) for use, name in names.items()}
        for use, column in columns.items():
            columns[use] = _as_text(column, names[use], shard)
        lines = np.arange(before + 1, before + batch.num_rows + 1)
        before = errors.last = before + batch.num_rows
        yield batch.num_rows, Rows(lines, columns, errors)


def parquet_batches(shard: Shard, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield batches of the row groups of a shard."""
    filesystem, path = resolve(shard.uri)
    with filesystem.open_input_file(path) as stream:
        try:
            yield from pq.ParquetFile(stream).iter_batches(
                PARQUET_ROWS, list(range(shard.start, shard.end)), columns, use_threads=False
            )
        except pa.ArrowInvalid as error:
            raise UserError(f"{shard.uri} is not readable as Parquet: {error}") from error


def _as_text(column: pa.Array, name: str, shard: Shard) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
    if pa.types.is_binary(column.type):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"{shard.uri}: column '{name}' is {column.type}: write it as text or numbers"
        ) from error


def _delimited(
    piece: bytes, before: int, shard: Shard, form: Form, names: Names, errors: Errors
) -> tuple[int, Rows]:
    """Parse lines of delimited cells; a line with an unclosed quote is an error."""
    bad: list[tuple[int, str]] = []
    table = _parse(piece, shard.columns, form, bad)
    count = piece.count(b"\n") + (not piece.endswith(b"\n"))
    lines = np.arange(1, count + 1)
    if table.num_rows + len(bad) != count:  # a quote hides the ends of lines
        bad, texts = [], piece.split(b"\n")[:count]
        unclosed = np.array([text.count(b'"') % 2 == 1 for text in texts])
        rest = lines[~unclosed]
        good = b"\n".join(text for text, wrong in zip(texts, unclosed, strict=True) if not wrong)
        table = _parse(good + b"\n", shard.columns, form, bad)
        bad = [(int(rest[number - 1]), reason) for number, reason in bad]
        bad += [(int(line), "unclosed_quote") for line in lines[unclosed]]
    for line, reason in sorted(bad):
        code, _, detail = reason.partition(":")
        errors.add(before + line, code, detail or "a double quote is not closed in its line")
    wrong = np.zeros(count, bool)
    wrong[[line - 1 for line, _ in bad]] = True
    columns = {use: table.column(name).combine_chunks() for use, name in names.items()}
    return count, Rows(before + lines[~wrong], columns, errors)


def _parse(
    piece: bytes, columns: tuple[str, ...], form: Form, bad: list[tuple[int, str]]
) -> pa.Table:
    def skip(row: pyarrow.csv.InvalidRow) -> str:
        cells = f"wrong_cells: expected {row.expected_columns} cells, found {row.actual_columns}"
        bad.append((row.number, cells))
        return "skip"

    numbered = [
        f"{name}" if columns.index(name) == i else f" {i}" for i, name in enumerate(columns)
    ]
    return pyarrow.csv.read_csv(
        io.BytesIO(piece),
        pyarrow.csv.ReadOptions(
            column_names=numbered, use_threads=False, block_size=2 * PIECE_BYTES + len(piece)
        ),
        pyarrow.csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char='"' if form.quoted else False,
            ignore_empty_lines=False,
            invalid_row_handler=skip,
        ),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(numbered, pa.binary()),
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )


def json_lines(piece: bytes, before: int, errors: Errors) -> tuple[int, list[tuple[int, Any]]]:
    """Return the number of lines of a piece, and the objects with their line numbers."""
    objects = []
    lines = piece.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=before + 1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            errors.add(number, "not_json", str(error)[:LONGEST_JSON_REASON])
            continue
        if isinstance(value, dict):
            objects.append((number, value))
        else:
            errors.add(number, "not_json", "the line holds no JSON object")
    return len(lines), objects


def _listens(
    piece: bytes, before: int, settings: RelationsSettings, errors: Errors
) -> tuple[int, Rows]:
    """Parse listens of ListenBrainz, of its dumps or of its API."""
    count, objects = json_lines(piece, before, errors)
    cells: dict[str, list[str | None]] = {"user": [], "item": [], "time": []}
    for _, listen in objects:
        track = listen.get("track_metadata")
        track = track if isinstance(track, dict) else {}
        cells["user"].append(_text(listen, "user_id", "user_name"))
        cells["time"].append(_text(listen, "timestamp", "listened_at"))
        cells["item"].append(_listened(track, settings))
    if settings.group != "session":
        del cells["time"]
    columns = {use: pa.array(values, pa.string()) for use, values in cells.items()}
    return count, Rows(np.array([number for number, _ in objects], np.int64), columns, errors)


def _listened(track: dict[str, Any], settings: RelationsSettings) -> str | None:
    """Return a listen's item: the first artist, the release or the recording."""
    if settings.identify_by == "name":
        names = {"artist": "artist_name", "album": "release_name", "track": "track_name"}
        name = _text(track, names[settings.item])
        artist = _text(track, "artist_name")
        return name if settings.item == "artist" or not (name and artist) else f"{artist} - {name}"
    for source in (track.get("mbid_mapping"), track.get("additional_info")):
        if not isinstance(source, dict):
            continue
        if settings.item == "artist":
            artists = source.get("artist_mbids")
            if isinstance(artists, list) and artists and isinstance(artists[0], str):
                return artists[0]
        elif found := _text(source, {"album": "release_mbid"}.get(settings.item, "recording_mbid")):
            return found
    return None


def _text(mapping: dict[str, Any], *keys: str) -> str | None:
    """Return the first value that is a text or a number."""
    for key in keys:
        value = mapping.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value)
    return None
