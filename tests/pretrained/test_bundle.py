"""The reader of TensorFlow's checkpoints: values, and damage of every kind."""

from __future__ import annotations

import re

import numpy as np
import pytest

from musicrec.pretrained.bundle import BundleError, crc32c, read_bundle


def masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + varint(rest)


def entry(shape: tuple[int, ...], offset: int, content: bytes, dtype: int = 1) -> bytes:
    sizes = [b"\x08" + varint(size) for size in shape]
    dimensions = b"".join(b"\x12" + varint(len(size)) + size for size in sizes)
    place = b"\x20" + varint(offset) + b"\x28" + varint(len(content))
    shape_field = b"\x12" + varint(len(dimensions)) + dimensions
    return b"\x08" + varint(dtype) + shape_field + place + b"\x35" + masked(content)


def block(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A block whose second and later keys share their beginning with the one before."""
    content, last = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        header = varint(shared) + varint(len(key) - shared) + varint(len(value))
        content, last = content + header + key[shared:] + value, key
    content += b"\0\0\0\0" + (1).to_bytes(4, "little") + bytes([compression])
    return content + masked(content)


def index_of(entries: list[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    data = block(entries, compression)
    handle = varint(0) + varint(len(data) - 5)
    table = block([(b"z", handle)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(table) - 5)
    return data + table + footer.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


KERNEL = np.arange(6, dtype="<f4").reshape(2, 3)
BIAS = np.array([7, 8, 9], "<f4")
DATA = KERNEL.tobytes() + BIAS.tobytes()
ENTRIES = [
    (b"", b"\x08\x01"),
    (b"dense/bias", entry((3,), 24, BIAS.tobytes())),
    (b"dense/kernel", entry((2, 3), 0, KERNEL.tobytes())),
    (b"step", entry((), 0, KERNEL.tobytes()[:4], dtype=9)),
]


# Published: RFC 3720, B.4, and the check value of CRC-32C.
@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)],
)
def test_crc32c_is_the_published_one(content: bytes, expected: int) -> None:
    assert crc32c(content) == expected


def test_variables_have_their_shapes_and_values() -> None:
    variables = read_bundle(index_of(ENTRIES), DATA, ["dense/kernel", "dense/bias"])
    np.testing.assert_array_equal(variables["dense/kernel"], KERNEL)
    np.testing.assert_array_equal(variables["dense/bias"], BIAS)


@pytest.mark.parametrize(
    ("name", "message"),
    [("dense", "no variable 'dense'"), ("step", "'step' is not float32")],
)
def test_other_variables_are_refused(name: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_bundle(index_of(ENTRIES), DATA, [name])


def test_a_changed_value_is_noticed() -> None:
    damaged = DATA[:25] + b"\x01" + DATA[26:]
    read_bundle(index_of(ENTRIES), damaged, ["dense/kernel"])
    with pytest.raises(BundleError, match="variable 'dense/bias': its CRC32C differs"):
        read_bundle(index_of(ENTRIES), damaged, ["dense/bias"])


def test_every_changed_or_missing_byte_of_the_index_is_an_error_or_without_effect() -> None:
    index, names = index_of(ENTRIES), ["dense/kernel", "dense/bias"]
    for place in range(len(index)):
        with pytest.raises(BundleError):
            read_bundle(index[:place], DATA, names)
        damaged = index[:place] + bytes([index[place] ^ 0xFF]) + index[place + 1 :]
        try:
            variables = read_bundle(damaged, DATA, names)
        except BundleError:
            continue  # else a byte of the footer's padding
        np.testing.assert_array_equal(variables["dense/kernel"], KERNEL)


@pytest.mark.parametrize(
    ("entries", "data", "message"),
    [
        ([(b"v", entry((4, 4), 0, DATA))], DATA, "has shape (4, 4) and 36 bytes at 0 of 36"),
        ([(b"v", entry((9,), 1, DATA))], DATA, "the files do not belong together, or are cut"),
        ([(b"v", entry((9,), 0, DATA) + b"\x18\x01")], DATA, "is not float32 in the first shard"),
        ([(b"v", b"\x0b")], DATA, "wire type 3"),
        ([(b"v", b"\x08" + b"\xff" * 10)], DATA, "more than 64 bits"),
        ([(b"v", b"\x12\x7f")], DATA, "ends inside of a value"),
    ],
)
def test_entries_that_do_not_fit_are_refused(entries: list, data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=re.escape(message)):
        read_bundle(index_of(entries), data, ["v"])


def test_compressed_and_large_files_are_refused() -> None:
    with pytest.raises(BundleError, match="compressed"):
        read_bundle(index_of(ENTRIES, compression=1), DATA, [])
    with pytest.raises(BundleError, match="index: 1,048,577 bytes, more than 1,048,576"):
        read_bundle(bytes(2**20 + 1), DATA, [])
