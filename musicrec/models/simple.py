"""Simple: square 3x3 kernels, in the manner of Xception (Whitell 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .layers import (
    BATCH_NORM_MOMENTUM,
    Conv2d,
    ConvBlock,
    SameMaxPool2d,
    SeparableConv2d,
    check_images,
    initialise,
)
from .shapes import TWELVE_ROWS, input_shape

MIN_LAYERS = 4


class Simple(nn.Module):
    """Two convolutions, separable ones after them, global average, dense.

    Parameters
    ----------
    feature : str
        What the input is; decides strides, padding and pools.
    outputs : int
        Length of the output vector.
    channels : sequence of int
        Width of each convolution, at least four: two plain, the others separable. Pools follow
        every separable layer but the first and the last (for CIFAR every second of these).
    batch_norm_momentum : float
        Share of the new statistic in batch norm's running mean and variance.
    shape : (int, int), optional
        Frequency and time of a pooled or cropped input.
    """

    def __init__(
        self,
        feature: str,
        outputs: int,
        *,
        channels: Sequence[int] = (8, 16, 32, 64, 128, 256, 512, 1024),
        batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if len(channels) < MIN_LAYERS:
            raise ValueError(
                f"simple needs at least {MIN_LAYERS} layers, channels={tuple(channels)} names "
                f"{len(channels)}"
            )
        self.input_shape = input_shape(feature, shape)
        small = feature == "cifar" or feature in TWELVE_ROWS
        separable_padding = "same" if small else "valid"

        first = Conv2d(self.input_shape[0], channels[0], (3, 3), (1, 1) if small else (2, 2))
        if feature in ("stft", "stft_halved"):
            second = Conv2d(channels[0], channels[1], (3, 3), (2, 2))
        else:
            second = Conv2d(channels[0], channels[1], (3, 3), padding="valid")
        blocks = [
            ConvBlock(first, momentum=batch_norm_momentum),
            ConvBlock(second, momentum=batch_norm_momentum),
        ]
        last = len(channels) - 3
        for index, (before, after) in enumerate(pairwise(channels[1:])):
            pooled = 0 < index < last and (feature != "cifar" or index % 2 == 0)
            pool = SameMaxPool2d((3, 3), (2, 2)) if pooled else None
            blocks.append(
                ConvBlock(
                    SeparableConv2d(before, after, (3, 3), separable_padding),
                    pool,
                    batch_norm_momentum,
                )
            )

        left = self.input_shape[1:]
        for block in blocks:
            left = block.output_shape(left)
        self.features = nn.Sequential(*blocks)
        self.head = nn.Linear(channels[-1], outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, outputs), without softmax or sigmoid."""
        check_images(images, self.input_shape)
        return self.head(self.features(images).mean(dim=(2, 3)))
