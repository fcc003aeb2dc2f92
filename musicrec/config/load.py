"""Load the configuration of a run: YAML file -> frozen dataclasses -> command-line overrides.

One ``Config`` serves every stage, with one section per stage. The key of a stage is a hash of its
own section and of those before it, so the jobs of one run must read the same file. Unknown keys and
values out of range are errors that name the key and the fix. Nothing heavy is imported here, so
that they are reported within the first second.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.resources
import os
from collections.abc import Sequence
from typing import Any, TypeVar

import pydantic
import tyro

from musicrec.config.checks import check
from musicrec.config.errors import EXIT_CONFIG, ConfigError, print_error, suggestion
from musicrec.config.help import is_section, reduced
from musicrec.config.jobs import Config
from musicrec.config.safe_yaml import MAXIMUM_BYTES, read_yaml
from musicrec.config.sections import StackSettings, SubmodelSettings
from musicrec.storage.uri import StoreError, is_file_uri
from musicrec.telemetry.redact import redacted

# Sections that hold named sections.
NAMED = {"models": SubmodelSettings, "stacks": StackSettings}
# Violations that are reported of one configuration, and characters of a value that are shown.
MAXIMUM_VIOLATIONS = 20
LONGEST_VALUE = 120
T = TypeVar("T")


def presets() -> list[str]:
    """Return the names that ``--preset`` takes."""
    folder = importlib.resources.files("musicrec.config") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def preset(name: str) -> Config:
    """Return a preset by name, or the one in a file that a search wrote.

    Raises
    ------
    ConfigError
        The preset is unknown.
    """
    if name.endswith(".yaml"):
        return _from_file("--preset", name)
    if name not in presets():
        raise ConfigError(
            f"--preset {name}: unknown preset{suggestion(name, presets())}; "
            f"choose from {', '.join(presets())}"
        )
    text = (importlib.resources.files("musicrec.config") / "presets" / f"{name}.yaml").read_text()
    return from_yaml(text, f"preset {name}")


def from_yaml(text: str | bytes, source: str) -> Config:
    """Return the configuration in a YAML text; absent keys keep their defaults.

    Raises
    ------
    ConfigError
        Naming the source, the key and the fix, one line per violation.
    """
    mapping = read_yaml(text, source) or {}
    if not isinstance(mapping, dict):
        raise ConfigError(
            f"{source}: expected keys and values at the top, found {type(mapping).__name__}"
        )
    return from_mapping(mapping, source)


def from_mapping(mapping: dict[str, Any], source: str) -> Config:
    """Return the configuration in a parsed YAML text; see `from_yaml`."""
    return _validated(Config, mapping, source)


def parse(
    arguments: list[str],
    description: str,
    kind: type[T] = Config,
    default: T | None = None,
    sections: Sequence[str] | None = None,
) -> T:
    """Return the configuration of a job from its command line.

    Prints an error and exits with code 2 where the command line is wrong.

    Parameters
    ----------
    arguments
        The command line after the program's name.
    description
        The job's docstring, shown by ``--help``.
    kind, default
        The job's configuration class, and its values where no preset or file gives them.
    sections
        The sections that the job reads, the most used first: ``--help`` shows these only, and
        ``--help-all`` shows every option. All sections if not given.
    """
    usage = _paragraphs(description)
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
            usage += (
                f"\n\nPresets: --preset NAME ({', '.join(presets())}; or a search's FILE.yaml) "
                "or --config FILE.yaml comes first, then options that override it."
            )
        if sections is not None and {"-h", "--help"} & {*arguments}:
            shown, values = reduced(kind, default, sections)
            usage += _not_shown(default, sections)
            tyro.cli(shown, default=values, args=["--help"], description=usage)
        arguments = ["--help" if word == "--help-all" else word for word in arguments]
        config = tyro.cli(kind, default=default, args=arguments, description=usage)
        return _validated(kind, dataclasses.asdict(config), "the command line")
    except ConfigError as error:
        print_error(error)
        raise SystemExit(EXIT_CONFIG) from error


def _paragraphs(description: str) -> str:
    """Return a job's docstring with an empty line between its lines, which tyro would join.

    An indented line continues the one before it.
    """
    lines: list[str] = []
    for line in filter(str.strip, description.splitlines()):
        if line.startswith(" ") and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n\n".join(lines)


def _not_shown(default: Any, sections: Sequence[str]) -> str:
    """Return the lines of ``--help`` about the options that it leaves out."""
    lines = []
    if models := getattr(default, "models", {}):
        lines.append(
            "Submodels: --models.NAME.OPTION, for instance "
            f"--models.{next(iter(models))}.batch-size; see --help-all."
        )
    others = [
        f.name.replace("_", "-")
        for f in dataclasses.fields(default)
        if is_section(getattr(default, f.name)) and f.name not in (*sections, *NAMED)
    ]
    if others:
        lines.append(f"Sections of other jobs, shown by --help-all: {', '.join(others)}.")
    return "".join(f"\n\n{line}" for line in lines)


def with_preset_of(
    option: str, presets_by_value: dict[str, str], arguments: list[str]
) -> list[str]:
    """Return a command line with the preset that an option's value implies.

    A command line that names a preset or a file itself is returned unchanged.
    """
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in (option, "--preset", "--config"):
        chooser.add_argument(name, dest=name)
    chosen = vars(chooser.parse_known_args(arguments)[0])
    if chosen["--preset"] or chosen["--config"] or chosen[option] not in presets_by_value:
        return arguments
    return ["--preset", presets_by_value[chosen[option]], *arguments]


def resolved(config: Any) -> dict[str, Any]:
    """Return the whole configuration as plain values without credentials.

    It is written next to every result.
    """
    return redacted(dataclasses.asdict(config))


def read_text(option: str, path: str, instead: str = "") -> bytes:
    """Return the content of a YAML file, a path or a URI, that an option names.

    Parameters
    ----------
    instead
        What else the option, or another one, takes; part of the error.

    Raises
    ------
    ConfigError
        The file does not exist.
    """
    if "://" in path or is_file_uri(path):
        from musicrec.storage.store import resolve

        try:
            filesystem, name = resolve(path)
            with filesystem.open_input_file(name) as stream:
                return stream.read(MAXIMUM_BYTES + 1)
        except (StoreError, FileNotFoundError) as error:
            raise ConfigError(f"{option} {redacted(path)}: {error}") from error
    if not os.path.isfile(path):
        raise ConfigError(f"{option} {path}: there is no such file; give a YAML file{instead}")
    with open(path, "rb") as stream:
        return stream.read(MAXIMUM_BYTES + 1)


def _from_file(option: str, path: str) -> Config:
    alternatives = f", or --preset with one of {', '.join(presets())}"
    return from_yaml(read_text(option, path, alternatives), path)


def _sibling_keys(location: tuple[Any, ...]) -> list[str]:
    """Return the valid keys of the section that holds the key at ``location``."""
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
        for violation in error.errors()[:MAXIMUM_VIOLATIONS]:
            place = violation["loc"]
            key = ".".join(str(part)[:LONGEST_VALUE] for part in place)
            if violation["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
                close = suggestion(str(place[-1]), _sibling_keys(place))
                lines.append(f"{source}: {key}: unknown key{close}")
            else:
                value = _printable(violation["input"])
                lines.append(f"{source}: {key} = {value}: {violation['msg']}")
        if error.error_count() > MAXIMUM_VIOLATIONS:
            lines.append(f"{source}: and {error.error_count() - MAXIMUM_VIOLATIONS} more")
        raise ConfigError("\n".join(lines)) from error
    if isinstance(config, Config):
        check(config)
    return config


def _printable(value: Any) -> str:
    """Return a value for an error's text: shortened, and without credentials."""
    try:
        text = repr(redacted(value))
    except ValueError:  # Python prints no number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


@functools.cache
def _adapter(kind: type[T]) -> pydantic.TypeAdapter[T]:
    return pydantic.TypeAdapter(kind)
