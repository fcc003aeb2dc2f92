from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from musicrec.training.objectives import EMBEDDING, MANY_GENRES, SINGLE_GENRE, Objective
from musicrec.training.targets import Targets, TrainingData

OUTPUTS = 3
CLASSES = torch.tensor([0, 2, 1])
INDICATORS = torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 0]], dtype=torch.uint8)
VECTORS = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])


class Inputs:
    """Each row's number, so that what was mixed can be told."""

    def read(self, rows: np.ndarray, generator: np.random.Generator | None) -> tuple[Tensor]:
        return (torch.from_numpy(rows).float()[:, None],)


def data(table: Tensor, mixup: float) -> TrainingData:
    rows = np.arange(3)
    return TrainingData(
        Inputs(), Targets(table, rows, OUTPUTS), [f"t{row}" for row in rows], rows, rows, mixup
    )


@pytest.mark.parametrize(
    ("objective", "table"),
    [(EMBEDDING, VECTORS), (SINGLE_GENRE, CLASSES), (MANY_GENRES, INDICATORS)],
)
def test_mixed_targets_fit_the_loss_of_every_task(objective: Objective, table: Tensor) -> None:
    rows = np.arange(3)
    _, targets = data(table, mixup=0.4).batch(rows, np.random.default_rng(3))
    assert targets.shape == (3, OUTPUTS)
    soft = torch.nn.functional.one_hot(CLASSES, OUTPUTS) if table is CLASSES else table
    assert torch.allclose(targets.sum(), soft.float().sum(), atol=1) and not torch.equal(
        targets, soft.float()
    )
    output = torch.randn(3, OUTPUTS, generator=torch.Generator().manual_seed(0), requires_grad=True)
    objective.loss(output, targets).backward()
    assert output.grad.abs().sum() > 0


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_without_a_generator_or_alpha_targets_are_as_they_are(mixup: float) -> None:
    rows = np.array([2, 0])
    for generator in (None, np.random.default_rng(0)) if not mixup else (None,):
        (inputs,), targets = data(CLASSES, mixup).batch(rows, generator)
        assert inputs.ravel().tolist() == [2, 0]
        assert targets.tolist() == [1, 0]


def test_hard_and_one_hot_targets_of_one_class_cost_the_same() -> None:
    output = torch.randn(3, OUTPUTS, generator=torch.Generator().manual_seed(0))
    hard = SINGLE_GENRE.loss(output, CLASSES)
    assert SINGLE_GENRE.loss(
        output, data(CLASSES, 0.1).targets.soft(np.arange(3))
    ) == pytest.approx(hard.item())
