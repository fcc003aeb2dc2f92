"""Read the variables of a TensorFlow checkpoint (a "bundle") without TensorFlow.

A bundle is an index, a sorted table in LevelDB's format whose values are protocol buffers, and a
data file with the raw bytes of the variables. Every block of the table and every variable has a
CRC32C, which is verified. Sources: tensorflow/core/util/tensor_bundle, tensorflow/core/lib/io/
format.cc and tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numba import njit

FOOTER_BYTES, TRAILER_BYTES = 48, 5
MAGIC = 0xDB4775248B80FB57
# A checkpoint that is larger than these is not one of those this reader is for.
MAXIMUM_INDEX_BYTES, MAXIMUM_DATA_BYTES = 1 << 20, 1 << 27
MAXIMUM_VARINT_BYTES = 10
CRC_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
CRC_MASK = 0xA282EAD8  # LevelDB stores CRCs rotated and with this added
FLOAT = 1  # DT_FLOAT
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
DTYPE, SHAPE, SHARD, OFFSET, SIZE, CRC = 1, 2, 3, 4, 5, 6  # fields of BundleEntryProto


class BundleError(ValueError):
    """A checkpoint that is damaged, or of a kind that this reader does not read."""


def read_bundle(index: bytes, data: bytes, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return float32 variables of a checkpoint by name.

    Parameters
    ----------
    index, data
        Content of ``PREFIX.index`` and of ``PREFIX.data-00000-of-00001``.
    names
        The variables to read; the others, such as an optimizer's, are not looked at.

    Raises
    ------
    BundleError
        A file is too large or damaged, a variable is missing, or is not float32 in one shard.
    """
    for what, content, largest in (
        ("index", index, MAXIMUM_INDEX_BYTES),
        ("data", data, MAXIMUM_DATA_BYTES),
    ):
        if len(content) > largest:
            raise BundleError(f"{what}: {len(content):,} bytes, more than {largest:,}")
    try:
        entries = dict(_table(index))
        return {name: _variable(name, entries, data) for name in names}
    except IndexError as error:
        raise BundleError("the index ends inside of a value: the file is damaged") from error


def crc32c(content: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of bytes."""
    return int(_crc(np.frombuffer(content, np.uint8), _crc_table()))


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(CRC_POLYNOMIAL), np.uint32(0))
    return table


@njit(cache=True)
def _crc(content: np.ndarray, table: np.ndarray) -> np.uint32:
    crc = np.uint32(0xFFFFFFFF)
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def _check(what: str, content: bytes, masked: int) -> None:
    crc = crc32c(content)
    if ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF != masked:
        raise BundleError(f"{what}: its CRC32C differs: the file is damaged")


def _table(index: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield keys and values of the sorted table, through its index block."""
    footer = index[-FOOTER_BYTES:]
    if len(footer) < FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != MAGIC:
        raise BundleError("the index does not end as a TensorFlow checkpoint: it is cut or another")
    place = 0
    for _ in range(2):  # the table of meta blocks, which bundles do not use
        _, place = _varint(footer, place)
    for _, handle in _block(index, footer[place:]):
        for key, value in _block(index, handle):
            yield key.decode(errors="replace"), value


def _block(index: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of a block, whose keys are stored without what they share with the last."""
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    end = offset + size
    if size < 4 or end + TRAILER_BYTES > len(index):
        raise BundleError(f"the index has a block at {offset:,}..{end:,}, outside of the file")
    stored = int.from_bytes(index[end + 1 : end + TRAILER_BYTES], "little")
    _check(f"block at {offset:,} of the index", index[offset : end + 1], stored)
    if index[end] != 0:
        raise BundleError(f"the index is compressed (type {index[end]}), which is not supported")
    block, key, place = index[offset:end], b"", 0
    restarts = int.from_bytes(block[-4:], "little")
    while place < size - 4 - 4 * restarts:
        shared, place = _varint(block, place)
        unshared, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + unshared]
        place += unshared + length
        if place > size:
            raise IndexError
        yield key, block[place - length : place]


def _variable(name: str, entries: dict[str, bytes], data: bytes) -> np.ndarray:
    if name not in entries:
        raise BundleError(f"the checkpoint has no variable '{name}'")
    entry = _message(entries[name])
    if entry.get(DTYPE) != [FLOAT] or SHARD in entry:
        raise BundleError(f"variable '{name}' is not float32 in the first shard")
    dimensions = [_message(each) for each in _message(entry.get(SHAPE, [b""])[0]).get(2, [])]
    shape = tuple(dimension.get(1, [0])[0] for dimension in dimensions)
    offset, size = entry.get(OFFSET, [0])[0], entry.get(SIZE, [0])[0]
    if size != 4 * math.prod(shape) or offset + size > len(data):
        raise BundleError(
            f"variable '{name}' has shape {shape} and {size:,} bytes at {offset:,} of "
            f"{len(data):,}: the files do not belong together, or are cut"
        )
    content = data[offset : offset + size]
    _check(f"variable '{name}'", content, entry.get(CRC, [0])[0])
    return np.frombuffer(content, "<f4").reshape(shape)


def _message(content: bytes) -> dict[int, list]:
    """Return the values of a protocol buffer's fields: integers, and bytes of nested messages."""
    fields: dict[int, list] = {}
    place = 0
    while place < len(content):
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == VARINT:
            value, place = _varint(content, place)
        elif kind in (FIXED32, FIXED64, BYTES):
            size = {FIXED32: 4, FIXED64: 8}.get(kind)
            if size is None:
                size, place = _varint(content, place)
            if place + size > len(content):
                raise IndexError
            value = content[place : place + size]
            place += size
            value = value if kind == BYTES else int.from_bytes(value, "little")
        else:
            raise BundleError(f"the index has a field of wire type {kind}: the file is damaged")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return an integer stored in groups of 7 bits, lowest first, and the place after it."""
    value = 0
    for shift in range(MAXIMUM_VARINT_BYTES):
        byte = content[place + shift]
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place + shift + 1
    raise BundleError("the index has an integer of more than 64 bits: the file is damaged")
