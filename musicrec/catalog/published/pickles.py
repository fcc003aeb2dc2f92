"""Pickles of Python 2 with arrays of bytes in them, read without running anything that they name.

A pickle is a program: it names functions and says with which arguments to call them. The five names that NumPy's arrays of bytes need are
bound to stand-ins of this module, which keep what they are given and build the array when all of it has been checked; NumPy's own functions
are never called by the file. Any other name is an error.
"""

from __future__ import annotations

import math
import pickle
from typing import Any, BinaryIO

import numpy as np

# What reading a file that is no whole pickle raises, beside UnpicklingError (see the documentation of pickle.UnpicklingError).
_MALFORMED = (
    *(
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        OverflowError,
        MemoryError,
    ),
    *(RecursionError, ImportError),
)


class PickleError(ValueError):
    """A pickle that is not read: damaged, or one that asks for more than arrays of bytes."""


class ByteArray:
    """Stands for ``numpy.ndarray``: ``array`` is there once the pickle has given shape and bytes."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if (
            not isinstance(kind, _ByteType)
            or not isinstance(content, bytes)
            or len(content) != math.prod(shape)
        ):
            raise pickle.UnpicklingError(
                "an array that does not hold unsigned bytes, as many as its shape needs"
            )
        self.array = np.frombuffer(content, np.uint8).reshape(
            shape, order="F" if is_fortran else "C"
        )


class _ByteType:
    """Stands for ``numpy.dtype``, of unsigned bytes only."""

    def __init__(self, name: bytes | str, *_: Any) -> None:
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of {name!r}, not of unsigned bytes (u1)")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order and alignment: bytes have neither."""


def _reconstruct(*_: Any) -> ByteArray:
    """Stands for the function by which NumPy begins an array; its arguments are always those of an empty one."""
    return ByteArray()


def _encode(text: str, encoding: str) -> bytes:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes into a pickle of protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(
            f"bytes in the encoding {encoding!r}: 'latin1' is what pickle writes"
        )
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): ByteArray,
    ("numpy", "dtype"): _ByteType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which no file of pictures needs, and was not run"
            )
        return _ALLOWED[module, name]


def load_pickle(stream: BinaryIO) -> Any:
    """What a pickle holds; its texts of Python 2 are bytes, its arrays ``ByteArray``.

    Raises
    ------
    PickleError
        Naming what the pickle asks for, or how it is damaged.
    OSError
        The storage does not answer.
    """
    try:
        return _Unpickler(stream, encoding="bytes").load()
    except _MALFORMED as error:
        raise PickleError(str(error) or type(error).__name__) from error
