"""Checks an object against kuberay_fields.yaml: every field known, every required one there, every
value of its type."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PLAIN = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


@cache
def description() -> dict[str, Any]:
    return yaml.safe_load(
        (Path(__file__).parent / "kuberay_fields.yaml").read_text(encoding="utf-8")
    )


def mistakes(value: Any, kind: str, path: str = "") -> Iterator[str]:
    """One line for each way in which ``value`` is not a ``kind``."""
    if kind == "any":
        return
    if kind.startswith("["):
        yield from _elements(value, kind[1:-1], path, list)
    elif kind.startswith("{"):
        yield from _elements(value, kind[1:-1], path, dict)
    elif "|" in kind or kind.startswith("'") or kind in PLAIN:
        if not any(_is_plain(value, alternative) for alternative in kind.split("|")):
            yield f"{path}: {value!r} is not {kind}"
    elif isinstance(description()[kind], str):
        yield from mistakes(value, description()[kind], path)
    elif not isinstance(value, dict):
        yield f"{path}: {value!r} is not a {kind}"
    else:
        yield from _fields(value, description()[kind], path)


def _is_plain(value: Any, kind: str) -> bool:
    if kind.startswith("'"):
        return value == kind.strip("'")
    return isinstance(value, PLAIN[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _elements(value: Any, kind: str, path: str, container: type) -> Iterator[str]:
    if not isinstance(value, container):
        yield f"{path}: {value!r} is not a {container.__name__} of {kind}"
        return
    for key, element in value.items() if isinstance(value, dict) else enumerate(value):
        yield from mistakes(element, kind, f"{path}/{key}")


def _fields(value: dict[str, Any], fields: dict[str, str], path: str) -> Iterator[str]:
    known = {name.removesuffix("*"): kind for name, kind in fields.items()}
    yield from (f"{path}/{name}: unknown field" for name in value if name not in known)
    yield from (
        f"{path}: '{name[:-1]}' is required"
        for name in fields
        if name.endswith("*") and name[:-1] not in value
    )
    for name, element in value.items():
        if name in known:
            yield from mistakes(element, known[name], f"{path}/{name}")
