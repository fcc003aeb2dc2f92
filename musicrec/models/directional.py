"""The network that Time and Freq share: long kernels along one axis of the spectrogram.

"Along" is the axis in which the kernels are long (time for Time, frequency for Freq), "across" the
other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .kernels.directional import applies_to, directional_features
from .layers import (
    Conv2d,
    ConvBlock,
    Padding,
    Pair,
    SameMaxPool2d,
    SeparableConv2d,
    batch_norm,
    check_images,
    initialise,
)

Axis = Literal["time", "frequency"]
MIN_LAYERS = 2


def oriented(axis: Axis, along: int, across: int) -> Pair:
    """(height, width) of a kernel or stride that has these sizes along and across the axis."""
    return (across, along) if axis == "time" else (along, across)


class ParallelConvolutions(nn.Module):
    """Parallel convolutions of several lengths, concatenated, then batch norm and ReLU.

    They are padded "same".

    Parameters
    ----------
    in_channels, filters : int
        Channels of the input; filters of each convolution.
    kernel_sizes : sequence of (int, int)
        Height and width of each convolution.
    stride : (int, int)
        Stride of all of them.
    momentum : float
        Of batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_sizes: Sequence[Pair],
        stride: Pair,
        momentum: float,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            Conv2d(in_channels, filters, size, stride) for size in kernel_sizes
        )
        self.out_channels = filters * len(kernel_sizes)
        self.norm = batch_norm(self.out_channels, momentum)

    def output_shape(self, shape: Pair) -> Pair:
        """Height and width after this block."""
        return self.convolutions[0].output_shape(shape)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters x kernels, H', W')."""
        images = torch.cat([convolution(images) for convolution in self.convolutions], dim=1)
        return functional.relu(self.norm(images), inplace=True)


class DirectionalNetwork(nn.Module):
    """A network of long kernels along one axis.

    Parallel long convolutions along the axis, separable ones along it, one across the remaining
    axis, global average, dense.

    Parameters
    ----------
    axis : {"time", "frequency"}
        The axis along which the kernels are long.
    input_shape : (int, int, int)
        Channels, frequency, time.
    outputs : int
        Length of the output vector.
    kernel_divisors : sequence of int
        One parallel convolution for each; its length is the axis' size floor-divided by the
        divisor.
    branch_filters : int
        Filters of each parallel convolution.
    channels : sequence of int
        Width of each separable layer, at least two; pools follow all but the last two, the last one
        goes across.
    kernel_size : int
        Length of the separable kernels along the axis.
    stride : int
        Stride of the parallel convolutions along the axis.
    padding : {"same", "valid"}
        Of the separable layers but the last, which is "valid".
    pool_axis : {"time", "frequency"}
        The axis that the pools halve.
    batch_norm_momentum : float
        Share of the new statistic in batch norm's running mean and variance.

    Raises
    ------
    ValueError
        If a divisor leaves a kernel of length 0, or the input is too small for the layers.
    """

    def __init__(
        self,
        *,
        axis: Axis,
        input_shape: tuple[int, int, int],
        outputs: int,
        kernel_divisors: Sequence[int],
        branch_filters: int,
        channels: Sequence[int],
        kernel_size: int,
        stride: int,
        padding: Padding,
        pool_axis: Axis,
        batch_norm_momentum: float,
    ) -> None:
        super().__init__()
        self.axis: Axis = axis
        if len(channels) < MIN_LAYERS:
            raise ValueError(
                f"at least {MIN_LAYERS} separable layers are needed, channels={tuple(channels)} "
                f"names {len(channels)}"
            )
        self.input_shape = input_shape
        in_channels, frequency, time = input_shape
        size = time if axis == "time" else frequency
        lengths = [size // divisor for divisor in kernel_divisors]
        if not lengths or min(lengths) < 1:
            raise ValueError(
                f"kernel_divisors={tuple(kernel_divisors)} must be whole numbers from 1 to the "
                f"{axis} axis' size {size}: "
                "pass smaller kernel_divisors or a larger shape"
            )

        kernels = [oriented(axis, length, 1) for length in lengths]
        first = ParallelConvolutions(
            in_channels, branch_filters, kernels, oriented(axis, stride, 1), batch_norm_momentum
        )
        blocks: list[ParallelConvolutions | ConvBlock] = [first]
        pool_size = oriented(pool_axis, 2, 1)
        widths = (first.out_channels, *channels[:-1])
        for index, (before, after) in enumerate(pairwise(widths)):
            pool = SameMaxPool2d(pool_size, pool_size) if index < len(channels) - 2 else None
            blocks.append(
                ConvBlock(
                    SeparableConv2d(before, after, oriented(axis, kernel_size, 1), padding),
                    pool,
                    batch_norm_momentum,
                )
            )

        left = (frequency, time)
        for block in blocks:
            left = block.output_shape(left)
        across = left[0] if axis == "time" else left[1]
        spanning = SeparableConv2d(channels[-2], channels[-1], oriented(axis, 1, across), "valid")
        blocks.append(ConvBlock(spanning, momentum=batch_norm_momentum))
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(channels[-1], outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, outputs), without softmax or sigmoid."""
        check_images(images, self.input_shape)
        if applies_to(self, images):
            features = directional_features(self.features, self.axis, images)
        else:
            features = self.features(images)
        return self.head(features.mean(dim=(2, 3)))
