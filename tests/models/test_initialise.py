"""Weights start as Keras draws them, and the same for the same seed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from musicrec.models import build_model, build_stack, initialise
from musicrec.models.layers import SeparableConv2d


def assert_uniform(weight: Tensor, limit: float) -> None:
    """Check that `weight` is uniform within the limits: extremes, mean and deviation (5 sigma)."""
    count = weight.numel()
    assert weight.abs().max() <= limit
    assert weight.max() > limit * (1 - 20 / count)
    assert weight.min() < -limit * (1 - 20 / count)
    assert abs(weight.mean()) < 5 * limit / math.sqrt(3 * count)
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=5 / math.sqrt(count))


def test_dense_and_convolution_are_glorot_uniform() -> None:
    model = build_model("simple", "mel", 100)
    assert_uniform(model.head.weight, math.sqrt(6 / (1024 + 100)))
    assert_uniform(model.features[1].convolution.weight, math.sqrt(6 / (9 * 8 + 9 * 16)))
    assert not model.head.bias.any()


def test_separable_has_keras_fans() -> None:
    layer = SeparableConv2d(256, 64, (1, 9))
    initialise(layer)
    # Keras' depthwise kernel (1, 9, 256, 1): 9 x 256 in, 9 x 1 out.
    assert_uniform(layer.depthwise.weight, math.sqrt(6 / (9 * 256 + 9)))
    assert_uniform(layer.pointwise.weight, math.sqrt(6 / (256 + 64)))


@pytest.mark.parametrize(("architecture", "gates"), [("rnn", 3), ("large_rnn", 4)])
def test_recurrent_weights(architecture: str, gates: int) -> None:
    model = build_model(architecture, "mfcc", 5, hidden=(32, 48))
    for layer, (inputs, width) in zip(model.recurrent.layers, [(12, 32), (32, 48)], strict=True):
        assert_uniform(layer.weight_ih_l0, math.sqrt(6 / (inputs + gates * width)))
        recurrent = layer.weight_hh_l0
        assert recurrent.shape == (gates * width, width)
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(width), atol=1e-5, rtol=0)


def test_forget_biases_add_to_one_and_all_others_to_zero() -> None:
    for layer in build_model("large_rnn", "chroma", 5, hidden=(6, 7)).recurrent.layers:
        gates = (layer.bias_ih_l0 + layer.bias_hh_l0).reshape(4, -1)  # input, forget, cell, output
        torch.testing.assert_close(
            gates, torch.tensor([0.0, 1.0, 0.0, 0.0])[:, None].expand_as(gates)
        )
    for layer in build_model("rnn", "chroma", 5, hidden=(6, 7)).recurrent.layers:
        assert not layer.bias_ih_l0.any()
        assert not layer.bias_hh_l0.any()


def test_embedding_is_uniform_padding_row_too() -> None:
    weight = build_model(
        "lyrics", None, 5, vocabulary=400, embedding_size=60, hidden=(4,)
    ).embedding.weight
    assert_uniform(weight, 0.05)
    assert weight[0].abs().min() > 0


def test_batch_norm_constants_and_start() -> None:
    for model in (
        build_model("time", "cqt", 5),
        build_model("albums", None, 5, width_multiplier=0.35),
    ):
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        for norm in norms:
            assert (norm.momentum, norm.eps) == (0.01, 1e-3)
            assert (norm.weight == 1).all()
            assert not norm.bias.any()


def test_albums_forgets_the_initialisation_of_torchvision() -> None:
    model = build_model("albums", None, 300)
    assert_uniform(model.head.weight, math.sqrt(6 / (1280 + 300)))
    assert_uniform(model.features[18][0].weight, math.sqrt(6 / (320 + 1280)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: build_model("freq", "mel", 3),
        lambda: build_model("rnn", "mfcc", 3, hidden=(8,)),
        lambda: build_model("albums", None, 3, width_multiplier=0.35),
        lambda: build_stack(
            "recommendation", 8, branch_hidden=8, branch_outputs=4, pair_hidden=(8,), head=(8,)
        ),
    ],
)
def test_seed_decides_the_weights(build: object) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build().parameters())

    first = weights(0)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_generator_decides_the_weights() -> None:
    model = build_model("large_rnn", "mfcc", 3, hidden=(8,))
    initialise(model, torch.Generator().manual_seed(7))
    first = nn.utils.parameters_to_vector(model.parameters())
    initialise(model, torch.Generator().manual_seed(7))
    assert torch.equal(first, nn.utils.parameters_to_vector(model.parameters()))
