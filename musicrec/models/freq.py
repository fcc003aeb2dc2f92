"""Freq: kernels that span a wide range of frequencies at one time; Time turned by 90 degrees."""

from __future__ import annotations

from collections.abc import Sequence

from .directional import DirectionalNetwork
from .layers import BATCH_NORM_MOMENTUM
from .shapes import TWELVE_ROWS, input_shape

KERNEL_DIVISORS: dict[str, tuple[int, ...]] = {
    "stft": (6, 12, 32, 64, 128, 256),
    "stft_halved": (6, 12, 32, 64, 128, 256),
    "mel": (6, 8, 12, 24, 32, 64),
    "cqt": (4, 5, 6, 12, 24, 48),
    "chroma": (1, 2, 3, 4, 6, 12),
    "mfcc": (1, 2, 3, 4, 6, 12),
    "cifar": (3, 4, 5, 6, 7, 10),
}


class Freq(DirectionalNetwork):
    """Parallel n x 1 convolutions, separable 9 x 1 ones, one over all remaining frames.

    The separable kernels are 3 x 1 for features of 12 rows.

    The pools halve time for every feature.

    Parameters
    ----------
    feature : str
        What the input is; decides kernels, strides and padding.
    outputs : int
        Length of the output vector.
    branch_filters, kernel_divisors, channels, kernel_size, batch_norm_momentum
        As in `DirectionalNetwork`; the thesis' for the feature when None.
    shape : (int, int), optional
        Frequency and time of a pooled or cropped input.
    """

    def __init__(
        self,
        feature: str,
        outputs: int,
        *,
        branch_filters: int = 2,
        kernel_divisors: Sequence[int] | None = None,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        kernel_size: int | None = None,
        batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
        shape: Sequence[int] | None = None,
    ) -> None:
        twelve_rows = feature in TWELVE_ROWS
        small = twelve_rows or feature == "cifar"
        super().__init__(
            axis="frequency",
            input_shape=input_shape(feature, shape),
            outputs=outputs,
            kernel_divisors=kernel_divisors or KERNEL_DIVISORS[feature],
            branch_filters=branch_filters,
            channels=channels,
            kernel_size=kernel_size or (3 if twelve_rows else 9),
            stride=1 if small else 2,
            padding="same" if small else "valid",
            batch_norm_momentum=batch_norm_momentum,
            pool_axis="time",
        )
