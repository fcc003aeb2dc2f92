"""Make ten thousand hostile or broken files.

Each is made from a seed and its own number only, so that one can be made again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bombs import BOMBS, EVERY_BOMB
from damage import DAMAGES, LARGEST, inflate, pick
from samples import FORMS, sound_files

ALL = 10_000
SEED = 20_261_125
# Percentage of files that are bombs, too large, spliced from two, of another format than their
# name, or intact.
_PERCENTAGES = {"bomb": 3, "inflate": 1, "splice": 8, "confuse": 4, "untouched": 2}


@dataclass(frozen=True)
class HostileInput:
    """A hostile file: ``form`` is the format it is read as, ``kind`` the damage."""

    number: int
    form: str
    kind: str
    content: bytes

    def __str__(self) -> str:
        return f"input {self.number} ({self.form}, {self.kind}, {len(self.content):,} bytes)"


def hostile_input(number: int) -> HostileInput:
    """Make input number 0 to ``ALL`` - 1; the first ones are one bomb of every kind."""
    rng = np.random.default_rng([SEED, number])
    if number < len(EVERY_BOMB):
        form, bomb = EVERY_BOMB[number]
        return HostileInput(number, form, bomb.__name__, bomb(rng)[:LARGEST])
    form = FORMS[number % len(FORMS)]
    kind = pick(
        rng,
        [kind for kind, percentage in _PERCENTAGES.items() for _ in range(percentage)]
        + ["damage"] * (100 - sum(_PERCENTAGES.values())),
    )
    content = pick(rng, sound_files(form))
    if kind == "bomb":
        bomb = pick(rng, BOMBS[form])
        kind, content = bomb.__name__, bomb(rng)
    elif kind == "inflate":
        content = inflate(content, rng)
    elif kind == "splice":
        other = pick(rng, sound_files(pick(rng, FORMS)))
        content = content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]
    elif kind == "confuse":
        content = pick(rng, sound_files(pick(rng, [other for other in FORMS if other != form])))
    elif kind == "damage":
        damages = [pick(rng, DAMAGES) for _ in range(rng.integers(1, 3))]
        kind = "+".join(damage.__name__ for damage in damages)
        for damage in damages:
            content = damage(content, rng) if content else content
    return HostileInput(number, form, kind, content[:LARGEST])
