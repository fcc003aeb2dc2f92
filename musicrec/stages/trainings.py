"""Trainings of a run, submodels and stacks alike: through Ray Train, and their records when they are done."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pyarrow as pa

from musicrec.progress import Meter
from musicrec.settings import TrainSettings
from musicrec.stages.base import Outcome, Run, run_stage
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.loop import Schedule
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.outputs import prediction_files
from musicrec.training.tasks import EXAMPLES, WORKERS, Task


def schedule(settings: Any, train: TrainSettings) -> Schedule:
    """The part of a model's settings that its training loop takes, scaled to the run's batches."""
    names = {field.name for field in dataclasses.fields(Schedule)} & {field.name for field in dataclasses.fields(settings)}
    values = {name: getattr(settings, name) for name in names}
    values["batch_size"] *= train.batch_factor
    values["learning_rates"] = tuple(rate * math.sqrt(train.batch_factor) for rate in settings.learning_rates)
    return Schedule(**values)


def decides(train: TrainSettings) -> dict[str, Any]:
    """What of the way of training decides its result, beside the model's own settings: a part of a training's key."""
    defaults = TrainSettings()
    return {name: value for name in ("batch_factor", "precision") if (value := getattr(train, name)) != getattr(defaults, name)}


def run_trainings(run: Run, tasks: list[Task]) -> dict[str, Outcome]:
    """Run the trainings, as many at a time as configured; their outcomes by folder.

    Raises
    ------
    TrainingFailed
        A training failed; the others were finished.
    """
    if not tasks:
        return {}
    from musicrec.parallel import connect
    from musicrec.training.distributed import train_all

    connect(run.config.ray)
    outcomes: dict[str, Outcome] = {}
    metric = OBJECTIVES[run.config.task].metric_name
    with Meter("train", len(tasks), "models") as meter:

        def on_epoch(name: str, record: dict[str, float]) -> None:
            meter.advance(0, **{name: f"epoch {record['epoch'] + 1}, {metric} {record['validation']:.3f}"})

        def on_done(task: Task) -> None:
            meter.drop(task.name)
            outcomes[task.folder] = _finish(run, task)
            meter.advance(1)

        train_all(tasks, run.config.train, on_epoch, on_done)
    return outcomes


def _finish(run: Run, task: Task) -> Outcome:
    """Check what a training left behind and make its stage complete."""
    files = prediction_files(task.folder, run.store.read_json(f"{task.folder}/{WORKERS}")["workers"])
    predicted = sum(run.store.read_table(name, pa.schema([EXAMPLES.field("track_id")])).num_rows for name in files)
    examples = run.store.read_table(f"{task.folder}/examples.parquet", EXAMPLES, columns=["track_id"]).num_rows
    progress = StoreCheckpoints(run.store, task.folder).load_last()["progress"]
    history = progress["history"]
    record = {
        "model": task.name,
        "rows_in": examples,
        "rows_out": predicted,
        "rows_incomplete": examples - predicted,  # tracks without what a stack needs, or outside a fold
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
