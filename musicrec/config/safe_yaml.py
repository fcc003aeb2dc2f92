"""YAML from anybody: plain values alone, of a bounded size, and every other outcome a mistake in one line."""

from __future__ import annotations

from typing import Any

import yaml

from musicrec.config.errors import ConfigError

MAXIMUM_BYTES = 1 << 18  # the largest preset has 5,000
# Values of a document with every alias written out. Nine aliases of nine aliases of nine ... are a thousand bytes and a billion values.
MAXIMUM_VALUES = 20_000
LONGEST_MISTAKE = 400
# What PyYAML's constructors raise, beside YAMLError, on a number or a date that is none.
_WRONG_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


class _Loader(yaml.SafeLoader):
    """Builds plain values only, and counts what aliases stand for before anything is built."""

    def __init__(self, stream: bytes | str) -> None:
        super().__init__(stream)
        self._values = 0
        self._values_of: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        start = self.peek_event().start_mark
        before = self._values
        node = super().compose_node(parent, index)
        if is_alias and id(node) not in self._values_of:
            raise yaml.composer.ComposerError(
                None, None, "an alias within what it stands for", start
            )
        self._values += self._values_of[id(node)] if is_alias else 1
        self._values_of.setdefault(id(node), self._values - before)
        if self._values > MAXIMUM_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAXIMUM_VALUES} values, aliases written out", start
            )
        return node


def read_yaml(content: bytes | str, source: str) -> Any:
    """What a YAML document holds.

    Raises
    ------
    ConfigError
        Naming the source: it is too large, no YAML, or asks for more than plain values.
    """
    if len(content) > MAXIMUM_BYTES:
        raise ConfigError(
            f"{source}: {len(content):,} bytes, and a configuration has at most {MAXIMUM_BYTES:,}"
        )
    try:
        return yaml.load(content, _Loader)
    except yaml.YAMLError as error:
        mistake = " ".join(str(error).split())
    except RecursionError:
        mistake = "it is nested too deeply"
    except _WRONG_VALUES as error:
        mistake = f"{type(error).__name__}: {' '.join(str(error).split())}"
    raise ConfigError(f"{source}: not readable as YAML: {mistake[:LONGEST_MISTAKE]}")
