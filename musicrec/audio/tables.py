"""Build the constant tables behind the features.

Window, mel filter bank, cosine transform, wavelet spectra and pitch-class folding: each is built
once per process and equals the one of librosa 0.11 (tests/audio/test_feature_tables.py), so that
librosa need not be imported.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr

from musicrec.audio.parameters import (
    BINS_PER_OCTAVE,
    CHROMA_CLASSES,
    CQT_BINS,
    CQT_FFT_SIZE,
    CQT_SPARSITY,
    FFT_SIZE,
    LOWEST_FREQUENCY,
    MEL_BANDS,
    MFCC_COEFFICIENTS,
    OCTAVES,
    SAMPLE_RATE,
)

# The bins, of 257, in which the wavelets of every tuning have their non-zero values
WAVELET_BINS = slice(43, 106)
_HALF_RATE_REACH = 200  # taps to either side; beyond them soxr's response is under 3e-8


@cache
def hann_window(size: int) -> np.ndarray:
    """Return the periodic Hann window (size,), float32."""
    return _hann(size).astype(np.float32)


def _hann(size: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)


def _mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Convert mels on Slaney's scale to Hz.

    The scale is linear (200/3 Hz per mel) up to 1 kHz, then has 27 mels per factor of 6.4.
    """
    linear = mel * (200.0 / 3)
    return np.where(mel < 15, linear, 1000.0 * np.exp((mel - 15) * (np.log(6.4) / 27)))


def _mel_edges(sample_rate: int, bands: int) -> np.ndarray:
    """Return the edges of the filter bank's triangles in Hz (bands + 2,).

    Band b is between edges b and b + 2.
    """
    highest = 15 + 27 * np.log(sample_rate / 2 / 1000.0) / np.log(6.4)
    return _mel_to_hertz(np.linspace(0.0, highest, bands + 2))


def mel_band_centres() -> np.ndarray:
    """Return the centre frequencies of the mel bands in Hz (256,)."""
    return _mel_edges(SAMPLE_RATE, MEL_BANDS)[1:-1]


@cache
def mel_filters(
    sample_rate: int = SAMPLE_RATE, fft_size: int = FFT_SIZE, bands: int = MEL_BANDS
) -> np.ndarray:
    """Return area-normalised triangles on Slaney's mel scale, float32.

    The shape is (bands, fft_size // 2 + 1), (256, 2049) for the features. They reach from 0 Hz to
    half the sample rate.
    """
    edges = _mel_edges(sample_rate, bands)
    bins = np.fft.rfftfreq(fft_size, 1.0 / sample_rate)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
    return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@cache
def cosine_transform() -> np.ndarray:
    """Return rows 1..12 of the orthonormal DCT-II over the mel bands: (12, 256), float32."""
    order = np.arange(1, MFCC_COEFFICIENTS)[:, None]
    return (
        np.sqrt(2 / MEL_BANDS)
        * np.cos(np.pi * order * (2 * np.arange(MEL_BANDS) + 1) / (2 * MEL_BANDS))
    ).astype(np.float32)


def cqt_frequencies(tuning: float = 0.0) -> np.ndarray:
    """Return centre frequencies in Hz (168,), shifted by `tuning` bins."""
    return LOWEST_FREQUENCY * 2.0 ** ((np.arange(CQT_BINS) + tuning) / BINS_PER_OCTAVE)


@cache
def wavelet_spectra(tuning: float = 0.0) -> np.ndarray:
    """Return one octave of sparse wavelet spectra (24, 257), complex64.

    They serve every octave at its own sample rate: with the same 512-sample transform after each
    halving of the rate, the 24 wavelets of every octave are the same. librosa scales an octave by
    the square root of its decimation and divides by the square root of the wavelet's length at the
    full rate: the decimation cancels, and the division is included here.
    """
    frequencies = cqt_frequencies(tuning)[-BINS_PER_OCTAVE:]
    ratio = 2.0 ** (1 / BINS_PER_OCTAVE)
    quality = (ratio**2 + 1) / (ratio**2 - 1)
    lengths = quality * SAMPLE_RATE / frequencies
    wavelets = np.zeros((BINS_PER_OCTAVE, CQT_FFT_SIZE), dtype=np.complex64)
    for row, (length, frequency) in enumerate(zip(lengths, frequencies, strict=True)):
        time = np.arange(-length // 2, length // 2)
        wavelet = np.exp(2j * np.pi * frequency / SAMPLE_RATE * time) * _hann(len(time))
        start = (CQT_FFT_SIZE - len(time)) // 2
        wavelets[row, start : start + len(time)] = wavelet / np.abs(wavelet).sum()
    spectra = np.fft.fft(wavelets * (lengths / CQT_FFT_SIZE)[:, None], axis=1)[
        :, : CQT_FFT_SIZE // 2 + 1
    ]
    magnitudes = np.abs(spectra)
    ranked = np.sort(magnitudes, axis=1)
    cumulative = np.cumsum(ranked / magnitudes.sum(axis=1, keepdims=True), axis=1)
    smallest = np.take_along_axis(
        ranked, np.argmin(cumulative < CQT_SPARSITY, axis=1)[:, None], axis=1
    )
    spectra[magnitudes < smallest] = 0
    return (spectra / np.sqrt(lengths)[:, None]).astype(np.complex64)


def pitch_classes() -> np.ndarray:
    """Return the pitch class (0 = C) of each of the 168 bins.

    Quarter-tone bins belong to the semitone at or above them.
    """
    per_class = BINS_PER_OCTAVE // CHROMA_CLASSES
    octave = ((np.arange(BINS_PER_OCTAVE) + per_class // 2) // per_class) % CHROMA_CLASSES
    return np.tile(octave, OCTAVES)


@cache
def half_rate_filter() -> np.ndarray:
    """Return the impulse response (401,), float32, of soxr's HQ decimation by two.

    It is scaled by sqrt(2), as in librosa. It is measured from soxr itself: an impulse at an even
    sample gives the even taps, one at an odd sample the odd taps.
    """
    reach = _HALF_RATE_REACH
    taps = np.zeros(2 * reach + 1)
    for position in (4 * reach, 4 * reach + 1):
        impulse = np.zeros(8 * reach)
        impulse[position] = 1.0
        response = soxr.resample(impulse, 2, 1, quality="soxr_hq")
        offset = position - 2 * np.arange(len(response))
        inside = np.abs(offset) <= reach
        taps[reach + offset[inside]] = response[inside]
    return (taps * np.sqrt(2)).astype(np.float32)
