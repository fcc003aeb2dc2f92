from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from musicrec.training import divergence as losses
from musicrec.training.divergence import Diverged, Losses


def named(rows: np.ndarray) -> list[str]:
    return [f"track {row}" for row in rows.tolist()]


def test_losses_in_their_order() -> None:
    epoch = Losses(3, 1e-3, named)
    for value in (0.5, 0.25, 2.0):
        epoch.add(torch.tensor(value), np.arange(2))
    assert epoch.all() == [0.5, 0.25, 2.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_its_epoch_rate_and_batch(value: float) -> None:
    epoch = Losses(3, 1e-3, named)
    epoch.add(torch.tensor(1.0), np.array([1, 2]))
    with pytest.raises(
        Diverged,
        match=rf"^the loss is {value} in epoch 3 at learning rate 0.001: "
        r".* batch: track 7, track 9$",
    ):
        epoch.add(torch.tensor(value), np.array([7, 9]))


def test_losses_on_another_device_are_read_together_and_none_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The CPU stands for the device; what is put off is the same."""
    monkeypatch.setattr(losses, "AT_ONCE", 3)

    class Remote(torch.Tensor):
        """A loss that says it lies elsewhere."""

        device = torch.device("meta")

    def remote(value: float) -> torch.Tensor:
        return torch.tensor(value).as_subclass(Remote)

    epoch = Losses(0, 1.0, named)
    epoch.add(remote(1.0), np.array([0]))
    epoch.add(remote(math.nan), np.array([1]))
    assert epoch.values == []
    with pytest.raises(Diverged, match=r"batch: track 1$"):
        epoch.add(remote(2.0), np.array([2]))
    last = Losses(0, 1.0, named)
    last.add(remote(math.nan), np.array([5]))
    with pytest.raises(Diverged, match=r"batch: track 5$"):  # at the epoch's end, at the latest
        last.all()
