"""Search spaces: a YAML file that names the settings to search and the values that they may take.

::

    architecture: time  # of the models that the space is for
    search:
      # Any number in between, sampled evenly over the orders of magnitude.
      learning_rate: {log_range: [1.0e-4, 1.0e-2]}
      # Any number in between; an integer if both ends are.
      time_mask: {range: [0.0, 0.4]}
      # One of these.
      batch_size: {choice: [4, 8, 16]}

Keys are those of the model's section in a configuration. ``sizes.KEY`` are the constructor
arguments of its architecture, and ``learning_rate`` is the first phase's, which the others follow
in proportion. The configuration's own values belong to the space even if the file does not list
them: they are the first trial.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, read_text, suggestion
from musicrec.config.safe_yaml import read_yaml
from musicrec.models.build import OTHER, SPECTRAL, STACKS, VECTOR
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.preflight import check_sizes
from musicrec.studies.search import LEARNING_RATE, SIZES, section_of, settings_of, with_values

MODELS = {**SPECTRAL, **VECTOR, **OTHER, **STACKS}
# Settings that define the model, its inputs and its training time, the metric that compares trials,
# and settings with another key (learning_rate, sizes.KEY).
FIXED = {
    "architecture",
    "feature",
    "submodels",
    "branches",
    "sizes",
    "learning_rates",
    "patience",
    "maximum_epochs",
    "select_by",
}
# Constructor arguments that follow from the configuration.
DERIVED = {"shape", "vocabulary", "submodels", "branches", "activation", "submodel_outputs"}
# Keys other than sizes that decide whether a model can be built.
SHAPING = {"pool"}
# With more combinations than this, this many are sampled and built.
BUILDS = 100
FORMS = ("choice", "range", "log_range")


@dataclass(frozen=True)
class Parameter:
    """Values of one key: ``choices``, or everything from ``low`` to ``high``."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def ends(self) -> list[Any]:
        """Return every choice, or both ends of the range."""
        return list(self.choices) or [self.low, self.high]

    def including(self, own: Any) -> Parameter:
        """Return the parameter with one more value, if it is not there."""
        if self.choices:
            return (
                self
                if own in self.choices
                else dataclasses.replace(self, choices=(own, *self.choices))
            )
        return dataclasses.replace(
            self,
            low=min(self.low, own),
            high=max(self.high, own),
            whole=self.whole and isinstance(own, int),
        )

    def drawn(self, value: Any) -> Any:
        """Encode a value for Optuna, which takes no lists.

        A choice becomes the JSON text of the file's value (0 for 0.0).
        """
        return json.dumps(self.choices[self.choices.index(value)]) if self.choices else value

    def distribution(self) -> Any:
        """Return the Optuna distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([json.dumps(choice) for choice in self.choices])
        return (IntDistribution if self.whole else FloatDistribution)(
            self.low, self.high, log=self.log
        )


@dataclass(frozen=True)
class Space:
    """A search space from a file."""

    source: str
    architecture: str
    parameters: dict[str, Parameter]

    def of(self, config: Config, name: str) -> tuple[Space, dict[str, Any]]:
        """Return the space of one model including its own values, and those values as drawn.

        Raises
        ------
        ConfigError
            The space is for another architecture, a key does not exist, a value is not allowed or
            makes a model that cannot be built; or an own value does not fit a range.
        """
        own = self._own_values(config, name)
        parameters = {}
        for key, parameter in self.parameters.items():
            number = isinstance(own[key], int | float) and not isinstance(own[key], bool)
            if not parameter.choices and (not number or (parameter.log and own[key] <= 0)):
                raise ConfigError(
                    f"{self.source}: {key}: the configuration's own value {own[key]!r} does not "
                    f"fit a {'log_range' if parameter.log else 'range'}: give a choice"
                )
            parameters[key] = parameter.including(own[key])
        space = dataclasses.replace(self, parameters=parameters)
        space._check_values(config, name)
        return space, {key: parameter.drawn(own[key]) for key, parameter in parameters.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the parameters as plain values."""
        return {key: dataclasses.asdict(parameter) for key, parameter in self.parameters.items()}

    def _own_values(self, config: Config, name: str) -> dict[str, Any]:
        settings = settings_of(config, name)
        architecture = getattr(settings, "architecture", ENSEMBLE)
        if self.architecture != architecture:
            raise ConfigError(
                f"{self.source}: the space is for the architecture '{self.architecture}', and "
                f"{name} is '{architecture}': use tune/spaces/{architecture}.yaml"
            )
        arguments = {
            f"{SIZES}{argument.name}": argument.default
            for argument in inspect.signature(MODELS[architecture]).parameters.values()
            if argument.kind is argument.KEYWORD_ONLY and argument.name not in DERIVED
        }
        arguments |= {f"{SIZES}{size}": value for size, value in settings.sizes.items()}
        fields = {
            field.name: getattr(settings, field.name)
            for field in dataclasses.fields(settings)
            if field.name not in FIXED
        }
        values = {LEARNING_RATE: settings.learning_rates[0], **fields, **arguments}
        for key in self.parameters:
            if key not in values:
                raise ConfigError(
                    f"{self.source}: {key}: {name} has no such setting"
                    f"{suggestion(key, list(values))}; it has {', '.join(values)}"
                )
        return {key: _plain(values[key]) for key in self.parameters}

    def _check_values(self, config: Config, name: str) -> None:
        """Try every choice and range end, and build every combination that decides the shape."""
        section = section_of(config, name)
        for key, parameter in self.parameters.items():
            for value in parameter.ends():
                self._apply(config, name, {key: value})
        shaping = {
            key: p for key, p in self.parameters.items() if key.startswith(SIZES) or key in SHAPING
        }
        combinations = list(
            itertools.product(*(parameter.ends() for parameter in shaping.values()))
        )
        if len(combinations) > BUILDS:
            sample = np.random.default_rng(0).choice(len(combinations), BUILDS, replace=False)
            combinations = [combinations[number] for number in sorted(sample)]
        for values in combinations:
            combined = dict(zip(shaping, values, strict=True))
            changed = self._apply(config, name, combined)
            try:
                check_sizes(changed, only=section)
            except ConfigError as error:
                text = ", ".join(f"{key} {value}" for key, value in combined.items())
                raise ConfigError(
                    f"{self.source}: {text} cannot be built, remove one of these values: {error}"
                ) from error

    def _apply(self, config: Config, name: str, values: dict[str, Any]) -> Config:
        try:
            return with_values(config, name, values)
        except ConfigError as error:
            raise ConfigError(f"{self.source}: {', '.join(values)}: {error}") from error


def load_space(path: str) -> Space:
    """Read a space.

    Raises
    ------
    ConfigError
        There is no such file, or it is not a space; with the key and the fix.
    """
    if not path:
        raise ConfigError("--space is not given: name one of tune/spaces/")
    mapping = read_yaml(read_text("--space", path, ", such as one of tune/spaces/"), path)
    if (
        not isinstance(mapping, dict)
        or set(mapping) != {"architecture", "search"}
        or not isinstance(mapping["search"], dict)
    ):
        raise ConfigError(
            f"{path}: a space has the two keys 'architecture' and 'search', "
            "and under 'search' the settings to try"
        )
    if mapping["architecture"] not in MODELS:
        raise ConfigError(
            f"{path}: unknown architecture '{mapping['architecture']}'; "
            f"use one of {', '.join(MODELS)}"
        )
    if not mapping["search"]:
        raise ConfigError(f"{path}: search names no setting to try")
    return Space(
        path,
        mapping["architecture"],
        {key: _parameter(f"{path}: {key}", form) for key, form in mapping["search"].items()},
    )


def _parameter(where: str, form: Any) -> Parameter:
    if not isinstance(form, dict) or len(form) != 1 or next(iter(form)) not in FORMS:
        raise ConfigError(
            f"{where}: give one of choice: [a, b, ...], range: [low, high] and "
            "log_range: [low, high]"
        )
    ((kind, values),) = form.items()
    if not isinstance(values, list) or (kind == "choice" and not values):
        raise ConfigError(f"{where}: {kind} takes a list of values in brackets")
    if kind == "choice":
        return Parameter(choices=tuple(values))
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )
    if not numbers or len(values) != 2 or not values[0] < values[1]:
        raise ConfigError(
            f"{where}: {kind} takes the smallest and the largest number, as in [1, 5]; "
            "1.0e-4 needs its point"
        )
    if kind == "log_range" and values[0] <= 0:
        raise ConfigError(
            f"{where}: log_range starts at {values[0]}: it must be above 0; or use range"
        )
    return Parameter(
        low=values[0],
        high=values[1],
        log=kind == "log_range",
        whole=all(isinstance(value, int) for value in values),
    )


def _plain(value: Any) -> Any:
    """Return a value as YAML would give it: tuples as lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
