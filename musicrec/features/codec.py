"""Encode arrays as Parquet cells: raw little-endian bytes, with shape and type in the metadata.

Cells are in a ``large_binary`` column. Arrow's list and tensor types are two to nine times slower
to read (repetition and definition levels for each number). Plain pyarrow and NumPy can read this
form: ``np.frombuffer(cell, dtype).reshape(shape)``.

``float32`` is exact. ``float16`` keeps a value within 0.03 dB over the 80 dB range. ``uint8`` maps
the clip's own range linearly onto 0..255 (a step of 0.31 dB over 80 dB); offset and scale precede
the cell's bytes as two float32. Images are ``bytes``: integers from 0 to 255, unchanged.
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

PRECISIONS = ("float32", "float16", "uint8")
EXACT_BYTES = "bytes"  # for images; not a precision that a feature can be stored with
_TYPES = {"float32": "<f4", "float16": "<f2", "uint8": "u1", EXACT_BYTES: "u1"}
_METADATA_KEY = b"musicrec"
_HEADER_BYTES = 8


def field(name: str, shape: tuple[int, ...], precision: str) -> pa.Field:
    """Return the Arrow field of a column of arrays of one shape.

    Parameters
    ----------
    shape
        (frequency, time), or (channel, height, width) of images.
    """
    if precision not in _TYPES:
        raise ValueError(f"precision '{precision}' is unknown; use one of {', '.join(PRECISIONS)}")
    description = json.dumps(
        {"shape": list(shape), "dtype": precision, "order": "C", "byteorder": "little"}
    )
    return pa.field(name, pa.large_binary(), metadata={_METADATA_KEY: description})


def describe(column: pa.Field) -> tuple[tuple[int, ...], str]:
    """Return shape and precision of a feature column.

    Raises
    ------
    ValueError
        The field was not written by this codec.
    """
    if not column.metadata or _METADATA_KEY not in column.metadata:
        raise ValueError(f"column '{column.name}' carries no shape: it was not written by musicrec")
    description = json.loads(column.metadata[_METADATA_KEY])
    return tuple(description["shape"]), description["dtype"]


def encode(array: np.ndarray, precision: str) -> bytes:
    """Encode one array as the bytes of a cell."""
    if precision == EXACT_BYTES:
        return np.asarray(array, np.uint8).tobytes()
    if precision == "float16":
        # Imported here since Numba is needed to write a feature, but not to read one.
        from musicrec.audio.kernels.half import to_float16

        return to_float16(np.asarray(array, np.float32)).tobytes()
    if precision == "float32":
        return np.asarray(array, "<f4").tobytes()
    low, high = float(array.min()), float(array.max())
    scale = (high - low) / 255 or 1.0
    header = np.array([low, scale], dtype="<f4").tobytes()
    return header + np.rint((array - low) / scale).astype(np.uint8).tobytes()


def decode(cell: bytes | memoryview, shape: tuple[int, ...], precision: str) -> np.ndarray:
    """Decode a cell to a float32 array of ``shape``.

    Raises
    ------
    ValueError
        The number of bytes does not match the shape.
    """
    count = int(np.prod(shape))
    kind = np.dtype(_TYPES[precision])
    expected = kind.itemsize * count + (_HEADER_BYTES if precision == "uint8" else 0)
    if len(cell) != expected:
        raise ValueError(
            f"a cell of {len(cell)} bytes cannot be {precision} of shape {shape}, "
            f"which takes {expected}"
        )
    if precision != "uint8":
        return np.frombuffer(cell, dtype=kind).reshape(shape).astype(np.float32)
    low, scale = np.frombuffer(cell[:_HEADER_BYTES], dtype="<f4")
    return np.frombuffer(cell, dtype=kind, offset=_HEADER_BYTES).reshape(shape) * scale + low


def decode_column(table: pa.Table, name: str) -> list[np.ndarray | None]:
    """Decode every array of a feature column to float32; None where a row has none."""
    shape, precision = describe(table.schema.field(name))
    cells = (cell for chunk in table.column(name).chunks for cell in chunk)
    return [decode(cell.as_buffer(), shape, precision) if cell.is_valid else None for cell in cells]
