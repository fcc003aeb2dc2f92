"""Launch training runs of submodels, stacks and ensembles, and record their results."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import pyarrow as pa
import torch

from musicrec.config.jobs import Config
from musicrec.config.sections import TrainSettings
from musicrec.models import count_parameters
from musicrec.pipeline.base import Outcome, Run, already_complete, run_stage, versions
from musicrec.registry.training_log import NullTrainingLog, training_log
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.stack import StackSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.lock import acquire
from musicrec.telemetry.progress import Meter
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.loop import Schedule
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.predictions import prediction_files
from musicrec.training.training_run import EXAMPLES, WORKERS, TrainingRun


def schedule(settings: Any, train: TrainSettings) -> Schedule:
    """Return the settings that a model's training loop reads, scaled by ``train.batch_factor``."""
    names = {field.name for field in dataclasses.fields(Schedule)} & {
        field.name for field in dataclasses.fields(settings)
    }
    values = {name: getattr(settings, name) for name in names}
    values["batch_size"] *= train.batch_factor
    values["learning_rates"] = tuple(
        rate * math.sqrt(train.batch_factor) for rate in settings.learning_rates
    )
    return Schedule(**values)


def objective_name(config: Config, settings: Any) -> str:
    """Return the key in ``OBJECTIVES`` of a model's objective."""
    return (
        f"{config.task}_by_neighbours"
        if getattr(settings, "select_by", "metric") == "neighbours"
        else config.task
    )


def launch_training_runs(run: Run, training_runs: list[TrainingRun]) -> dict[str, Outcome]:
    """Run training runs, as many at a time as configured, and return their outcomes by folder.

    If another job is running the same training run, this one waits and then finds it complete, or
    refuses (``lock.wait``).

    Raises
    ------
    TrainingFailed
        A training run failed; the others were finished.
    StageLocked
        Another job is working on one of them, and ``lock.wait`` is off.
    """
    with contextlib.ExitStack() as locks:
        # Every job acquires them in the same order, so that no two jobs wait for each other.
        for training_run in sorted(training_runs, key=lambda training_run: training_run.folder):
            label = f"train {training_run.name}"
            locks.enter_context(
                acquire(run.store, training_run.folder, label, wait=run.config.lock.wait)
            )
        complete: dict[str, Outcome] = {}
        for training_run in training_runs:
            stage = run.store.stage(*training_run.folder.split("/"))
            if stage.success():
                label = f"train {training_run.name}"
                complete[training_run.folder] = already_complete(stage, label)
        return complete | _train(
            run, [each for each in training_runs if each.folder not in complete]
        )


def _train(run: Run, training_runs: list[TrainingRun]) -> dict[str, Outcome]:
    """Run the training runs, whose locks this process holds."""
    if not training_runs:
        return {}
    from musicrec.runtime.cluster import connect
    from musicrec.training.distributed import train_all

    connect(run.config.ray)
    outcomes: dict[str, Outcome] = {}
    metrics = {each.name: OBJECTIVES[each.objective].metric_name for each in training_runs}
    facts = {f"version.{name}": version for name, version in versions().items()}
    opened = training_log(run.config, run.store, run.catalog_key, run.catalog.root, facts)
    if run.on_epoch is not None:
        # The caller logs the epochs: the trials of a search belong to the search's own run.
        opened = contextlib.nullcontext(NullTrainingLog())
    with opened as log, Meter("train", len(training_runs), "models") as meter:
        for each in training_runs:
            log.begin(each.name, each.folder.rpartition("/")[2], _parameters(run, each))

        def on_epoch(name: str, record: dict[str, float]) -> None:
            progress = f"epoch {record['epoch'] + 1}, {metrics[name]} {record['validation']:.3f}"
            meter.advance(0, **{name: progress})
            log.epoch(name, metrics[name], record)
            if run.on_epoch is not None:
                run.on_epoch(record)

        def on_done(training_run: TrainingRun) -> None:
            meter.drop(training_run.name)
            outcome = outcomes[training_run.folder] = _finish(run, training_run)
            log.end(training_run.name, metrics[training_run.name], outcome.record["history"])
            meter.advance(1)

        train_all(
            training_runs,
            run.config.train,
            on_epoch,
            on_done,
            lambda training_run, reason: log.fail(training_run.name, reason),
        )
    return outcomes


def _parameters(run: Run, training_run: TrainingRun) -> dict[str, Any]:
    """Return MLflow's parameters of a training run: its model, schedule, seed and size."""
    values = run.store.read_json(f"{training_run.folder}/spec.json")
    spec = {"submodel": SubmodelSpec, "stack": StackSpec, "ensemble": EnsembleSpec}[
        training_run.kind
    ].from_json(values)
    with torch.device("meta"):
        size = count_parameters(spec.build())
    return {
        "model": {
            name: value for name, value in values.items() if name not in ("vocabulary", "bins")
        },
        "schedule": dataclasses.asdict(training_run.schedule),
        "seed": training_run.seed,
        "task": training_run.objective,
        "fold": training_run.fold,
        "parameters": size,
        "workers": run.config.train.workers,
        "precision": run.config.train.precision,
    }


def _finish(run: Run, training_run: TrainingRun) -> Outcome:
    """Check the files of a finished training run and complete its stage."""
    folder = training_run.folder
    files = prediction_files(folder, run.store.read_json(f"{folder}/{WORKERS}")["workers"])
    track_id = pa.schema([EXAMPLES.field("track_id")])
    predicted = sum(run.store.read_table(name, track_id).num_rows for name in files)
    examples = run.store.read_table(
        f"{folder}/examples.parquet", EXAMPLES, columns=["track_id"]
    ).num_rows
    progress = StoreCheckpoints(run.store, folder).load_last()["progress"]
    history = progress["history"]
    record = {
        "model": training_run.name,
        "rows_in": examples + sum(training_run.left_out.values()),
        "rows_out": predicted,
        # Tracks that lack an input of a stack, or are not part of a fold's run.
        "rows_incomplete": examples - predicted,
        **{f"rows_{reason}": count for reason, count in training_run.left_out.items()},
        "epochs": progress["epoch"],
        "best_epoch": progress["best_epoch"] + 1,
        "metric": OBJECTIVES[training_run.objective].metric_name,
        "validation": progress["best"],
        "training_seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "history": history,
        "predictions": files,
    }
    stage = run.store.stage(*folder.split("/"))
    return run_stage(run, stage, lambda stage: record, f"train {training_run.name}")
