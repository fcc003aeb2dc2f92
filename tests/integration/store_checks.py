"""What a store must hold after a run that was disturbed: each row once, each epoch once, and the
weights of an undisturbed training run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import mlflow
from small_catalog import files_under
from small_training import assert_same_training

from musicrec import schema
from musicrec.config.load import from_yaml
from musicrec.pipeline.ensemble import ensemble_training_run
from musicrec.pipeline.retrain import train_stacks
from musicrec.pipeline.train import submodel_training_run
from musicrec.storage.store import SUCCESS, Store
from musicrec.training.loop import World
from musicrec.training.predictions import NO_FOLD
from musicrec.training.training_run import run as train_here


def records(store: Store, *stages: str) -> list[dict[str, Any]]:
    """Return the records of the stages' complete folders."""
    names = [name for stage in stages for name in sorted(files_under(store.root, stage))]
    return [store.read_json(name) for name in names if name.endswith(f"/{SUCCESS}")]


def feature_parts(store: Store) -> list[str]:
    """Return the names of the stored blocks of features."""
    return [name for name in sorted(files_under(store.root, "features")) if "/parts/" in name]


def unfinished(store: Store, stage: str) -> list[str]:
    """Return the folders of training runs with a checkpoint and without a record."""
    names = set(files_under(store.root, stage))
    folders = [name.removesuffix("/last.pt") for name in names if name.endswith("/last.pt")]
    return [folder for folder in folders if f"{folder}/{SUCCESS}" not in names]


def extracted_tracks(store: Store) -> Counter[str]:
    """Count the rows of each track in the stored features."""
    facts = schema.pa.schema(schema.FEATURE_FACTS)
    return Counter(
        track
        for part in feature_parts(store)
        for track in store.read_table(part, facts).column("track_id").to_pylist()
    )


def check_extraction(store: Store, tracks: Collection[str]) -> None:
    """Check that the record counts every track and that each is stored once."""
    (record,) = records(store, "extract")
    counts = (record["rows_in"], record["rows_out"], record["rows_in_errors"])
    assert counts == (len(tracks), len(tracks), 0)
    assert extracted_tracks(store) == Counter(tracks)


def check_training_runs(store: Store) -> None:
    """Check that each training run has every epoch, and a prediction for every row, once."""
    for record in records(store, "submodels", "ensembles"):
        assert [epoch["epoch"] for epoch in record["history"]] == list(range(record["epochs"]))
        predicted = [store.read_table(name, schema.PREDICTIONS) for name in record["predictions"]]
        ids = Counter(
            track for table in predicted for track in table.column("track_id").to_pylist()
        )
        assert (len(ids), set(ids.values())) == (record["rows_out"], {1})
        assert record["rows_in"] == record["rows_out"] + record["rows_incomplete"]


def check_mlflow(uri: str, version: str, experiment: str, epochs: int) -> None:
    """Check that a registered version has one run per model with every epoch once, whichever driver
    logged it."""
    client = mlflow.MlflowClient(uri)
    parent = client.get_model_version("musicrec", version).run_id
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent]
    assert len(runs) == len(children) + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    names = sorted(run.info.run_name for run in children)
    assert names == ["lyrics", "mfcc.large_rnn", "recommendation"]
    for run in children:
        for metric in ("loss", "validation_cosine"):
            steps = [logged.step for logged in client.get_metric_history(run.info.run_id, metric)]
            assert sorted(steps) == list(range(epochs))  # no gap, no duplicate


def check_weights(store: Store, settings: Path, folders: list[str]) -> None:
    """Repeat the training runs in these folders from the same tables, undisturbed, and compare."""
    done = train_stacks(from_yaml(settings.read_text(), str(settings)))
    run, targeted, trained = done.submodels.run, done.submodels.targeted, done.submodels.trained
    remaining = set(folders)
    for name, outcome in done.models.items():
        if outcome.stage.folder in remaining:
            calm = store.stage("calm", outcome.stage.key)
            if name == "recommendation":
                task = ensemble_training_run(run, calm, targeted, trained)
            else:
                task = submodel_training_run(
                    run, name, NO_FOLD, calm, done.submodels.extracted, targeted
                )
            train_here(task, World(), lambda model: model)
            assert_same_training(store, outcome.stage.folder, store, calm.folder)
            remaining.remove(outcome.stage.folder)
    assert not remaining


def final_table(store: Store) -> dict[str, dict[str, Any]]:
    """Return the test scores of every model and baseline."""
    (name,) = (
        name for name in files_under(store.root, "evaluation") if name.endswith("results.json")
    )
    return store.read_json(name)


def figures(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number at any depth with its path."""
    if isinstance(value, int | float):
        yield name, value
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from figures(child, f"{name}/{key}")
