"""Damaged objects of a store: an error that names the object, not done, or the same value."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from musicrec.inspection.status import stage_folders, status_of
from musicrec.storage import checksums, parquet
from musicrec.storage.lock import Times, acquire, owner_of
from musicrec.storage.record import DamagedError
from musicrec.storage.store import BLOCKS, SUCCESS, Store, complete_stages
from musicrec.training.checkpoints import WEIGHTS, StoreCheckpoints, load_weights

RECORD = {"rows_in": 3, "validation": 0.125, "versions": {"torch": "2"}, "finished": 5.0}
TENSORS = {"a.weight": torch.arange(60.0).reshape(6, 10), "b": torch.tensor([1, 2])}
QUICK = Times(beat=0.05, stale=0.2, look=0.02)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path))
    store.stage("submodels", "k").finish(RECORD)
    checkpoints = StoreCheckpoints(store, "submodels/k")
    checkpoints.save_best(TENSORS)
    checkpoints.save_last({"progress": {"epoch": 3, "history": []}, "model": TENSORS})
    return store


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_record_counts_as_not_done_and_is_named(
    content: bytes, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = store.stage("submodels", "k")
    assert [record for _, record in complete_stages(store, "submodels")] == [RECORD]
    store.write(stage.path(SUCCESS), content)
    assert stage.success() is None
    assert f"{store.root}/submodels/k/{SUCCESS}" in capsys.readouterr().out
    assert complete_stages(store, "submodels") == []


def test_a_record_without_a_digest_is_read(store: Store) -> None:
    store.write_json("old/k/_SUCCESS.json", RECORD)
    assert store.stage("old", "k").success() == RECORD


@pytest.mark.parametrize("content", [b"", b"{}", b"[]"])
@pytest.mark.parametrize("wait", [True, False])
def test_a_broken_lock_is_taken_over_once_it_expires(
    content: bytes, wait: bool, store: Store
) -> None:
    store.write("submodels/k/locks/0001.json", content)
    assert not owner_of(store, "submodels/k").is_at_work()
    with acquire(store, "submodels/k", "train", wait=wait, times=QUICK) as lock:
        assert lock.number == 2


@pytest.mark.parametrize("name", [SUCCESS, BLOCKS, "last.pt", "locks/0001.json"])
def test_status_shows_a_store_with_an_empty_object(name: str, store: Store) -> None:
    store.remove(f"submodels/k/{SUCCESS}")
    store.write(f"submodels/k/{name}", b"")
    store.write_json("submodels/k/config.json", {})
    (folder,) = stage_folders(store)
    assert status_of(folder).state == "interrupted"


def test_a_reader_without_the_right_to_write_names_the_damage(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    store.write("submodels/k/spec.json", b"{")
    monkeypatch.setattr(Store, "remove", refuse)
    with pytest.raises(DamagedError, match=r"spec\.json is damaged"):
        store.read_json("submodels/k/spec.json")
    assert "its record cannot be removed" in capsys.readouterr().out


def test_damaged_weights_make_their_training_begin_again(store: Store) -> None:
    content = bytearray(store.read(f"submodels/k/{WEIGHTS}"))
    content[-1] ^= 1
    store.write(f"submodels/k/{WEIGHTS}", bytes(content))
    with pytest.raises(DamagedError, match=WEIGHTS):
        load_weights(store, "submodels/k")
    assert store.stage("submodels", "k").success() is None
    assert StoreCheckpoints(store, "submodels/k").load_last() is None


def test_a_failure_of_the_storage_is_no_damage(store: Store, monkeypatch: Any) -> None:
    table = pa.table({"a": [1, 2]})
    store.write_table("submodels/k/t.parquet", table, table.schema)
    monkeypatch.setattr(parquet, "VerifiedParquet", _failing)
    monkeypatch.setattr(Store, "read", _failing)
    with pytest.raises(OSError, match="the network is down"):
        store.read_table("submodels/k/t.parquet", table.schema)
    monkeypatch.undo()
    assert store.stage("submodels", "k").success() == RECORD


def _failing(*_: object) -> None:
    raise OSError("the network is down")


def test_one_failed_transfer_is_no_damage(store: Store, monkeypatch: Any) -> None:
    table = pa.table({"a": [1, 2]})
    store.write_table("submodels/k/t.parquet", table, table.schema)
    read, calls = pa.parquet.ParquetFile.read_row_groups, []

    def once(self: Any, *groups: Any, **options: Any) -> pa.Table:
        calls.append(1)
        return _failing() if len(calls) == 1 else read(self, *groups, **options)

    monkeypatch.setattr(pa.parquet.ParquetFile, "read_row_groups", once)
    assert store.read_table("submodels/k/t.parquet", table.schema) == table
    assert store.stage("submodels", "k").success() == RECORD


@pytest.mark.parametrize("checksum", [True, False])
def test_files_without_a_mark_are_read(store: Store, checksum: bool) -> None:
    table = pa.table({"a": [1, 2]})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, write_page_checksum=checksum)
    store.write("t.parquet", sink.getvalue().to_pybytes())
    assert store.read_table("t.parquet", table.schema) == table


def test_other_readers_read_marked_files() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    content = parquet.parquet_bytes(table)
    assert checksums.MARK in content
    assert pa.parquet.read_table(pa.BufferReader(content)) == table


def test_a_footer_longer_than_one_read_is_verified(store: Store) -> None:
    table = pa.table({f"column {number}": [1, 2] for number in range(800)})
    content = bytearray(parquet.parquet_bytes(table, row_group_size=1))
    assert len(content) - content.index(checksums.MARK) > checksums.TAIL_BYTES
    store.write("t.parquet", bytes(content))
    assert store.read_table("t.parquet", table.schema) == table
    content[content.index(checksums.MARK) + 100] ^= 1
    store.write("t.parquet", bytes(content))
    with pytest.raises(DamagedError, match="does not match its SHA-256"):
        store.read_table("t.parquet", table.schema)


def test_the_end_of_a_file_is_read_once() -> None:
    table = pa.table({"a": pa.array([b"x" * 500] * 2000), "b": [1] * 2000})
    file = io.BytesIO(parquet.parquet_bytes(table, row_group_size=500))
    reads: list[int] = []

    class Watched:
        closed, tell, seek, close = False, file.tell, file.seek, file.close

        def read(self, size: int = -1) -> bytes:
            reads.append(size)
            return file.read(size)

    opened = checksums.VerifiedParquet(pa.PythonFile(Watched(), mode="r"))
    ends = len(reads)
    assert opened.read_row_group(0, columns=["b"]).num_rows == 500
    assert (ends, max(reads)) == (1, min(checksums.TAIL_BYTES, len(file.getvalue())))
