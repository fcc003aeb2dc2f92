from __future__ import annotations

import numpy as np
import pytest
import torch

from musicrec.training.augmentation import masked, mixed


def widths(features: torch.Tensor, axis: int) -> np.ndarray:
    """How many lines along an axis are all zero, in each example."""
    other = 2 if axis == 3 else 3
    return (features == 0).all(dim=other).sum(dim=-1).flatten().numpy()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_masks_are_one_block_an_axis_within_their_share() -> None:
    features = masked(torch.ones(500, 1, 20, 100), 0.2, 0.5, generator())
    for axis, size, share in ((3, 100, 0.2), (2, 20, 0.5)):
        found = widths(features, axis)
        assert found.max() <= share * size
        assert found.min() == 0
        assert found.mean() == pytest.approx(
            share * size / 2, rel=0.15
        )  # uniform between nothing and the share
    lines = (features == 0).all(dim=2).squeeze(1).numpy().astype(int)  # (B, T)
    assert (np.diff(np.pad(lines, ((0, 0), (1, 1)))) == 1).sum(axis=1).max() == 1


def test_masks_reach_both_ends_of_an_axis() -> None:
    features = masked(torch.ones(2000, 1, 4, 10), 0.4, 0.0, generator())
    hidden = (features == 0).all(dim=2).squeeze(1).float().mean(dim=0)
    assert hidden.min() > 0
    np.testing.assert_allclose(hidden, hidden.flip(0), atol=0.04)  # no end is favoured


def test_examples_are_masked_differently_and_repeatably() -> None:
    ones = torch.ones(8, 1, 20, 100)
    assert torch.equal(masked(ones, 0.3, 0.3, generator()), masked(ones, 0.3, 0.3, generator()))
    assert not torch.equal(
        masked(ones, 0.3, 0.3, generator()), masked(ones, 0.3, 0.3, generator(1))
    )
    features = masked(ones, 0.3, 0.3, generator())
    assert len({tuple(example.flatten().tolist()) for example in features}) == 8


def test_without_shares_nothing_is_masked_and_the_input_is_never_changed() -> None:
    features = torch.randn(4, 1, 5, 6)
    before = features.clone()
    assert torch.equal(masked(features, 0.0, 0.0, generator()), before)
    masked(features, 1.0, 1.0, generator())
    assert torch.equal(features, before)


def test_mixtures_are_of_two_examples_and_their_targets_alike() -> None:
    inputs, targets = torch.eye(6)[:, None, None, :], 10 * torch.eye(6)
    mixtures, mixed_targets = mixed(inputs, targets, 0.5, np.random.default_rng(0))
    assert torch.allclose(10 * mixtures[:, 0, 0], mixed_targets)  # the same shares of the same two
    assert torch.allclose(mixtures.sum(dim=3), torch.ones(6, 1, 1))
    assert ((mixtures > 0).sum(dim=3) <= 2).all()
    assert (mixtures.max(dim=3).values < 1).any()


def test_a_small_alpha_leaves_most_examples_nearly_alone_and_a_large_one_halves_them() -> None:
    inputs = torch.arange(1000.0)[:, None]
    for alpha, expected in ((0.01, 0.0), (1000.0, 0.5)):
        share = mixed(torch.ones(1000, 1), torch.zeros(1000, 1), alpha, np.random.default_rng(0))
        assert torch.equal(share[0], torch.ones(1000, 1))
        _, targets = mixed(
            inputs,
            torch.nn.functional.one_hot(torch.arange(1000)).float(),
            alpha,
            np.random.default_rng(0),
        )
        smaller = 1 - targets.max(dim=1).values
        assert smaller.median() == pytest.approx(expected, abs=0.05)
