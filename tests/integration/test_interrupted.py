"""A driver killed with SIGKILL in training and in the ensemble; run again, the job completes.

It ends with the same rows. What was being trained ends with the weights of an undisturbed training,
and has one run in MLflow with every epoch once. The first kill hits Ray Train, the second a Ray
task. Each kill happens while the S3 server holds the upload of a checkpoint, so it needs no race
against the training. Kills in extraction are in test_cluster.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faulty_s3 import FaultyS3
from machines import Processes
from small_catalog import UserCatalog
from small_run import start_job, tiny_yaml
from store_checks import (
    check_extraction,
    check_mlflow,
    check_training_runs,
    check_weights,
    records,
    unfinished,
)

from musicrec.storage.store import SUCCESS, Store
from musicrec.training.checkpoints import StoreCheckpoints

EPOCHS = 4


@dataclass(frozen=True)
class Interrupted:
    """A run whose drivers are killed: its storage, settings, store and MLflow database."""

    storage: FaultyS3
    endpoint: str
    settings: Path
    store: Store
    mlflow_uri: str

    def start(self, launch: str) -> Processes:
        """Start a driver; ``launch`` is that of its training runs."""
        number = len(list(self.settings.parent.glob("driver-*.log")))
        return start_job(
            self.settings.parent / f"driver-{number}.log",
            "retrain",
            *("--config", str(self.settings), "--train.launch", launch),
            AWS_ENDPOINT_URL=self.endpoint,
            MLFLOW_TRACKING_URI=self.mlflow_uri,
        )

    def history(self, folder: str) -> list[dict[str, float]]:
        return StoreCheckpoints(self.store, folder).load_last()["progress"]["history"]

    def kill_in(self, stage: str, launch: str) -> dict[str, list[dict[str, float]]]:
        """Kill a driver after the stage's first checkpoint; return the epochs in each
        checkpoint."""
        driver = self.start(launch)
        try:
            with self.storage.held(rf"/{stage}/.*/last.pt", after=1):
                driver.wait_until(lambda: self.storage.waiting > 0)
                driver.kill_first()
                return {folder: self.history(folder) for folder in unfinished(self.store, stage)}
        finally:
            driver.kill()


@pytest.fixture
def interrupted(
    tmp_path: Path, s3_server: Any, catalog_of_users: UserCatalog
) -> Iterator[Interrupted]:
    storage, root = FaultyS3(s3_server.endpoint, share=0.0), s3_server.fresh()
    settings = tmp_path / "tiny.yaml"
    catalog = catalog_of_users.copy().write(f"{root}/catalog")
    settings.write_text(tiny_yaml(f"{root}/store", catalog, EPOCHS))
    with storage.running() as endpoint:
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        yield Interrupted(storage, endpoint, settings, Store(f"{root}/store"), uri)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_continues_where_it_was(
    interrupted: Interrupted, catalog_of_users: UserCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = interrupted.store
    caught = interrupted.kill_in("submodels", "group")
    assert any(len(epochs) < EPOCHS for epochs in caught.values())  # in the middle of a training
    caught |= interrupted.kill_in("ensembles", "task")
    assert any(folder.startswith("ensembles/") for folder in caught)

    driver = interrupted.start("task")
    driver.finish()
    check_extraction(store, catalog_of_users.track_ids())
    check_training_runs(store)
    check_mlflow(interrupted.mlflow_uri, "1", "musicrec", EPOCHS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", interrupted.mlflow_uri)
    check_weights(store, interrupted.settings, list(caught))
    for folder, epochs in caught.items():
        record = store.read_json(f"{folder}/{SUCCESS}")
        # Continued, not started anew: the seconds of each epoch are the same.
        assert record["history"][: len(epochs)] == epochs
    registered = records(store, "registered")
    assert [(record["version"], record["alias"]) for record in registered] == [(1, "champion")]
