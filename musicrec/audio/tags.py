"""Find the tags before and after a recording: ID3v2, ID3v1, APE and Lyrics3.

A tag is no sound. Its bytes may look like frames, and its cover may be larger than the recording.
"""

from __future__ import annotations

import mmap
from struct import unpack_from

Buffer = bytes | mmap.mmap

ID3V1 = 128  # bytes
_APE = 32  # bytes of an APE tag's header, and of its footer
_LONGEST_LYRICS = 5100  # bytes of a Lyrics3 tag of version 1
_MOST_TAGS = 16  # on either side; a hostile file holds millions


def _id3_bytes(data: Buffer, at: int) -> int:
    """Return the size in an ID3v2 header or footer: four bytes of seven bits."""
    size = 0
    for byte in data[at + 6 : at + 10]:
        size = size << 7 | byte & 0x7F
    return size


def end_of_leading_tags(data: Buffer, start: int) -> int:
    """Return where the ID3v2 and APE tags that begin at `start` end; `start` if there are none."""
    position = start
    for _ in range(_MOST_TAGS):
        if data[position : position + 3] == b"ID3" and position + 10 <= len(data):
            footer = 10 if data[position + 5] & 0x10 else 0
            position += 10 + _id3_bytes(data, position) + footer
        elif data[position : position + 8] == b"APETAGEX" and position + _APE <= len(data):
            position += _APE + unpack_from("<I", data, position + 12)[0]
        elif data[position : position + 3] == b"TAG" and position + ID3V1 < len(data):
            position += ID3V1  # of a recording to which another was joined
        else:
            break
    return min(position, len(data)) if position > start else start


def start_of_trailing_tags(data: Buffer, start: int) -> int:
    """Return where the tags at the end of the data begin, at `start` or after it."""
    end = len(data)
    for _ in range(_MOST_TAGS):
        size = _trailing_tag(data, end)
        if not size or end - size < start:
            break
        end -= size
    return end


def _trailing_tag(data: Buffer, end: int) -> int:
    """Return the bytes of the tag that ends at `end`; 0 if there is none."""
    if end >= ID3V1 and data[end - ID3V1 : end - ID3V1 + 3] == b"TAG":
        return ID3V1
    if end >= _APE and data[end - _APE : end - _APE + 8] == b"APETAGEX":
        (size,) = unpack_from("<I", data, end - _APE + 12)
        header = max(end - size - _APE, 0)  # not counted; its flag is set in tags without one too
        return size + (_APE if data[header : header + 8] == b"APETAGEX" else 0)
    if end >= 15 and data[end - 9 : end] == b"LYRICS200" and data[end - 15 : end - 9].isdigit():
        return int(data[end - 15 : end - 9]) + 15
    if end >= 9 and data[end - 9 : end] == b"LYRICSEND":
        begin = data.rfind(b"LYRICSBEGIN", max(0, end - _LONGEST_LYRICS - 20), end)
        return end - begin if begin >= 0 else 0
    if end >= 20 and data[end - 10 : end - 7] == b"3DI":
        return _id3_bytes(data, end - 10) + 20
    return 0
