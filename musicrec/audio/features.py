"""Compute all six features in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musicrec.audio.constantq import constantq_features
from musicrec.audio.kernels.fft import hop_matrix
from musicrec.audio.kernels.half import to_float16
from musicrec.audio.parameters import (
    CLIP_SAMPLES,
    FEATURES,
    FFT_SIZE,
    HOP,
    SAMPLE_RATE,
    SHORTEST_SAMPLES,
    ChromaKind,
    check_chroma,
    check_names,
)
from musicrec.audio.spectral import spectral_features

_SPECTRAL = {"stft", "stft_halved", "mel", "mfcc"}
_CONSTANT_Q = {"cqt", "chroma"}


def extract_features(
    samples: np.ndarray, names: Sequence[str] = FEATURES, *, chroma: ChromaKind = "librosa"
) -> dict[str, np.ndarray]:
    """Compute spectral features of one clip, each float32 (frequency, 643) as in `FEATURE_SHAPES`.

    The values are not standardised (Whitell 2019, Figures 1-6).

    Only the features in `names` are computed: one STFT serves stft, stft_halved, mel and mfcc, one
    decimation chain serves cqt and chroma. A recording over 30 s is cut to its first 30 s; one
    under 29.81 s (657,408 samples) is padded with zeros at its end, so that every feature has 643
    frames. `spread_segments` splits full-length tracks.

    Parameters
    ----------
    samples
        float32 mono (N,) at 22,050 Hz, N at least 1.
    names
        A subset of `FEATURES`.
    chroma
        ``librosa``: in the recording's own tuning, as
        ``librosa.feature.chroma_cqt(bins_per_octave=24)`` (the thesis' experiments). ``folded``:
        the 168 bins of `cqt` in concert pitch, wrapped into 12 (the thesis' prose).

    Returns
    -------
    dict
        dB with reference 1, at most 80 dB under the clip's own peak; chroma linear, each frame's
        largest value 1. `stft_halved` is a view of `stft` if both are requested.

    Raises
    ------
    ValueError
        Unknown names, or samples that are empty, not one-dimensional or not finite.
    """
    names = check_names(names)
    check_chroma(chroma)
    clip = fit_clip(samples)
    requested = set(names)
    matrix = hop_matrix(clip, HOP, FFT_SIZE)
    features: dict[str, np.ndarray] = {}
    if requested & _SPECTRAL:
        features |= spectral_features(clip, matrix, names)
    if requested & _CONSTANT_Q:
        features |= constantq_features(clip, matrix, names, chroma)
    return {name: features[name] for name in names}


def fit_clip(samples: np.ndarray) -> np.ndarray:
    """Cut to 30 s, or pad with zeros to 643 frames; return contiguous float32."""
    if samples.ndim != 1 or not len(samples):
        raise ValueError(
            f"samples have shape {samples.shape}: expected mono samples (N,), N at least 1"
        )
    clip = np.ascontiguousarray(samples[:CLIP_SAMPLES], dtype=np.float32)
    if not np.isfinite([clip.min(), clip.max()]).all():  # NaN passes through both
        raise ValueError("samples contain NaN or infinity")
    if len(clip) < SHORTEST_SAMPLES:
        clip = np.concatenate([clip, np.zeros(SHORTEST_SAMPLES - len(clip), dtype=np.float32)])
    return clip


def compile_kernels() -> None:
    """Compile every kernel, or load it from Numba's cache on disk.

    Call it before the first clip is timed, or before many workers start at the same time.
    """
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    to_float16(extract_features(noise)["mfcc"])
