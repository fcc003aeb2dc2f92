"""A damaged part counts as not done, is named, and its block is extracted again, once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from musicrec.extraction.manifest import MANIFEST, OUTCOME_FIELDS, Blocks
from musicrec.extraction.pipeline import outstanding
from musicrec.features import codec
from musicrec.features.reader import read_stored
from musicrec.storage.record import DamagedError
from musicrec.storage.store import SUCCESS, Store

FOLDER = "features/k"
NAMES = [f"t{row}" for row in range(6)]
ITEMS = pa.table(
    {
        "item": NAMES,
        "uri": [f"/m/{name}.mp3" for name in NAMES],
        "version": pa.nulls(6, pa.string()),
    }
)


def value(name: str) -> np.ndarray:
    return np.full((2, 64), int(name[1:]), np.float32)


def commit(blocks: Blocks, block: str, broken: tuple[str, ...] = ()) -> None:
    manifest = blocks.manifest()
    names = manifest.filter(pa.compute.equal(manifest.column("block"), block)).column("item")
    fields = [
        pa.field("track_id", pa.string()),
        codec.field("mel", (2, 64), "float32"),
        *OUTCOME_FIELDS,
    ]
    rows = [
        {"track_id": name}
        | (
            {"reason": "not_found"}
            if name in broken
            else {"mel": codec.encode(value(name), "float32")}
        )
        for name in names.to_pylist()
    ]
    blocks.commit(block, pa.Table.from_pylist(rows, schema=pa.schema(fields)))


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    blocks = Blocks(Store(str(tmp_path)), FOLDER)
    manifest = blocks.extend(ITEMS, ["mel"], 3)
    for block in ("0000-000000", "0000-000001"):
        commit(blocks, block)
    assert blocks.outcomes().num_rows == manifest.num_rows == 6
    return blocks


def damage(blocks: Blocks, name: str, position: float = 0.5) -> None:
    """Flip a bit of a file of the blocks, by its position in [0, 1)."""
    file = Path(blocks.store.root, FOLDER, name)
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 4
    file.write_bytes(content)


def place(blocks: Blocks, row: int) -> tuple[str, int]:
    return blocks.store.uri(f"{FOLDER}/parts/0000-000001.parquet"), row


def damage_mel(blocks: Blocks) -> None:
    """Flip a bit in the page of the second block's features."""
    file = Path(place(blocks, 0)[0])
    column = pa.parquet.read_metadata(file).row_group(0).column(1)
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 4
    file.write_bytes(content)


def test_the_block_of_a_damaged_part_is_done_again_once(
    blocks: Blocks, capsys: pytest.CaptureFixture[str]
) -> None:
    damage_mel(blocks)
    with pytest.raises(DamagedError, match=r"0000-000001\.parquet is damaged"):
        read_stored([place(blocks, 1)], "mel")
    assert "0000-000001.parquet is damaged" in capsys.readouterr().out
    assert (blocks.done(), blocks.damaged()) == ({"0000-000000"}, {"0000-000001"})
    assert outstanding(blocks, blocks.manifest()).column("block").to_pylist() == ["0000-000001"]
    assert blocks.outcomes().column("item").to_pylist() == NAMES[:3]
    assert blocks.extend(ITEMS, ["mel"], 3).num_rows == 6  # no row is assigned twice
    commit(blocks, "0000-000001", broken=("t4",))  # its file is gone by now
    assert (blocks.done(), blocks.damaged()) == ({"0000-000000", "0000-000001"}, set())
    outcomes = blocks.outcomes()
    assert outcomes.column("item").to_pylist() == NAMES
    assert outcomes.column("reason").to_pylist() == [None] * 4 + ["not_found", None]
    stored = read_stored([place(blocks, row) for row in range(3)], "mel")
    assert stored[1] is None
    np.testing.assert_array_equal(stored[2][0], value("t5"))


def test_damage_of_a_part_outside_the_columns_read_is_no_error(blocks: Blocks) -> None:
    damage_mel(blocks)
    Path(blocks.store.root, FOLDER, "outcomes/0000.parquet").unlink()
    assert blocks.outcomes().num_rows == 6
    assert blocks.damaged() == set()


def test_a_damaged_part_makes_the_stage_that_holds_it_incomplete(tmp_path: Path) -> None:
    stage = Store(str(tmp_path)).stage("served", "k")
    blocks = Blocks(Store(stage.store.uri(stage.folder)), "blocks")
    blocks.extend(ITEMS, ["mel"], 6)
    stage.finish({"rows_in": 6})
    commit(blocks, "0000-000000")
    part = Path(blocks.store.root, "blocks/parts/0000-000000.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        read_stored([(str(part), 0)], "mel")
    assert stage.success() is None
    assert blocks.damaged() == {"0000-000000"}
    assert not stage.store.exists(f"{stage.folder}/{SUCCESS}")


def test_damaged_outcomes_are_read_from_the_parts_again(blocks: Blocks) -> None:
    before = blocks.outcomes()
    damage(blocks, "outcomes/0000.parquet")
    assert blocks.outcomes() == before
    assert blocks.store.read_table(f"{FOLDER}/outcomes/0000.parquet", before.schema) == before


def test_a_damaged_manifest_is_restored_from_its_outcomes(blocks: Blocks) -> None:
    before = blocks.manifest()
    damage(blocks, "plans/0000.parquet")
    assert blocks.manifest() == before
    assert blocks.store.read_table(f"{FOLDER}/plans/0000.parquet", MANIFEST) == before


def test_rows_of_a_manifest_that_cannot_be_restored_are_assigned_anew(blocks: Blocks) -> None:
    blocks.store.remove(f"{FOLDER}/outcomes/0000.parquet")
    damage(blocks, "plans/0000.parquet")
    manifest = blocks.extend(ITEMS, ["mel"], 3)
    assert manifest.column("item").to_pylist() == NAMES
    assert manifest.column("block").unique().to_pylist() == ["0001-000000", "0001-000001"]
    assert blocks.done() == set()  # parts of the lost manifest belong to no row
    assert blocks.damaged() == set()
    commit(blocks, "0001-000000")
    assert blocks.outcomes().column("item").to_pylist() == NAMES[:3]
    assert blocks.manifest() == manifest


def test_an_absent_part_is_not_taken_for_a_damaged_one(blocks: Blocks) -> None:
    Path(place(blocks, 0)[0]).unlink()
    with pytest.raises(FileNotFoundError):
        read_stored([place(blocks, 0)], "mel")
    assert blocks.damaged() == set()
