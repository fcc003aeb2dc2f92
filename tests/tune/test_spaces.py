"""Search spaces: shipped ones fit their models, and errors name the key and the fix."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import yaml

from musicrec.config.load import ConfigError, preset
from musicrec.models.build import OTHER, SPECTRAL, STACKS, VECTOR
from musicrec.studies.search import decoded, settings_of, with_values
from tune.spaces import Parameter, Space, load_space

SPACES = Path(__file__).parents[2] / "tune" / "spaces"
# The space, and a model of a preset that it is for.
MODELS = {
    "simple": ("thesis-fma-medium", "mel.simple"),
    "time": ("demo", "mel.time"),
    "freq": ("demo", "cqt.freq"),
    "freq_twelve_rows": ("thesis-fma-medium", "chroma.freq"),
    "rnn": ("thesis-fma-medium", "chroma.rnn"),
    "large_rnn": ("demo", "mfcc.large_rnn"),
    "lyrics": ("demo", "lyrics"),
    "albums": ("demo", "albums"),
    "mlp": ("demo", "statistics"),
    "time_freq": ("thesis-fma-medium", "mel.time_freq"),
    "genre_ensemble": ("thesis-fma-medium", "genre_ensemble"),
    "recommendation": ("demo", "recommendation"),
}


def written(folder: Path, search: Any, architecture: str = "time") -> str:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({"architecture": architecture, "search": search}))
    return str(path)


def test_there_is_a_space_for_every_architecture_that_learns() -> None:
    result = {load_space(str(path)).architecture for path in SPACES.glob("*.yaml")}
    assert result == {*SPECTRAL, *VECTOR, *OTHER, *STACKS} - {"time_freq_avg"}
    assert {path.stem for path in SPACES.glob("*.yaml")} == {*MODELS}


@functools.cache
def space_of(name: str) -> tuple[Space, dict[str, Any]]:
    """Return a shipped space for its model, with all values tried, and the model's own values."""
    of, model = MODELS[name]
    return load_space(str(SPACES / f"{name}.yaml")).of(preset(of), model)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_key_of_a_space_is_real_and_every_value_builds(name: str) -> None:
    of, model = MODELS[name]
    config = preset(of)
    space, own = space_of(name)
    assert {"learning_rate", "batch_size", "weight_decay", "decay"} <= space.parameters.keys()
    assert any(key.startswith("sizes.") for key in space.parameters)
    changed = with_values(config, model, decoded(own))
    before, after = settings_of(config, model), settings_of(changed, model)
    assert after.learning_rates == pytest.approx(before.learning_rates)  # a log scale and back
    assert (after.batch_size, after.weight_decay) == (before.batch_size, before.weight_decay)


@pytest.mark.parametrize("name", MODELS)
def test_the_first_trial_has_the_configurations_own_values(name: str) -> None:
    space, own = space_of(name)
    for key, parameter in space.parameters.items():
        distribution = parameter.distribution()
        assert distribution._contains(distribution.to_internal_repr(own[key])), key


def test_an_own_value_that_the_file_does_not_list_is_one_more(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "batch_size": {"choice": [16, 32]},
            "learning_rate": {"log_range": [0.01, 0.1]},
            "time_mask": {"range": [0, 0.1]},
        },
    )
    space, own = load_space(path).of(preset("demo"), "mel.time")
    assert space.parameters["batch_size"].choices == (8, 16, 32)
    assert (space.parameters["learning_rate"].low, space.parameters["learning_rate"].high) == (
        0.001,
        0.1,
    )
    assert space.parameters["time_mask"].high == 0.2
    assert own == {"batch_size": "8", "learning_rate": 0.001, "time_mask": 0.2}


def test_an_own_value_is_the_same_number_with_and_without_a_point(tmp_path: Path) -> None:
    space, own = load_space(written(tmp_path, {"mixup": {"choice": [0, 1]}})).of(
        preset("demo"), "mel.time"
    )
    assert space.parameters["mixup"].distribution().to_internal_repr(own["mixup"]) == 0


def test_values_become_settings() -> None:
    config = preset("thesis-webapi")
    values = {"learning_rate": 2e-3, "sizes.hidden": [8, 8], "pool": [1, 4], "standardise": "none"}
    changed = with_values(
        config,
        "mfcc.large_rnn",
        decoded({key: Parameter(choices=(v,)).drawn(v) for key, v in values.items()}),
    )
    model, before = changed.models["mfcc.large_rnn"], config.models["mfcc.large_rnn"]
    assert model.learning_rates[0] == pytest.approx(2e-3)
    assert model.learning_rates == pytest.approx(
        [rate * 2e-3 / before.learning_rates[0] for rate in before.learning_rates]
    )
    assert (model.sizes["hidden"], model.pool, model.standardise) == ([8, 8], (1, 4), "none")
    assert changed.models["mel.time"] == config.models["mel.time"]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"learning_rat": {"choice": [0.1]}},
            r"learning_rat: mel.time has no such setting \(did you mean 'learning_rate'\?\)",
        ),
        ({"sizes.kernels": {"choice": [1]}}, r"sizes.kernels: .*sizes.kernel_"),
        ({"architecture": {"choice": ["freq"]}}, r"architecture: mel.time has no such setting"),
        ({"learning_rate": [0.1, 0.2]}, r"learning_rate: give one of choice: \[a, b, ...\], range"),
        ({"learning_rate": {"log_range": ["1e-4", 0.1]}}, r"1.0e-4 needs its point"),
        ({"learning_rate": {"log_range": [0, 0.1]}}, r"log_range starts at 0"),
        (
            {"time_mask": {"range": [0.4, 0.1]}},
            r"time_mask: range takes the smallest and the largest",
        ),
        (
            {"time_mask": {"range": [0.0, 1.5]}},
            r"time_mask: .*models.mel.time.time_mask = 1.5.*less than or equal to 1",
        ),
        ({"batch_size": {"choice": [0]}}, r"models.mel.time.batch_size = 0"),
        (
            {"standardise": {"range": [0, 1]}},
            r"own value 'per_frame' does not fit a range: give a choice",
        ),
        (
            {"sizes.kernel_divisors": {"choice": [[500]]}},
            r"sizes.kernel_divisors \[500\] cannot be built.*time axis' size 160",
        ),
        # Each can be built, but not both: 160 frames are 80 after the first layer, and each of four
        # layers takes 24.
        (
            {"sizes.kernel_size": {"choice": [25]}, "pool": {"choice": [[4, 8]]}},
            r"pool \[4, [48]\], sizes.kernel_size 25 cannot be built",
        ),
        ({}, r"search names no setting"),
        ("all", r"two keys 'architecture' and 'search'"),
    ],
)
def test_a_wrong_space_names_the_key_and_the_fix(tmp_path: Path, search: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_space(written(tmp_path, search)).of(preset("demo"), "mel.time")


def test_a_space_of_another_architecture_names_the_right_one() -> None:
    with pytest.raises(
        ConfigError,
        match=r"for the architecture 'time', and mel.freq is 'freq': use tune/spaces/freq.yaml",
    ):
        load_space(str(SPACES / "time.yaml")).of(preset("demo"), "mel.freq")


@pytest.mark.parametrize(
    ("name", "message"),
    [("mel.tim", r"did you mean 'mel.time'\?"), ("", "--submodel is not given; name one of")],
)
def test_a_search_of_an_unknown_model(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_space(str(SPACES / "time.yaml")).of(preset("demo"), name)


def test_a_missing_space() -> None:
    with pytest.raises(ConfigError, match=r"--space nowhere.yaml: there is no such file"):
        load_space("nowhere.yaml")


def test_a_space_may_be_given_as_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a space.yaml"
    path.write_bytes((SPACES / "time.yaml").read_bytes())
    assert load_space(path.as_uri()).architecture == load_space(str(path)).architecture == "time"
