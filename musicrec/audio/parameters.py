"""Define the names, shapes and parameters of the six features (Whitell 2019, Figures 1-6).

Plain data, quick to import. Every parameter follows from the sample rate, the hop and the thesis'
sizes. `feature_parameters` returns them as one dictionary, whose hash shows whether two stored
features were computed alike.
"""

from __future__ import annotations

from typing import Literal

from musicrec.config.names import SPECTRAL_FEATURES

SAMPLE_RATE = 22050  # Hz
HOP = 1024  # samples between frames
FRAMES = 643  # columns of every feature
CLIP_SECONDS = 30.0
CLIP_SAMPLES = int(CLIP_SECONDS * SAMPLE_RATE)  # a longer recording is cut to this length
# 29.81 s, the shortest recording with 643 centred frames; a shorter one is padded with zeros
SHORTEST_SAMPLES = (FRAMES - 1) * HOP

FFT_SIZE = 4096  # also the length of the Hann window
STFT_BINS = FFT_SIZE // 2 + 1
HALVED_BINS = 1024
MEL_BANDS = 256
MFCC_COEFFICIENTS = 13  # the first is dropped

OCTAVES = 7
BINS_PER_OCTAVE = 24
CQT_BINS = OCTAVES * BINS_PER_OCTAVE
LOWEST_FREQUENCY = 440.0 * 2.0 ** ((24 - 69) / 12)  # C1, 32.703 Hz
# The longest of an octave's 24 wavelets has 374 samples at the octave's own rate.
CQT_FFT_SIZE = 512
# Fraction of a wavelet's magnitude spectrum that is dropped, smallest values first
CQT_SPARSITY = 0.01

TUNING_FFT_SIZE = 2048
TUNING_HOP = 512
TUNING_STEPS = 100  # per constant-Q bin
PITCH_LOWEST, PITCH_HIGHEST = 150.0, 4000.0  # Hz, range of the spectral peaks used for tuning
PITCH_THRESHOLD = 0.1  # of the frame's largest magnitude

CHROMA_CLASSES = 12
POWER_FLOOR = 1e-10  # 1e-5 in amplitude
DYNAMIC_RANGE = 80.0  # dB under the clip's peak

FEATURES = SPECTRAL_FEATURES
FEATURE_SHAPES: dict[str, tuple[int, int]] = {
    "stft": (STFT_BINS, FRAMES),
    "stft_halved": (HALVED_BINS, FRAMES),
    "mel": (MEL_BANDS, FRAMES),
    "cqt": (CQT_BINS, FRAMES),
    "chroma": (CHROMA_CLASSES, FRAMES),
    "mfcc": (MFCC_COEFFICIENTS - 1, FRAMES),
}

ChromaKind = Literal["librosa", "folded"]
CHROMA_KINDS: tuple[ChromaKind, ...] = ("librosa", "folded")


def feature_parameters(chroma: ChromaKind = "librosa") -> dict[str, str | int | float]:
    """Return every parameter that determines the six features, as JSON-ready scalars."""
    check_chroma(chroma)
    return {
        "sample_rate": SAMPLE_RATE,
        "resampling": "soxr_hq",
        "hop": HOP,
        "frames": FRAMES,
        "clip_samples": CLIP_SAMPLES,
        "window": "hann, periodic",
        "fft_size": FFT_SIZE,
        "halved_bins": HALVED_BINS,
        "mel_bands": MEL_BANDS,
        "mel_scale": "slaney, area-normalised",
        "mel_lowest_hz": 0.0,
        "mel_highest_hz": SAMPLE_RATE / 2,
        "mfcc_coefficients": MFCC_COEFFICIENTS,
        "mfcc_transform": "dct-ii, orthonormal, first dropped",
        "cqt_octaves": OCTAVES,
        "cqt_bins_per_octave": BINS_PER_OCTAVE,
        "cqt_lowest_hz": LOWEST_FREQUENCY,
        "cqt_sparsity": CQT_SPARSITY,
        "chroma": chroma,
        "chroma_classes": CHROMA_CLASSES,
        "power_floor": POWER_FLOOR,
        "dynamic_range_db": DYNAMIC_RANGE,
    }


def check_chroma(chroma: str) -> None:
    """Raise ValueError if the kind of chroma is unknown."""
    if chroma not in CHROMA_KINDS:
        raise ValueError(f"chroma={chroma!r} is not one of {', '.join(CHROMA_KINDS)}")


def check_names(names: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Return the names as a tuple; raise ValueError if one is unknown."""
    unknown = [name for name in names if name not in FEATURES]
    if unknown:
        raise ValueError(
            f"unknown features {', '.join(map(repr, unknown))}: choose from {', '.join(FEATURES)}"
        )
    return tuple(names)
