"""Predictions of submodels: written by a training, read by the stacks over it.

A stack may learn from predictions of the very tracks that its submodels were trained on (the
thesis), or from out-of-fold ones: of each training track the prediction of a submodel that was
trained without its artist. The tracks of the other splits are predicted, in both ways, by the
submodel that was trained on all of them, which is the one that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from musicrec import schema
from musicrec.specs.ensemble import StackInputs, drop_modalities
from musicrec.storage.store import Store

# The ``fold`` of a prediction by a model that was trained on the whole training split.
NO_FOLD = -1


@dataclass(frozen=True)
class Predictions:
    """Where one submodel's predictions are stored: of the whole model, and of its folds.

    Without folds the stacks learn in sample.
    """

    whole: list[str]
    folds: list[str]


def prediction_files(folder: str, workers: int) -> list[str]:
    """Return the store's names of the predictions that a training run writes, one per worker."""
    return [f"{folder}/predictions-{rank}-of-{workers}.parquet" for rank in range(workers)]


def read_predictions(
    store: Store, files: Sequence[str], track_ids: Sequence[str], outputs: int
) -> np.ndarray:
    """Return predictions (N, outputs) float32 in the order of ``track_ids``; zeros if missing."""
    vectors = np.zeros((len(track_ids), outputs), np.float32)
    position = {track: index for index, track in enumerate(track_ids)}
    for name in files:
        table = store.read_table(name, schema.PREDICTIONS)
        rows = np.array(
            [position.get(track, -1) for track in table.column("track_id").to_pylist()], np.int64
        )
        values = table.column("vector").combine_chunks().flatten().to_numpy().reshape(-1, outputs)
        vectors[rows[rows >= 0]] = values[rows >= 0]
    return vectors


def read_outputs(
    store: Store,
    predictions: Predictions,
    track_ids: Sequence[str],
    train: np.ndarray,
    outputs: int,
) -> np.ndarray:
    """Return what a stack reads of one submodel, (N, outputs).

    The tracks marked in ``train`` (N,) get out-of-fold predictions, if there are any.
    """
    vectors = read_predictions(store, predictions.whole, track_ids, outputs)
    if predictions.folds:
        vectors[train] = read_predictions(store, predictions.folds, track_ids, outputs)[train]
    return vectors


class OutputRows:
    """Outputs of submodels as the inputs of a stack: a mapping from names to (B, outputs)."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the given rows in groups, one array for those that are read together."""
        return [rows]

    def window(self) -> int:
        """Return how many groups can be held in memory at once."""
        return 1

    def read(
        self, rows: np.ndarray, generator: np.random.Generator | None
    ) -> tuple[dict[str, Tensor]]:
        """Return the model's arguments for these rows; augmented where a generator is given."""
        return ({name: torch.from_numpy(values[rows]) for name, values in self.vectors.items()},)


class EnsembleRows:
    """Inputs of the Recommendation ensemble; in training, branches are left out at random."""

    def __init__(self, inputs: StackInputs, modality_dropout: float) -> None:
        self.inputs, self.modality_dropout = inputs, modality_dropout

    def groups(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the given rows in groups, one array for those that are read together."""
        return [rows]

    def window(self) -> int:
        """Return how many groups can be held in memory at once."""
        return 1

    def read(
        self, rows: np.ndarray, generator: np.random.Generator | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the model's arguments for these rows; augmented where a generator is given."""
        inputs, present = self.inputs.tensors(rows)
        if generator is not None and self.modality_dropout:
            present = drop_modalities(present, self.modality_dropout, generator)
        return inputs, present
