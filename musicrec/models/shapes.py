"""Input shapes of the single-input convolutional and recurrent architectures."""

from __future__ import annotations

from collections.abc import Sequence

FRAMES = 643

# feature -> (channels, frequency, time); CIFAR's height and width stand in the places of frequency
# and time.
INPUT_SHAPES: dict[str, tuple[int, int, int]] = {
    "stft": (1, 2049, FRAMES),
    "stft_halved": (1, 1024, FRAMES),
    "mel": (1, 256, FRAMES),
    "cqt": (1, 168, FRAMES),
    "chroma": (1, 12, FRAMES),
    "mfcc": (1, 12, FRAMES),
    "cifar": (3, 32, 32),
}

# Features of 12 rows: too few to halve at every layer, so several architectures treat them apart.
TWELVE_ROWS = ("chroma", "mfcc")


def input_shape(feature: str, shape: Sequence[int] | None = None) -> tuple[int, int, int]:
    """Shape of one example of `feature`, without the batch axis.

    Parameters
    ----------
    feature : str
        A key of `INPUT_SHAPES`.
    shape : (int, int), optional
        Frequency and time of a pooled or cropped input; the feature's own when None.

    Returns
    -------
    (int, int, int)
        Channels, frequency, time.

    Raises
    ------
    ValueError
        If the feature is unknown or `shape` is not two positive whole numbers.
    """
    if feature not in INPUT_SHAPES:
        raise ValueError(f"unknown feature {feature!r}: use one of {', '.join(INPUT_SHAPES)}")
    channels, frequency, time = INPUT_SHAPES[feature]
    if shape is None:
        return channels, frequency, time
    if len(shape) != 2 or any(not isinstance(size, int) or size < 1 for size in shape):
        raise ValueError(
            f"shape must be (frequency, time), two whole numbers of at least 1, not {shape!r}"
        )
    return channels, shape[0], shape[1]
