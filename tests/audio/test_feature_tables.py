"""Constant tables against librosa's builders."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import soxr
from librosa.core import constantq

from musicrec.audio import tables
from musicrec.audio.parameters import LOWEST_FREQUENCY


def test_window_and_mel_filters():
    np.testing.assert_allclose(
        tables.hann_window(4096), scipy.signal.get_window("hann", 4096), atol=1e-7
    )
    np.testing.assert_array_equal(
        tables.mel_filters(), librosa.filters.mel(sr=22_050, n_fft=4096, n_mels=256)
    )


def test_cosine_transform():
    expected = scipy.fft.dct(np.eye(256), type=2, norm="ortho", axis=0)[1:13]
    np.testing.assert_allclose(tables.cosine_transform(), expected, atol=1e-7)


def test_pitch_classes():
    folding = librosa.filters.cq_to_chroma(168, bins_per_octave=24)
    np.testing.assert_array_equal(folding, tables.pitch_classes() == np.arange(12)[:, None])


@pytest.mark.parametrize("tuning", [-0.5, -0.13, 0.0, 0.49])
@pytest.mark.parametrize("octave", [0, 3, 6])
def test_one_set_of_wavelets_serves_every_octave(tuning, octave):
    frequencies = librosa.cqt_frequencies(
        168, fmin=librosa.note_to_hz("C1"), bins_per_octave=24, tuning=tuning
    )
    np.testing.assert_allclose(tables.cqt_frequencies(tuning), frequencies, rtol=1e-12)
    rows = slice(168 - 24 * (octave + 1), 168 - 24 * octave)
    bandwidths = librosa.filters._relative_bandwidth(freqs=frequencies)
    build = next(
        getattr(constantq, name) for name in dir(constantq) if name.endswith("__vqt_filter_fft")
    )
    basis, size, _ = build(
        22_050 / 2**octave, frequencies[rows], 1, 1, 0.01, alpha=bandwidths[rows]
    )
    lengths, _ = librosa.filters.wavelet_lengths(
        freqs=frequencies[-24:], sr=22_050, alpha=bandwidths[-24:]
    )
    expected = basis.toarray() / np.sqrt(lengths)[:, None]
    ours = tables.wavelet_spectra(tuning)
    assert size == 512
    np.testing.assert_array_equal(ours != 0, expected != 0)
    np.testing.assert_allclose(ours, expected, atol=2e-7 * np.abs(expected).max())


def test_wavelets_of_every_tuning_are_within_the_stated_bins():
    outside = np.ones(257, dtype=bool)
    outside[tables.WAVELET_BINS] = False
    for tuning in np.linspace(-0.5, 0.5, 101):
        assert not tables.wavelet_spectra(float(tuning))[:, outside].any()


def test_half_rate_filter_equals_soxr():
    noise = np.random.default_rng(0).standard_normal(5001)
    taps = tables.half_rate_filter().astype(np.float64)
    ours = np.convolve(np.pad(noise, 200), taps, mode="valid")[::2]
    np.testing.assert_allclose(
        ours, np.sqrt(2) * soxr.resample(noise, 2, 1, quality="soxr_hq"), atol=2e-6
    )


def test_lowest_frequency():
    assert pytest.approx(librosa.note_to_hz("C1"), rel=1e-12) == LOWEST_FREQUENCY
