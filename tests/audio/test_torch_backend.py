"""The torch features against librosa and against the clip-by-clip features, on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sound import RATE, assert_parity, compose, librosa_features

from musicrec.audio import FEATURE_SHAPES, FEATURES, extract_features
from musicrec.audio.torch_backend import estimate_tunings, extract_features_batch
from musicrec.audio.tuning import estimate_tuning


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    """Return music, the same a quarter tone lower and quieter, a square wave, silence: (4, N)."""
    square = np.sign(np.sin(2 * np.pi * 220.3 * np.arange(30 * RATE) / RATE) + 1e-9)
    low = 0.01 * compose(30.0, tuning_cents=-19, seed=5)[:, 1]
    return np.stack([compose(30.0)[:, 0], low, square, np.zeros(30 * RATE)]).astype(np.float32)


@pytest.fixture(scope="module")
def features(batch) -> dict[str, torch.Tensor]:
    return extract_features_batch(torch.from_numpy(batch))


@pytest.mark.filterwarnings("ignore:Trying to estimate tuning from empty frequency set")
@pytest.mark.parametrize("clip", range(4))
def test_each_clip_equals_librosa(batch, features, clip):
    assert {name: tuple(feature.shape[1:]) for name, feature in features.items()} == FEATURE_SHAPES
    assert_parity(
        {name: feature[clip].numpy() for name, feature in features.items()},
        librosa_features(batch[clip]),
        factor=5,
    )


def test_tunings(batch):
    assert estimate_tunings(torch.from_numpy(batch)) == [estimate_tuning(clip) for clip in batch]


@pytest.mark.parametrize("names", [("mfcc",), ("stft_halved", "chroma"), ("cqt",)])
def test_only_requested_features_are_computed(batch, features, names):
    some = extract_features_batch(torch.from_numpy(batch[:2]), names)
    assert tuple(some) == names
    for name in names:
        torch.testing.assert_close(some[name], features[name][:2], atol=1e-3, rtol=0)


def test_folded_chroma_and_short_clips(batch):
    second = batch[:1, :RATE]
    ours = extract_features(second[0], chroma="folded")
    folded = extract_features_batch(torch.from_numpy(second), FEATURES, chroma="folded")
    for name in ("stft", "mel", "cqt", "mfcc"):
        np.testing.assert_allclose(folded[name][0].numpy(), ours[name], atol=0.05)
    # After the recording's end chroma is rounding scaled to 1.
    np.testing.assert_allclose(
        folded["chroma"][0, :, :18].numpy(), ours["chroma"][:, :18], atol=5e-3
    )


@pytest.mark.parametrize(
    "samples", [torch.zeros(5), torch.zeros(2, 0), torch.full((1, 50), torch.nan)]
)
def test_unusable_input(samples):
    with pytest.raises(ValueError, match="samples"):
        extract_features_batch(samples)


def test_matrix_precision_is_restored(batch):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        extract_features_batch(torch.from_numpy(batch[:1]), ("mfcc",))
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
