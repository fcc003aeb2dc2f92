"""extract_features against librosa: live, on golden values, and on unusual recordings."""

from __future__ import annotations

import subprocess
import sys

import librosa
import numpy as np
import pytest
from sound import DATA, RATE, assert_parity, compose, librosa_features

from musicrec.audio import (
    FEATURE_SHAPES,
    FEATURES,
    extract_features,
    feature_parameters,
    load_audio,
)
from musicrec.audio.parameters import SHORTEST_SAMPLES


def test_all_six_equal_librosa(clip, reference):
    features = extract_features(clip)
    assert tuple(features) == FEATURES
    for name, feature in features.items():
        assert feature.shape == FEATURE_SHAPES[name]
        assert feature.dtype == np.float32
        assert feature.flags.c_contiguous
    assert_parity(features, reference)


def test_golden_values():
    golden = np.load(DATA / "features.npz")
    features = extract_features(load_audio(DATA / "music.flac"))
    assert_parity(
        {name: feature[:, golden["frames"]] for name, feature in features.items()}, golden
    )


@pytest.mark.parametrize(
    "names", [("mfcc",), ("stft_halved",), ("chroma", "mel"), ("cqt",), ("stft_halved", "stft"), ()]
)
def test_only_requested_features_are_computed(clip, names):
    everything = extract_features(clip)
    some = extract_features(clip, names)
    assert tuple(some) == names
    for name in names:
        np.testing.assert_array_equal(some[name], everything[name])


SECONDS = np.arange(30 * RATE) / RATE
ODD = {
    "silence": lambda: np.zeros(30 * RATE, dtype=np.float32),
    "full-scale square": lambda: np.sign(np.sin(2 * np.pi * 220.3 * SECONDS) + 1e-9).astype(
        np.float32
    ),
    "constant": lambda: np.full(30 * RATE, 0.5, dtype=np.float32),
    "29.97 s": lambda: compose(29.97, seed=1)[:, 0],
    "one impulse": lambda: np.eye(1, 30 * RATE, 300_000, dtype=np.float32)[0],
    "quiet": lambda: 1e-4 * compose(30.0, seed=2)[:, 0],
}


@pytest.mark.filterwarnings("ignore:Trying to estimate tuning from empty frequency set")
@pytest.mark.parametrize("case", ODD)
def test_unusual_recordings_equal_librosa(case):
    samples = ODD[case]()
    # In the flat spectrum of an impulse only rounding makes the peaks that determine the tuning of
    # the chroma.
    names = tuple(name for name in FEATURES if not (case == "one impulse" and name == "chroma"))
    assert_parity(extract_features(samples, names), librosa_features(samples))


def test_short_clip_is_padded_with_zeros():
    second = compose(1.0)[:, 0]
    padded = np.pad(second, (0, SHORTEST_SAMPLES - len(second)))
    features = extract_features(second)
    assert_parity(features, librosa_features(padded))
    # After the sound there is nothing but the floor, 80 dB under the peak.
    assert np.ptp(features["stft"][:, 40:]) == 0
    assert features["stft"].max() - features["stft"][0, -1] == pytest.approx(80, abs=1e-4)


def test_long_clip_is_cut():
    samples = compose(33.0)[:, 0]
    whole, cut = (
        extract_features(samples, ("mel", "chroma")),
        extract_features(samples[: 30 * RATE], ("mel", "chroma")),
    )
    for name in whole:
        np.testing.assert_array_equal(whole[name], cut[name])


def test_folded_chroma_wraps_the_constant_q(clip):
    magnitudes = np.abs(
        librosa.cqt(clip, sr=RATE, hop_length=1024, n_bins=168, bins_per_octave=24)
    )[:, :643]
    folded = librosa.filters.cq_to_chroma(168, bins_per_octave=24) @ magnitudes
    expected = folded / folded.max(axis=0)
    np.testing.assert_allclose(
        extract_features(clip, ("chroma",), chroma="folded")["chroma"], expected, atol=1e-4
    )


def test_input_is_unchanged(clip):
    before = clip.copy()
    extract_features(clip)
    np.testing.assert_array_equal(clip, before)


def test_other_number_types(clip):
    for samples in (clip.astype(np.float64), np.repeat(clip, 2)[::2]):
        np.testing.assert_array_equal(
            extract_features(samples, ("mfcc",))["mfcc"], extract_features(clip, ("mfcc",))["mfcc"]
        )


@pytest.mark.parametrize(
    ("samples", "names", "message"),
    [
        (np.zeros(0, np.float32), ("mel",), "shape"),
        (np.zeros((2, 100), np.float32), ("mel",), "shape"),
        (np.array([0, np.nan], np.float32), ("mel",), "NaN"),
        (np.array([0, np.inf], np.float32), ("mel",), "infinity"),
        (np.zeros(100, np.float32), ("mel", "melody"), "'melody'"),
    ],
)
def test_unusable_input(samples, names, message):
    with pytest.raises(ValueError, match=message):
        extract_features(samples, names)


def test_parameters_differ_by_kind_of_chroma():
    assert feature_parameters() != feature_parameters("folded")
    with pytest.raises(ValueError, match="chroma='stft'"):
        feature_parameters("stft")


def test_import_is_light():
    """Import the package without Numba, librosa, torch and Ray, as planning a job does.

    The first three are imported for the first clip, Ray never.
    """
    code = (
        "import sys, musicrec.audio; print(*{'numba', 'librosa', 'torch', 'ray', "
        "'scipy'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert loaded == []
    code = (
        "import sys, numpy as np; from musicrec.audio import extract_features; "
        "extract_features(np.ones(99, np.float32)); "
        "print(*{'librosa', 'torch', 'ray'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        == []
    )
