"""Inspection of a store without a run: states, training runs and failures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from musicrec import schema
from musicrec.config.load import ConfigError
from musicrec.inspection.errors import failed_rows, grouped
from musicrec.inspection.status import stage_folders, status_of, status_table
from musicrec.storage.lock import acquire
from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def finish(
    store: Store, name: str, key: str, finished: float, errors: list[tuple[str, str]] = ()
) -> None:
    stage = store.stage(name, key)
    table = schema.ERRORS.empty_table().from_pylist(
        [
            {
                "track_id": track,
                "stage": name,
                "reason": reason,
                "detail": f"s3://me:secret@b/{track}: bad",
            }
            for track, reason in errors
        ],
        schema=schema.ERRORS,
    )
    store.write_table(stage.path("errors.parquet"), table, schema.ERRORS)
    stage.finish(
        {
            "rows_in": 9,
            "rows_out": 9 - len(errors),
            "rows_in_errors": len(errors),
            "seconds": 4.2,
            "finished": finished,
        }
    )


def test_the_newest_stage_comes_first_and_other_folders_are_no_stages(store: Store) -> None:
    finish(store, "extract", "old", 100.0)
    finish(store, "extract", "new", 200.0)
    store.write("features/key/parts/0000.parquet", b"x")
    store.write("catalog/key/tracks.parquet", b"x")
    folders = stage_folders(store)
    assert [(folder.stage.key, folder.state) for folder in folders] == [
        ("new", "complete"),
        ("old", "complete"),
    ]
    status = status_of(folders[0])
    assert (status.rows_in, status.rows_out, status.rows_in_errors, status.seconds) == (
        9,
        9,
        0,
        4.2,
    )
    assert status_table([status_of(folder) for folder in folders]).row_count == 2


def test_a_store_without_a_stage_is_a_mistaken_name(store: Store) -> None:
    with pytest.raises(ConfigError, match="no stage was ever started"):
        stage_folders(store)


def test_a_training_under_way_shows_its_owner_and_its_epochs(store: Store) -> None:
    history = [
        {"epoch": number, "validation": value} for number, value in enumerate((0.1, 0.3, 0.2))
    ]
    StoreCheckpoints(store, "submodels/key").save_last(
        {"progress": {"epoch": 3, "history": history}, "model": {"w": torch.zeros(2)}}
    )
    with acquire(store, "submodels/key", "train mel.time") as held:
        (folder,) = stage_folders(store)
        status = status_of(folder)
        assert (status.state, status.epoch, status.validation) == ("running", 3, 0.2)
        assert status.where == str(held.owner)
    (folder,) = stage_folders(store)
    assert status_of(folder).state == "interrupted"
    store.write(
        "submodels/key/last.pt", store.read("submodels/key/last.pt")[:100]
    )  # half of a file, as while it is replaced
    assert status_of(stage_folders(store)[0]).epoch is None


def test_errors_are_those_of_the_newest_run_by_reason(store: Store) -> None:
    finish(store, "extract", "old", 100.0, [("healed", "truncated")])
    finish(
        store, "extract", "new", 200.0, [("a", "not_found"), ("b", "truncated"), ("c", "truncated")]
    )
    store.write("submodels/key/spec.json", b"{}")
    store.write("submodels/key/diverged.txt", b"the loss is nan in epoch 3")
    rows = failed_rows(store)
    groups = grouped(rows, examples=1)
    result = [(group.stage, group.reason, group.count) for group in groups]
    assert result == [
        ("extract", "truncated", 2),
        ("extract", "not_found", 1),
        ("submodels", "diverged", 1),
    ]
    assert groups[0].examples[0]["track_id"] == "b"
    assert groups[2].examples[0]["detail"] == "the loss is nan in epoch 3"
    assert "secret" not in str(rows.to_pylist())
