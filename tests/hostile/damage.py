"""Ways in which files break, or are broken: each takes a file of some format and a generator, and returns another file."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

LARGEST = 16 << 20  # bytes of a hostile file at most
_HEADER = 512
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

T = TypeVar("T")
Damage = Callable[[bytes, np.random.Generator], bytes]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of the options as it is; ``Generator.choice`` would take zeros off the end of bytes."""
    return options[int(rng.integers(len(options)))]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes anywhere have other values."""
    return _overwrite(content, rng.integers(0, len(content), rng.integers(1, 65)), rng)


def flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes near the beginning have other values."""
    return _overwrite(content, rng.integers(0, min(len(content), _HEADER), rng.integers(1, 9)), rng)


def flip_footer(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes near the end, where Parquet has its metadata, have other values."""
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
    """The end is missing."""
    return content[: rng.integers(0, len(content))]


def behead(content: bytes, rng: np.random.Generator) -> bytes:
    """The beginning is missing."""
    return content[rng.integers(1, len(content)) :]


def extremes(content: bytes, rng: np.random.Generator) -> bytes:
    """Numbers in the header are zero, or as large as they can be: sizes, counts, rates that lie."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        form = pick(rng, ("B", "<H", ">H", "<I", ">I"))
        width = struct.calcsize(form)
        place = int(rng.integers(0, max(1, min(len(damaged), _HEADER) - width)))
        number = pick(rng, _EXTREMES) & ((1 << 8 * width) - 1)
        damaged[place : place + width] = struct.pack(form, number)
    return bytes(damaged)


def zero(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, as an interrupted download leaves."""
    start, stop = np.sort(rng.integers(0, len(content) + 1, 2))
    return content[:start] + bytes(stop - start) + content[stop:]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    """Rubbish in the middle."""
    place = rng.integers(0, len(content) + 1)
    return content[:place] + rng.bytes(rng.integers(1, 4096)) + content[place:]


def duplicate(content: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of the file stands there several times."""
    start, stop = np.sort(rng.integers(0, len(content) + 1, 2))
    return content[:stop] + content[start:stop] * int(rng.integers(1, 6)) + content[stop:]


def inflate(content: bytes, rng: np.random.Generator) -> bytes:
    """The file is repeated, or followed by zeros or noise, up to some megabytes."""
    size = int(rng.integers(1 << 20, LARGEST >> rng.integers(0, 4)))
    if (way := rng.integers(3)) == 0:
        return (content * (size // len(content) + 1))[:size]
    return content + (bytes(size) if way == 1 else rng.bytes(size))[: size - len(content)]


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    """The first bytes, by which formats are known, and nothing that makes sense behind them."""
    return content[: rng.integers(4, 64)] + rng.bytes(rng.integers(0, 20_000))


DAMAGES: tuple[Damage, ...] = (
    *(flip, flip_header, flip_footer, truncate, behead, extremes, zero, insert, duplicate, noise),
    *(flip, flip_header, extremes, truncate),  # the likeliest ones twice
)
