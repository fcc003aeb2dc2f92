"""A search with real Ray Tune and Train: its trials are trainings that never see the test split;
one that diverges does not end it."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from small_catalog import files_under
from small_run import Retrained

from musicrec import schema
from musicrec.config.jobs import Config, TuneConfig
from musicrec.config.load import preset
from musicrec.config.sections import RegistrySettings
from musicrec.registry.training_log import REASON_TAG
from musicrec.storage.store import SUCCESS, Store
from musicrec.training.training_run import EXAMPLES

pytestmark = pytest.mark.timeout(
    600
)  # the first test of a session waits for the retrain that all look at

NAME = "mfcc.large_rnn"
SPACE = """
architecture: large_rnn
search:
  learning_rate: {choice: [0.01, 3.0e+37]}
  time_mask: {choice: [0.0, 0.1]}
"""


@pytest.fixture(scope="module")
def config(retrained: Retrained, tmp_path_factory: pytest.TempPathFactory) -> TuneConfig:
    """A search in a copy of the finished run's store, which has all that comes before the
    trainings."""
    folder = tmp_path_factory.mktemp("tune")
    shutil.copytree(retrained.store, folder / "store")
    (folder / "space.yaml").write_text(SPACE)
    # With a weight decay the great rate overflows in the second step, whatever the gradients are.
    mfcc = dataclasses.replace(retrained.config.models[NAME], weight_decay=0.1, batch_size=4)
    models = retrained.config.models | {NAME: mfcc}
    changes = {
        "models": models,
        "store": str(folder / "store"),
        "registry": RegistrySettings(experiment="search"),
    }
    return TuneConfig(
        **(vars(retrained.config) | changes),
        submodel=NAME,
        space=str(folder / "space.yaml"),
        trials=3,
    )


@pytest.fixture(scope="module")
def searched(config: TuneConfig) -> Any:
    from tune.search import search

    return search(config)


def test_a_trial_that_diverges_fails_and_the_search_goes_on(
    searched: Any, retrained: Retrained
) -> None:
    rows = {row["number"]: row for row in searched.record["rows"]}
    assert list(rows) == [1, 2, 3]
    diverged = [row for row in rows.values() if row["values"]["learning_rate"] == 3e37]
    assert diverged
    for row in rows.values():
        assert row["state"] == ("failed" if row in diverged else row["state"])
    for row in diverged:
        said = re.fullmatch(
            r".*Diverged: the loss is nan in epoch 0 at learning rate 3e\+37: .* the batch: (.*)",
            row["reason"],
        )
        assert set(said[1].split(", ")) <= {
            track["track_id"] for track in retrained.catalog.tracks if track["split"] == "train"
        }
    assert rows[1]["state"] == "trained"  # the configuration's own values come first
    assert rows[1]["values"] == {"learning_rate": 0.01, "time_mask": 0.0}


def test_no_test_track_is_in_a_searchs_folder(
    searched: Any, config: TuneConfig, retrained: Retrained
) -> None:
    store = Store(config.store)
    test = {row["track_id"] for row in retrained.catalog.tracks if row["split"] == "test"}
    assert test
    for row in searched.record["rows"]:
        examples = store.read_table(f"{row['training']}/examples.parquet", EXAMPLES)
        assert set(examples.column("split").to_pylist()) == {"train", "validation"}
        assert not test & set(examples.column("track_id").to_pylist())
        assert row["training"] != retrained.done.models[NAME].stage.folder
        for name in files_under(config.store, row["training"]):
            if "predictions" in name:
                assert not test & set(
                    store.read_table(f"{row['training']}/{Path(name).name}", schema.PREDICTIONS)
                    .column("track_id")
                    .to_pylist()
                )


def test_the_winner_is_a_preset(searched: Any, config: TuneConfig) -> None:
    best = next(row for row in searched.record["rows"] if row["number"] == searched.record["best"])
    assert best["state"] == "trained"
    assert searched.record["validation"] == max(
        row["validation"] for row in searched.record["rows"] if row["state"] == "trained"
    )
    found = preset(searched.record["preset"])
    assert type(found) is Config
    assert found.models[NAME].time_mask == best["values"]["time_mask"]
    assert found.models["lyrics"] == config.models["lyrics"]
    assert (found.store, found.catalog, found.seed, found.extract, found.embed) == (
        config.store,
        config.catalog,
        config.seed,
        config.extract,
        config.embed,
    )
    text = Path(searched.record["preset"]).read_text()
    assert text.startswith(f"# The best of 3 trials of {NAME}, trial {best['number']}.\n")


def test_the_table_has_a_row_a_trial(searched: Any, config: TuneConfig) -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(Store(config.store).read(searched.stage.path("trials.csv")).decode())
        )
    )
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    for row, recorded in zip(rows, searched.record["rows"], strict=True):
        assert (row["state"], row["learning_rate"]) == (
            recorded["state"],
            str(recorded["values"]["learning_rate"]),
        )


def test_mlflow_has_a_run_a_trial_under_the_searchs(searched: Any, config: TuneConfig) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{config.store}/mlflow.db")
    experiment = client.get_experiment_by_name("search").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert set(runs) == {f"tune {NAME}", "trial 1", "trial 2", "trial 3"}
    parent = runs[f"tune {NAME}"].info.run_id
    for row in searched.record["rows"]:
        run = runs[f"trial {row['number']}"]
        assert run.data.tags["mlflow.parentRunId"] == parent
        assert (run.info.status, run.data.tags.get(REASON_TAG)) == (
            "FAILED" if row["state"] == "failed" else "FINISHED",
            row["reason"],
        )
        assert run.data.params["time_mask"] == str(row["values"]["time_mask"])
        epochs = client.get_metric_history(run.info.run_id, "validation_cosine")
        assert [metric.step for metric in epochs] == list(range(row["epochs"]))
    assert {"trials.csv", "preset.yaml"} <= {file.path for file in client.list_artifacts(parent)}


def test_a_finished_search_does_nothing(
    searched: Any, config: TuneConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    from tune.search import search

    before = files_under(config.store)
    assert not search(config).worked
    assert files_under(config.store) == before
    said = capsys.readouterr().out
    assert "already complete, nothing to do" in said
    assert f"3 trials of {NAME}" in said


def test_a_longer_search_finds_the_trainings_that_ended(searched: Any, config: TuneConfig) -> None:
    """What a restored search does with a trial whose training had ended: its epochs are reported,
    nothing is trained."""
    from musicrec.studies.search import train_trial
    from tune.search import _prepare

    reported: list[dict[str, Any]] = []
    before = files_under(config.store)
    best = next(row for row in searched.record["rows"] if row["number"] == searched.record["best"])
    train_trial(best, _prepare(config), reported.append)
    assert files_under(config.store) == before
    assert [report["epoch"] for report in reported] == list(range(1, best["epochs"] + 1))
    assert reported[-1]["validation"] == best["validation"]


def test_a_search_that_was_killed_as_it_ended_runs_no_trial(
    searched: Any, config: TuneConfig
) -> None:
    from tune.search import search

    store, trials = Store(config.store), searched.stage.path("trials")
    before = files_under(config.store, trials), files_under(config.store, "submodels")
    store.remove(searched.stage.path(SUCCESS))
    assert search(config).record["rows"] == searched.record["rows"]
    assert (files_under(config.store, trials), files_under(config.store, "submodels")) == before
