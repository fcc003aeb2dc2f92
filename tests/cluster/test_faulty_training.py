"""A training goes on after its worker process, and after the node that it works on, are killed with
SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faulty_training import EPOCHS, assert_same_training

from musicrec.storage.store import Store
from musicrec.training.checkpoints import StoreCheckpoints

SCRIPT = Path(__file__).with_name("faulty_training.py")


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_killed_worker_and_node_leave_the_weights_of_an_undisturbed_training(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[2]), "RAY_AUTH_MODE": "disabled"},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = next(
        json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"killed"')
    )
    assert told["killed"] == ["worker", "node", "done"]
    faulty, calm = (Store(str(tmp_path / name)) for name in ("faulty", "calm"))
    history = StoreCheckpoints(faulty, "submodels/key").load_last()["progress"]["history"]
    assert [record["epoch"] for record in history] == list(range(EPOCHS))  # no gap, no duplicate
    assert told["heard"] == sorted(set(told["heard"])) and set(told["heard"]) <= set(
        range(EPOCHS)
    )  # nor for those who follow it
    assert_same_training(faulty, "submodels/key", calm, "submodels/key")
