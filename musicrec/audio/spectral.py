"""Compute STFT, its lower half, mel spectrogram and MFCC of one clip from one transform.

See Whitell 2019, Figures 1-6.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from musicrec.audio import tables
from musicrec.audio.kernels.fft import (
    HopMatrix,
    frame_groups,
    real_bins,
    roots_of_unity,
    transform,
    workspace,
)
from musicrec.audio.kernels.simd import LANES, Vector, broadcast, decibels, load, maximum, store
from musicrec.audio.parameters import (
    DYNAMIC_RANGE,
    FFT_SIZE,
    FRAMES,
    HALVED_BINS,
    HOP,
    MEL_BANDS,
    POWER_FLOOR,
    STFT_BINS,
)

_FLOOR = np.float32(POWER_FLOOR)


def spectral_features(
    samples: np.ndarray, matrix: HopMatrix, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Compute the features in `names` that are among stft, stft_halved, mel and mfcc.

    Parameters
    ----------
    samples
        float32 (N,), N at least `SHORTEST_SAMPLES`.
    matrix
        The same samples laid out for the transform.
    names
        Requested features; others are ignored. `stft_halved` is a view of `stft` if both are
        requested.
    """
    frames = 1 + len(samples) // HOP
    groups = frame_groups(len(samples), HOP)
    rows = STFT_BINS if "stft" in names else HALVED_BINS if "stft_halved" in names else 0
    with_mel = "mel" in names or "mfcc" in names
    stft = np.empty((rows, FRAMES), dtype=np.float32)
    mel = np.empty((MEL_BANDS if with_mel else 0, groups * LANES), dtype=np.float32)
    constants = tables.hann_window(FFT_SIZE), *roots_of_unity(FFT_SIZE), *_mel_bands()
    largest = _transform_clip(matrix, groups, *constants, stft.reshape(-1), mel)
    features = {}
    if rows:
        clip_below(stft, peak_decibels(largest[:FRAMES]) - np.float32(DYNAMIC_RANGE))
        features["stft"] = stft
        features["stft_halved"] = stft[:HALVED_BINS]
    if with_mel:
        if "mfcc" in names:
            features["mfcc"] = _cosine_transform(
                mel, mel[:, :frames].max() - np.float32(DYNAMIC_RANGE), tables.cosine_transform()
            )
        if "mel" in names:
            features["mel"] = np.maximum(
                mel[:, :FRAMES], mel[:, :FRAMES].max() - np.float32(DYNAMIC_RANGE)
            )
    return {name: features[name] for name in names if name in features}


def peak_decibels(power: np.ndarray) -> np.float32:
    """Return the largest power in dB, at least that of `POWER_FLOOR`."""
    return np.float32(10 * np.log10(max(float(power.max()), POWER_FLOOR)))


@cache
def _mel_bands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mel bands in sparse form.

    Three arrays: first bin of each band, its number of bins, and the concatenated weights of all
    bands.
    """
    filters = tables.mel_filters()
    inside = filters > 0
    first = inside.argmax(axis=1)
    count = inside.sum(axis=1)
    return first, count, filters[inside]


@njit(cache=True)
def _transform_clip(
    matrix: HopMatrix, groups: int, window: np.ndarray, roots: np.ndarray, real_roots: np.ndarray,
    first: np.ndarray, count: np.ndarray, weights: np.ndarray, stft: np.ndarray, mel: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Fill `stft` (flat, rows of FRAMES) and `mel` (256, groups * 16) in dB, up to their rows.

    Returns the largest power of each frame.
    """
    points = len(window) // 2
    work = workspace(points, window)
    power = np.empty((points + 1) * LANES, dtype=np.float32)
    largest = np.empty(groups * LANES, dtype=np.float32)
    bands = mel.reshape(-1)
    floor = broadcast(_FLOOR)
    last = np.empty(LANES, dtype=np.float32)
    rows = len(stft) // FRAMES
    for group in range(groups):
        frame = group * LANES
        source = transform(matrix, frame, 0, window, roots, points, work)
        store(largest, frame, _powers(work[source], work[source + 1], real_roots, points, power))
        width = min(LANES, FRAMES - frame)
        for row in range(rows if width > 0 else 0):
            level = decibels(load(power, row * LANES), floor)
            if width == LANES:
                store(stft, row * FRAMES + frame, level)
            else:
                store(last, 0, level)
                stft[row * FRAMES + frame : row * FRAMES + frame + width] = last[:width]
        weight = 0
        for band in range(len(mel)):
            total = broadcast(np.float32(0.0))
            for k in range(first[band], first[band] + count[band]):
                total = total + load(power, k * LANES) * broadcast(weights[weight])
                weight += 1
            store(bands, band * groups * LANES + frame, decibels(total, floor))
    return largest


@njit(cache=True)
def _powers(
    re: np.ndarray, im: np.ndarray, roots: np.ndarray, points: int, power: np.ndarray
) -> Vector:
    """Compute the power of bins 0..points of sixteen frames from their transformed sample pairs.

    Returns the largest power of each frame.
    """
    a, b = load(re, 0), load(im, 0)
    x, y = (a + b) * (a + b), (a - b) * (a - b)
    store(power, 0, x)
    store(power, points * LANES, y)
    largest = maximum(x, y)
    for k in range(1, points // 2 + 1):
        x_re, x_im, y_re, y_im = real_bins(re, im, roots, points, k)
        x, y = x_re * x_re + x_im * x_im, y_re * y_re + y_im * y_im
        store(power, k * LANES, x)
        store(power, (points - k) * LANES, y)
        largest = maximum(largest, maximum(x, y))
    return largest


@njit(cache=True)
def clip_below(feature: np.ndarray, floor: float) -> None:
    """Raise every value below `floor` to it, in place."""
    flat = feature.reshape(-1)
    for i in range(len(flat)):
        flat[i] = max(flat[i], floor)


@njit(cache=True)
def _cosine_transform(mel: np.ndarray, floor: float, rows: np.ndarray) -> np.ndarray:
    """Multiply `rows` (12, 256) by mel (256, frames) in dB, clipped at `floor`: (12, FRAMES)."""
    levels = np.empty(mel.shape[0] * LANES, dtype=np.float32)
    flat = mel.reshape(-1)
    result = np.empty((rows.shape[0], FRAMES), dtype=np.float32)
    last = np.empty(LANES, dtype=np.float32)
    for frame in range(0, FRAMES, LANES):
        for band in range(mel.shape[0]):
            store(
                levels,
                band * LANES,
                maximum(load(flat, band * mel.shape[1] + frame), broadcast(floor)),
            )
        for row in range(rows.shape[0]):
            total = broadcast(np.float32(0.0))
            for band in range(mel.shape[0]):
                total = total + load(levels, band * LANES) * broadcast(rows[row, band])
            store(last, 0, total)
            width = min(LANES, FRAMES - frame)
            result[row, frame : frame + width] = last[:width]
    return result
