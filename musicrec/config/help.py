"""Build the command line help of a job: only the sections that it reads, the most used first."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import typing
from collections.abc import Sequence
from typing import Annotated, Any

import tyro


@functools.cache
def option_help(kind: type) -> dict[str, str]:
    """Return the help text of each field of a settings class: the docstring after the field.

    A field without a docstring of its own has that of the nearest base class that declares it.
    """
    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        body = ast.parse(inspect.getsource(owner)).body[0].body
        for declared, following in zip(body, [*body[1:], None], strict=True):
            if (
                isinstance(declared, ast.AnnAssign)
                and isinstance(declared.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                texts[declared.target.id] = " ".join(str(following.value.value).split())
    return texts


def is_section(value: Any) -> bool:
    """Return whether a field's value is a section or a collection of named sections."""
    return dataclasses.is_dataclass(value) or isinstance(value, dict)


def reduced(kind: type, default: Any, sections: Sequence[str]) -> tuple[type, Any]:
    """Return a copy of a configuration class with only some sections, and its default values.

    The options outside sections come first, then the sections in the given order.

    Parameters
    ----------
    kind, default
        The configuration class of a job, and the configuration whose values are the defaults.
    sections
        Names of fields that hold a section, for instance "extract".
    """
    names = [f.name for f in dataclasses.fields(kind) if not is_section(getattr(default, f.name))]
    values = {name: getattr(default, name) for name in names}
    types = {name: _with_help(kind, name) for name in names}
    for name in sections:
        section = getattr(default, name)
        types[name], values[name] = _copy(type(section), section)
    return _class_of(kind, types), _class_of(kind, types)(**values)


def _copy(kind: type, value: Any) -> tuple[type, Any]:
    names = [f.name for f in dataclasses.fields(kind)]
    copied = _class_of(kind, {name: _with_help(kind, name) for name in names})
    return copied, copied(**{name: getattr(value, name) for name in names})


def _with_help(kind: type, name: str) -> Any:
    hints = typing.get_type_hints(kind, include_extras=True)
    return Annotated[hints[name], tyro.conf.arg(help=option_help(kind).get(name, ""))]


def _class_of(kind: type, types: dict[str, Any]) -> type:
    made = dataclasses.make_dataclass(kind.__name__, list(types.items()), frozen=True, kw_only=True)
    made.__doc__ = kind.__doc__
    return made
