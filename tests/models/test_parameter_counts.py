"""Every parameter count of thesis.md section 2, to the unit; models are built without memory on the meta device."""

from __future__ import annotations

import pytest
import torch

from musicrec.models import VARIANTS, build_model, build_stack, count_parameters

LYRICS_VOCABULARY = 497_948


def model_count(architecture: str, feature: str | None, outputs: int, **sizes: int) -> int:
    with torch.device("meta"):
        return count_parameters(build_model(architecture, feature, outputs, **sizes))


def stack_count(name: str, outputs: int, **sizes: tuple[str, ...]) -> int:
    with torch.device("meta"):
        return count_parameters(build_stack(name, outputs, **sizes))


# Table 3 (16 classes) and Table 4 (CIFAR-100): feature, classes, TimeFreq, Time, Simple, Freq.
SINGLE_GENRE = [
    ("stft", 16, 190_510, 84_500, 733_736, 62_602),
    ("stft_halved", 16, 173_366, 67_988, 733_736, 61_970),
    ("mel", 16, 160_682, 55_700, 733_736, 61_574),
    ("cqt", 16, 159_294, 54_292, 733_736, 61_594),
    ("mfcc", 16, 157_200, 53_140, 733_736, 60_652),
    ("chroma", 16, 157_200, 53_140, 733_736, 60_652),
    ("cifar", 100, 243_828, 73_288, 819_980, 73_288),
]

# Table 5 (161 genres) and the convolutional rows of Table 6 (800 outputs): feature, outputs, TimeFreqAvg, Time, Freq, Simple.
AVERAGED = [
    ("stft_halved", 161, 204_488, 105_253, 99_235, 882_361),
    # The thesis prints 190,416 for the average, which is the next row's figure; its own Time and Freq add to 191,804.
    ("mel", 161, 191_804, 92_965, 98_839, 882_361),
    ("cqt", 161, 190_416, 91_557, 98_859, 882_361),
    ("mel", 800, 520_250, 257_188, 263_062, 1_537_336),
    ("cqt", 800, 518_862, 255_780, 263_082, 1_537_336),
]

# Table 6, without the submodels' own parameters.
RECOMMENDATION = {
    "Recommendation": 50_522_912,
    "ByLyrics": 42_753_312,
    "ByLocation": 41_540_384,
    "ByYear": 41_409_312,
    "ByAlbums": 42_753_312,
    "AudioOnly": 39_311_136,
}


@pytest.mark.parametrize("row", SINGLE_GENRE)
def test_single_genre(row: tuple[str, int, int, int, int, int]) -> None:
    feature, classes, time_freq, time, simple, freq = row
    assert model_count("time", feature, classes) == time
    assert model_count("freq", feature, classes) == freq
    assert model_count("simple", feature, classes) == simple
    assert time + freq + stack_count("time_freq", classes) == time_freq


@pytest.mark.parametrize("row", AVERAGED)
def test_averaged(row: tuple[str, int, int, int, int, int]) -> None:
    feature, outputs, average, time, freq, simple = row
    assert model_count("time", feature, outputs) == time
    assert model_count("freq", feature, outputs) == freq
    assert model_count("simple", feature, outputs) == simple
    assert time + freq + stack_count("time_freq_avg", outputs) == average


@pytest.mark.parametrize("feature", ["chroma", "mfcc"])
def test_recurrent(feature: str) -> None:
    assert model_count("rnn", feature, 16) == 1_000_976
    assert model_count("large_rnn", feature, 800) == 8_973_088


def test_genre_ensemble_with_its_submodels() -> None:
    with torch.device("meta"):
        ensemble = build_stack("genre_ensemble", 16)
    submodels = [name.split(".") for name in ensemble.submodels]
    assert [architecture for _, architecture in submodels] == ["time"] * 3 + ["freq"] * 3 + ["rnn"] * 2
    assert count_parameters(ensemble) + sum(model_count(architecture, feature, 16) for feature, architecture in submodels) == 3_157_406


def test_lyrics_and_albums() -> None:
    assert model_count("lyrics", None, 800, vocabulary=LYRICS_VOCABULARY) == 108_755_200
    assert model_count("albums", None, 800) == 3_282_784


@pytest.mark.parametrize("variant", VARIANTS)
def test_recommendation(variant: str) -> None:
    assert stack_count("recommendation", 800, branches=VARIANTS[variant]) == RECOMMENDATION[variant]


def test_counter_of_batches_is_not_counted() -> None:
    norm = torch.nn.BatchNorm2d(5)
    assert count_parameters(norm) == 20
    assert sum(buffer.numel() for buffer in norm.buffers()) == 11
