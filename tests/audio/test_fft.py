"""The vector kernels against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from musicrec.audio.kernels.fft import hop_matrix, real_bins, roots_of_unity, transform, workspace
from musicrec.audio.kernels.half import to_float16
from musicrec.audio.kernels.simd import LANES, broadcast, decibels, load, store


@njit
def _spectrum(matrix, shift, window, roots, real_roots, work, result):
    points = len(window) // 2
    source = transform(matrix, 0, shift, window, roots, points, work)
    for k in range(1, points // 2 + 1):
        re, im, mirrored_re, mirrored_im = real_bins(
            work[source], work[source + 1], real_roots, points, k
        )
        store(result[0, k], 0, re)
        store(result[1, k], 0, im)
        store(result[0, points - k], 0, mirrored_re)
        store(result[1, points - k], 0, mirrored_im)


@pytest.mark.parametrize(
    ("size", "hop", "shift"),
    [(512, 16, 0), (512, 1024, 0), (2048, 512, 512), (4096, 1024, 0), (4096, 1024, 1536)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-7), (np.float64, 1e-14)])
def test_transform_equals_numpy(size, hop, shift, dtype, tolerance):
    rng = np.random.default_rng([size, hop])
    samples = rng.standard_normal(20 * hop + size).astype(np.float32)
    window = rng.uniform(0.5, 1.0, size).astype(dtype)
    work = workspace(size // 2, window)
    result = np.zeros((2, size // 2 + 1, LANES), dtype=dtype)
    _spectrum(
        hop_matrix(samples, hop, 2 * size),
        shift,
        window,
        *roots_of_unity(size, dtype),
        work,
        result,
    )
    padded = np.pad(samples, (size - shift, size + LANES * hop)).astype(np.float64)
    expected = np.stack(
        [np.fft.rfft(padded[frame * hop :][:size] * window) for frame in range(LANES)], axis=1
    )
    ours = result[0] + 1j * result[1]
    np.testing.assert_allclose(ours[1:-1], expected[1:-1], atol=tolerance * np.abs(expected).max())


@njit
def _levels(power, floor, result):
    for at in range(0, len(power), LANES):
        store(result, at, decibels(load(power, at), broadcast(floor)))


def test_decibels_equal_the_logarithm():
    power = np.concatenate(
        [
            np.logspace(-10, 9, 4000),
            np.linspace(0.6, 1.4, 4000),
            [0, 1e-30, 1e-10, 1e-38, 2 / 3, 4 / 3, 1, 2],
        ]
    )
    power = power[: len(power) // LANES * LANES].astype(np.float32)
    result = np.empty_like(power)
    _levels(power, np.float32(1e-10), result)
    expected = 10 * np.log10(np.maximum(power.astype(np.float64), np.float64(np.float32(1e-10))))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_half_precision_equals_numpy_bit_for_bit():
    rng = np.random.default_rng(0)
    every_half = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every_half[np.isfinite(every_half)].astype(np.float32)
    between = (finite[:-1] + np.diff(finite) / 2)[np.isfinite(np.diff(finite))]  # ties
    for numbers in (
        finite,
        between,
        (100 * rng.standard_normal((37, 643))).astype(np.float32),
        np.zeros(3, np.float32),
        np.zeros(0, np.float32),
    ):
        with np.errstate(over="ignore"):
            expected = numbers.astype(np.float16)
        ours = to_float16(numbers)
        assert ours.shape == numbers.shape
        np.testing.assert_array_equal(ours.view(np.uint16), expected.view(np.uint16))


def test_half_precision_of_a_strided_array():
    numbers = np.arange(400, dtype=np.float32).reshape(20, 20)[:, ::2]
    np.testing.assert_array_equal(to_float16(numbers), numbers.astype(np.float16))
