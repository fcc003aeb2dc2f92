"""Find the links of a chained Ogg file (RFC 3533), and check that its last page is complete."""

from __future__ import annotations

import mmap
import re
from itertools import islice

Buffer = bytes | mmap.mmap

LINKS = 100  # that are read; a hostile file holds millions
_PAGES = 10_000  # that begin a stream and are looked at, with sound or without
_MOST_PAGES = 1_000_000  # of a FLAC stream; an hour has 60,000
# A page of version 0 that begins a stream: granule position 0, any serial number, page number 0
_BEGINNING = re.compile(rb"OggS\0[\x02\x03\x06\x07]\0{8}[\s\S]{4}\0{4}")
_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_VIDEO = (b"\x80theora", b"BBCD\0", b"\x80daala", b"OVP80")


def _page(data: Buffer, position: int) -> tuple[int, int]:
    """Return where a page's content begins and ends, or would end if it is incomplete."""
    segments = data[position + 26]
    content = position + 27 + segments
    return content, content + sum(data[position + 27 : content])


def links(data: Buffer, start: int) -> tuple[list[int], bool]:
    """Return the positions of the links with sound, and whether the first holds video.

    Streams that begin together, one page after the other, are one link. More than ``LINKS`` are
    not looked for.
    """
    begins: list[int] = []
    end_of_last, is_video = -1, False
    for match in islice(_BEGINNING.finditer(data, start), _PAGES):
        position = match.start()
        if position + 27 >= len(data):
            break
        content, end = _page(data, position)
        is_video |= not begins[1:] and data[content : content + 8].startswith(_VIDEO)
        if data[content : content + 8].startswith(_SOUND) and end <= len(data):
            if position != end_of_last or not begins:
                begins.append(position)
            end_of_last = end
        if len(begins) > LINKS:
            break
    return begins, is_video


def fault(data: Buffer) -> str | None:
    """Return why the last page shows that the file is cut off, or None."""
    position = data.rfind(b"OggS")
    if position + 27 > len(data):
        return "the last page is incomplete"
    content, end = _page(data, position)
    if content > len(data) or end > len(data):
        return "the last page is incomplete"
    return None if data[position + 5] & 4 else "the last page does not end the stream"


def is_flac(data: Buffer, begin: int) -> bool:
    """Tell whether the link at `begin` holds FLAC."""
    content, _ = _page(data, begin)
    return data[content : content + 5] == b"\x7fFLAC"


def unwrapped_flac(data: Buffer, begin: int, end: int) -> bytes:
    """Return the FLAC stream of a link, which libsndfile does not read within Ogg.

    Nine bytes precede it in the first page (the mapping of FLAC to Ogg, version 1.0).
    """
    serial, parts, position = data[begin + 14 : begin + 18], [], begin
    for _ in range(_MOST_PAGES):
        if position + 27 > end or data[position : position + 4] != b"OggS":
            break
        content, following = _page(data, position)
        if data[position + 14 : position + 18] == serial:
            parts.append(data[content : min(following, end)])
        position = following
    return b"".join(parts)[9:]
