"""Trainings of a run, submodels and ensemble alike: through Ray Train, and their records when they are done."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from musicrec.progress import Meter
from musicrec.stages.base import Outcome, Run, run_stage
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.loop import Schedule
from musicrec.training.tasks import EXAMPLES, Task, prediction_files


def schedule(settings: Any) -> Schedule:
    """The part of a model's settings that its training loop takes."""
    names = {field.name for field in dataclasses.fields(Schedule)} & {field.name for field in dataclasses.fields(settings)}
    return Schedule(**{name: getattr(settings, name) for name in names})


def run_trainings(run: Run, tasks: list[Task]) -> dict[str, Outcome]:
    """Run the trainings, as many at a time as configured; their outcomes by name.

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
    with Meter("train", len(tasks), "models") as meter:

        def on_epoch(name: str, record: dict[str, float]) -> None:
            meter.advance(0, **{name: f"epoch {record['epoch'] + 1}, cosine {record['validation']:.3f}"})

        def on_done(task: Task) -> None:
            meter.drop(task.name)
            outcomes[task.name] = _finish(run, task)
            meter.advance(1)

        train_all(tasks, run.config.train, on_epoch, on_done)
    return outcomes


def _finish(run: Run, task: Task) -> Outcome:
    """Check what a training left behind and make its stage complete."""
    files = prediction_files(task.folder, run.config.train.workers)
    predicted = sum(run.store.read_table(name, pa.schema([EXAMPLES.field("track_id")])).num_rows for name in files)
    examples = run.store.read_table(f"{task.folder}/examples.parquet", EXAMPLES, columns=["track_id"]).num_rows
    progress = StoreCheckpoints(run.store, task.folder).load_last()["progress"]
    history = progress["history"]
    record = {
        "model": task.name,
        "rows_in": examples,
        "rows_out": predicted,
        "rows_incomplete": examples - predicted,  # tracks without what an ensemble needs
        "epochs": progress["epoch"],
        "best_epoch": progress["best_epoch"] + 1,
        "validation_cosine": progress["best"],
        "training_seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "history": history,
        "predictions": files,
    }
    name, key = task.folder.split("/")
    return run_stage(run, run.store.stage(name, key), lambda stage: record, f"train {task.name}")
