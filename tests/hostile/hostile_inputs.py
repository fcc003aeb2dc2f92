"""Ten thousand hostile or broken files, each made from a seed and its own number alone, so that one can be made again by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bombs import BOMBS, EVERY_BOMB
from damage import DAMAGES, LARGEST, inflate, pick
from samples import FORMS, sound_files

ALL = 10_000
SEED = 20_261_125
# Of a hundred files so many are bombs, too large, spliced out of two, of another format than their name, or untouched.
_SHARES = {"bomb": 3, "inflate": 1, "splice": 8, "confuse": 4, "untouched": 2}


@dataclass(frozen=True)
class HostileInput:
    """``form``: what it is read as; ``kind``: what was done to it."""

    number: int
    form: str
    kind: str
    content: bytes

    def __str__(self) -> str:
        return f"input {self.number} ({self.form}, {self.kind}, {len(self.content):,} bytes)"


def hostile_input(number: int) -> HostileInput:
    """Input number 0 to ``ALL`` - 1. The first ones are the bombs of every kind."""
    rng = np.random.default_rng([SEED, number])
    if number < len(EVERY_BOMB):
        form, bomb = EVERY_BOMB[number]
        return HostileInput(number, form, bomb.__name__, bomb(rng)[:LARGEST])
    form = FORMS[number % len(FORMS)]
    kind = pick(
        rng,
        [kind for kind, share in _SHARES.items() for _ in range(share)]
        + ["damage"] * (100 - sum(_SHARES.values())),
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
