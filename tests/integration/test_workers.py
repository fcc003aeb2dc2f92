"""Two workers of Ray Train share a training's batches, and learn what one learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import EPOCHS, prepare

from musicrec.config.sections import TrainSettings
from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.distributed import train_all
from musicrec.training.loop import World
from musicrec.training.training_run import TrainingRun
from musicrec.training.training_run import run as train_here

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at


@pytest.fixture
def histories(ray_session: None, tmp_path: Path) -> dict[int, list[dict[str, float]]]:
    """The epochs' records of the same training run in this process, and in two workers: an elastic
    group of three, of which two CPUs allow two."""
    local, task = prepare(str(tmp_path / "local")), prepare(str(tmp_path / "group"))
    train_here(local, World(), lambda model: model)
    epochs: list[float] = []
    ended: list[TrainingRun] = []

    def on_epoch(_: str, record: dict[str, Any]) -> None:
        epochs.append(record["epoch"])

    settings = TrainSettings(workers=3, minimum_workers=1)
    train_all([task], settings, on_epoch, ended.append, lambda _, reason: pytest.fail(reason))
    assert ended == [task]
    assert epochs == list(range(EPOCHS))
    return {1: history(local), 2: history(task)}


def history(task: TrainingRun) -> list[dict[str, float]]:
    return StoreCheckpoints(Store(task.store), task.folder).load_last()["progress"]["history"]


def test_an_elastic_group_has_the_same_loss_curve(
    histories: dict[int, list[dict[str, float]]],
) -> None:
    one, two = (
        np.array([[epoch["loss"], epoch["validation"]] for epoch in histories[workers]])
        for workers in (1, 2)
    )
    assert np.ptp(one[:, 0]) > 0.01, json.dumps(one.tolist())  # it learns: not two flat lines
    np.testing.assert_allclose(two, one, atol=1e-5)
