"""Damaged objects of a store: an error that names the object, not done, or the same value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musicrec.inspection.status import stage_folders, status_of
from musicrec.storage.lock import Times, acquire, owner_of
from musicrec.storage.record import DamagedError
from musicrec.storage.store import BLOCKS, SUCCESS, Store, complete_stages
from musicrec.training.checkpoints import WEIGHTS, StoreCheckpoints, load_weights

FLIPS = 200
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


def plain(value: Any) -> Any:
    """Return a value that ``==`` compares whole."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.tolist()
    return {k: plain(v) for k, v in value.items()} if isinstance(value, dict) else value


KINDS: dict[str, Callable[[Store], Any]] = {
    SUCCESS: lambda store: store.stage("submodels", "k").success(),
    WEIGHTS: lambda store: load_weights(store, "submodels/k"),
    "last.pt": lambda store: StoreCheckpoints(store, "submodels/k").load_last(),
}


@pytest.mark.parametrize("name", KINDS)
def test_no_flipped_bit_gives_another_value(
    name: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    read, file = KINDS[name], f"submodels/k/{name}"
    whole, expected = store.read(file), plain(read(store))
    for bit in np.random.default_rng(7).choice(8 * len(whole), FLIPS, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        store.write(file, bytes(damaged))
        capsys.readouterr()
        try:
            value = plain(read(store))
        except DamagedError as error:
            assert name in str(error)
            continue
        if value is None:
            assert name in capsys.readouterr().out
        else:
            assert value == expected, f"bit {bit}"


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
