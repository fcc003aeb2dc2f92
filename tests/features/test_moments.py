"""Moments of clips, and the wide statistics built on them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from musicrec.audio import FEATURE_SHAPES
from musicrec.config.inputs import VECTORS
from musicrec.features.moments import clip_statistics
from musicrec.features.vectors import available_features, compute_vector, vector_length
from musicrec.features.wide_statistics import wide_statistics


def test_clip_statistics_equal_scipy():
    generator = np.random.default_rng(0)
    feature = generator.gamma(2, 3, size=(12, 643)).astype(np.float32) - 80
    result = clip_statistics(feature).reshape(7, 12)
    wide = feature.astype(np.float64)
    expected = [
        wide.mean(axis=1),
        wide.std(axis=1),
        scipy.stats.skew(wide, axis=1),
        scipy.stats.kurtosis(wide, axis=1),
        np.median(wide, axis=1),
        wide.min(axis=1),
        wide.max(axis=1),
    ]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_clip_statistics_of_a_row_that_does_not_vary():
    constant = np.full((1, 643), -80.1, dtype=np.float32)
    result = clip_statistics(constant)
    np.testing.assert_allclose(result, [-80.1, 0, 0, 0, -80.1, -80.1, -80.1], atol=1e-5)
    np.testing.assert_array_equal(clip_statistics(np.zeros((2, 1))), np.zeros(14))


@pytest.mark.parametrize("feature", [np.zeros(5), np.zeros((3, 0)), np.array([[1.0, np.nan]])])
def test_clip_statistics_reject_invalid_features(feature):
    with pytest.raises(ValueError, match="finite"):
        clip_statistics(feature)


def test_wide_statistics_equal_numpy_and_scipy():
    generator = np.random.default_rng(1)
    feature = generator.gamma(2, 3, size=(256, 643)).astype(np.float32) - 80
    result = wide_statistics({"mel": feature}).reshape(11, 85)
    rows = feature[:255].astype(np.float64).reshape(85, 3, 643).mean(axis=1)
    expected = [
        rows.mean(axis=1),
        rows.std(axis=1),
        scipy.stats.skew(rows, axis=1),
        scipy.stats.kurtosis(rows, axis=1),
        *(np.quantile(rows, fraction, axis=1) for fraction in (0.05, 0.25, 0.5, 0.75, 0.95)),
        np.abs(rows[:, 1:] - rows[:, :-1]).mean(axis=1),
        (rows[:, 1:] - rows[:, :-1]).std(axis=1),
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_wide_statistics_follow_the_order_of_the_features():
    generator = np.random.default_rng(2)
    mfcc, chroma = generator.normal(size=(2, 12, 643)).astype(np.float32)
    both = wide_statistics({"chroma": chroma, "mfcc": mfcc})
    np.testing.assert_array_equal(both[:132], wide_statistics({"chroma": chroma}))
    np.testing.assert_array_equal(both[132:], wide_statistics({"mfcc": mfcc}))


def test_silence_and_one_frame_have_finite_wide_statistics():
    assert np.isfinite(wide_statistics({"mfcc": np.zeros((12, 643))})).all()
    assert np.isfinite(wide_statistics({"mfcc": np.ones((12, 1))})).all()


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_has_its_length_and_one_frame(name):
    features = available_features(name, ["mfcc", "stft", "mel"])
    assert features == tuple(each for each in VECTORS[name].features if each in ("mel", "mfcc"))
    arrays = {each: np.random.default_rng(3).random(FEATURE_SHAPES[each]) for each in features}
    vector = compute_vector(name, arrays)
    assert vector.shape == (vector_length(name, features), 1)
    assert vector.dtype == np.float32


def test_the_statistics_of_a_clip_are_between_600_and_3600_numbers():
    assert vector_length("statistics", VECTORS["statistics"].features) == 2123


def test_a_feature_is_no_vector():
    assert available_features("mel", ["mel"]) == available_features(None, ["mel"]) == ()
