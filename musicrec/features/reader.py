"""Read stored features from the parts of an extraction, a row group or a whole part at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from musicrec.extraction.manifest import ROW_GROUP_ROWS
from musicrec.features import codec
from musicrec.features.columns import HALVED_STATISTICS, Statistics, halve
from musicrec.storage.parquet import StoredParquet
from musicrec.storage.store import Store

# A feature (F, T), and for ``stft_halved`` the whole frames' mean and deviation (T,) or else None.
Decoded = tuple[np.ndarray, Statistics | None]


def open_part(part: str) -> StoredParquet:
    """Open a part (``FOLDER/KEY/parts/BLOCK.parquet``) by its URI.

    Raises
    ------
    DamagedError
        It is damaged: its block counts as not done. So do the methods of what is returned.
    """
    root, *name = part.rsplit("/", 3)
    return StoredParquet(Store(root), "/".join(name))


def read_row_group(file: StoredParquet, group: int, modality: str) -> pa.Table:
    """Read the columns of a feature or of "artwork" from one row group of an open part."""
    return file.read_row_group(group, columns=read_columns(modality, file.names))


def read_part(part: str, feature: str) -> list[Decoded | None]:
    """Read one feature of each row of a part; None where a row failed."""
    with open_part(part) as file:
        table = file.read(columns=read_columns(feature, file.names))
    return decode_feature(table, feature)


def read_stored(places: Sequence[tuple[str, int] | None], feature: str) -> list[Decoded | None]:
    """Read one feature of each place; None where there is no place, or where its row failed.

    Parameters
    ----------
    places
        URI of a part and row in it. Each part is opened once, each row group read once.
    """
    decoded: list[Decoded | None] = [None] * len(places)
    indices: dict[tuple[str, int], list[int]] = {}
    for index, place in enumerate(places):
        if place is not None:
            indices.setdefault((place[0], place[1] // ROW_GROUP_ROWS), []).append(index)
    for part, groups in itertools.groupby(sorted(indices), key=lambda group: group[0]):
        with open_part(part) as file:
            for group in groups:
                rows = [places[index][1] % ROW_GROUP_ROWS for index in indices[group]]
                table = read_row_group(file, group[1], feature).take(rows)
                for index, value in zip(
                    indices[group], decode_feature(table, feature), strict=True
                ):
                    decoded[index] = value
    return decoded


def read_columns(modality: str, stored: Iterable[str]) -> list[str]:
    """Return the columns to read for a feature or "artwork" from a part with ``stored`` columns."""
    if modality != "stft_halved":
        return [modality]
    return [modality, *HALVED_STATISTICS] if modality in stored else ["stft"]


def decode_feature(table: pa.Table, feature: str) -> list[Decoded | None]:
    """Decode one feature of each row of a table; None where a row failed."""
    if feature != "stft_halved":
        return [
            None if array is None else (array, None)
            for array in codec.decode_column(table, feature)
        ]
    if feature not in table.column_names:
        return [
            None if array is None else halve(array) for array in codec.decode_column(table, "stft")
        ]
    statistics = zip(*(table.column(name).to_pylist() for name in HALVED_STATISTICS), strict=True)
    arrays = codec.decode_column(table, feature)
    return [
        None if array is None else (array, tuple(np.frombuffer(cell, "<f4") for cell in cells))
        for array, cells in zip(arrays, statistics, strict=True)
    ]
