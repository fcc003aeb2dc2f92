"""Read untrusted YAML: plain values of a bounded size only; anything else is a one-line error."""

from __future__ import annotations

from typing import Any

import yaml

from musicrec.config.errors import ConfigError

MAXIMUM_BYTES = 1 << 18  # the largest preset has 5,000
# Values of a document with every alias expanded. Nine aliases of nine aliases of nine ... are a
# thousand bytes and a billion values.
MAXIMUM_VALUES = 20_000
LONGEST_REASON = 400
# Raised by PyYAML's constructors, in addition to YAMLError, for an invalid number or date.
_INVALID_VALUES = (ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


class _Loader(yaml.SafeLoader):
    """Build plain values only, and count the values behind aliases before anything is built."""

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
            raise yaml.composer.ComposerError(None, None, "an alias inside its own anchor", start)
        self._values += self._values_of[id(node)] if is_alias else 1
        self._values_of.setdefault(id(node), self._values - before)
        if self._values > MAXIMUM_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAXIMUM_VALUES} values, with aliases expanded", start
            )
        return node


def read_yaml(content: bytes | str, source: str) -> Any:
    """Return the content of a YAML document.

    Raises
    ------
    ConfigError
        Naming the source: it is too large, invalid, or holds more than plain values.
    """
    if len(content) > MAXIMUM_BYTES:
        raise ConfigError(
            f"{source}: {len(content):,} bytes; a configuration has at most {MAXIMUM_BYTES:,}"
        )
    try:
        return yaml.load(content, _Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
    except RecursionError:
        reason = "nested too deeply"
    except _INVALID_VALUES as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    raise ConfigError(f"{source}: not readable as YAML: {reason[:LONGEST_REASON]}")
