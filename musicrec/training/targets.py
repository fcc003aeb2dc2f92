"""What each row of a training is to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from musicrec.store import Store
from musicrec.training.loop import Batch
from musicrec.training.objectives import Objective
from musicrec.training.rows import Rows


@dataclass(frozen=True)
class Targets:
    """Targets of numbered examples.

    Attributes
    ----------
    table
        (A, ...) one row a target: an artist's embedding, a track's genres.
    place
        (N,) the row of each example in it.
    """

    table: Tensor
    place: np.ndarray

    @classmethod
    def read(cls, store: Store, name: str, objective: Objective, examples: pa.Table, outputs: int) -> Targets:
        """The targets of ``examples`` from the table of a task that lies in the store."""
        table = store.read_table(name, objective.target_schema)
        position = {key: index for index, key in enumerate(table.column(0).to_pylist())}
        place = np.array([position[key] for key in examples.column(objective.target_key).to_pylist()])
        return cls(objective.tensor(table, outputs), place)

    def of(self, rows: np.ndarray) -> Tensor:
        return self.table[self.place[rows]]


@dataclass(frozen=True)
class TrainingData:
    """Inputs and targets, and which of them train and validate: the ``Examples`` of the training loop."""

    rows: Rows
    targets: Targets
    train: np.ndarray
    validation: np.ndarray

    def groups(self) -> Any:
        return self.rows.groups(self.train)

    def window(self) -> int:
        return self.rows.window()

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
        return self.rows.read(rows, generator), self.targets.of(rows)
