"""Search spaces: a YAML file that names the settings to search and the values that they may take.

::

    architecture: time                                   # of the models that the space is for
    search:
      learning_rate: {log_range: [1.0e-4, 1.0e-2]}       # any number between, tried evenly over the orders of magnitude
      time_mask: {range: [0.0, 0.4]}                     # any number between; whole numbers where both ends are
      batch_size: {choice: [4, 8, 16]}                   # one of these

Keys are those of the model's section in a configuration; ``sizes.KEY`` are the constructor arguments of its architecture, and
``learning_rate`` is the first stage's, which the others follow in proportion. The configuration's own values belong to the space even where
the file does not list them: they are the first trial.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicrec.config.jobs import Config
from musicrec.config.load import ConfigError, suggestion
from musicrec.config.safe_yaml import MAXIMUM_BYTES, read_yaml
from musicrec.models.build import OTHER, SPECTRAL, STACKS
from musicrec.pipeline.ensemble import NAME as ENSEMBLE
from musicrec.pipeline.preflight import check_sizes
from musicrec.studies.search import LEARNING_RATE, SIZES, section_of, settings_of, with_values

MODELS = {**SPECTRAL, **OTHER, **STACKS}
# What a model is and reads, how long it may take, what trials are compared by, and what is set in another way (learning_rate, sizes.KEY).
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
# Keys beside the sizes on which it depends whether a model can be built.
SHAPING = {"pool"}
# Of more combinations than these, so many are drawn and built.
BUILDS = 100
FORMS = ("choice", "range", "log_range")


@dataclass(frozen=True)
class Parameter:
    """The values that one key may take: ``choices``, or everything from ``low`` to ``high``."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    def ends(self) -> list[Any]:
        """Every choice, or both ends of the range."""
        return list(self.choices) or [self.low, self.high]

    def including(self, own: Any) -> Parameter:
        """The same with one value more, where it is not among them."""
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
        """A value as it is drawn: a choice as the JSON text of what the file lists (0 for 0.0), for Optuna takes no lists."""
        return json.dumps(self.choices[self.choices.index(value)]) if self.choices else value

    def distribution(self) -> Any:
        """What Optuna draws from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([json.dumps(choice) for choice in self.choices])
        return (IntDistribution if self.whole else FloatDistribution)(
            self.low, self.high, log=self.log
        )


@dataclass(frozen=True)
class Space:
    """A search space as its file gives it."""

    source: str
    architecture: str
    parameters: dict[str, Parameter]

    def of(self, config: Config, name: str) -> tuple[Space, dict[str, Any]]:
        """The space of one model, its own values included, and those values as they are drawn.

        Raises
        ------
        ConfigError
            The space is for another architecture, a key does not exist, a value is not allowed or leads to a model that cannot be built;
            or an own value has no place in a range.
        """
        own = self._own_values(config, name)
        parameters = {}
        for key, parameter in self.parameters.items():
            number = isinstance(own[key], int | float) and not isinstance(own[key], bool)
            if not parameter.choices and (not number or (parameter.log and own[key] <= 0)):
                raise ConfigError(
                    f"{self.source}: {key}: the configuration's own value {own[key]!r} has no place in a "
                    f"{'log_range' if parameter.log else 'range'}: give a choice"
                )
            parameters[key] = parameter.including(own[key])
        space = dataclasses.replace(self, parameters=parameters)
        space._check_values(config, name)
        return space, {key: parameter.drawn(own[key]) for key, parameter in parameters.items()}

    def as_json(self) -> dict[str, Any]:
        return {key: dataclasses.asdict(parameter) for key, parameter in self.parameters.items()}

    def _own_values(self, config: Config, name: str) -> dict[str, Any]:
        settings = settings_of(config, name)
        architecture = getattr(settings, "architecture", ENSEMBLE)
        if self.architecture != architecture:
            raise ConfigError(
                f"{self.source}: the space is for the architecture '{self.architecture}', and {name} is '{architecture}': "
                f"take tune/spaces/{architecture}.yaml"
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
        known = {LEARNING_RATE: settings.learning_rates[0], **fields, **arguments}
        for key in self.parameters:
            if key not in known:
                close = suggestion(key, list(known))
                raise ConfigError(
                    f"{self.source}: {key}: {name} has no such setting{close}; it has {', '.join(known)}"
                )
        return {key: _plain(known[key]) for key in self.parameters}

    def _check_values(self, config: Config, name: str) -> None:
        """Try every choice and both ends of every range, and build the model with every combination of what decides its shape."""
        section = section_of(config, name)
        for key, parameter in self.parameters.items():
            for value in parameter.ends():
                self._tried(config, name, {key: value})
        shaping = {
            key: p for key, p in self.parameters.items() if key.startswith(SIZES) or key in SHAPING
        }
        combinations = list(
            itertools.product(*(parameter.ends() for parameter in shaping.values()))
        )
        if len(combinations) > BUILDS:
            chosen = np.random.default_rng(0).choice(len(combinations), BUILDS, replace=False)
            combinations = [combinations[number] for number in sorted(chosen)]
        for values in combinations:
            combined = dict(zip(shaping, values, strict=True))
            changed = self._tried(config, name, combined)
            try:
                check_sizes(changed, only=section)
            except ConfigError as error:
                said = ", ".join(f"{key} {value}" for key, value in combined.items())
                raise ConfigError(
                    f"{self.source}: {said} cannot be built, take one of these values out: {error}"
                ) from error

    def _tried(self, config: Config, name: str, values: dict[str, Any]) -> Config:
        try:
            return with_values(config, name, values)
        except ConfigError as error:
            raise ConfigError(f"{self.source}: {', '.join(values)}: {error}") from error


def load_space(path: str) -> Space:
    """Read a space.

    Raises
    ------
    ConfigError
        There is no such file, or it is not a space: the key and the fix.
    """
    if not os.path.isfile(path):
        raise ConfigError(
            f"--space {path}: there is no such file; give one of tune/spaces/"
            if path
            else "--space is not given: name one of tune/spaces/"
        )
    with open(path, "rb") as stream:
        mapping = read_yaml(stream.read(MAXIMUM_BYTES + 1), path)
    if (
        not isinstance(mapping, dict)
        or set(mapping) != {"architecture", "search"}
        or not isinstance(mapping["search"], dict)
    ):
        raise ConfigError(
            f"{path}: a space has the two keys 'architecture' and 'search', and under 'search' the settings to try"
        )
    if mapping["architecture"] not in MODELS:
        known = ", ".join(MODELS)
        raise ConfigError(
            f"{path}: architecture '{mapping['architecture']}': there is none of this name; use one of {known}"
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
            f"{where}: give one of choice: [a, b, ...], range: [low, high] and log_range: [low, high]"
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
            f"{where}: {kind} takes the least and the greatest number, as in [1, 5]; 1.0e-4 needs its point"
        )
    if kind == "log_range" and values[0] <= 0:
        raise ConfigError(
            f"{where}: log_range begins at {values[0]}: it has to be above 0; or use range"
        )
    return Parameter(
        low=values[0],
        high=values[1],
        log=kind == "log_range",
        whole=all(isinstance(value, int) for value in values),
    )


def _plain(value: Any) -> Any:
    """A value as YAML would give it: tuples as lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
