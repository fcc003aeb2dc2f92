from __future__ import annotations

import pytest
import torch
from torch import nn

from musicrec.training.optimizers import make_optimizer, rate_of_epoch


def test_the_cosine_falls_from_the_stages_rate_towards_nothing() -> None:
    rates = [rate_of_epoch("cosine", 0.1, epoch, 4) for epoch in range(5)]
    assert rates == pytest.approx([0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.1 * (2 - 2**0.5) / 4, 0])
    assert rate_of_epoch("none", 0.1, 3, 4) == 0.1


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_an_optimizer_goes_downhill_and_its_weights_decay(name: str) -> None:
    weight = nn.Parameter(torch.tensor([5.0, -5.0]))
    optimizer = make_optimizer(name, [weight], 0.1, weight_decay=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (0.5 * (weight[0] - 3).square() + 0 * weight[1]).backward()
        optimizer.step()
    assert 2 < weight[0] < 3  # held back by the decay
    assert abs(weight[1]) < 1  # nothing but the decay


def test_without_decay_adam_takes_the_first_step_of_the_papers_algorithm() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer("adam", [weight], 0.01, weight_decay=0.0)
    (2 * weight).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.01 * 2 / (2 + 1e-7), abs=1e-7)
