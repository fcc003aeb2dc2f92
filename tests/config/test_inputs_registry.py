"""The registry of inputs: the thesis' eight as they were, and no second list of inputs."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path

import pytest

from musicrec import schema
from musicrec.config.checks import check
from musicrec.config.errors import ConfigError
from musicrec.config.inputs import (
    BRANCHES,
    FIELDS,
    INPUTS,
    OWN_FIELD,
    RECORDING,
    THESIS_BRANCHES,
    VECTORS,
    numbers_of,
    submodels_of,
)
from musicrec.config.jobs import Config, RecommendConfig
from musicrec.config.load import preset, presets
from musicrec.config.names import FEATURES
from musicrec.config.sections import EnsembleSettings
from musicrec.models import build_stack
from musicrec.serving.query import Query
from musicrec.serving.request import FIELDS as REQUEST_FIELDS
from musicrec.specs.ensemble import EnsembleSpec
from musicrec.storage.store import fingerprint

ROOT = Path(__file__).parents[2]
# Files that use a word which is also the name of an input, and what it means there.
OTHER_MEANINGS = {
    "a feature of the recording": (
        *("musicrec/audio/", "musicrec/models/freq.py", "musicrec/models/shapes.py"),
        *("musicrec/features/columns.py", "musicrec/evaluation/spectrogram_plots.py"),
        *("musicrec/report/clip.py", "musicrec/pipeline/report_sections.py"),
        *("musicrec/config/names.py", "musicrec/config/sections.py"),
    ),
    "the setting extract.chroma": (
        *("musicrec/pipeline/extract.py", "musicrec/pipeline/register.py"),
        *("musicrec/serving/batch.py", "musicrec/serving/recommender.py"),
    ),
    "a column of a table of the catalog": (
        *("musicrec/schema.py", "musicrec/catalog/", "musicrec/pipeline/artists.py"),
        *("musicrec/report/catalog.py", "musicrec/features/artwork.py"),
    ),
    "the pictures of an extraction, or their errors": (
        *("musicrec/pipeline/extract.py", "musicrec/registry/pyfunc.py"),
    ),
    "an architecture": ("musicrec/models/build.py", "musicrec/config/sections.py"),
    "a stage of that name": ("musicrec/pipeline/clip_statistics.py",),
    "a row of a table of the thesis": (
        *("musicrec/evaluation/thesis.py", "musicrec/studies/counts.py"),
        "musicrec/models/stacks.py",
    ),
    "a package on PyPI": ("musicrec/pretrained/packages.py",),
    "a made-up model or table that is timed": ("musicrec/benchmarks/",),
}


def test_the_inputs_of_the_thesis_are_as_they_were() -> None:
    assert {name: INPUTS[name].submodels for name in THESIS_BRANCHES} == {
        "chroma": ("chroma.large_rnn",),
        "mfcc": ("mfcc.large_rnn",),
        "cqt": ("cqt.time", "cqt.freq"),
        "mel": ("mel.time", "mel.freq"),
        "lyrics": ("lyrics",),
        "albums": ("albums",),
        "location": (),
        "year": (),
    }
    assert EnsembleSettings().branches == THESIS_BRANCHES == BRANCHES[:8]
    assert tuple(numbers_of(THESIS_BRANCHES)) == ("latitude", "longitude", "year")


# Hashes of the settings before there was a registry: stages in old stores have keys made of them.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("thesis-webapi", "6ecdc21cb40f3c7e"),
        ("thesis-fma-medium", "cfe0c43def0f22db"),
        ("thesis-fma-large", "ed7586d506d39b41"),
        ("thesis-cifar100", "cb3feb4f24c8aec4"),
    ],
)
def test_the_settings_of_the_thesis_keep_their_keys(name: str, expected: str) -> None:
    config = preset(name)
    models = {each: dataclasses.asdict(model) for each, model in config.models.items()}
    ensemble = dataclasses.asdict(config.ensemble)
    assert fingerprint(models, ensemble, config.train.key_fields()) == expected


def test_the_other_models_of_the_demo_keep_their_keys() -> None:
    models = {
        name: dataclasses.asdict(model)
        for name, model in preset("demo").models.items()
        if name != "statistics"
    }
    assert fingerprint(models) == "292500e76cabf033"


@pytest.mark.parametrize("name", presets())
def test_statistics_are_in_every_preset_that_recommends_but_the_thesis(name: str) -> None:
    config = preset(name)
    is_thesis = name.startswith("thesis")
    assert ("statistics" in config.models) is not is_thesis
    assert ("statistics" in config.ensemble.branches) is not is_thesis


def test_a_new_input_leaves_the_weights_of_older_ensembles_in_place() -> None:
    sizes = {"branch_hidden": 4, "branch_outputs": 3, "pair_hidden": (5,), "head": (6,)}
    old = build_stack("recommendation", 8, branches=THESIS_BRANCHES, **sizes)
    spec = {"outputs": 8, "branches": list(THESIS_BRANCHES), "sizes": sizes}
    spec |= {"ranges": {"year": [1900.0, 2000.0]}, "needs_all": False}
    EnsembleSpec.from_json(spec).build().load_state_dict(old.state_dict())


def test_every_input_reads_fields_that_tracks_and_queries_have() -> None:
    tables = {"tracks": schema.TRACKS, "artists": schema.ARTISTS}
    assert all(field.name in tables[field.table].names for field in FIELDS.values())
    assert {field for each in INPUTS.values() for field in each.fields} == {*FIELDS}
    assert all(FIELDS[number].kind == "number" for number in numbers_of(BRANCHES))
    assert {*OWN_FIELD.values()} <= {*FIELDS} - {RECORDING}
    assert {field.name for field in dataclasses.fields(Query)} == {*FIELDS} <= {*REQUEST_FIELDS}
    assert {*FIELDS} <= {field.name for field in dataclasses.fields(RecommendConfig)}


def test_every_vector_has_a_function_and_no_feature_its_name() -> None:
    for vector in VECTORS.values():
        module, _, function = vector.function.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert {*vector.features} <= {*FEATURES}
    assert not {*VECTORS} & {*FEATURES}


def test_no_file_outside_the_registry_names_an_input() -> None:
    names = {*INPUTS, *submodels_of(BRANCHES), *FIELDS} - {RECORDING}
    elsewhere = tuple(path for paths in OTHER_MEANINGS.values() for path in paths)
    naming = {
        (path, node.value)
        for folder in ("musicrec", "jobs", "tune")
        for path in (file.relative_to(ROOT).as_posix() for file in (ROOT / folder).rglob("*.py"))
        if path != "musicrec/config/inputs.py" and not path.startswith(elsewhere)
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    }
    assert naming == set()


def with_statistics(**values: object) -> Config:
    config = preset("demo")
    model = dataclasses.replace(config.models["statistics"], **values)
    return dataclasses.replace(config, models={**config.models, "statistics": model})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feature": "mel"}, "architecture 'mlp' reads another input: give one of statistics"),
        ({"feature": None}, "reads another input: give one of statistics"),
        ({"architecture": "time"}, "feature is statistics, but architecture 'time' reads another"),
        ({"standardise": "per_frame"}, "'statistics' is a vector without frames: set it to per_f"),
        ({"pool": (1, 2)}, "pool, time_mask and frequency_mask are for spectrograms"),
        ({"time_mask": 0.1}, "are for spectrograms, and 'statistics' is a vector: leave them out"),
    ],
)
def test_settings_that_do_not_fit_a_vector_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(with_statistics(**values))


def test_a_vector_needs_one_of_its_features() -> None:
    config = with_statistics()
    models = {"statistics": config.models["statistics"]}
    branches = dataclasses.replace(config.ensemble, branches=("statistics",))
    only = dataclasses.replace(config, models=models, ensemble=branches)
    check(dataclasses.replace(only, extract=dataclasses.replace(only.extract, features=("mfcc",))))
    with pytest.raises(ConfigError, match=r"computed from mel, cqt, chroma, mfcc: add one of them"):
        check(
            dataclasses.replace(only, extract=dataclasses.replace(only.extract, features=("stft",)))
        )


def test_a_branch_is_a_line_of_configuration() -> None:
    config = preset("demo")
    ensemble = dataclasses.replace(config.ensemble, branches=("mel", "statistics"))
    check(dataclasses.replace(config, ensemble=ensemble))
    without = {name: each for name, each in config.models.items() if name != "statistics"}
    with pytest.raises(ConfigError, match=r"'statistics', which needs models\.statistics"):
        check(dataclasses.replace(config, ensemble=ensemble, models=without))
