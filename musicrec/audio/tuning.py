"""Estimate a recording's deviation from A = 440 Hz as librosa's `estimate_tuning` does.

The thesis preset uses it for chroma. Spectral peaks of 2048-sample frames between 150 and 4000 Hz
are interpolated by a parabola; the louder half votes for its distance from the nearest quarter-tone
bin, in steps of a hundredth of a bin. The arithmetic is float32 where librosa's is, because the
votes are counted.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numba import njit

from musicrec.audio import tables
from musicrec.audio.kernels.fft import (
    HopMatrix,
    hop_matrix,
    real_bins,
    roots_of_unity,
    transform,
    workspace,
)
from musicrec.audio.kernels.simd import (
    LANES,
    Vector,
    broadcast,
    load,
    maximum,
    peak_lanes,
    square_root,
    store,
    trailing_zeros,
)
from musicrec.audio.parameters import (
    BINS_PER_OCTAVE,
    FFT_SIZE,
    HOP,
    PITCH_HIGHEST,
    PITCH_LOWEST,
    PITCH_THRESHOLD,
    SAMPLE_RATE,
    TUNING_FFT_SIZE,
    TUNING_HOP,
    TUNING_STEPS,
)

_FIRST_BIN = ceil(PITCH_LOWEST * TUNING_FFT_SIZE / SAMPLE_RATE)
_END_BIN = ceil(PITCH_HIGHEST * TUNING_FFT_SIZE / SAMPLE_RATE)
_EDGES = np.linspace(-0.5, 0.5, TUNING_STEPS + 1)


def estimate_tuning(samples: np.ndarray, matrix: HopMatrix | None = None) -> float:
    """Estimate the tuning of float32 samples (N,) in constant-Q bins.

    The result is a multiple of 0.01 from -0.5 to 0.49, and 0 if nothing has a pitch. Equal to
    ``librosa.estimate_tuning(y=samples, sr=22050, bins_per_octave=24)``. `matrix` is the layout of
    the same samples for the STFT, if available: its hop is twice that of the frames here, so even
    and odd frames are read from it in turn.
    """
    matrix = matrix or hop_matrix(samples, HOP, FFT_SIZE)
    frames = 1 + len(samples) // TUNING_HOP
    pitches, magnitudes = _peaks(
        matrix, frames, tables.hann_window(TUNING_FFT_SIZE), *roots_of_unity(TUNING_FFT_SIZE)
    )
    if not len(pitches):
        return 0.0
    return vote(pitches[magnitudes >= np.median(magnitudes)])


def vote(pitches: np.ndarray) -> float:
    """Return the hundredth of a bin with the most votes among float32 frequencies in Hz (N,)."""
    residual = np.mod(BINS_PER_OCTAVE * np.log2(pitches / np.float32(440.0 / 16)), np.float32(1.0))
    residual[residual >= 0.5] -= 1.0
    counts, _ = np.histogram(residual, _EDGES)
    return float(_EDGES[np.argmax(counts)])


@njit(cache=True)
def _peaks(
    matrix: HopMatrix, frames: int, window: np.ndarray, roots: np.ndarray, real_roots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interpolated frequency (Hz) and magnitude of every spectral peak in range."""
    points = len(window) // 2
    work = workspace(points, window)
    magnitude = np.empty((points + 1) * LANES, dtype=np.float32)
    capacity = frames * (_END_BIN - _FIRST_BIN + 1) // 2 + LANES
    pitches = np.empty(capacity, dtype=np.float32)
    heights = np.empty(capacity, dtype=np.float32)
    peaks = 0
    for odd in (0, 1):
        same_kind = (frames + 1 - odd) // 2
        shift = matrix.padding - points + odd * TUNING_HOP
        for frame in range(0, same_kind, LANES):
            source = transform(matrix, frame, shift, window, roots, points, work)
            threshold = _magnitudes(
                work[source], work[source + 1], real_roots, points, magnitude
            ) * broadcast(np.float32(PITCH_THRESHOLD))
            inside = (1 << min(LANES, same_kind - frame)) - 1
            for k in range(_FIRST_BIN, _END_BIN):
                at = k * LANES
                bits = inside & peak_lanes(
                    load(magnitude, at - LANES),
                    load(magnitude, at),
                    load(magnitude, at + LANES),
                    threshold,
                )
                while bits:
                    at = k * LANES + trailing_zeros(bits)
                    bits &= bits - 1
                    below, centre, above = (
                        magnitude[at - LANES],
                        magnitude[at],
                        magnitude[at + LANES],
                    )
                    curvature = above + below - np.float32(2) * centre
                    slope = (above - below) / np.float32(2)
                    shift_of_peak = (
                        np.float32(0) if abs(slope) >= abs(curvature) else -slope / curvature
                    )
                    pitches[peaks] = (
                        (np.float32(k) + shift_of_peak)
                        * np.float32(SAMPLE_RATE)
                        / np.float32(TUNING_FFT_SIZE)
                    )
                    heights[peaks] = centre + np.float32(0.5) * slope * shift_of_peak
                    peaks += 1
    return pitches[:peaks], heights[:peaks]


@njit(cache=True)
def _magnitudes(
    re: np.ndarray, im: np.ndarray, roots: np.ndarray, points: int, magnitude: np.ndarray
) -> Vector:
    """Compute the magnitudes, in sixteen frames, of the bins that the peaks need.

    Returns each frame's largest magnitude over all bins.
    """
    a, b = load(re, 0), load(im, 0)
    largest = maximum((a + b) * (a + b), (a - b) * (a - b))
    for k in range(1, points // 2 + 1):
        x_re, x_im, y_re, y_im = real_bins(re, im, roots, points, k)
        x, y = x_re * x_re + x_im * x_im, y_re * y_re + y_im * y_im
        largest = maximum(largest, maximum(x, y))
        if _FIRST_BIN - 1 <= k <= _END_BIN:
            store(magnitude, k * LANES, square_root(x))
    return square_root(largest)
