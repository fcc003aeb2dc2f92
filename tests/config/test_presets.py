"""The presets build what they say, and the thesis' one builds the thesis to the unit."""

from __future__ import annotations

import json

import pytest
import torch

from musicrec.config.load import Config, preset, presets
from musicrec.features.lyrics import Vocabulary
from musicrec.models import VARIANTS, count_parameters
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.specs.submodel import SubmodelSpec

OUTPUTS = 800
VOCABULARY_ROWS = 497_948
# Thesis, Table 6; Albums and Lyrics with their own inputs.
SUBMODELS = {
    "mel.time": 257_188,
    "mel.freq": 263_062,
    "cqt.time": 255_780,
    "cqt.freq": 263_082,
    "chroma.large_rnn": 8_973_088,
    "mfcc.large_rnn": 8_973_088,
    "lyrics": 108_755_200,
    "albums": 3_282_784,
}
ENSEMBLES = {
    "Recommendation": 50_522_912,
    "ByLyrics": 42_753_312,
    "ByLocation": 41_540_384,
    "ByYear": 41_409_312,
    "ByAlbums": 42_753_312,
    "AudioOnly": 39_311_136,
}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """As many words as the thesis' catalog has: with the padding, 497,948 rows."""
    names = tuple(f"w{number}" for number in range(VOCABULARY_ROWS - 1))
    return Vocabulary(names, (1 / len(names),) * len(names), cut=False)


def parameters(config: Config, name: str, vocabulary: Vocabulary) -> int:
    spec = SubmodelSpec.from_settings(
        name,
        config.models[name],
        config.embed.dimensions,
        config.extract,
        vocabulary,
    )
    with torch.device("meta"):  # shapes without memory
        return count_parameters(spec.build())


def test_the_thesis_preset_embeds_in_as_many_dimensions() -> None:
    assert preset("thesis-webapi").embed.dimensions == OUTPUTS


@pytest.mark.parametrize("name", SUBMODELS)
def test_the_thesis_preset_builds_the_thesis_submodels(name: str, vocabulary: Vocabulary) -> None:
    assert vocabulary.rows == VOCABULARY_ROWS
    assert parameters(preset("thesis-webapi"), name, vocabulary) == SUBMODELS[name]


def test_the_thesis_preset_builds_no_other_submodels() -> None:
    assert {*preset("thesis-webapi").models} == {*SUBMODELS}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_the_thesis_preset_builds_the_thesis_ensembles(name: str) -> None:
    settings = preset("thesis-webapi").ensemble
    with torch.device("meta"):
        model = EnsembleSpec(OUTPUTS, VARIANTS[name], settings.sizes).build()
    assert count_parameters(model) == ENSEMBLES[name]


def test_the_thesis_preset_has_all_branches_and_needs_them() -> None:
    settings = preset("thesis-webapi").ensemble
    assert {*settings.branches} == {*VARIANTS["Recommendation"]}
    assert settings.modality_dropout == 0


# Whitell 2019, "Training": batch, learning rates, patience, gradient norm.
TRAININGS = {
    "mel.time": (8, (1e-3,), (10,), None),
    "mel.freq": (8, (1e-3,), (10,), None),
    "cqt.time": (8, (1e-3,), (10,), None),
    "cqt.freq": (8, (1e-3,), (10,), None),
    "chroma.large_rnn": (8, (5e-5, 1e-5), (3, 5), 1.0),
    "mfcc.large_rnn": (8, (5e-5, 1e-5), (3, 5), 1.0),
    "lyrics": (16, (5e-5, 1e-5, 1e-6), (3, 3, 5), 1.0),
    "albums": (6, (1e-5, 1e-6), (3, 5), None),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_the_thesis_preset_trains_as_the_thesis_did(name: str) -> None:
    settings = preset("thesis-webapi").models[name]
    assert (
        settings.batch_size,
        settings.learning_rates,
        settings.patience,
        settings.gradient_norm,
    ) == TRAININGS[name]
    # Nothing that the thesis does not have.
    masks = (settings.time_mask, settings.frequency_mask)
    assert (settings.standardise, settings.pool, settings.weight_decay, *masks) == (
        "per_frame", (1, 1), 0, 0, 0,
    )  # fmt: skip
    assert settings.maximum_vocabulary is None
    assert settings.sizes == {}


def test_the_thesis_preset_embeds_artists_and_trains_the_ensemble_as_the_thesis_did() -> None:
    config = preset("thesis-webapi")
    embed, ensemble = config.embed, config.ensemble
    assert (embed.learning_rates, embed.artists_per_step, embed.patience) == (
        (1e-3, 5e-4, 1e-5),
        (32, 16, 1),
        (1, 1, 2),
    )
    assert (embed.full_batch, embed.select_by) == (False, "loss")
    assert (
        ensemble.batch_size,
        ensemble.learning_rates,
        ensemble.patience,
        ensemble.weight_decay,
    ) == (8, (1e-5,), (3,), 0)
    assert (config.extract.artwork_pixels, config.extract.chroma) == (640, "librosa")


def test_the_demo_is_the_same_system_by_another_configuration() -> None:
    demo, thesis = preset("demo"), preset("thesis-webapi")
    reads = {name: (model.architecture, model.feature) for name, model in demo.models.items()}
    assert reads == {
        **{name: (model.architecture, model.feature) for name, model in thesis.models.items()},
        "statistics": ("mlp", "statistics"),
    }
    assert {*demo.ensemble.branches} == {*thesis.ensemble.branches, "statistics"}


@pytest.mark.parametrize("name", presets())
def test_every_model_of_a_preset_can_be_built(name: str) -> None:
    config = preset(name)
    words = Vocabulary(("a", "b"), (0.5, 0.5), cut=False)
    assert all(parameters(config, model, words) > 0 for model in config.models)
    with torch.device("meta"):
        EnsembleSpec(
            config.embed.dimensions, config.ensemble.branches, config.ensemble.sizes
        ).build()


def test_a_submodel_survives_json() -> None:
    words = Vocabulary(("b", "a"), (0.75, 0.25), cut=True)
    config = preset("demo")
    for name, settings in config.models.items():
        spec = SubmodelSpec.from_settings(name, settings, 32, config.extract, words)
        assert SubmodelSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
