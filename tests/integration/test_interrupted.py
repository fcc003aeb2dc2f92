"""A driver killed with SIGKILL in training and in the ensemble; run again, the job completes.

It ends with the same rows. What was being trained ends with the weights of an undisturbed training,
and has one run in MLflow with every epoch once. The first kill hits Ray Train, the second a Ray
task. Each kill happens while the S3 server holds the upload of a checkpoint, so it needs no race
against the training. Kills in extraction have a test of their own (test_driver_kills.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from faulty_s3 import FaultyS3
from faulty_training import assert_same_training
from machines import Processes
from small_catalog import UserCatalog, files_under
from small_run import start_job, tiny_yaml

from musicrec import schema
from musicrec.config.load import from_yaml
from musicrec.pipeline.ensemble import ensemble_training_run
from musicrec.pipeline.retrain import train_stacks
from musicrec.pipeline.train import submodel_training_run
from musicrec.storage.store import SUCCESS, Store
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.loop import World
from musicrec.training.predictions import NO_FOLD
from musicrec.training.training_run import run as train_here

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

    def unfinished(self, stage: str) -> list[str]:
        """Return the folders of training runs with a checkpoint and without a record."""
        names = set(files_under(self.store.root, stage))
        folders = [name.removesuffix("/last.pt") for name in names if name.endswith("/last.pt")]
        return [folder for folder in folders if f"{folder}/{SUCCESS}" not in names]

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
                return {folder: self.history(folder) for folder in self.unfinished(stage)}
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
    check_rows(store, len(catalog_of_users.tracks))
    check_mlflow(interrupted.mlflow_uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", interrupted.mlflow_uri)
    check_weights(store, interrupted.settings, list(caught))
    for folder, epochs in caught.items():
        record = store.read_json(f"{folder}/{SUCCESS}")
        # Continued, not started anew: the seconds of each epoch are the same.
        assert record["history"][: len(epochs)] == epochs
    registered = records(store, "registered")
    assert [(record["version"], record["alias"]) for record in registered] == [(1, "champion")]


def records(store: Store, *stages: str) -> list[dict[str, Any]]:
    names = [name for stage in stages for name in sorted(files_under(store.root, stage))]
    return [store.read_json(name) for name in names if name.endswith(f"/{SUCCESS}")]


def check_mlflow(uri: str) -> None:
    """Check for one run and a child per training, whichever driver logged an epoch."""
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("musicrec").experiment_id])
    assert sorted(run.info.run_name for run in runs) == [
        "lyrics",
        "mfcc.large_rnn",
        "musicrec",
        "recommendation",
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        if "mlflow.parentRunId" in run.data.tags:
            for metric in ("loss", "validation_cosine"):
                steps = [
                    logged.step for logged in client.get_metric_history(run.info.run_id, metric)
                ]
                assert sorted(steps) == list(range(EPOCHS))  # no gap, no duplicate


def check_weights(store: Store, settings: Path, folders: list[str]) -> None:
    """Repeat the training runs in these folders from the same tables, undisturbed, and compare."""
    done = train_stacks(from_yaml(settings.read_text(), str(settings)))
    run, targeted, trained = done.submodels.run, done.submodels.targeted, done.submodels.trained
    for name, outcome in done.models.items():
        if outcome.stage.folder in folders:
            calm = store.stage("calm", outcome.stage.key)
            if name == "recommendation":
                task = ensemble_training_run(run, calm, targeted, trained)
            else:
                task = submodel_training_run(
                    run, name, NO_FOLD, calm, done.submodels.extracted, targeted
                )
            train_here(task, World(), lambda model: model)
            assert_same_training(store, outcome.stage.folder, store, calm.folder)
            folders.remove(outcome.stage.folder)
    assert not folders


def check_rows(store: Store, tracks: int) -> None:
    """Check that every row is there once: features, index, predictions; and every epoch."""
    facts = schema.pa.schema(schema.FEATURE_FACTS)
    parts = [
        store.read_table(name, facts)
        for name in files_under(store.root, "features")
        if "/parts/" in name
    ]
    rows = Counter(track for part in parts for track in part.column("track_id").to_pylist())
    assert len(rows) == tracks
    assert set(rows.values()) == {1}
    (extraction,) = records(store, "extract")
    assert (extraction["rows_in"], extraction["rows_out"], extraction["rows_in_errors"]) == (
        tracks,
        tracks,
        0,
    )
    trained = records(store, "submodels", "ensembles")
    assert {record["model"] for record in trained} == {"mfcc.large_rnn", "lyrics", "recommendation"}
    for record in trained:
        assert [epoch["epoch"] for epoch in record["history"]] == list(range(EPOCHS))
        predicted = [store.read_table(name, schema.PREDICTIONS) for name in record["predictions"]]
        ids = Counter(
            track for table in predicted for track in table.column("track_id").to_pylist()
        )
        assert (
            len(ids)
            == record["rows_out"]
            == (tracks // 2 if record["model"] == "lyrics" else tracks)
        )
        assert set(ids.values()) == {1}
