"""Check a row of a served request: known fields, ranges, sizes, and locations that are allowed.

A registered model answers anybody who reaches its server, so a row may name a file only under the
locations of MUSICREC_SERVED_ROOTS (none by default), and no error shows what a file contains or
whether a file outside of them exists.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musicrec.config.inputs import FIELDS as TRACK_FIELDS
from musicrec.config.inputs import NUMBERS, RECORDING, fields_of_kind
from musicrec.serving.query import Query
from musicrec.storage.uri import StoreError, local_path

ROOTS = "MUSICREC_SERVED_ROOTS"
SECONDS = "MUSICREC_SERVED_SECONDS"
SECONDS_PER_ROW = 20.0
MAXIMUM_NEIGHBOURS = 1000
MAXIMUM_ROWS = 1000
MAXIMUM_AUDIO_BYTES = 64 << 20  # a song of ten minutes as WAV has 106 MB, as MP3 20
MAXIMUM_ARTWORK_BYTES = 16 << 20
MAXIMUM_CHARACTERS = 100_000  # of lyrics; the longest songs have some thousands
FILES, TEXTS = fields_of_kind("file"), fields_of_kind("text")
FIELDS = (*(each for name in FILES for each in (name, f"{name}_uri")), *TEXTS, *NUMBERS)


class RequestError(ValueError):
    """A row, or a parameter, that cannot be answered; the text holds nothing of any file."""


def allowed_roots() -> tuple[str, ...]:
    """Return the locations that requests may name, from MUSICREC_SERVED_ROOTS (comma-separated)."""
    return tuple(root.strip() for root in os.environ.get(ROOTS, "").split(",") if root.strip())


def seconds_per_row() -> float:
    """Return the time limit of the first row, from MUSICREC_SERVED_SECONDS.

    It is halved after each row that reaches it. So all waiting of a request takes less than twice
    this time, and by default less than the 60 s after which MLflow gives up the whole request.
    """
    return float(os.environ.get(SECONDS, SECONDS_PER_ROW))


def neighbours(value: Any) -> int:
    """Return the number of artists to answer with.

    Raises
    ------
    RequestError
        It is no whole number from 1 to ``MAXIMUM_NEIGHBOURS``.
    """
    if isinstance(value, bool) or not math.isfinite(value) or int(value) != value:
        raise RequestError(f"k must be a whole number from 1 to {MAXIMUM_NEIGHBOURS}")
    if not 1 <= value <= MAXIMUM_NEIGHBOURS:
        raise RequestError(f"k is {int(value)}; give 1 to {MAXIMUM_NEIGHBOURS}")
    return int(value)


def switch(name: str, value: Any) -> bool:
    """Return the value of a parameter that is true or false.

    Raises
    ------
    RequestError
        It is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise RequestError(f"{name} must be true or false")
    return bool(value)


def read_rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a request; MLflow passes a table, or columns by their names.

    Raises
    ------
    RequestError
        It is no table, or has no rows or too many.
    """
    try:
        table = table if isinstance(table, pd.DataFrame) else pd.DataFrame(table)
    except (TypeError, ValueError):
        raise RequestError("the request is no table; send dataframe_records") from None
    if not 1 <= len(table) <= MAXIMUM_ROWS:
        raise RequestError(f"the request has {len(table)} rows; send 1 to {MAXIMUM_ROWS}")
    # A table without columns has rows too, which to_dict leaves out.
    return table.to_dict(orient="records") or [{}] * len(table)


def read_query(row: Mapping[str, Any], roots: Sequence[str] | None = None) -> Query:
    """Return a row of a request as a query; absent fields and nulls are missing inputs.

    Parameters
    ----------
    roots
        The locations that URIs may name; those of MUSICREC_SERVED_ROOTS if not given.

    Raises
    ------
    RequestError
        A field is unknown, out of its range, too large, or names a location that is not allowed.
    """
    roots = allowed_roots() if roots is None else roots
    values = {name: value for name, value in row.items() if not _missing(value)}
    unknown = sorted(str(name)[:40] for name in values if name not in FIELDS)
    if unknown:
        raise RequestError(f"unknown field {unknown[0]!r}; fields are {', '.join(FIELDS)}")
    if not values:
        raise RequestError(f"the row has no known field; fields are {', '.join(FIELDS)}")
    return Query(
        **{name: _content(values, name, _maximum_bytes(name), roots) for name in FILES},
        **{name: _text(name, values.get(name)) for name in TEXTS},
        **{name: _number(name, values.get(name)) for name in NUMBERS},
    )


def _content(
    values: Mapping[str, Any], field: str, maximum: int, roots: Sequence[str]
) -> bytes | str | None:
    content = values.get(field)
    if content is None:
        uri = values.get(f"{field}_uri")
        return None if uri is None else admitted(f"{field}_uri", uri, roots)
    if isinstance(content, str) and len(content) <= maximum // 3 * 4 + 4:
        try:
            content = base64.b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError):
            raise RequestError(f"{field} is not base64; give the bytes of a file so") from None
    if not isinstance(content, bytes | str):
        raise RequestError(f"{field} is {type(content).__name__}; give the bytes of a file")
    if len(content) > maximum:
        raise RequestError(f"{field} has {len(content):,} bytes; the limit is {maximum:,}")
    return content


def admitted(field: str, uri: Any, roots: Sequence[str]) -> str:
    """Return a URI of a request as a path or an ``s3://`` URI under one of the roots.

    Links, ``..``, percent-encoding and other spellings are resolved first.

    Raises
    ------
    RequestError
        No location is allowed, or this one is under none of them. The text is the same whether or
        not the file exists.
    """
    if not roots:
        raise RequestError(
            f"{field} is not accepted, since this server allows no locations ({ROOTS}): "
            f"send the file's bytes as {field.removesuffix('_uri')}"
        )
    if not isinstance(uri, str):
        raise RequestError(f"{field} is {type(uri).__name__}; give text")
    location = _canonical(uri)
    for root in roots:
        base = _canonical(root)
        if location is not None and base is not None and location.startswith(base + "/"):
            return location
    raise RequestError(f"{field} is not under a location that this server allows ({ROOTS})")


def _canonical(uri: str) -> str | None:
    """Return the one spelling of a local path or an ``s3://`` URI; None for anything else."""
    if "\x00" in uri:
        return None
    scheme, separator, rest = uri.partition("://")
    if separator and scheme.lower() == "s3":
        bucket, _, key = rest.partition("/")
        is_plain = bool(bucket) and not {*"?#%@"} & {*rest} and ".." not in rest.split("/")
        path = posixpath.normpath(f"/{key}")
        return f"s3://{bucket}{path if path != '/' else ''}" if is_plain else None
    try:
        path = local_path(uri)
    except StoreError:
        return None
    if path is None:
        return None
    try:
        return str(Path(path).resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name too long, a null
        return None


def _maximum_bytes(field: str) -> int:
    return MAXIMUM_AUDIO_BYTES if field == RECORDING else MAXIMUM_ARTWORK_BYTES


def _text(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestError(f"{field} is {type(value).__name__}; give text")
    if len(value) > MAXIMUM_CHARACTERS:
        raise RequestError(
            f"{field} has {len(value):,} characters; the limit is {MAXIMUM_CHARACTERS:,}"
        )
    return value


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        raise RequestError(f"{name} is no number") from None
    low, high = TRACK_FIELDS[name].limits
    if math.isnan(number):
        raise RequestError(f"{name} is no number")
    if not low <= number <= high:
        raise RequestError(f"{name} is {number:g}; give {low} to {high}")
    return number


def _missing(value: Any) -> bool:
    is_empty = isinstance(value, bytes | str) and not value
    return (
        value is None
        or value is pd.NA
        or is_empty
        or (isinstance(value, float) and math.isnan(value))
    )
