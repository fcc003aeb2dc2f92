"""Ablation studies: a YAML file with a base configuration and rows that change some settings.

::

    title: the effect of each departure
    base:
      what: the demo's sizes under the thesis' rules
      change:
        # models.*: every model; models.mel.*: those whose name begins with mel.
        models.*.weight_decay: 0
        ensemble.sizes.dropout: 0
    rows:
      masks:
        what: up to a fifth of the frames is masked
        change: {models.*.time_mask: 0.2}
    best: [masks]  # rows that are combined, and then left out one at a time

Keys are those of a configuration. ``base`` changes the job's own configuration, a row changes the
base.
"""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from dataclasses import dataclass, field
from typing import Any

import pydantic

from musicrec.config.errors import ConfigError, suggestion
from musicrec.config.jobs import Config
from musicrec.config.load import NAMED, from_mapping
from musicrec.config.safe_yaml import read_yaml

BASE, BEST = "base", "best"
SIZES = ".sizes."


@dataclass(frozen=True, kw_only=True)
class Change:
    """Settings that differ, and their description."""

    what: str
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """An ablation file."""

    title: str
    base: Change
    rows: dict[str, Change]
    best: tuple[str, ...] = ()


for _section in (Change, Study):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class PlannedRow:
    """One configuration to run, and the row that it is compared with (None for the base)."""

    name: str
    differs: str
    baseline: str | None
    config: Config


def read_study(text: str | bytes, source: str) -> Study:
    """Parse a study from YAML.

    Raises
    ------
    ConfigError
        With the source, the key and the fix.
    """
    try:
        study = pydantic.TypeAdapter(Study).validate_python(read_yaml(text, source))
    except pydantic.ValidationError as error:
        lines = [
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()
        ]
        raise ConfigError(f"{source}: " + "; ".join(lines)) from error
    for name in study.best:
        if name not in study.rows:
            raise ConfigError(
                f"{source}: best names '{name}', which is not a row{suggestion(name, study.rows)}"
            )
    for name in study.rows.keys() & {BASE, BEST}:
        raise ConfigError(
            f"{source}: a row is called '{name}', which is reserved: give it another name"
        )
    return study


def plan(study: Study, config: Config, names: tuple[str, ...] = ()) -> list[PlannedRow]:
    """Return the base, each row on top of it, all of ``best`` combined, and ``best`` less each one.

    Parameters
    ----------
    names
        Names of the rows to run; all if empty. The rows they are compared with are added.

    Raises
    ------
    ConfigError
        A key or value is not allowed, or there is no row of a name.
    """
    base = with_overrides(config, study.base.change, BASE)
    rows = [PlannedRow(BASE, study.base.what, None, base)]
    rows += [
        PlannedRow(name, row.what, BASE, with_overrides(base, row.change, name))
        for name, row in study.rows.items()
    ]
    if study.best:
        rows.append(
            PlannedRow(BEST, " + ".join(study.best), BASE, _combine(study, base, study.best))
        )
        for left_out in study.best if len(study.best) > 1 else ():
            others = tuple(name for name in study.best if name != left_out)
            rows.append(
                PlannedRow(
                    f"{BEST} without {left_out}",
                    f"no {left_out}",
                    BEST,
                    _combine(study, base, others),
                )
            )
    by_name = {row.name: row for row in rows}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"--rows {name}: the study has no such row{suggestion(name, by_name)}; "
                f"it has {', '.join(by_name)}"
            )
    needed = {*names, BASE, *(by_name[name].baseline for name in names)}
    return [row for row in rows if not names or row.name in needed]


def _combine(study: Study, base: Config, names: tuple[str, ...]) -> Config:
    return with_overrides(
        base,
        {key: value for name in names for key, value in study.rows[name].change.items()},
        " + ".join(names),
    )


def with_overrides(config: Config, changes: dict[str, Any], source: str) -> Config:
    """Return a configuration with other values of some keys.

    ``models.NAME: {...}`` sets or adds a whole model.

    Raises
    ------
    ConfigError
        A key or value is not allowed, or a pattern matches no model.
    """
    mapping = copy.deepcopy(
        {each.name: dataclasses.asdict(config)[each.name] for each in dataclasses.fields(Config)}
    )
    for key, value in changes.items():
        section, _, rest = key.partition(".")
        if section not in NAMED:
            _set(mapping, key.split("."), value)
            continue
        if "." not in rest and isinstance(value, dict):
            mapping[section][rest] = value
            continue
        pattern, _, setting = rest.partition(SIZES) if SIZES in rest else rest.rpartition(".")
        path = [SIZES.strip("."), setting] if SIZES in rest else [setting]
        names = fnmatch.filter(mapping[section], pattern)
        if not names:
            raise ConfigError(
                f"{source}: {key} matches none of the {section}: {', '.join(mapping[section])}"
            )
        for name in names:
            _set(mapping[section][name], path, value)
    return from_mapping(mapping, source)


def _set(mapping: dict[str, Any], path: list[str], value: Any) -> None:
    *sections, last = path
    for section in sections:
        mapping = mapping.setdefault(section, {})
    mapping[last] = value
