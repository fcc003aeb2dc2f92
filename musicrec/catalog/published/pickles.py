"""Read pickles of Python 2 that contain arrays of bytes, without running any code that they name.

A pickle is a program: it names functions and the arguments to call them with. The five names that
NumPy's arrays of bytes need are bound to stand-ins of this module, which keep their arguments and
build the array after everything is checked; the file never calls NumPy's own functions. Any other
name is an error.
"""

from __future__ import annotations

import math
import pickle
from typing import Any, BinaryIO

import numpy as np

# Exceptions of a malformed pickle (see the documentation of pickle.UnpicklingError)
_MALFORMED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
    ImportError,
)


class PickleError(ValueError):
    """A pickle that is refused: damaged, or one that needs more than arrays of bytes."""


class ByteArray:
    """A stand-in for ``numpy.ndarray``.

    ``array`` exists once the pickle has given shape and bytes.
    """

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        if (
            not isinstance(kind, _ByteType)
            or not isinstance(content, bytes)
            or len(content) != math.prod(shape)
        ):
            raise pickle.UnpicklingError(
                "an array whose content does not match its shape in unsigned bytes"
            )
        self.array = np.frombuffer(content, np.uint8).reshape(
            shape, order="F" if is_fortran else "C"
        )


class _ByteType:
    """A stand-in for ``numpy.dtype``, of unsigned bytes only."""

    def __init__(self, name: bytes | str, *_: Any) -> None:
        if name not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"an array of {name!r}, not of unsigned bytes (u1)")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Ignore byte order and alignment: bytes have neither."""


def _reconstruct(*_: Any) -> ByteArray:
    """Stand in for the function by which NumPy begins an array.

    Its arguments are always those of an empty array.
    """
    return ByteArray()


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``.

    Python 3 writes bytes with it into a pickle of protocol 2.
    """
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}: pickle writes 'latin1'")
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
                f"it asks for {module}.{name}, which no file of images needs; it was not run"
            )
        return _ALLOWED[module, name]


def load_pickle(stream: BinaryIO) -> Any:
    """Load a pickle; its texts of Python 2 are bytes, its arrays ``ByteArray``.

    Raises
    ------
    PickleError
        Naming the code that the pickle asks for, or its damage.
    OSError
        The storage does not answer.
    """
    try:
        return _Unpickler(stream, encoding="bytes").load()
    except _MALFORMED as error:
        raise PickleError(str(error) or type(error).__name__) from error
