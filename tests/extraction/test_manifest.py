from __future__ import annotations

import collections
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pyarrow.parquet
import pytest

from musicrec.catalog.versions import MISSING
from musicrec.extraction.manifest import (
    MANIFEST,
    OUTCOME_FIELDS,
    OUTCOMES,
    ROW_GROUP_ROWS,
    Blocks,
)
from musicrec.extraction.rows import failures
from musicrec.schema import SchemaError
from musicrec.storage.parquet import parquet_bytes
from musicrec.storage.store import Store

FOLDER = "features/key"


@pytest.fixture
def blocks(store_root: str) -> Blocks:
    return Blocks(Store(store_root), FOLDER)


@pytest.fixture
def local(tmp_path: Path) -> Blocks:
    return Blocks(Store(str(tmp_path)), FOLDER)


def items(*names: str, folder: str = "audio") -> pa.Table:
    return pa.table(
        {
            "item": pa.array(names, pa.string()),
            "uri": pa.array([f"{folder}/{name}.mp3" for name in names], pa.string()),
        }
    )


def assigned(manifest: pa.Table) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(row["block"], row["item"], tuple(row["columns"])) for row in manifest.to_pylist()]


def commit(blocks: Blocks, manifest: pa.Table, broken: tuple[str, ...] = ()) -> None:
    """Commit every uncommitted block: rows of ``broken`` fail, the others have their values."""
    for block in dict.fromkeys(manifest.column("block").to_pylist()):
        if block in blocks.done():
            continue
        rows = [row for row in manifest.to_pylist() if row["block"] == block]
        schema = pa.schema(
            [
                ("track_id", pa.string()),
                *((column, pa.string()) for column in rows[0]["columns"]),
                *OUTCOME_FIELDS,
            ]
        )
        values = [
            {"track_id": row["item"], "reason": "not_audio", "detail": f"{row['uri']} is text"}
            if row["item"] in broken
            else {"track_id": row["item"]}
            | {column: f"{column} of {row['uri']}" for column in row["columns"]}
            for row in rows
        ]
        blocks.commit(block, pa.Table.from_pylist(values, schema=schema))


def failed_items(blocks: Blocks) -> list[str]:
    return failures(blocks.outcomes()).column("item").to_pylist()


def test_every_row_is_assigned_once_in_order(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b", "c", "d", "e"), ["mel", "cqt"], rows_per_block=2)
    assert assigned(manifest) == [
        ("0000-000000", "a", ("mel", "cqt")),
        ("0000-000000", "b", ("mel", "cqt")),
        ("0000-000001", "c", ("mel", "cqt")),
        ("0000-000001", "d", ("mel", "cqt")),
        ("0000-000002", "e", ("mel", "cqt")),
    ]
    assert manifest.column("uri").to_pylist()[4] == "audio/e.mp3"


def test_a_manifest_is_durable(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b"), ["mel"], 2)
    again = Blocks(Store(blocks.store.root), FOLDER)
    assert again.manifest() == manifest
    assert (
        again.extend(items("b", "a"), ["mel"], 1) == manifest
    )  # neither another order nor another block size assigns anew
    assert again.manifest_names() == ["0000"]


def test_no_items_write_no_manifest(blocks: Blocks) -> None:
    assert blocks.extend(items(), ["mel"], 2).num_rows == 0
    assert blocks.manifest_names() == []
    assert blocks.manifest().schema == MANIFEST
    assert blocks.outcomes().schema == OUTCOMES


def test_only_new_rows_are_assigned(blocks: Blocks) -> None:
    first = blocks.extend(items("a", "b", "c"), ["mel"], 2)
    manifest = blocks.extend(items("a", "d", "b", "c", "e"), ["mel"], 2)
    assert manifest.slice(0, 3) == first
    assert assigned(manifest.slice(3)) == [
        ("0001-000000", "d", ("mel",)),
        ("0001-000000", "e", ("mel",)),
    ]


def test_a_row_whose_file_has_moved_is_a_new_row(local: Blocks) -> None:
    local.extend(items("a"), ["mel"], 2)
    manifest = local.extend(items("a", folder="moved"), ["mel"], 2)
    assert manifest.column("uri").to_pylist() == ["audio/a.mp3", "moved/a.mp3"]


def versioned(versions: dict[str, str | None]) -> pa.Table:
    """Items of these versions."""
    return items(*versions).append_column("version", pa.array(versions.values(), pa.string()))


def test_a_row_whose_file_has_changed_is_a_new_row(blocks: Blocks) -> None:
    blocks.extend(versioned({"a": "1", "b": "1", "c": "1"}), ["mel"], 4)
    manifest = blocks.extend(versioned({"a": "1", "b": "2", "c": "1"}), ["mel"], 4)
    assert assigned(manifest.slice(3)) == [("0001-000000", "b", ("mel",))]
    assert manifest.column("version").to_pylist() == ["1", "1", "1", "2"]
    assert blocks.extend(versioned({"b": "1"}), ["mel"], 4) == manifest  # the old file, restored
    later = blocks.extend(versioned({"a": "1", "b": "2"}), ["cqt"], 4)
    assert later.slice(4).column("version").to_pylist() == ["1", "2"]


@pytest.mark.parametrize("now", [None, MISSING])
def test_rows_of_a_missing_or_unknown_file_stay_in_use(local: Blocks, now: str | None) -> None:
    manifest = local.extend(versioned({"a": "1", "b": "1"}), ["mel"], 4)
    assert local.extend(versioned({"a": now, "b": "1"}), ["mel"], 4) == manifest
    assert local.extend(items("a", "b"), ["mel"], 4) == manifest
    new = local.extend(versioned({"c": now}), ["mel"], 4).slice(2)
    assert new.column("version").to_pylist() == [now]


def test_a_missing_file_that_appears_is_a_new_row(local: Blocks) -> None:
    commit(local, local.extend(versioned({"a": MISSING}), ["mel"], 4), broken=("a",))
    assert local.extend(versioned({"a": "1"}), ["mel"], 4).num_rows == 2


def test_a_manifest_without_versions_is_used(local: Blocks) -> None:
    first = local.extend(items("a", "b"), ["mel"], 4)
    local.store.write(
        f"{FOLDER}/plans/0000.parquet", parquet_bytes(first.drop_columns(["version"]))
    )
    assert local.extend(versioned({"a": "1", "b": "1"}), ["mel"], 4) == first
    commit(local, first)
    assert local.missing(versioned({"a": "1", "c": "1"}), ["mel"]).column("item").to_pylist() == [
        "c"
    ]


def test_a_good_row_of_the_old_version_does_not_clear_a_failure(local: Blocks) -> None:
    commit(local, local.extend(versioned({"a": "1"}), ["mel"], 4))
    commit(local, local.extend(versioned({"a": "2"}), ["mel"], 4), broken=("a",))
    assert failures(local.outcomes()).column("version").to_pylist() == ["2"]


def test_item_and_uri_together_are_the_key(local: Blocks) -> None:
    # Joined without a separator, these two rows would be one.
    first = pa.table({"item": ["a"], "uri": ["bc"]})
    second = pa.table({"item": ["ab"], "uri": ["c"]})
    local.extend(first, ["mel"], 2)
    assert local.extend(second, ["mel"], 2).num_rows == 2


def test_only_new_columns_are_assigned(blocks: Blocks) -> None:
    blocks.extend(items("a", "b"), ["mel"], 4)
    manifest = blocks.extend(items("a", "b", "c"), ["mel", "cqt", "chroma"], 4)
    assert assigned(manifest.slice(2)) == [
        ("0001-000000", "a", ("cqt", "chroma")),
        ("0001-000000", "b", ("cqt", "chroma")),
        (
            "0001-000001",
            "c",
            ("mel", "cqt", "chroma"),
        ),  # rows that lack other columns never share a block
    ]
    assert blocks.extend(items("a", "b", "c"), ["chroma", "mel"], 4) == manifest


def test_columns_of_two_manifest_files_cover_a_row(local: Blocks) -> None:
    local.extend(items("a"), ["mel"], 4)
    local.extend(items("a"), ["cqt"], 4)
    assert local.extend(items("a"), ["cqt", "mel"], 4).num_rows == 2


@pytest.mark.parametrize(
    "names",
    [(("a", "b", "c"), ("b", "c", "d")), (("a", "b"), ("c", "d")), (("a", "b"), ("a", "b"))],
)
def test_racing_drivers_assign_no_row_twice(
    blocks: Blocks, names: tuple[tuple[str, ...], ...]
) -> None:
    start = Barrier(4)

    def extend(number: int) -> pa.Table:
        driver = Blocks(Store(blocks.store.root), FOLDER)
        start.wait()
        return driver.extend(items(*names[number % 2]), ["mel"], 2)

    with ThreadPoolExecutor(4) as pool:
        returned = list(pool.map(extend, range(4)))
    manifest = blocks.manifest()
    assert collections.Counter(manifest.column("item").to_pylist()) == collections.Counter(
        {*names[0], *names[1]}
    )
    assert len(set(manifest.column("block").to_pylist())) == sum(
        len({block for block, _, _ in assigned(p)}) for p in _manifest_files(blocks)
    )
    for number, seen in enumerate(returned):
        assert {*names[number % 2]} <= {*seen.column("item").to_pylist()}


def _manifest_files(blocks: Blocks) -> list[pa.Table]:
    return [
        blocks.store.read_table(f"{FOLDER}/plans/{name}.parquet", MANIFEST)
        for name in blocks.manifest_names()
    ]


def test_a_block_written_twice_leaves_one(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b", "c"), ["mel"], 2)
    commit(blocks, manifest)
    block = manifest.column("block")[0].as_py()
    part = blocks.store.read(f"{FOLDER}/parts/{block}.parquet")
    blocks.commit(
        block, pa.parquet.read_table(pa.BufferReader(part))
    )  # a worker outlives its driver
    assert blocks.done() == {"0000-000000", "0000-000001"}
    assert blocks.outcomes().column("item").to_pylist() == ["a", "b", "c"]
    assert blocks.store.read(f"{FOLDER}/parts/{block}.parquet") == part


def test_outcomes_name_part_and_row(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b", "c", "d", "e"), ["mel"], 3)
    commit(blocks, manifest, broken=("b", "d"))
    outcomes = blocks.outcomes()
    assert outcomes.column("row").to_pylist() == [0, 1, 2, 0, 1]
    assert outcomes.column("reason").to_pylist() == [None, "not_audio", None, "not_audio", None]
    assert outcomes.column("detail").to_pylist()[1] == "audio/b.mp3 is text"
    for row in outcomes.to_pylist():
        part = blocks.store.read_table(
            f"{FOLDER}/parts/{row['block']}.parquet",
            _one_column("track_id"),
        )
        assert part.column("track_id")[row["row"]].as_py() == row["item"]


def _one_column(name: str) -> pa.Schema:
    return pa.schema([(name, pa.string())])


def test_outcomes_are_those_of_committed_blocks(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b", "c", "d"), ["mel"], 2)
    commit(blocks, manifest.slice(2))
    assert blocks.done() == {"0000-000001"}
    assert blocks.outcomes().column("item").to_pylist() == ["c", "d"]
    assert blocks.store.names(f"{FOLDER}/outcomes") == []
    commit(blocks, manifest)
    assert blocks.outcomes().column("item").to_pylist() == ["a", "b", "c", "d"]


def test_outcomes_of_a_finished_manifest_are_read_from_one_file(
    blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(blocks, blocks.extend(items(*map(str, range(20))), ["mel"], 2), broken=("7",))
    before = blocks.outcomes()
    commit(blocks, blocks.extend(items("new"), ["mel"], 2))
    opened: list[str] = []
    read_table = Store.read_table
    monkeypatch.setattr(
        Store,
        "read_table",
        lambda self, name, *a, **k: opened.append(name) or read_table(self, name, *a, **k),
    )
    outcomes = blocks.outcomes()
    assert outcomes.slice(0, 20) == before
    assert outcomes.num_rows == 21
    assert [name for name in opened if "/parts/" in name] == [f"{FOLDER}/parts/0001-000000.parquet"]


def test_a_part_changed_by_hand_is_found(local: Blocks) -> None:
    commit(local, local.extend(items("a", "b"), ["mel"], 2))
    local.commit(
        "0000-000000",
        pa.parquet.read_table(local.store.uri(f"{FOLDER}/parts/0000-000000.parquet")).take([1, 0]),
    )
    with pytest.raises(SchemaError, match="changed by hand"):
        local.outcomes()


def test_a_part_is_stored_in_groups_that_training_reads(local: Blocks) -> None:
    commit(local, local.extend(items(*map(str, range(2 * ROW_GROUP_ROWS + 1))), ["mel"], 100))
    metadata = pa.parquet.read_metadata(local.store.uri(f"{FOLDER}/parts/0000-000000.parquet"))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [
        ROW_GROUP_ROWS,
        ROW_GROUP_ROWS,
        1,
    ]


def test_errors_are_retried_only_on_request(blocks: Blocks) -> None:
    manifest = blocks.extend(items("a", "b", "c"), ["mel"], 4)
    commit(blocks, manifest, broken=("b",))
    assert blocks.extend(items("a", "b", "c"), ["mel"], 4) == manifest
    again = blocks.extend(items("a", "b", "c"), ["mel"], 4, retry=True)
    assert assigned(again.slice(3)) == [("0001-000000", "b", ("mel",))]


def test_a_later_success_clears_a_failure(blocks: Blocks) -> None:
    tracks = items("a", "b", "c")
    commit(blocks, blocks.extend(tracks, ["mel"], 4), broken=("b", "c"))
    assert failed_items(blocks) == ["b", "c"]
    manifest = blocks.extend(tracks, ["mel"], 4, retry=True)
    commit(blocks, manifest, broken=("c",))
    assert set(failed_items(blocks)) == {"c"}
    manifest = blocks.extend(tracks, ["mel"], 4, retry=True)
    assert assigned(manifest.slice(5)) == [("0002-000000", "c", ("mel",))]
    commit(blocks, manifest)
    assert failed_items(blocks) == []
    assert blocks.extend(tracks, ["mel"], 4, retry=True) == manifest


def test_a_failure_of_two_columns_is_cleared_when_both_exist(local: Blocks) -> None:
    commit(local, local.extend(items("a"), ["mel", "cqt"], 4), broken=("a",))
    commit(local, local.extend(items("a"), ["mel"], 4, retry=True))
    assert failed_items(local) == ["a"]
    commit(local, local.extend(items("a"), ["mel", "cqt"], 4, retry=True))
    assert failed_items(local) == []


def test_a_good_row_of_another_file_clears_no_failure(local: Blocks) -> None:
    commit(local, local.extend(items("a"), ["mel"], 4), broken=("a",))
    commit(local, local.extend(items("a", folder="moved"), ["mel"], 4))
    assert failures(local.outcomes()).column("uri").to_pylist() == ["audio/a.mp3"]


def test_an_interrupted_retry_is_not_assigned_twice(blocks: Blocks) -> None:
    tracks = items("a", "b")
    commit(blocks, blocks.extend(tracks, ["mel"], 4), broken=("b",))
    manifest = blocks.extend(tracks, ["mel"], 4, retry=True)
    assert manifest.num_rows == 3
    assert (
        blocks.extend(tracks, ["mel"], 4, retry=True) == manifest
    )  # b is assigned, and its block not yet written
    later = blocks.extend(tracks, ["mel", "cqt"], 4, retry=True)
    assert assigned(later.slice(3)) == [
        ("0002-000000", "a", ("cqt",)),
        ("0002-000000", "b", ("cqt",)),
    ]


def test_racing_drivers_retry_an_error_once(blocks: Blocks) -> None:
    commit(blocks, blocks.extend(items("a", "b"), ["mel"], 4), broken=("b",))
    start = Barrier(4)

    def retry(_: int) -> pa.Table:
        driver = Blocks(Store(blocks.store.root), FOLDER)
        start.wait()
        return driver.extend(items("a", "b"), ["mel"], 4, retry=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(retry, range(4)))
    assert blocks.manifest().column("item").to_pylist() == ["a", "b", "b"]
