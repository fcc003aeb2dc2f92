from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from musicrec.features import codec
from musicrec.storage.store import Store

SHAPE = (12, 30)


def decibels(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """80 dB of range under a peak of 20 dB, as features have."""
    values = np.random.default_rng(seed).uniform(-60, 20, shape).astype(np.float32)
    values.flat[0], values.flat[-1] = -60, 20
    return values


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 0.0), ("float16", 0.016), ("uint8", 0.158)]
)
def test_a_value_comes_back_within_half_a_step(precision: str, tolerance: float) -> None:
    # float16 has steps of 2^-5 from 32 to 64 in magnitude; uint8 has 80 dB / 255, and its header
    # is float32.
    values = decibels()
    decoded = codec.decode(codec.encode(values, precision), SHAPE, precision)
    assert decoded.dtype == np.float32
    assert decoded.shape == SHAPE
    np.testing.assert_allclose(decoded, values, atol=tolerance, rtol=0)


def test_uint8_keeps_both_ends_of_the_range() -> None:
    decoded = codec.decode(codec.encode(decibels(), "uint8"), SHAPE, "uint8")
    np.testing.assert_allclose([decoded.min(), decoded.max()], [-60, 20], atol=1e-4)


@pytest.mark.parametrize("precision", codec.PRECISIONS)
@pytest.mark.parametrize("value", [0.0, -80.0, 3.7])
def test_a_constant_array_comes_back(precision: str, value: float) -> None:
    values = np.full(SHAPE, value, np.float32)
    np.testing.assert_allclose(
        codec.decode(codec.encode(values, precision), SHAPE, precision), values, rtol=1e-3
    )


@pytest.mark.parametrize("precision", codec.PRECISIONS)
def test_an_array_need_not_be_contiguous(precision: str) -> None:
    values = decibels(shape=(60, 12))[::2].T
    assert not values.flags.c_contiguous
    assert codec.encode(values, precision) == codec.encode(values.copy(), precision)


def test_plain_pyarrow_and_numpy_read_a_column(tmp_path) -> None:
    values = decibels()
    schema = pa.schema([codec.field("mel", SHAPE, "float16")])
    Store(str(tmp_path)).write_table(
        "t.parquet", pa.table({"mel": [codec.encode(values, "float16")]}, schema=schema), schema
    )
    table = pa.parquet.read_table(tmp_path / "t.parquet")
    description = json.loads(table.schema.field("mel").metadata[b"musicrec"])
    assert description == {
        "shape": [12, 30],
        "dtype": "float16",
        "order": "C",
        "byteorder": "little",
    }
    read = np.frombuffer(table["mel"][0].as_py(), "<f2").reshape(description["shape"])
    np.testing.assert_array_equal(read, values.astype(np.float16))


@pytest.mark.parametrize("precision", codec.PRECISIONS)
def test_a_column_is_decoded_by_what_it_says_of_itself(precision: str) -> None:
    arrays = [decibels(0), None, decibels(1), decibels(2)]
    cells = [None if array is None else codec.encode(array, precision) for array in arrays]
    schema = pa.schema([codec.field("mel", SHAPE, precision)])
    table = pa.concat_tables(
        [pa.table({"mel": part}, schema=schema) for part in (cells[:3], cells[3:])]
    )  # two chunks
    assert codec.describe(table.schema.field("mel")) == (SHAPE, precision)
    decoded = codec.decode_column(table, "mel")
    assert [array is None for array in decoded] == [False, True, False, False]
    for array, stored in zip(arrays, decoded, strict=True):
        if array is not None:
            np.testing.assert_allclose(stored, array, atol=0.16)


def test_a_decoded_array_may_be_changed() -> None:
    # Preparing inputs works in place; the memory of Arrow's buffers must not change with it.
    cell = codec.encode(decibels(), "float16")
    decoded = codec.decode(cell, SHAPE, "float16")
    decoded += 1
    np.testing.assert_array_equal(codec.decode(cell, SHAPE, "float16") + 1, decoded)


@pytest.mark.parametrize("precision", codec.PRECISIONS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_cell_of_the_wrong_length_is_refused(precision: str, change: int) -> None:
    cell = codec.encode(decibels(), precision)
    cell = cell[:change] if change < 0 else cell + b"\0"
    with pytest.raises(ValueError, match=rf"{len(cell)} bytes.*{precision}.*\(12, 30\)"):
        codec.decode(cell, SHAPE, precision)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'float64'.*float16, uint8"):
        codec.field("mel", SHAPE, "float64")


def test_a_column_of_another_origin_is_refused() -> None:
    with pytest.raises(ValueError, match="'mel' carries no shape"):
        codec.decode_column(pa.table({"mel": pa.array([b"x"], pa.large_binary())}), "mel")
