"""Keras' "same" padding, pools and layer order against plain NumPy loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from musicrec.models.layers import (
    Conv2d,
    ConvBlock,
    SameMaxPool2d,
    SeparableConv2d,
    output_size,
    same_padding,
)


def windows(
    image: np.ndarray, kernel: tuple[int, int], stride: tuple[int, int], fill: float
) -> np.ndarray:
    """Return every window (H', W', kh, kw) of Keras' "same" over (H, W), padded by `fill`."""
    height, width = image.shape
    out_height, out_width = math.ceil(height / stride[0]), math.ceil(width / stride[1])
    top = max((out_height - 1) * stride[0] + kernel[0] - height, 0) // 2
    left = max((out_width - 1) * stride[1] + kernel[1] - width, 0) // 2
    result = np.full((out_height, out_width, *kernel), fill)
    for row, column, i, j in np.ndindex(result.shape):
        y, x = row * stride[0] - top + i, column * stride[1] - left + j
        if 0 <= y < height and 0 <= x < width:
            result[row, column, i, j] = image[y, x]
    return result


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (643, 160, 2, (79, 80)),
        (643, 3, 2, (1, 1)),
        (128, 3, 2, (0, 1)),
        (7, 2, 2, (0, 1)),
        (32, 10, 1, (4, 5)),
        (5, 1, 1, (0, 0)),
        (6, 1, 2, (0, 0)),
    ],
)
def test_same_padding_puts_the_odd_element_after(
    size: int, kernel: int, stride: int, padding: tuple[int, int]
) -> None:
    assert same_padding(size, kernel, stride) == padding


@pytest.mark.parametrize(
    ("shape", "kernel", "stride"),
    [
        ((5, 9), (1, 4), (1, 2)),
        ((5, 10), (1, 4), (1, 2)),
        ((4, 9), (1, 5), (1, 2)),
        ((9, 4), (6, 1), (2, 1)),
        ((8, 7), (3, 3), (2, 2)),
        ((7, 8), (3, 3), (1, 1)),
        ((6, 6), (1, 10), (1, 1)),
    ],
)
def test_same_convolution(
    shape: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    image = random.standard_normal((2, *shape))
    layer = Conv2d(2, 3, kernel, stride).double()
    weight = layer.weight.detach().numpy()
    views = np.stack([windows(channel, kernel, stride, 0.0) for channel in image])
    expected = np.einsum("chwij,ocij->ohw", views, weight)
    found = layer(torch.from_numpy(image)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert layer.output_shape(shape) == expected.shape[1:]


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (7, 8), (8, 7), (9, 9), (10, 10), (1, 6)])
@pytest.mark.parametrize(
    ("kernel", "stride"), [((3, 3), (2, 2)), ((2, 1), (2, 1)), ((1, 2), (1, 2))]
)
def test_same_max_pool_never_takes_the_padding(
    shape: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    image = -1 - np.random.default_rng(1).random(shape)  # all below 0, so that a padded 0 would win
    expected = windows(image, kernel, stride, -np.inf).max(axis=(2, 3))
    pool = SameMaxPool2d(kernel, stride)
    np.testing.assert_array_equal(pool(torch.from_numpy(image)[None, None])[0, 0].numpy(), expected)
    assert pool.output_shape(shape) == expected.shape


def test_pool_refuses_what_it_would_pad_wrongly() -> None:
    with pytest.raises(ValueError, match="kernel 5 and stride 2"):
        SameMaxPool2d((5, 1), (2, 1))


def test_separable_is_depthwise_then_pointwise() -> None:
    layer = SeparableConv2d(3, 4, (1, 5), "valid").double()
    image = np.random.default_rng(2).standard_normal((3, 6, 11))
    depthwise = layer.depthwise.weight.detach().numpy()[:, 0, 0]
    channels = zip(image, depthwise, strict=True)
    middle = np.stack(
        [
            [np.convolve(row, kernel[::-1], "valid") for row in channel]
            for channel, kernel in channels
        ]
    )
    expected = np.einsum("oc,chw->ohw", layer.pointwise.weight.detach().numpy()[:, :, 0, 0], middle)
    np.testing.assert_allclose(
        layer(torch.from_numpy(image)[None])[0].detach().numpy(), expected, atol=1e-12
    )
    assert layer.output_shape((6, 11)) == (6, 7)


def test_block_normalises_with_keras_constants_before_pool_and_relu() -> None:
    block = ConvBlock(Conv2d(1, 2, (1, 1)), SameMaxPool2d((2, 1), (2, 1))).double()
    images = torch.randn(4, 1, 6, 5, dtype=torch.float64)
    convolved = block.convolution(images)
    mean, variance = (
        convolved.mean((0, 2, 3), keepdim=True),
        convolved.var((0, 2, 3), keepdim=True, unbiased=False),
    )
    normalised = (convolved - mean) / (variance + 1e-3).sqrt()
    expected = normalised.unflatten(2, (3, 2)).amax(3).clamp(min=0)
    torch.testing.assert_close(block(images), expected)
    # Keras: moving = 0.99 x moving + 0.01 x batch.
    torch.testing.assert_close(block.norm.running_mean, 0.01 * mean.flatten())


def test_valid_size_names_the_axis_that_is_too_small() -> None:
    assert output_size(9, 9, 1, "valid") == 1
    with pytest.raises(ValueError, match="kernel of 9 does not fit an axis of 8"):
        output_size(8, 9, 1, "valid")
