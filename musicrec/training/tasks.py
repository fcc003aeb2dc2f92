"""One training, whole: read its folder in the store, train, predict every row. Plain torch; Ray Train calls it in each worker.

A training's folder holds, before it starts, ``spec.json`` (what to build) and ``examples.parquet`` (its rows); after it, the weights, the
history and the predictions of every row, in one file a worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from musicrec import schema
from musicrec.ensemble import EnsembleSpec, StackInputs, drop_modalities
from musicrec.store import Store
from musicrec.submodels import SubmodelSpec
from musicrec.training import order
from musicrec.training.checkpoints import StoreCheckpoints
from musicrec.training.loop import Batch, Progress, Schedule, World, draw_seed, fit
from musicrec.training.objectives import EMBEDDING
from musicrec.training.rows import ArtworkRows, FeatureRows, LyricsRows, Rows

EXAMPLES = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("artist_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("part", pa.string()),  # where a stored input lies
        pa.field("row", pa.int32()),
        pa.field("text", pa.string()),
        pa.field("year", pa.float64()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
    ]
)
# A prediction of a model that saw the track's split as it is, not of a fold that left the track out.
NO_FOLD = -1


@dataclass(frozen=True)
class Task:
    """A training as it is sent to its workers.

    Attributes
    ----------
    folder
        In the store; see the module.
    embeddings
        The store's name of the table of targets.
    predictions
        The store's names of the prediction files that an ensemble reads, by submodel; empty for a submodel.
    """

    store: str
    name: str
    folder: str
    embeddings: str
    schedule: Schedule
    seed: int
    cache_gigabytes: float = 1.0
    masks: tuple[float, float] = (0.0, 0.0)
    modality_dropout: float = 0.0
    predictions: dict[str, list[str]] | None = None


@dataclass(frozen=True)
class Targets:
    """Rows of a training with their artists' embeddings as targets."""

    rows: Rows
    train: np.ndarray
    validation: np.ndarray
    table: Tensor
    artist: np.ndarray

    def groups(self) -> Any:
        return self.rows.groups(self.train)

    def window(self) -> int:
        return self.rows.window()

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
        return self.rows.read(rows, generator), self.table[self.artist[rows]]


class StackRows:
    """Inputs of the ensemble; in training, branches are left out at random."""

    def __init__(self, inputs: StackInputs, modality_dropout: float) -> None:
        self.inputs, self.modality_dropout = inputs, modality_dropout

    def groups(self, rows: np.ndarray) -> list[np.ndarray]:
        return [rows]

    def window(self) -> int:
        return 1

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs, present = self.inputs.tensors(rows)
        if generator is not None and self.modality_dropout:
            present = drop_modalities(present, self.modality_dropout, generator)
        return inputs, present


def run(
    task: Task, world: World, wrap: Callable[[nn.Module], nn.Module], on_epoch: Callable[[dict[str, float]], None] | None = None
) -> tuple[Progress, int]:
    """Train and predict; returns the training's progress and the number of rows that this worker predicted."""
    store = Store(task.store)
    examples = store.read_table(f"{task.folder}/examples.parquet", EXAMPLES)
    torch.manual_seed(draw_seed(task.seed, task.name, "weights"))
    if task.predictions is None:
        spec = SubmodelSpec.from_json(store.read_json(f"{task.folder}/spec.json"))
        rows, usable = _submodel_rows(spec, examples, task), np.arange(examples.num_rows)
    else:
        spec = EnsembleSpec.from_json(store.read_json(f"{task.folder}/spec.json"))
        inputs = read_stack_inputs(store, spec, examples, task.predictions)
        rows, usable = StackRows(inputs, task.modality_dropout), np.flatnonzero(inputs.usable(spec.needs_all))
    table, artist = read_targets(store, task.embeddings, examples)
    split = np.array(examples.column("split").to_pylist())
    data = Targets(rows, usable[split[usable] == "train"], usable[split[usable] == "validation"], table, artist)
    for name, part in (("train", data.train), ("validation", data.validation)):
        if not len(part):
            raise ValueError(
                f"{task.name}: no row of the split '{name}' has what this model reads; leave the model out, or add such tracks"
            )
    model = wrap(spec.build().to(world.device))
    checkpoints = StoreCheckpoints(store, task.folder)
    progress = fit(model, data, EMBEDDING, task.schedule, draw_seed(task.seed, task.name), checkpoints, world, on_epoch)
    predicted = predict(model, data, usable, examples, task, world)
    store.write_table(f"{task.folder}/predictions-{world.rank}-of-{world.size}.parquet", predicted, schema.PREDICTIONS)
    return progress, predicted.num_rows


def prediction_files(folder: str, workers: int) -> list[str]:
    """The store's names of the predictions that a training with so many workers writes."""
    return [f"{folder}/predictions-{rank}-of-{workers}.parquet" for rank in range(workers)]


def predict(model: nn.Module, data: Targets, rows: np.ndarray, examples: pa.Table, task: Task, world: World) -> pa.Table:
    """This worker's share of the predictions of ``rows``."""
    model.eval()
    plain = model.module if hasattr(model, "module") else model
    track_ids = examples.column("track_id").to_pylist()
    predicted: list[dict[str, Any]] = []
    with torch.no_grad():
        for part in order.share(rows, task.schedule.batch_size, world.rank, world.size):
            vectors = plain(*(_move(argument, world.device) for argument in data.rows.read(part, None))).float().cpu().numpy()
            predicted += [
                {"track_id": track_ids[row], "submodel": task.name, "fold": NO_FOLD, "vector": vector}
                for row, vector in zip(part.tolist(), vectors, strict=True)
            ]
    return pa.Table.from_pylist(predicted, schema=schema.PREDICTIONS)


def _move(argument: Any, device: torch.device) -> Any:
    return {name: value.to(device) for name, value in argument.items()} if isinstance(argument, dict) else argument.to(device)


def _submodel_rows(spec: SubmodelSpec, examples: pa.Table, task: Task) -> Rows:
    if spec.modality == "lyrics":
        return LyricsRows(spec.vocabulary, examples.column("text").to_pylist())
    parts, places = examples.column("part").to_pylist(), examples.column("row").to_numpy()
    cache_bytes = task.cache_gigabytes * 2**30
    if spec.modality == "artwork":
        return ArtworkRows(spec.pixels, parts, places, cache_bytes)
    return FeatureRows(spec, parts, places, cache_bytes, task.masks)


def read_targets(store: Store, embeddings: str, examples: pa.Table) -> tuple[Tensor, np.ndarray]:
    """The table of embeddings (A, D) and the position of each example's artist in it (N,)."""
    table = store.read_table(embeddings, schema.EMBEDDINGS)
    position = {artist: index for index, artist in enumerate(table.column("artist_id").to_pylist())}
    vectors = np.stack(table.column("vector").to_numpy())
    return torch.from_numpy(vectors), np.array([position[artist] for artist in examples.column("artist_id").to_pylist()])


def read_predictions(store: Store, files: list[str], track_ids: list[str], outputs: int) -> np.ndarray:
    """Predictions as (N, outputs) float32 in the order of ``track_ids``; zeros for tracks that have none."""
    vectors = np.zeros((len(track_ids), outputs), np.float32)
    position = {track: index for index, track in enumerate(track_ids)}
    for name in files:
        table = store.read_table(name, schema.PREDICTIONS)
        for track, vector in zip(table.column("track_id").to_pylist(), table.column("vector").to_numpy(), strict=True):
            if track in position:
                vectors[position[track]] = vector
    return vectors


def read_stack_inputs(store: Store, spec: EnsembleSpec, examples: pa.Table, predictions: dict[str, list[str]]) -> StackInputs:
    """The ensemble's inputs of every example."""
    track_ids = examples.column("track_id").to_pylist()
    vectors = {name: read_predictions(store, predictions[name], track_ids, spec.outputs) for name in spec.submodels()}
    numbers = {name: examples.column(name).to_numpy(zero_copy_only=False) for name in spec.numbers()}
    return StackInputs.gather(spec, vectors, numbers)
