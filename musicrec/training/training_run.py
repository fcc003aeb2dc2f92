"""One training run: read its folder in the store, train, predict its rows.

Plain torch; Ray Train calls it in each worker.

A training's folder holds, before it starts, ``spec.json`` (what to build) and ``examples.parquet``
(its rows); after it, the weights, the history and the predictions, in one file a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from musicrec import schema
from musicrec.config.inputs import NUMBERS
from musicrec.specs.ensemble import EnsembleSpec, StackInputs
from musicrec.specs.stack import StackSpec
from musicrec.specs.submodel import SubmodelSpec
from musicrec.storage.store import Store
from musicrec.training import batching as order
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.inputs import ArtworkRows, FeatureRows, LyricsRows, Rows
from musicrec.training.loop import Progress, Schedule, World, draw_seed, fit
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.predictions import (
    NO_FOLD,
    EnsembleRows,
    OutputRows,
    Predictions,
    prediction_files,
    read_outputs,
)
from musicrec.training.targets import Targets, TrainingData

EXAMPLES = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("artist_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("part", pa.string()),  # where a stored input lies
        pa.field("row", pa.int32()),
        pa.field("text", pa.string()),
        *(pa.field(name, pa.float64()) for name in NUMBERS),
    ]
)
# How many workers wrote the predictions: an elastic training ends with as many as there were.
WORKERS = "workers.json"
# The split of a fold's tracks: neither trained on nor validated with, only predicted.
HELD_OUT = "held_out"


@dataclass(frozen=True)
class TrainingRun:
    """A training as it is sent to its workers.

    Attributes
    ----------
    folder
        In the store; see the module.
    kind
        What is trained: a submodel, a stack over outputs, or the Recommendation ensemble.
    objective
        A key of ``OBJECTIVES``.
    targets
        The store's name of the table of targets.
    fold
        The fold that is held out, and then alone predicted.
    predictions
        Those that a stack or ensemble reads, by submodel.
    left_out
        The number of rows that are not among its examples, by the reason.
    """

    store: str
    name: str
    folder: str
    kind: Literal["submodel", "stack", "ensemble"]
    objective: str
    targets: str
    schedule: Schedule
    seed: int
    fold: int = NO_FOLD
    cache_gigabytes: float = 1.0
    masks: tuple[float, float] = (0.0, 0.0)
    mixup: float = 0.0
    modality_dropout: float = 0.0
    predictions: dict[str, Predictions] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def run(
    task: TrainingRun,
    world: World,
    wrap: Callable[[nn.Module], nn.Module],
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[Progress, int]:
    """Train and predict.

    Returns the training's progress and the number of rows that this worker predicted.
    """
    store = Store(task.store)
    examples = store.read_table(f"{task.folder}/examples.parquet", EXAMPLES)
    torch.manual_seed(draw_seed(task.seed, task.name, "weights"))
    spec, rows, usable = _inputs(task, store, examples)
    objective = OBJECTIVES[task.objective]
    targets = Targets.read(store, task.targets, objective, examples, spec.outputs)
    objective = objective.over(targets.table)
    split = np.array(examples.column("split").to_pylist())
    ids = examples.column("track_id").to_pylist()
    data = TrainingData(
        rows,
        targets,
        ids,
        usable[split[usable] == "train"],
        usable[split[usable] == "validation"],
        task.mixup,
    )
    for name, part in (("train", data.train), ("validation", data.validation)):
        if not len(part):
            raise ValueError(
                f"{task.name}: no row of the split '{name}' has what this model reads; leave "
                "the model out, or add such tracks"
            )
    model = wrap(spec.build().to(world.device))
    checkpoints = StoreCheckpoints(store, task.folder)
    progress = fit(
        model,
        data,
        objective,
        task.schedule,
        draw_seed(task.seed, task.name),
        checkpoints,
        world,
        on_epoch,
    )
    wanted = usable if task.fold == NO_FOLD else usable[split[usable] == HELD_OUT]
    predicted = predict(model, rows, wanted, examples, task, world)
    store.write_table(
        prediction_files(task.folder, world.size)[world.rank], predicted, schema.PREDICTIONS
    )
    if world.rank == 0:
        store.write_json(f"{task.folder}/{WORKERS}", {"workers": world.size})
    return progress, predicted.num_rows


def predict(
    model: nn.Module,
    inputs: Rows,
    rows: np.ndarray,
    examples: pa.Table,
    task: TrainingRun,
    world: World,
) -> pa.Table:
    """Return this worker's part of the predictions of ``rows``."""
    model.eval()
    plain = model.module if hasattr(model, "module") else model
    track_ids = examples.column("track_id").to_pylist()
    predicted: list[dict[str, Any]] = []
    with torch.no_grad():
        for part in order.shard(rows, task.schedule.batch_size, world.rank, world.size):
            vectors = (
                plain(*(_move(argument, world.device) for argument in inputs.read(part, None)))
                .float()
                .cpu()
                .numpy()
            )
            predicted += [
                {
                    "track_id": track_ids[row],
                    "submodel": task.name,
                    "fold": task.fold,
                    "vector": vector,
                }
                for row, vector in zip(part.tolist(), vectors, strict=True)
            ]
    return pa.Table.from_pylist(predicted, schema=schema.PREDICTIONS)


def _move(argument: Any, device: torch.device) -> Any:
    return (
        {name: value.to(device) for name, value in argument.items()}
        if isinstance(argument, dict)
        else argument.to(device)
    )


def _inputs(
    task: TrainingRun, store: Store, examples: pa.Table
) -> tuple[SubmodelSpec | StackSpec | EnsembleSpec, Rows, np.ndarray]:
    """Return the specification, its inputs, and the examples that have all of them."""
    values = store.read_json(f"{task.folder}/spec.json")
    if task.kind == "submodel":
        spec = SubmodelSpec.from_json(values)
        return spec, _submodel_rows(spec, examples, task), np.arange(examples.num_rows)
    if task.kind == "stack":
        spec = StackSpec.from_json(values)
        vectors = read_stack_outputs(
            store, spec.submodels, spec.outputs, examples, task.predictions
        )
        return spec, OutputRows(vectors), np.flatnonzero(spec.usable(vectors))
    spec = EnsembleSpec.from_json(values)
    inputs = read_ensemble_inputs(store, spec, examples, task.predictions)
    return (
        spec,
        EnsembleRows(inputs, task.modality_dropout),
        np.flatnonzero(inputs.usable(spec.needs_all)),
    )


def _submodel_rows(spec: SubmodelSpec, examples: pa.Table, task: TrainingRun) -> Rows:
    if spec.kind == "text":
        return LyricsRows(spec.vocabulary, examples.column("text").to_pylist())
    parts, places = examples.column("part").to_pylist(), examples.column("row").to_numpy()
    cache_bytes = task.cache_gigabytes * 2**30
    if spec.kind == "file":
        return ArtworkRows(spec.modality, spec.pixels, parts, places, cache_bytes)
    return FeatureRows(spec, parts, places, cache_bytes, task.masks)


def read_stack_outputs(
    store: Store,
    submodels: tuple[str, ...] | list[str],
    outputs: int,
    examples: pa.Table,
    predictions: dict[str, Predictions],
) -> dict[str, np.ndarray]:
    """Return the outputs of each submodel for every example (N, outputs); zeros if missing."""
    track_ids = examples.column("track_id").to_pylist()
    train = np.array([split == "train" for split in examples.column("split").to_pylist()], bool)
    return {
        name: read_outputs(store, predictions[name], track_ids, train, outputs)
        for name in submodels
    }


def read_ensemble_inputs(
    store: Store, spec: EnsembleSpec, examples: pa.Table, predictions: dict[str, Predictions]
) -> StackInputs:
    """Return the Recommendation ensemble's inputs of every example."""
    vectors = read_stack_outputs(store, spec.submodels(), spec.outputs, examples, predictions)
    numbers = {
        name: examples.column(name).to_numpy(zero_copy_only=False) for name in spec.numbers()
    }
    return StackInputs.gather(spec, vectors, numbers)
