"""Sound for the tests: a deterministic piece of music and its six features by librosa."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np

DATA = Path(__file__).parent.parent / "data" / "audio"
RATE = 22_050


# Largest difference from librosa and its 99.9th percentile (dB; chroma linear)
LIMITS = {
    "stft": (0.01, 1e-3),
    "stft_halved": (0.01, 1e-3),
    "mel": (0.01, 1e-3),
    "mfcc": (0.01, 1e-3),
    "cqt": (0.02, 3e-3),
    "chroma": (1e-3, 1e-3),
}
NOTES = (38, 45, 50, 53, 57, 60, 64, 69, 72, 76, 81)


def compose(
    seconds: float, rate: int = RATE, tuning_cents: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Compose stereo float32 (N, 2), peaks of 0.9.

    A chord of four decaying notes and a noisy beat every half second.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(2 * rate) / rate
    tones = []
    for note in NOTES:
        pitch = 440 * 2 ** ((note - 69 + tuning_cents / 100) / 12)
        partials = [k for k in range(1, 9) if k * pitch < rate / 2.2]
        tones.append(
            sum(np.sin(2 * np.pi * k * pitch * time) / k**1.5 for k in partials) * np.exp(-3 * time)
        )
    sound = np.zeros((round(seconds * rate), 2))
    for start in range(0, len(sound), rate // 2):
        part = sound[start : start + 2 * rate]
        for index in rng.choice(len(NOTES), size=4, replace=False):
            part += tones[index][: len(part), None] * rng.uniform(0.3, 1.0, 2)
        part += 0.5 * (rng.standard_normal(len(time)) * np.exp(-40 * time))[: len(part), None]
    return (0.9 * sound / np.abs(sound).max()).astype(np.float32)


def librosa_features(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Compute all six features by librosa, as in the thesis."""
    frame = {"n_fft": 4096, "hop_length": 1024}
    stft = librosa.amplitude_to_db(np.abs(librosa.stft(samples, **frame))[:, :643])
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE, n_mels=256, **frame)
    return {
        "stft": stft,
        "stft_halved": stft[:1024],
        "mel": librosa.power_to_db(mel[:, :643]),
        "mfcc": librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=13, n_mels=256, **frame)[1:, :643],
        "cqt": librosa.amplitude_to_db(
            np.abs(librosa.cqt(samples, sr=RATE, hop_length=1024, n_bins=168, bins_per_octave=24))[
                :, :643
            ]
        ),
        "chroma": librosa.feature.chroma_cqt(
            y=samples, sr=RATE, hop_length=1024, bins_per_octave=24
        )[:, :643],
    }


def assert_parity(
    features: dict[str, np.ndarray], reference: dict[str, np.ndarray], factor: float = 1.0
) -> None:
    """Assert that every feature is within `factor` times its limits of librosa's."""
    for name, feature in features.items():
        difference = np.abs(np.asarray(feature) - reference[name])
        largest, usual = LIMITS[name]
        assert difference.max() <= factor * largest, name
        assert np.quantile(difference, 0.999) <= factor * usual, name
