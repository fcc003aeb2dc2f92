"""Compute constant-Q spectrogram and chroma of one clip from one chain of decimations.

See Whitell 2019, Figures 1-6. soxr halves the sample rate six times; its frequency response
determines the values at the edges of the octaves (shorter half-band filters are off by 5 dB there).
In every octave the same 512-sample FFT is multiplied by the same 24 wavelet spectra, whose few
neighbouring non-zero bins are summed directly: once in concert pitch for the constant-Q
spectrogram, once in the recording's own tuning for the chroma.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import soxr
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
    as_type_of,
    broadcast,
    decibels,
    load,
    square_root,
    store,
)
from musicrec.audio.parameters import (
    BINS_PER_OCTAVE,
    CHROMA_CLASSES,
    CQT_BINS,
    CQT_FFT_SIZE,
    DYNAMIC_RANGE,
    FRAMES,
    HOP,
    OCTAVES,
    POWER_FLOOR,
    ChromaKind,
)
from musicrec.audio.spectral import clip_below
from musicrec.audio.tuning import estimate_tuning

_GROUPS = -(-FRAMES // LANES)
_FIRST_BIN, _END_BIN = tables.WAVELET_BINS.start, tables.WAVELET_BINS.stop
_FLOOR = np.float32(POWER_FLOOR)
# Without it squares of 1e-20, which chroma scales up to 1 after a recording's end, underflow in
# float32.
_SCALE = 2.0**30
# float64: in float32 a strong bass or a constant leaks at -80 dB (0.1 dB off).
_WINDOW = np.ones(CQT_FFT_SIZE)


def constantq_features(
    samples: np.ndarray, matrix: HopMatrix, names: tuple[str, ...], chroma: ChromaKind
) -> dict[str, np.ndarray]:
    """Compute the features in `names` that are among cqt and chroma.

    `samples` are float32 (N,), N at least `SHORTEST_SAMPLES`, laid out in `matrix`.
    """
    tunings = []
    if "cqt" in names or ("chroma" in names and chroma == "folded"):
        tunings.append(0.0)
    if "chroma" in names and chroma == "librosa":
        tunings.append(estimate_tuning(samples, matrix))
    magnitudes = constantq_magnitudes(samples, matrix, tunings)
    features = {}
    if "cqt" in names:
        features["cqt"] = _levels(magnitudes[0])
    if "chroma" in names:
        features["chroma"] = fold(magnitudes[-1])
    return {name: features[name] for name in names if name in features}


def constantq_magnitudes(
    samples: np.ndarray, matrix: HopMatrix, tunings: list[float]
) -> list[np.ndarray]:
    """Compute constant-Q magnitudes (168, 656) of a clip for each tuning, given in bins.

    The columns after the 643rd are padding.
    """
    magnitudes = [np.empty((CQT_BINS, _GROUPS * LANES), dtype=np.float32) for _ in tunings]
    for octave in range(OCTAVES):
        spectra = _octave_spectra(matrix, _WINDOW, *roots_of_unity(CQT_FFT_SIZE, np.float64))
        top = CQT_BINS - octave * BINS_PER_OCTAVE
        for tuning, result in zip(tunings, magnitudes, strict=True):
            _project(
                spectra, *_sparse_wavelets(tuning), result[top - BINS_PER_OCTAVE : top].reshape(-1)
            )
        if octave < OCTAVES - 1:
            samples = soxr.resample(samples, 2, 1, quality="soxr_hq")
            _scale(samples, np.sqrt(2.0))
            matrix = hop_matrix(samples, HOP >> (octave + 1), CQT_FFT_SIZE)
    return magnitudes


@njit(cache=True)
def _scale(samples: np.ndarray, factor: float) -> None:
    """Multiply in place in float64 and round once, as librosa does.

    A float32 factor rounds differently, which shows 70 dB down (3e-3 dB).
    """
    for i in range(len(samples)):
        samples[i] = np.float32(np.float64(samples[i]) * factor)


def fold(magnitudes: np.ndarray) -> np.ndarray:
    """Compute constant-Q magnitudes (168, 656) of a clip for each tuning, given in bins.

    The columns after the 643rd are padding.
    """
    chroma = np.zeros((CHROMA_CLASSES, FRAMES), dtype=np.float32)
    for row, pitch_class in enumerate(tables.pitch_classes()):
        chroma[pitch_class] += magnitudes[row, :FRAMES]
    largest = chroma.max(axis=0)
    largest[largest < np.finfo(np.float32).tiny] = 1
    return chroma / largest


@lru_cache(maxsize=128)
def _sparse_wavelets(tuning: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the wavelets in sparse form.

    Three arrays: first bin of each wavelet, its number of bins, and the (real, imaginary) pairs
    there.
    """
    spectra = tables.wavelet_spectra(tuning)
    inside = spectra != 0
    first = inside.argmax(axis=1)
    end = spectra.shape[1] - inside[:, ::-1].argmax(axis=1)
    values = np.concatenate([row[a:b] for row, a, b in zip(spectra, first, end, strict=True)])
    return first, end - first, values.view(np.float32)


@njit(cache=True)
def _octave_spectra(
    matrix: HopMatrix, window: np.ndarray, roots: np.ndarray, real_roots: np.ndarray
) -> np.ndarray:
    """Compute the spectra of an octave's frames at the bins of the wavelets.

    The result is flat (group, bin, real or imaginary, 16).
    """
    points = len(window) // 2
    bins = _END_BIN - _FIRST_BIN
    work = workspace(points, window)
    spectra = np.empty(_GROUPS * bins * 2 * LANES, dtype=np.float32)
    for group in range(_GROUPS):
        source = transform(
            matrix, group * LANES, matrix.padding - points, window, roots, points, work
        )
        for k in range(_FIRST_BIN, _END_BIN):
            re, im, _, _ = real_bins(work[source], work[source + 1], real_roots, points, k)
            at = (group * bins + k - _FIRST_BIN) * 2 * LANES
            store(spectra, at, as_type_of(spectra, re))
            store(spectra, at + LANES, as_type_of(spectra, im))
    return spectra


@njit(cache=True)
def _project(
    spectra: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    wavelets: np.ndarray,
    result: np.ndarray,
) -> None:
    """Write magnitudes of the spectra's products with each wavelet to `result`: flat (24, 656)."""
    bins = _END_BIN - _FIRST_BIN
    up, down = broadcast(np.float32(_SCALE)), broadcast(np.float32(1 / _SCALE))
    for group in range(_GROUPS):
        pair = 0
        for row in range(len(first)):
            re, im = broadcast(np.float32(0.0)), broadcast(np.float32(0.0))
            for k in range(first[row], first[row] + count[row]):
                at = (group * bins + k - _FIRST_BIN) * 2 * LANES
                x_re, x_im = load(spectra, at), load(spectra, at + LANES)
                w_re, w_im = broadcast(wavelets[pair]), broadcast(wavelets[pair + 1])
                re = re + x_re * w_re - x_im * w_im
                im = im + x_re * w_im + x_im * w_re
                pair += 2
            re, im = re * up, im * up
            store(result, (row * _GROUPS + group) * LANES, square_root(re * re + im * im) * down)


@njit(cache=True)
def _levels(magnitudes: np.ndarray) -> np.ndarray:
    """Convert magnitudes (168, 656) to dB, at most 80 dB under the clip's peak: (168, FRAMES)."""
    flat = magnitudes.reshape(-1)
    result = np.empty((magnitudes.shape[0], FRAMES), dtype=np.float32)
    floor = broadcast(_FLOOR)
    levels = np.empty(magnitudes.shape[1], dtype=np.float32)
    peak = np.float32(-np.inf)
    for row in range(magnitudes.shape[0]):
        for at in range(0, magnitudes.shape[1], LANES):
            x = load(flat, row * magnitudes.shape[1] + at)
            store(levels, at, decibels(x * x, floor))
        for frame in range(FRAMES):
            result[row, frame] = levels[frame]
            peak = max(peak, levels[frame])
    clip_below(result, peak - np.float32(DYNAMIC_RANGE))
    return result
