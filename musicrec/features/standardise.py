"""Scale features to zero mean and unit deviation, in the ways that the thesis allows."""

from __future__ import annotations

from typing import Literal

import numpy as np

from musicrec.audio.parameters import STFT_BINS

Standardising = Literal["per_frame", "per_clip", "per_feature_bin", "none"]
_SMALLEST_DEVIATION = (
    1e-6  # a constant column (silence) becomes zeros instead of a division by zero
)


def standardise(
    feature: np.ndarray,
    how: Standardising = "per_frame",
    *,
    mean: np.ndarray | None = None,
    deviation: np.ndarray | None = None,
) -> np.ndarray:
    """Standardise a feature (..., frequency, time); float32 of the same shape.

    Parameters
    ----------
    how
        ``per_frame``: each time column over frequency (the thesis' experiments). ``per_clip``: over
        both axes (the other reading of the thesis' text). ``per_feature_bin``: each frequency bin
        with the training set's statistics. ``none``: unchanged.
    mean, deviation
        For ``per_feature_bin`` (frequency,), both required. For ``per_frame`` (..., time),
        optional: `halved_statistics` of the whole frame, when only the lower half of an STFT is
        available.
    """
    if (mean is None) != (deviation is None):
        raise ValueError("mean and deviation go together: only one of them was given")
    feature = np.asarray(feature, dtype=np.float32)
    if how == "none":
        return feature
    if how == "per_frame":
        if mean is None:
            mean, deviation = _moments(feature, axis=-2)
        return _scale(feature, np.asarray(mean)[..., None, :], np.asarray(deviation)[..., None, :])
    if how == "per_clip":
        mean, deviation = (
            moment(axis=(-2, -1), keepdims=True, dtype=np.float64)
            for moment in (feature.mean, feature.std)
        )
        return _scale(feature, mean, deviation)
    if how == "per_feature_bin":
        if mean is None:
            raise ValueError(
                "how='per_feature_bin' needs the training set's mean and deviation, each "
                "(frequency,)"
            )
        return _scale(feature, np.asarray(mean)[:, None], np.asarray(deviation)[:, None])
    raise ValueError(f"how={how!r} is not one of per_frame, per_clip, per_feature_bin, none")


def halved_statistics(stft: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each whole frame of an STFT: two float32 arrays (time,).

    The thesis standardises the whole frame in dB (2049, time) and halves it afterwards. Stored
    with `stft_halved`, these two rows give the same without the upper half:
    ``standardise(stft_halved, "per_frame", mean=mean, deviation=deviation)``.
    """
    if stft.shape[-2] != STFT_BINS:
        raise ValueError(
            f"stft has {stft.shape[-2]} frequency bins; the statistics are of all {STFT_BINS}"
        )
    return _moments(np.asarray(stft, dtype=np.float32), axis=-2)


def _moments(feature: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    # float32 throughout: over 2049 values within 160 dB it is exact to 1e-5 dB, in a quarter of
    # the time of float64.
    mean = feature.mean(axis=axis)
    centred = feature - np.expand_dims(mean, axis)
    return mean, np.sqrt(np.mean(np.square(centred, out=centred), axis=axis))


def _scale(feature: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return ((feature - mean) / np.maximum(deviation, _SMALLEST_DEVIATION)).astype(
        np.float32, copy=False
    )
