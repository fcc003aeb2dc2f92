"""The port of musicnn, against the original in TensorFlow and against librosa."""

from __future__ import annotations

import json
from pathlib import Path

import librosa
import numpy as np
import pytest
import safetensors
import torch
from musicnn_clips import clips

from musicrec.pretrained.embedder import Embedder, load_embedder
from musicrec.pretrained.musicnn import Musicnn
from musicrec.pretrained.spectrogram import log_mel, windows

REFERENCE = json.loads(Path(__file__).with_name("musicnn_reference.json").read_text())


@pytest.mark.usefixtures("musicnn_package")
@pytest.mark.parametrize("name", clips())
def test_vectors_are_those_of_the_original(name: str) -> None:
    with torch.inference_mode():
        vectors = load_embedder().network(windows(clips()[name]))
    # The reference is rounded to 1e-5.
    np.testing.assert_allclose(vectors.numpy(), REFERENCE[name], atol=1e-4)
    np.testing.assert_allclose(
        load_embedder()(clips()[name])[:, 0], np.mean(REFERENCE[name], axis=0), atol=1e-4
    )


@pytest.mark.usefixtures("musicnn_package")
def test_weights_stored_with_a_model_give_the_same_and_carry_the_licence(tmp_path: Path) -> None:
    clip = clips()["beats"]
    content = load_embedder().weights()
    np.testing.assert_array_equal(Embedder.from_weights(content)(clip), load_embedder()(clip))
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with safetensors.safe_open(path, "pt") as file:
        licence = file.metadata()["license"]
    assert "Music Technology Group, Universitat Pompeu Fabra 2019" in licence
    assert "this permission notice appear in all copies" in licence


@pytest.mark.parametrize("name", clips())
def test_spectrograms_are_those_of_librosa(name: str) -> None:
    power = librosa.feature.melspectrogram(
        y=clips()[name], sr=16_000, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    expected = np.log10(10_000 * power + 1).T
    # Next to powers of 1e6 the rounding of a float32 transform shows in the weakest bands.
    tolerance = 3e-3 if "over full scale" in name else 1e-4
    np.testing.assert_allclose(log_mel(clips()[name]).numpy(), expected, atol=tolerance)


def test_a_clip_over_full_scale_stays_finite() -> None:
    loud = log_mel(clips()["both, over full scale"])
    assert (10 ** loud.max() - 1) / 10_000 > np.finfo(np.float16).max
    assert torch.isfinite(loud).all()


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.1, 1), (1, 1), (2.96, 1), (3, 1), (5.9, 1), (6, 2), (30, 10)]
)
def test_windows_are_whole_and_short_clips_repeated(seconds: float, expected: int) -> None:
    samples = np.random.default_rng(0).random(int(16_000 * seconds), np.float32)
    cut, frames = windows(samples), log_mel(samples)
    assert cut.shape == (expected, 187, 96)
    np.testing.assert_array_equal(cut.flatten(0, 1)[: len(frames)], frames[: expected * 187])
    if len(frames) < 187:
        np.testing.assert_array_equal(cut[0, len(frames)], frames[0])


def test_the_network_needs_all_variables_of_its_layers_by_their_names() -> None:
    names = Musicnn().variable_names()
    assert len(names) == 52 + 10  # of 11 norms four each, of 8 convolutions and a dense layer two
    assert {"conv2d/kernel", "conv2d_7/bias", "batch_normalization_10/gamma"} <= {*names}
