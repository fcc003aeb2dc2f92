"""Adam over a large table of which each step touches few rows."""

from __future__ import annotations

import math

import torch

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # Adam's own defaults, and torch's


class RowAdam:
    """Adam (Kingma and Ba 2015) with gradients given for some rows.

    ``lazy=False`` is Adam itself: rows without a gradient have gradient zero, their moments decay
    and they still move (as ``torch.optim.Adam`` and Keras do); a step costs a walk over the whole
    table. ``lazy=True`` leaves such rows alone (as ``torch.optim.SparseAdam`` does); a step costs
    only the rows it names, which is what makes the thesis' last stage, 109,883 steps a pass over a
    table of 88 million numbers, possible.
    """

    def __init__(
        self, first_moment: torch.Tensor, second_moment: torch.Tensor, steps: int, lazy: bool
    ):
        """Continue with the moments (A, D) after ``steps`` steps.

        The moments, zeros at the start, are updated in place.
        """
        self.first_moment = first_moment
        self.second_moment = second_moment
        self.steps = steps
        self.lazy = lazy

    def step(
        self,
        parameters: torch.Tensor,
        rows: torch.Tensor,
        gradient: torch.Tensor,
        learning_rate: float,
    ) -> None:
        """Update ``parameters`` (A, D) in place from the gradient (R, D) of distinct rows (R,)."""
        self.steps += 1
        step_size = learning_rate / (1 - FIRST_DECAY**self.steps)
        root_correction = math.sqrt(1 - SECOND_DECAY**self.steps)
        if self.lazy and len(rows) < len(parameters):
            first = self.first_moment[rows].lerp_(gradient, 1 - FIRST_DECAY)
            second = (
                self.second_moment[rows]
                .mul_(SECOND_DECAY)
                .addcmul_(gradient, gradient, value=1 - SECOND_DECAY)
            )
            self.first_moment[rows] = first
            self.second_moment[rows] = second
            parameters.index_add_(
                0, rows, first / (second.sqrt_() / root_correction).add_(EPSILON), alpha=-step_size
            )
            return
        self.first_moment.mul_(FIRST_DECAY).index_add_(0, rows, gradient, alpha=1 - FIRST_DECAY)
        self.second_moment.mul_(SECOND_DECAY).index_add_(
            0, rows, gradient * gradient, alpha=1 - SECOND_DECAY
        )
        denominator = self.second_moment.sqrt().div_(root_correction).add_(EPSILON)
        parameters.addcdiv_(self.first_moment, denominator, value=-step_size)
