"""What each row of a training is to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor
from torch.nn import functional

from musicrec.storage.store import Store
from musicrec.training.augmentation import mixed
from musicrec.training.inputs import Rows
from musicrec.training.loop import Batch
from musicrec.training.objectives import Objective


@dataclass(frozen=True)
class Targets:
    """Targets of numbered examples.

    Attributes
    ----------
    table
        (A, ...) one row a target: an artist's embedding, a track's genres.
    place
        (N,) the row of each example in it.
    outputs
        Of the model.
    """

    table: Tensor
    place: np.ndarray
    outputs: int

    @classmethod
    def read(
        cls, store: Store, name: str, objective: Objective, examples: pa.Table, outputs: int
    ) -> Targets:
        """Read the targets of ``examples`` from a task's table in the store."""
        table = store.read_table(name, objective.target_schema)
        position = {key: index for index, key in enumerate(table.column(0).to_pylist())}
        place = np.array(
            [position[key] for key in examples.column(objective.target_key).to_pylist()]
        )
        return cls(objective.tensor(table, outputs), place, outputs)

    def of(self, rows: np.ndarray) -> Tensor:
        """Return the targets of some rows."""
        return self.table[self.place[rows]]

    def soft(self, rows: np.ndarray) -> Tensor:
        """Return targets that can be mixed, (B, outputs) float32.

        Targets of one class per example become probabilities.
        """
        targets = self.of(rows)
        return (functional.one_hot(targets, self.outputs) if targets.ndim == 1 else targets).float()


@dataclass(frozen=True)
class TrainingData:
    """Inputs, targets and splits of a training: the ``Examples`` of the training loop.

    Attributes
    ----------
    track_ids
        Of all rows.
    mixup
        Alpha of the mixtures of training examples, of models with one tensor as their input; 0:
        none.
    """

    rows: Rows
    targets: Targets
    track_ids: list[str]
    train: np.ndarray
    validation: np.ndarray
    mixup: float = 0.0

    def groups(self) -> Any:
        """Return the given rows in groups, one array for those that are read together."""
        return self.rows.groups(self.train)

    def window(self) -> int:
        """Return how many groups can be held in memory at once."""
        return self.rows.window()

    def names(self, rows: np.ndarray) -> list[str]:
        """Return the track ids of some rows."""
        return [self.track_ids[row] for row in rows.tolist()]

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
        """Return the inputs and targets of some rows; augmented where a generator is given."""
        inputs = self.rows.read(rows, generator)
        if generator is None or not self.mixup:
            return inputs, self.targets.of(rows)
        inputs, targets = mixed(inputs[0], self.targets.soft(rows), self.mixup, generator)
        return (inputs,), targets
