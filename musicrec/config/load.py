"""The configuration of a run: YAML file -> frozen dataclasses -> command-line overrides.

One ``Config`` serves every stage, one section a stage: a stage's key is a hash of what decides its output, its own section and those before
it, so the jobs of one run must read the same file. Unknown keys and values out of range are errors that name the key and the fix; nothing
heavy is imported here, so that they are found in the first second.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.resources
import os
import sys
from typing import Any, TypeVar

import pydantic
import tyro

from musicrec.config.checks import check
from musicrec.config.errors import ConfigError, suggestion
from musicrec.config.jobs import Config
from musicrec.config.safe_yaml import MAXIMUM_BYTES, read_yaml
from musicrec.config.sections import StackSettings, SubmodelSettings
from musicrec.telemetry.redact import redacted

EXIT_CONFIG = 2
# Sections that hold one section a name.
NAMED = {"models": SubmodelSettings, "stacks": StackSettings}
# Of a configuration full of mistakes so many are told, with so many characters of each value.
MISTAKES = 20
LONGEST_VALUE = 120
T = TypeVar("T")


def presets() -> list[str]:
    """The names that ``--preset`` takes."""
    folder = importlib.resources.files("musicrec.config") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def preset(name: str) -> Config:
    """A preset by name, or one that a search wrote, by its file.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    if name.endswith(".yaml"):
        return _from_file("--preset", name)
    if name not in presets():
        raise ConfigError(
            f"--preset {name}: there is none of this name{suggestion(name, presets())}; presets are {', '.join(presets())}"
        )
    text = (importlib.resources.files("musicrec.config") / "presets" / f"{name}.yaml").read_text()
    return from_yaml(text, f"preset {name}")


def from_yaml(text: str | bytes, source: str) -> Config:
    """A configuration from YAML text; keys that are absent keep their defaults.

    Raises
    ------
    ConfigError
        Naming the source, the key and the fix, one line for each mistake.
    """
    mapping = read_yaml(text, source) or {}
    if not isinstance(mapping, dict):
        raise ConfigError(
            f"{source}: expected keys and values at the top, found {type(mapping).__name__}"
        )
    return from_mapping(mapping, source)


def from_mapping(mapping: dict[str, Any], source: str) -> Config:
    """As ``from_yaml``, of what a YAML text holds."""
    return _validated(Config, mapping, source)


def parse(
    arguments: list[str], description: str, kind: type[T] = Config, default: T | None = None
) -> T:
    """The configuration of a job from its command line; prints the mistake and exits with code 2 if there is one."""
    # tyro joins lines that no empty one parts.
    usage = description.strip().replace("\n\n", "\n").replace("\n", "\n\n")
    try:
        if default is None:
            chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
            source = chooser.add_mutually_exclusive_group()
            source.add_argument("--preset")
            source.add_argument("--config")
            chosen, arguments = chooser.parse_known_args(arguments)
            default = kind(
                **vars(
                    _from_file("--config", chosen.config)
                    if chosen.config
                    else preset(chosen.preset or "demo")
                )
            )
            usage += f"\n\n--preset NAME ({', '.join(presets())}; or a search's FILE.yaml) or --config FILE.yaml first, then overrides:"
        config = tyro.cli(kind, default=default, args=arguments, description=usage)
        return _validated(kind, dataclasses.asdict(config), "the command line")
    except ConfigError as error:
        print(redacted(f"configuration error: {error}"), file=sys.stderr)
        raise SystemExit(EXIT_CONFIG) from error


def with_preset_of(
    option: str, presets_by_value: dict[str, str], arguments: list[str]
) -> list[str]:
    """A command line with the preset that an option's value stands for, unless it names a preset or a file itself."""
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in (option, "--preset", "--config"):
        chooser.add_argument(name, dest=name)
    chosen = vars(chooser.parse_known_args(arguments)[0])
    if chosen["--preset"] or chosen["--config"] or chosen[option] not in presets_by_value:
        return arguments
    return ["--preset", presets_by_value[chosen[option]], *arguments]


def resolved(config: Any) -> dict[str, Any]:
    """The whole configuration as plain values, as it is written beside every result; without credentials."""
    return redacted(dataclasses.asdict(config))


def read_text(option: str, path: str, instead: str = "") -> bytes:
    """The text of a YAML file that an option names, as ``plain_yaml`` takes it; it may lie on object storage.

    Raises
    ------
    ConfigError
        There is none; ``instead`` says what else the option, or another, takes.
    """
    if "://" in path:
        from musicrec.storage.store import resolve

        filesystem, name = resolve(path)
        with filesystem.open_input_file(name) as stream:
            return stream.read(MAXIMUM_BYTES + 1)
    if not os.path.isfile(path):
        raise ConfigError(f"{option} {path}: there is no such file; give a YAML file{instead}")
    with open(path, "rb") as stream:
        return stream.read(MAXIMUM_BYTES + 1)


def _from_file(option: str, path: str) -> Config:
    """The configuration in a YAML file, a search's preset for instance."""
    return from_yaml(
        read_text(option, path, f", or --preset with one of {', '.join(presets())}"), path
    )


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """The keys that stand beside the one at ``location``."""
    section: Any = Config
    for part in location[:-1]:
        if section is Config and part in NAMED:
            section = {"of": NAMED[part]}
        elif isinstance(section, dict):
            section = section["of"]
        else:
            section = {f.name: f.default_factory for f in dataclasses.fields(section)}.get(
                str(part), Config
            )
    return (
        [f.name for f in dataclasses.fields(section)] if dataclasses.is_dataclass(section) else []
    )


def _validated(kind: type[T], mapping: dict[str, Any], source: str) -> T:
    try:
        config = _adapter(kind).validate_python(mapping)
    except pydantic.ValidationError as error:
        lines = []
        for mistake in error.errors()[:MISTAKES]:
            key = ".".join(str(part)[:LONGEST_VALUE] for part in mistake["loc"])
            if mistake["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
                lines.append(
                    f"{key}: unknown key{suggestion(str(mistake['loc'][-1]), _known_keys(mistake['loc']))}"
                )
            else:
                lines.append(f"{key} = {_shown(mistake['input'])}: {mistake['msg']}")
        more = (
            f"; and {error.error_count() - MISTAKES} more" if error.error_count() > MISTAKES else ""
        )
        raise ConfigError(f"{source}: " + "; ".join(lines) + more) from error
    if isinstance(config, Config):
        check(config)
    return config


def _shown(value: Any) -> str:
    """A value in an error's text: as it is, cut where it is long, and without credentials."""
    try:
        text = repr(redacted(value))
    except ValueError:  # Python writes out no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


@functools.cache
def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    return pydantic.TypeAdapter(kind)
