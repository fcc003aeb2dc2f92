"""Damage files as accidents or attackers do.

Each function takes a file of some format and a generator, and returns another file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

LARGEST = 16 << 20  # bytes, the largest hostile file
_HEADER = 512
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

T = TypeVar("T")
Damage = Callable[[bytes, np.random.Generator], bytes]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Pick one of the options unchanged.

    ``Generator.choice`` would strip zeros from the end of bytes.
    """
    return options[int(rng.integers(len(options)))]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes anywhere."""
    return _overwrite(content, rng.integers(0, len(content), rng.integers(1, 65)), rng)


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes near the beginning."""
    return _overwrite(content, rng.integers(0, min(len(content), _HEADER), rng.integers(1, 9)), rng)


def flip_footer(content: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes near the end, where Parquet has its metadata."""
    return _overwrite(
        content,
        len(content) - 1 - rng.integers(0, min(len(content), _HEADER), rng.integers(1, 9)),
        rng,
    )


def _overwrite(content: bytes, places: np.ndarray, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(content, np.uint8).copy()
    damaged[places] = rng.integers(0, 256, len(places))
    return damaged.tobytes()


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Remove the end."""
    return content[: rng.integers(0, len(content))]


def behead(content: bytes, rng: np.random.Generator) -> bytes:
    """Remove the beginning."""
    return content[rng.integers(1, len(content)) :]


def extremes(content: bytes, rng: np.random.Generator) -> bytes:
    """Set numbers in the header (sizes, counts, rates) to zero or to the largest values."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        form = pick(rng, ("B", "<H", ">H", "<I", ">I"))
        width = struct.calcsize(form)
        place = int(rng.integers(0, max(1, min(len(damaged), _HEADER) - width)))
        number = pick(rng, _EXTREMES) & ((1 << 8 * width) - 1)
        damaged[place : place + width] = struct.pack(form, number)
    return bytes(damaged)


def zero(content: bytes, rng: np.random.Generator) -> bytes:
    """Zero a range, as an interrupted download does."""
    start, stop = np.sort(rng.integers(0, len(content) + 1, 2))
    return content[:start] + bytes(stop - start) + content[stop:]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    """Insert random bytes."""
    place = rng.integers(0, len(content) + 1)
    return content[:place] + rng.bytes(rng.integers(1, 4096)) + content[place:]


def duplicate(content: bytes, rng: np.random.Generator) -> bytes:
    """Repeat a range of the file several times."""
    start, stop = np.sort(rng.integers(0, len(content) + 1, 2))
    return content[:stop] + content[start:stop] * int(rng.integers(1, 6)) + content[stop:]


def inflate(content: bytes, rng: np.random.Generator) -> bytes:
    """Repeat the file, or append zeros or noise, up to some megabytes."""
    size = int(rng.integers(1 << 20, LARGEST >> rng.integers(0, 4)))
    if (way := rng.integers(3)) == 0:
        return (content * (size // len(content) + 1))[:size]
    return content + (bytes(size) if way == 1 else rng.bytes(size))[: size - len(content)]


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    """Keep the first bytes, which identify the format, and append noise."""
    return content[: rng.integers(4, 64)] + rng.bytes(rng.integers(0, 20_000))


DAMAGES: tuple[Damage, ...] = (
    *(flip, flip_header, flip_footer, truncate, behead, extremes, zero, insert, duplicate, noise),
    *(flip, flip_header, extremes, truncate),  # the likeliest ones twice
)
