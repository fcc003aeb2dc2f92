"""The losses of an epoch, and the end of a training that diverged."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# Losses that are read from a GPU together.
AT_ONCE = 32


class Diverged(RuntimeError):
    """The loss is not finite: the epoch, the learning rate and the batch."""


class Losses:
    """The losses of an epoch, read from the device in groups: each read waits for the device.

    Parameters
    ----------
    names
        What the rows of a batch are called where one has to be told of.
    """

    def __init__(
        self, epoch: int, learning_rate: float, names: Callable[[np.ndarray], list[str]]
    ) -> None:
        self.epoch, self.learning_rate, self.names = epoch, learning_rate, names
        self.values: list[float] = []
        self.waiting: list[tuple[Tensor, np.ndarray]] = []

    def add(self, loss: Tensor, rows: np.ndarray) -> None:
        """Take the loss of a batch.

        Raises
        ------
        Diverged
            It, or one before it that was not read yet, is not finite.
        """
        self.waiting.append((loss, rows))
        if loss.device.type == "cpu" or len(self.waiting) >= AT_ONCE:
            self.all()

    def all(self) -> list[float]:
        """Every loss so far; raises as ``add``."""
        if self.waiting:
            for value, (_, rows) in zip(
                torch.stack([loss for loss, _ in self.waiting]).tolist(), self.waiting, strict=True
            ):
                if not math.isfinite(value):
                    raise Diverged(
                        f"the loss is {value} in epoch {self.epoch} at learning rate "
                        f"{self.learning_rate:g}: lower the rate, or look at "
                        f"the batch: {', '.join(self.names(rows))}"
                    )
                self.values.append(value)
            self.waiting = []
        return self.values
