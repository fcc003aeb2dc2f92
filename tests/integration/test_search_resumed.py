"""A search killed with SIGKILL half-way: the same command goes on, and ends with every trial
trained once."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from machines import Processes
from small_run import Retrained, start_job, tiny_yaml

from musicrec.config.load import preset
from musicrec.storage.store import SUCCESS, Store
from musicrec.training.checkpoints import StoreCheckpoints

NAME, TRIALS, EPOCHS = "mfcc.large_rnn", 3, 20
SPACE = """
architecture: large_rnn
search:
  learning_rate: {log_range: [0.001, 0.1]}
  time_mask: {range: [0.0, 0.3]}
"""


@pytest.fixture
def start(tmp_path: Path, retrained: Retrained) -> Iterator[Callable[[], Processes]]:
    """The search, in a copy of the finished run's store. Its trials are Ray tasks, which take
    seconds, and none is stopped early."""
    shutil.copytree(
        retrained.store, tmp_path / "store", ignore=shutil.ignore_patterns("searches")
    )  # those of other tests
    (tmp_path / "tiny.yaml").write_text(
        tiny_yaml(str(tmp_path / "store"), retrained.config.catalog, EPOCHS)
    )
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = {
        "config": tmp_path / "tiny.yaml",
        "submodel": NAME,
        "space": tmp_path / "space.yaml",
        "trials": TRIALS,
    }
    arguments |= {"grace-epochs": EPOCHS, "registry.experiment": "search"}
    drivers: list[Processes] = []

    def start() -> Processes:
        log = tmp_path / f"driver-{len(drivers)}.log"
        drivers.append(
            start_job(
                log,
                "tune",
                *(part for name, value in arguments.items() for part in (f"--{name}", str(value))),
            )
        )
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_search_goes_on_and_trains_every_trial_once(
    start: Callable[[], Processes], tmp_path: Path, retrained: Retrained
) -> None:
    root, store = tmp_path / "store", Store(str(tmp_path / "store"))
    before = set(root.glob("submodels/*"))

    def trials(finished: bool) -> dict[str, list[dict[str, float]]]:
        """The epochs of the trials' trainings that have one at least, by folder."""
        folders = [
            path.parent for path in root.glob("submodels/*/last.pt") if path.parent not in before
        ]
        named = [
            f"submodels/{folder.name}"
            for folder in folders
            if (folder / SUCCESS).exists() == finished
        ]
        return {
            name: StoreCheckpoints(store, name).load_last()["progress"]["history"] for name in named
        }

    driver = start()
    driver.wait_until(lambda: len(trials(finished=True)) == 1 and bool(trials(finished=False)))
    driver.kill_first()
    ended, interrupted = trials(finished=True), trials(finished=False)
    assert len(ended) + len(interrupted) < TRIALS

    driver = start()
    driver.finish()
    done = trials(finished=True)
    assert len(done) == TRIALS
    for folder, epochs in (ended | interrupted).items():
        assert done[folder][: len(epochs)] == epochs  # the same to the second: not trained again
    assert all(
        [epoch["epoch"] for epoch in epochs] == list(range(len(epochs))) for epochs in done.values()
    )

    (stage,) = root.glob("searches/*")
    rows = list(csv.DictReader((stage / "trials.csv").open()))
    assert [row["number"] for row in rows] == [str(number) for number in range(1, TRIALS + 1)]
    assert {row["training"] for row in rows} == done.keys()
    assert max(float(row["validation"]) for row in rows) >= float(
        rows[0]["validation"]
    )  # trial 1 is the configuration as it was
    best = max(rows, key=lambda row: float(row["validation"]))
    assert preset(str(stage / "preset.yaml")).models[NAME].time_mask == float(best["time_mask"])

    client = mlflow.MlflowClient(f"sqlite:///{root}/mlflow.db")
    runs = {
        run.info.run_name: run.info
        for run in client.search_runs([client.get_experiment_by_name("search").experiment_id])
    }
    assert runs.keys() == {f"tune {NAME}", *(f"trial {row['number']}" for row in rows)}
    for row in rows:
        logged = client.get_metric_history(
            runs[f"trial {row['number']}"].run_id, "validation_cosine"
        )
        assert [metric.step for metric in logged] == list(range(int(row["epochs"])))
    kept = {file.path for file in client.list_artifacts(runs[f"tune {NAME}"].run_id)}
    assert {"trials.csv", "preset.yaml", "parallel_coordinates.png", "importance.png"} <= kept
