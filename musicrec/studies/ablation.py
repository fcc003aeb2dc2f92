"""Ablations: a YAML file that names a base configuration and rows, each of which changes some of its settings.

::

    title: what each departure is worth
    base:
      what: the demo's sizes under the thesis' rules
      change:
        models.*.weight_decay: 0                     # of every model; models.mel.* are those whose name begins with mel.
        ensemble.sizes.dropout: 0
    rows:
      masks:
        what: up to a fifth of the frames is masked
        change: {models.*.time_mask: 0.2}
    best: [masks]                                    # the rows that are taken together, and then one by one left out

Keys are those of a configuration. ``base`` changes the job's own configuration, a row changes the base.
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
    """Settings that differ, and in a person's words how."""

    what: str
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A file as it was read."""

    title: str
    base: Change
    rows: dict[str, Change]
    best: tuple[str, ...] = ()


for _section in (Change, Study):
    _section.__pydantic_config__ = pydantic.ConfigDict(extra="forbid")


@dataclass(frozen=True)
class PlannedRow:
    """One configuration to run, and the name of the row that it is compared with (None for the base)."""

    name: str
    differs: str
    beside: str | None
    config: Config


def read_study(text: str | bytes, source: str) -> Study:
    """The study in a YAML text.

    Raises
    ------
    ConfigError
        Naming the source, the key and the fix.
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
                f"{source}: best names '{name}', which is no row{suggestion(name, study.rows)}"
            )
    for name in study.rows.keys() & {BASE, BEST}:
        raise ConfigError(
            f"{source}: a row is called '{name}', which has another meaning: give it another name"
        )
    return study


def plan(study: Study, config: Config, wanted: tuple[str, ...] = ()) -> list[PlannedRow]:
    """The base, each row alone on top of it, all of ``best`` together, and those without one of them each.

    Parameters
    ----------
    wanted
        Names of rows; all if empty. What they are compared with belongs to them.

    Raises
    ------
    ConfigError
        A key or value is not allowed, or a name is none of a row.
    """
    base = with_overrides(config, study.base.change, BASE)
    rows = [PlannedRow(BASE, study.base.what, None, base)]
    rows += [
        PlannedRow(name, row.what, BASE, with_overrides(base, row.change, name))
        for name, row in study.rows.items()
    ]
    if study.best:
        rows.append(
            PlannedRow(BEST, " + ".join(study.best), BASE, _together(study, base, study.best))
        )
        for left_out in study.best if len(study.best) > 1 else ():
            others = tuple(name for name in study.best if name != left_out)
            rows.append(
                PlannedRow(
                    f"{BEST} without {left_out}",
                    f"no {left_out}",
                    BEST,
                    _together(study, base, others),
                )
            )
    known = {row.name: row for row in rows}
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"--rows {name}: the study has no such row{suggestion(name, known)}; it has {', '.join(known)}"
            )
    needed = {*wanted, BASE, *(known[name].beside for name in wanted)}
    return [row for row in rows if not wanted or row.name in needed]


def _together(study: Study, base: Config, names: tuple[str, ...]) -> Config:
    return with_overrides(
        base,
        {key: value for name in names for key, value in study.rows[name].change.items()},
        " + ".join(names),
    )


def with_overrides(config: Config, changes: dict[str, Any], source: str) -> Config:
    """A configuration with other values of some keys.

    Raises
    ------
    ConfigError
        A key or value is not allowed, or a pattern names no model.
    """
    mapping = copy.deepcopy(
        {each.name: dataclasses.asdict(config)[each.name] for each in dataclasses.fields(Config)}
    )
    for key, value in changes.items():
        section, _, rest = key.partition(".")
        if section not in NAMED:
            _set(mapping, key.split("."), value)
            continue
        pattern, _, setting = rest.partition(SIZES) if SIZES in rest else rest.rpartition(".")
        path = [SIZES.strip("."), setting] if SIZES in rest else [setting]
        names = fnmatch.filter(mapping[section], pattern)
        if not names:
            raise ConfigError(
                f"{source}: {key} names none of the {section}: {', '.join(mapping[section])}"
            )
        for name in names:
            _set(mapping[section][name], path, value)
    return from_mapping(mapping, source)


def _set(mapping: dict[str, Any], path: list[str], value: Any) -> None:
    *sections, last = path
    for section in sections:
        mapping = mapping.setdefault(section, {})
    mapping[last] = value
