"""Find the samples of WAV, AIFF, Wave64, CAF and AU files, and compare their size with the file.

The size in a header may never have been written (a recorder without power, a pipe) or count the
header too. What is there decides; a file that lacks more than a small part is cut off.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from struct import pack, unpack_from

Buffer = bytes | mmap.mmap
# Bytes of the file (begin, end), or bytes that take the place of wrong ones.
Part = tuple[int, int] | bytes

_CHUNKS = 10_000  # chunks that are read; a hostile file holds millions
_STREAMED = 0x7FFFF000  # encoders that do not know the length yet write sizes from here up
_SMALL_PART = 0.01  # of the samples that may be missing
_CHUNK_IDS = frozenset(
    b"data fmt\x20 fact LIST bext cue\x20 smpl PEAK JUNK id3\x20 ID3\x20 SSND COMM FVER MARK NAME "
    b"AUTH ANNO INST APPL PAD\x20 iXML inst junk".replace(b" ", b"\0").split(b"\0")
)
_MPEG_TAGS = (0x50, 0x55)  # format tags of MPEG layers 1 and 2, and of layer 3


@dataclass(frozen=True)
class Samples:
    """The samples of a file.

    Attributes
    ----------
    fault, warning
        Why the file is cut off, and what is wrong without being a fault; or None.
    span
        Positions (begin, end) of the samples.
    parts
        What replaces the file for decoders that trust its header; empty if nothing need be.
    is_mpeg
        The samples are an MPEG stream.
    """

    fault: str | None = None
    warning: str | None = None
    span: tuple[int, int] = (0, 0)
    parts: tuple[Part, ...] = ()
    is_mpeg: bool = False


def _judge(size: int, there: int, header: int, *, streamed: int) -> tuple[str | None, str | None]:
    """Return the fault and the warning of samples of `size` bytes, of which `there` exist."""
    missing = size - there
    if missing <= 0 or size >= streamed:
        return None, None
    if missing <= max(header, _SMALL_PART * size):
        return None, f"the header states {missing:,} bytes of samples more than there are"
    return f"{missing:,} of {size:,} bytes of samples are missing", None


def riff(data: Buffer, start: int, sample_chunk: bytes, order: str) -> Samples:
    """Find the samples of a WAV (chunk ``data``) or AIFF (``SSND``) that begins at `start`."""
    position, parts, copied = start + 12, list[Part](), start
    is_mpeg, long_size = False, 0
    for _ in range(_CHUNKS):
        if position + 8 > len(data):
            break
        name = data[position : position + 4]
        (size,) = unpack_from(order + "I", data, position + 4)
        content = position + 8
        if name == sample_chunk:
            there = len(data) - content
            if long_size and size == 0xFFFFFFFF:
                fault, warning = _judge(long_size, there, content - start, streamed=1 << 62)
            else:
                fault, warning = _judge(size, there, content - start, streamed=_STREAMED)
            if size == 0 and there and data[content : content + 4] not in _CHUNK_IDS:
                warning = f"the size of the samples is 0, but {there:,} bytes follow"
                parts += [(copied, position + 4), pack(order + "I", there)]
                copied, size = content, there
            if parts:
                parts.append((copied, len(data)))
            end = min(content + size, len(data))
            return Samples(fault, warning, (content, end), tuple(parts), is_mpeg)
        if name == b"fmt " and content + 2 <= len(data):
            is_mpeg = unpack_from(order + "H", data, content)[0] in _MPEG_TAGS
        if name == b"ds64" and content + 16 <= len(data):  # RF64: sizes of 64 bits
            (long_size,) = unpack_from("<Q", data, content + 8)
        position = content + size
        if size & 1 and data[position : position + 4] in _CHUNK_IDS:
            parts += [(copied, position), b"\0"]  # the padding byte is missing
            copied = position
        else:
            position += size & 1
    return Samples("the samples are missing")


def wave64(data: Buffer, start: int) -> Samples:
    """Find the samples of a Wave64 file: chunks of a GUID and a size that counts the header."""
    position = start + 40
    for _ in range(_CHUNKS):
        if position + 24 > len(data):
            break
        (size,) = unpack_from("<Q", data, position + 16)
        if data[position : position + 4] == b"data":
            content = position + 24
            at = (start, position + 16)
            return _from_size(data, at, "<Q", size, content, extra=24, streamed=1 << 62)
        position += max(24, size + 7 & ~7)
    return Samples("the samples are missing")


def core_audio(data: Buffer, start: int) -> Samples:
    """Find the samples of a Core Audio (CAF) file; a size of -1 means up to the end."""
    position = start + 8
    for _ in range(_CHUNKS):
        if position + 12 > len(data):
            break
        (size,) = unpack_from(">Q", data, position + 4)
        content = position + 12
        if data[position : position + 4] == b"data":
            at = (start, position + 4)
            if size >= 1 << 63:  # libsndfile refuses it
                size = len(data) - content
                parts = ((start, at[1]), pack(">Q", size), (content, len(data)))
                return Samples(span=(content, len(data)), parts=parts)
            return _from_size(data, at, ">Q", size, content, streamed=1 << 63)
        position = content + size
    return Samples("the samples are missing")


def au(data: Buffer, start: int) -> Samples:
    """Find the samples of an AU file; a size of 0xFFFFFFFF means up to the end."""
    order = ">" if data[start : start + 4] == b".snd" else "<"
    if len(data) < start + 24:
        return Samples("the header is incomplete")
    offset, size = unpack_from(order + "II", data, start + 4)
    content = start + offset
    if content > len(data):
        return Samples("the samples are missing")
    return _from_size(data, (start, start + 8), order + "I", size, content, streamed=_STREAMED)


def _from_size(
    data: Buffer,
    at: tuple[int, int],
    form: str,
    size: int,
    content: int,
    *,
    extra: int = 0,
    streamed: int,
) -> Samples:
    """Judge samples at `content`, whose size a header states.

    Parameters
    ----------
    at
        Positions of the file's beginning and of the size, which is written in `form`.
    extra
        Bytes that are counted although they are no samples.
    """
    there = len(data) - content
    fault, warning = _judge(size - extra, there, content - at[0], streamed=streamed)
    if size <= extra and there > 0:
        warning = f"the size of the samples is 0, but {there:,} bytes follow"
        written = pack(form, there + extra)
        parts = (at, written, (at[1] + len(written), len(data)))
        return Samples(None, warning, (content, len(data)), parts)
    return Samples(fault, warning, (content, min(content + size, len(data))))
