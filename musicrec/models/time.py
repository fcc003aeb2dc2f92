"""Time: kernels that see one frequency over a long stretch of time (Whitell 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from .directional import DirectionalNetwork
from .layers import BATCH_NORM_MOMENTUM
from .shapes import TWELVE_ROWS, input_shape

KERNEL_DIVISORS = (4, 8, 16, 32, 64, 96)
CIFAR_KERNEL_DIVISORS = (3, 4, 5, 6, 7, 10)


class Time(DirectionalNetwork):
    """Parallel 1 x n convolutions, separable 1 x 9 ones, one over all frequencies left.

    The pools halve frequency, but time for `chroma` and `mfcc`, which have only 12 rows.

    Parameters
    ----------
    feature : str
        What the input is; decides strides, padding and pools.
    outputs : int
        Length of the output vector.
    branch_filters, kernel_divisors, channels, kernel_size, batch_norm_momentum
        As in `DirectionalNetwork`.
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
        kernel_size: int = 9,
        batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
        shape: Sequence[int] | None = None,
    ) -> None:
        cifar = feature == "cifar"
        super().__init__(
            axis="time",
            input_shape=input_shape(feature, shape),
            outputs=outputs,
            kernel_divisors=kernel_divisors
            or (CIFAR_KERNEL_DIVISORS if cifar else KERNEL_DIVISORS),
            branch_filters=branch_filters,
            channels=channels,
            kernel_size=kernel_size,
            stride=1 if cifar else 2,
            padding="same" if cifar else "valid",
            batch_norm_momentum=batch_norm_momentum,
            pool_axis="time" if feature in TWELVE_ROWS else "frequency",
        )
