"""Trainings of a run, submodels and stacks alike: through Ray Train, and their records when they are done."""

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
    """The part of a model's settings that its training loop takes, scaled to the run's batches."""
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
    """The key in ``OBJECTIVES`` of a model's training."""
    return (
        f"{config.task}_by_neighbours"
        if getattr(settings, "select_by", "metric") == "neighbours"
        else config.task
    )


def run_trainings(run: Run, tasks: list[TrainingRun]) -> dict[str, Outcome]:
    """Run the trainings, as many at a time as configured; their outcomes by folder.

    Of two runs of the same training the second waits for the first and then finds it complete, or refuses (``lock.wait``).

    Raises
    ------
    TrainingFailed
        A training failed; the others were finished.
    StageLocked
        Another run is at work on one of them, and this one is not to wait.
    """
    with contextlib.ExitStack() as locks:
        for task in sorted(
            tasks, key=lambda task: task.folder
        ):  # in one order in every run, so that no two wait for each other
            locks.enter_context(
                acquire(run.store, task.folder, f"train {task.name}", wait=run.config.lock.wait)
            )
        stages = {task.folder: run.store.stage(*task.folder.split("/")) for task in tasks}
        done = {
            task.folder: already_complete(stages[task.folder], f"train {task.name}")
            for task in tasks
            if stages[task.folder].success()
        }
        return done | _run(run, [task for task in tasks if task.folder not in done])


def _run(run: Run, tasks: list[TrainingRun]) -> dict[str, Outcome]:
    """Run the trainings, whose locks this process holds."""
    if not tasks:
        return {}
    from musicrec.runtime.cluster import connect
    from musicrec.training.distributed import train_all

    connect(run.config.ray)
    outcomes: dict[str, Outcome] = {}
    metrics = {task.name: OBJECTIVES[task.objective].metric_name for task in tasks}
    facts = {f"version.{name}": version for name, version in versions().items()}
    logged = training_log(run.config, run.store, run.catalog_key, run.catalog.root, facts)
    if run.on_epoch is not None:
        logged = contextlib.nullcontext(
            NullTrainingLog()
        )  # who follows the epochs logs them: a search's trials belong to its own run
    with logged as log, Meter("train", len(tasks), "models") as meter:
        for task in tasks:
            log.begin(task.name, task.folder.rpartition("/")[2], _parameters(run, task))

        def on_epoch(name: str, record: dict[str, float]) -> None:
            meter.advance(
                0,
                **{
                    name: f"epoch {record['epoch'] + 1}, {metrics[name]} {record['validation']:.3f}"
                },
            )
            log.epoch(name, metrics[name], record)
            if run.on_epoch is not None:
                run.on_epoch(record)

        def on_done(task: TrainingRun) -> None:
            meter.drop(task.name)
            outcome = outcomes[task.folder] = _finish(run, task)
            log.end(task.name, metrics[task.name], outcome.record["history"])
            meter.advance(1)

        train_all(
            tasks,
            run.config.train,
            on_epoch,
            on_done,
            lambda task, reason: log.fail(task.name, reason),
        )
    return outcomes


def _parameters(run: Run, task: TrainingRun) -> dict[str, Any]:
    """What MLflow shows of a training: its model, schedule, seed and size."""
    values = run.store.read_json(f"{task.folder}/spec.json")
    spec = {"submodel": SubmodelSpec, "stack": StackSpec, "ensemble": EnsembleSpec}[
        task.kind
    ].from_json(values)
    with torch.device("meta"):
        size = count_parameters(spec.build())
    return {
        "model": {
            name: value for name, value in values.items() if name not in ("vocabulary", "bins")
        },
        "schedule": dataclasses.asdict(task.schedule),
        "seed": task.seed,
        "task": task.objective,
        "fold": task.fold,
        "parameters": size,
        "workers": run.config.train.workers,
        "precision": run.config.train.precision,
    }


def _finish(run: Run, task: TrainingRun) -> Outcome:
    """Check what a training left behind and make its stage complete."""
    files = prediction_files(
        task.folder, run.store.read_json(f"{task.folder}/{WORKERS}")["workers"]
    )
    predicted = sum(
        run.store.read_table(name, pa.schema([EXAMPLES.field("track_id")])).num_rows
        for name in files
    )
    examples = run.store.read_table(
        f"{task.folder}/examples.parquet", EXAMPLES, columns=["track_id"]
    ).num_rows
    progress = StoreCheckpoints(run.store, task.folder).load_last()["progress"]
    history = progress["history"]
    record = {
        "model": task.name,
        "rows_in": examples,
        "rows_out": predicted,
        "rows_incomplete": examples
        - predicted,  # tracks without what a stack needs, or outside a fold
        "epochs": progress["epoch"],
        "best_epoch": progress["best_epoch"] + 1,
        "metric": OBJECTIVES[task.objective].metric_name,
        "validation": progress["best"],
        "training_seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "history": history,
        "predictions": files,
    }
    name, key = task.folder.split("/")
    return run_stage(run, run.store.stage(name, key), lambda stage: record, f"train {task.name}")
