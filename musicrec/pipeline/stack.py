"""Train stacks over the submodels' outputs: TimeFreq, TimeFreqAvg, GenreEnsemble (Whitell 2019)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from musicrec import schema
from musicrec.pipeline.base import REVISION, Outcome, Run, already_complete, run_stage
from musicrec.pipeline.launch import launch_training_runs, schedule
from musicrec.pipeline.targets import target_table
from musicrec.pipeline.train import Trained
from musicrec.specs.stack import StackSpec
from musicrec.storage.store import Stage, fingerprint
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.predictions import NO_FOLD, Predictions, prediction_files
from musicrec.training.targets import Targets
from musicrec.training.training_run import EXAMPLES, TrainingRun, read_stack_outputs


def stack(
    run: Run, targeted: Outcome, trained: Trained, names: list[str] | None = None
) -> dict[str, Outcome]:
    """Train the named stacks (default: all) and return their outcomes by name.

    A stack without weights is the mean of its submodels' outputs.
    """
    names = list(run.config.stacks) if names is None else names
    stages = {name: stack_stage(run, name, targeted, trained) for name in names}
    outcomes: dict[str, Outcome] = {}
    training_runs = []
    for name in names:
        spec = _spec(run, name, targeted)
        if stages[name].success() is not None:
            outcomes[name] = already_complete(stages[name], f"stack {name}")
        elif spec.learns:
            training_runs.append(stack_training_run(run, name, stages[name], targeted, trained))
        else:
            outcomes[name] = _average(
                run, spec, stages[name], targeted, trained.predictions(list(spec.submodels))
            )
    finished = launch_training_runs(run, training_runs)
    return {name: outcomes.get(name) or finished[stages[name].folder] for name in names}


def stack_stage(run: Run, name: str, targeted: Outcome, trained: Trained) -> Stage:
    """Return the stage of a stack."""
    settings = run.config.stacks[name]
    key = fingerprint(
        REVISION,
        name,
        targeted.stage.key,
        trained.keys(list(settings.submodels)),
        dataclasses.asdict(settings),
        run.config.seed,
        run.config.train.key_fields(),
        run.left_out,
    )
    return run.store.stage("stacks", key)


def _spec(run: Run, name: str, targeted: Outcome) -> StackSpec:
    settings = run.config.stacks[name]
    activation = OBJECTIVES[run.config.task].activation
    return StackSpec(
        name,
        settings.architecture,
        targeted.record["dimensions"],
        settings.submodels,
        activation,
        settings.sizes,
    )


def stack_training_run(
    run: Run, name: str, stage: Stage, targeted: Outcome, trained: Trained
) -> TrainingRun:
    """Write the inputs of a stack's training run into its folder, and return the run."""
    spec = _spec(run, name, targeted)
    predictions = trained.predictions(list(spec.submodels))
    run.store.write_json(stage.path("spec.json"), spec.as_json())
    run.store.write_table(stage.path("examples.parquet"), _examples(run, predictions), EXAMPLES)
    return TrainingRun(
        store=run.store.root,
        name=spec.name,
        folder=stage.folder,
        kind="stack",
        objective=run.config.task,
        targets=target_table(run, targeted),
        schedule=schedule(run.config.stacks[spec.name], run.config.train),
        seed=run.config.seed,
        predictions=predictions,
    )


def _examples(run: Run, predictions: dict[str, Predictions]) -> pa.Table:
    """Return the tracks that the first submodel has predicted, which are those with a target."""
    files = next(iter(predictions.values())).whole
    predicted = {
        track
        for file in files
        for track in run.store.read_table(file, schema.PREDICTIONS, ["track_id"])
        .column(0)
        .to_pylist()
    }
    rows = run.catalog.tracks.select(["track_id", "artist_id", "split"]).to_pylist()
    return pa.Table.from_pylist(
        [row for row in rows if row["track_id"] in predicted], schema=EXAMPLES
    )


def _average(
    run: Run, spec: StackSpec, stage: Stage, targeted: Outcome, predictions: dict[str, Predictions]
) -> Outcome:
    """Write the mean of the submodels' outputs, which has no weights, as a stack's predictions."""

    def write_mean(stage: Stage) -> dict[str, Any]:
        examples = _examples(run, predictions)
        vectors = read_stack_outputs(run.store, spec.submodels, spec.outputs, examples, predictions)
        rows = np.flatnonzero(spec.usable(vectors))
        with torch.no_grad():
            outputs = spec.build()(
                {name: torch.from_numpy(values[rows]) for name, values in vectors.items()}
            )
        table = pa.table(
            {
                "track_id": examples.column("track_id").take(rows),
                "submodel": pa.array([spec.name] * len(rows)),
                "fold": pa.array([NO_FOLD] * len(rows), pa.int32()),
                "vector": pa.array(list(outputs.numpy()), pa.list_(pa.float32())),
            }
        )
        files = prediction_files(stage.folder, workers=1)
        run.store.write_json(stage.path("spec.json"), spec.as_json())
        run.store.write_table(files[0], table, schema.PREDICTIONS)
        objective = OBJECTIVES[run.config.task]
        targets = Targets.read(
            run.store, target_table(run, targeted), objective, examples, spec.outputs
        )
        validation = np.array(examples.column("split").to_pylist())[rows] == "validation"
        metric = objective.metric(outputs[validation], targets.of(rows[validation])).mean()
        return {
            "model": spec.name,
            "rows_in": examples.num_rows,
            "rows_out": len(rows),
            "rows_incomplete": examples.num_rows - len(rows),
            "metric": objective.metric_name,
            "validation": float(metric),
            "history": [],
            "predictions": files,
        }

    return run_stage(run, stage, write_mean, f"stack {spec.name}")
