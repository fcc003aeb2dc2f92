from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec.audio import FEATURE_SHAPES
from musicrec.extraction.manifest import OUTCOME_FIELDS, ROW_GROUP_ROWS, Blocks
from musicrec.features import codec
from musicrec.features.columns import HALVED_STATISTICS, halve
from musicrec.features.reader import open_part, read_part, read_row_group, read_stored
from musicrec.storage.store import Store

ROWS = 2 * ROW_GROUP_ROWS + 3
FAILED = 5


def chroma(row: int) -> np.ndarray:
    return np.full(FEATURE_SHAPES["chroma"], row / 32, np.float32)


@pytest.fixture
def parts(store_root: str) -> list[str]:
    """Write two parts whose chroma is the row's number, 100 higher in the second."""
    blocks = Blocks(Store(store_root), "features/key")
    schema = pa.schema(
        [
            ("track_id", pa.string()),
            codec.field("chroma", FEATURE_SHAPES["chroma"], "float16"),
            *OUTCOME_FIELDS,
        ]
    )
    for number in range(2):
        rows = [
            {"track_id": "a", "reason": "not_audio", "detail": "text"}
            if row == FAILED
            else {"track_id": "a", "chroma": codec.encode(chroma(100 * number + row), "float16")}
            for row in range(ROWS)
        ]
        blocks.commit(f"0000-00000{number}", pa.Table.from_pylist(rows, schema=schema))
    return [blocks.store.uri(f"features/key/parts/0000-00000{number}.parquet") for number in (0, 1)]


def test_places_are_read_in_their_order(parts: list[str]) -> None:
    first, second = parts
    places = [(second, ROWS - 1), None, (first, 3), (second, 0), (first, FAILED), (first, 3)]
    read = read_stored(places, "chroma")
    expected = [100 + ROWS - 1, None, 3, 100, None, 3]
    for value, number in zip(read, expected, strict=True):
        assert (value is None) == (number is None)
        if value is not None:
            np.testing.assert_array_equal(value[0], chroma(number))


def test_a_part_is_read_as_its_rows(parts: list[str]) -> None:
    rows = read_part(parts[1], "chroma")
    assert [row for row, value in enumerate(rows) if value is None] == [FAILED]
    np.testing.assert_array_equal(rows[ROWS - 1][0], chroma(100 + ROWS - 1))


def test_a_row_group_has_only_the_columns_of_its_feature(parts: list[str]) -> None:
    with open_part(parts[0]) as file:
        group = read_row_group(file, 2, "chroma")
    assert (group.column_names, group.num_rows) == (["chroma"], 3)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "lower half"])
def test_the_halved_stft_is_read_from_either_form(tmp_path: Path, whole: bool) -> None:
    stft = np.random.default_rng(0).uniform(-80, 0, FEATURE_SHAPES["stft"]).astype(np.float32)
    half, statistics = halve(stft)
    name, array = ("stft", stft) if whole else ("stft_halved", half)
    fields, row = (
        [codec.field(name, array.shape, "float32")],
        {name: codec.encode(array, "float32")},
    )
    if not whole:
        fields += [pa.field(name, pa.large_binary()) for name in HALVED_STATISTICS]
        row |= {
            name: value.tobytes() for name, value in zip(HALVED_STATISTICS, statistics, strict=True)
        }
    blocks = Blocks(Store(str(tmp_path)), "features/key")
    blocks.commit("0000-000000", pa.Table.from_pylist([row], schema=pa.schema(fields)))
    ((read, read_statistics),) = read_stored(
        [(blocks.store.uri("features/key/parts/0000-000000.parquet"), 0)], "stft_halved"
    )
    np.testing.assert_array_equal(read, half)
    for value, expected in zip(read_statistics, statistics, strict=True):
        np.testing.assert_array_equal(value, expected)
