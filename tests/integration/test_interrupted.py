"""A driver killed with SIGKILL in training and in the ensemble: started again, the run completes with the same rows.

What was being trained ends with the weights of a training that nobody disturbed, and has one run in MLflow with every epoch once. It is
Ray Train that is killed first; the run goes on in Ray tasks, and the second one to be killed is such a task.
Kills in extraction have a test of their own (test_driver_kills.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from faulty_training import assert_same_training
from machines import Processes
from small_catalog import UserCatalog
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

COPIES = 4  # of each track, so that an epoch takes some hundredths of a second
EPOCHS = 250  # the workers of a killed driver train on for some seconds, in which they do up to a hundred


@pytest.fixture
def start(tmp_path: Path, catalog_of_users: UserCatalog) -> Iterator[Callable[[str], Processes]]:
    catalog = catalog_of_users.copy()
    catalog.tracks = [
        row | {"track_id": f"{row['track_id']}-copy{copy}"}
        for row in catalog.tracks
        for copy in range(COPIES)
    ]
    settings = tmp_path / "tiny.yaml"
    text = tiny_yaml(str(tmp_path / "store"), catalog.write(str(tmp_path / "catalog")), EPOCHS)
    settings.write_text(text.replace("batch_size: 8", "batch_size: 32"))
    drivers: list[Processes] = []

    def start(launch: str) -> Processes:
        log = tmp_path / f"driver-{len(drivers)}.log"
        drivers.append(
            start_job(log, "retrain", "--config", str(settings), "--train.launch", launch)
        )
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()


def unfinished(store: Path, stage: str) -> list[Path]:
    """Checkpoints of trainings that are under way and at least one epoch old."""
    return [
        path for path in store.glob(f"{stage}/*/last.pt") if not (path.parent / SUCCESS).exists()
    ]


def history(store: Store, checkpoint: Path) -> list[dict[str, float]]:
    state = StoreCheckpoints(store, str(checkpoint.parent.relative_to(store.root))).load_last()
    return state["progress"]["history"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_is_taken_up_where_it_was(
    start: Callable[[str], Processes], tmp_path: Path, catalog_of_users: UserCatalog
) -> None:
    folder, store = tmp_path / "store", Store(str(tmp_path / "store"))
    tracks = len(catalog_of_users.tracks) * COPIES

    driver = start("group")
    driver.wait_until(lambda: bool(unfinished(folder, "submodels")))
    driver.kill_first()
    caught = {path: history(store, path) for path in unfinished(folder, "submodels")}
    assert any(len(epochs) < EPOCHS for epochs in caught.values())  # in the middle of a training

    driver = start("task")
    driver.wait_until(lambda: bool(unfinished(folder, "ensembles")))
    driver.kill_first()
    (stacked,) = unfinished(folder, "ensembles")
    caught[stacked] = history(store, stacked)

    driver = start("task")
    driver.finish()
    check_rows(store, tracks)
    check_mlflow(store)
    check_weights(
        store, tmp_path / "tiny.yaml", [str(path.parent.relative_to(folder)) for path in caught]
    )
    for path, epochs in caught.items():
        record = json.loads((path.parent / SUCCESS).read_text())
        assert (
            record["history"][: len(epochs)] == epochs
        )  # continued, not begun anew: the seconds of each epoch are the same
    registered = [json.loads(path.read_text()) for path in folder.glob(f"registered/*/{SUCCESS}")]
    assert [(record["version"], record["alias"]) for record in registered] == [(1, "champion")]


def check_mlflow(store: Store) -> None:
    """One run and a child for each training, whoever logged which of its epochs."""
    client = mlflow.MlflowClient(f"sqlite:///{store.root}/mlflow.db")
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
    """The trainings in these folders, once more from the same tables, here and undisturbed."""
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
    """Every row is there once: features, index, predictions; and every epoch."""
    root = Path(store.root)
    facts = schema.pa.schema(schema.FEATURE_FACTS)
    parts = [
        store.read_table(str(path.relative_to(root)), facts)
        for path in root.glob("features/*/parts/*.parquet")
    ]
    rows = Counter(track for part in parts for track in part.column("track_id").to_pylist())
    assert len(rows) == tracks
    assert set(rows.values()) == {1}
    (extraction,) = (json.loads(path.read_text()) for path in root.glob(f"extract/*/{SUCCESS}"))
    assert (extraction["rows_in"], extraction["rows_out"], extraction["rows_in_errors"]) == (
        tracks,
        tracks,
        0,
    )
    records = [
        json.loads(path.read_text())
        for stage in ("submodels", "ensembles")
        for path in root.glob(f"{stage}/*/{SUCCESS}")
    ]
    assert {record["model"] for record in records} == {"mfcc.large_rnn", "lyrics", "recommendation"}
    for record in records:
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
