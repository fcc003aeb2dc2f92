"""Standardising in every way, and the halved STFT as the thesis had it."""

from __future__ import annotations

import numpy as np
import pytest

from musicrec.features.standardise import halved_statistics, standardise


@pytest.fixture(scope="module")
def stft() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(-30, 20, (2049, 643)) + np.linspace(20, -40, 2049)[:, None]).astype(
        np.float32
    )


def test_per_frame(stft):
    expected = (stft - stft.mean(axis=0, dtype=np.float64)) / stft.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(standardise(stft), expected, atol=1e-4)
    assert standardise(stft).dtype == np.float32


def test_per_clip(stft):
    ours = standardise(np.stack([stft, 3 * stft + 7]), "per_clip")
    assert abs(ours.mean(axis=(1, 2), dtype=np.float64)).max() < 1e-5
    np.testing.assert_allclose(ours.std(axis=(1, 2), dtype=np.float64), 1, atol=1e-5)
    np.testing.assert_allclose(ours[0], ours[1], atol=1e-4)


def test_per_feature_bin(stft):
    mean, deviation = stft.mean(axis=1), stft.std(axis=1)
    ours = standardise(stft, "per_feature_bin", mean=mean, deviation=deviation)
    np.testing.assert_allclose(ours.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(ours.std(axis=1), 1, atol=1e-4)


def test_none(stft):
    np.testing.assert_array_equal(standardise(stft, "none"), stft)


def test_halved_is_standardised_before_it_is_halved(stft):
    mean, deviation = halved_statistics(stft)
    assert mean.shape == deviation.shape == (643,)
    assert mean.dtype == deviation.dtype == np.float32
    ours = standardise(stft[:1024], "per_frame", mean=mean, deviation=deviation)
    np.testing.assert_allclose(ours, standardise(stft)[:1024], atol=1e-5)
    assert np.abs(ours - standardise(stft[:1024])).max() > 0.1


def test_silence_becomes_zeros():
    assert not standardise(np.full((12, 643), -100, np.float32)).any()


def test_wrong_use(stft):
    with pytest.raises(ValueError, match="how='per_row'"):
        standardise(stft, "per_row")
    with pytest.raises(ValueError, match="needs the training set's"):
        standardise(stft, "per_feature_bin")
    with pytest.raises(ValueError, match="go together"):
        standardise(stft, mean=np.zeros(643))
    with pytest.raises(ValueError, match="1024 frequency bins"):
        halved_statistics(stft[:1024])
