"""A training goes on after its worker process, and after the node that it works on, are killed with SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from musicrec.store import Store
from musicrec.training.checkpoints import StoreCheckpoints, load_weights

SCRIPT = Path(__file__).with_name("faulty_training.py")
TIMED = ("seconds", "examples_per_second", "peak_mebibytes", "ended")


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_killed_worker_and_node_leave_the_weights_of_an_undisturbed_training(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=270,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "RAY_AUTH_MODE": "disabled"},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = next(json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"killed"'))
    assert told["killed"] == ["worker", "node", "done"]
    stores = {name: Store(str(tmp_path / name)) for name in ("faulty", "calm")}
    history = {name: StoreCheckpoints(store, "submodels/key").load_last()["progress"]["history"] for name, store in stores.items()}
    assert [record["epoch"] for record in history["faulty"]] == list(range(9))  # no gap, no duplicate
    assert set(told["heard"]) <= set(range(9))
    without = {name: [{k: v for k, v in record.items() if k not in TIMED} for record in records] for name, records in history.items()}
    assert without["faulty"] == without["calm"]
    weights = {name: load_weights(store, "submodels/key") for name, store in stores.items()}
    assert weights["faulty"].keys() == weights["calm"].keys()
    assert all(torch.equal(weights["faulty"][name], weights["calm"][name]) for name in weights["calm"])
