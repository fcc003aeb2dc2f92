"""Find the frames of an MPEG audio stream: what is sound, what is a tag, and what is neither.

The frames that are counted decide the length, in both directions: a Xing, Info or VBRI header may
state too few (files joined without a decoder, encoders that never return to the header) or too many
frames.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from struct import pack, unpack_from

from musicrec.audio.tags import end_of_leading_tags, start_of_trailing_tags

Buffer = bytes | mmap.mmap

LARGEST_FRAME = 2881  # bytes, the largest MPEG audio frame
# Bytes searched for the next frame, as many as libmpg123 skips
_SYNC_SEARCH = 65536
_SYNC = re.compile(rb"\xff[\xe2-\xff]")
_FRAMES_OF_NEW_FORMAT = 4  # that must follow each other; random bytes hold single false headers
_GAPS = 200  # interruptions that are searched through; a hostile file has millions
_BITRATES = {  # kilobits per second by (MPEG 1?, layer), index 1..14 of the header's field
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {  # Hz by the version field: MPEG 1, 2, 2.5
    3: (44100, 48000, 32000),
    2: (22050, 24000, 16000),
    0: (11025, 12000, 8000),
}


def _frame_lengths() -> dict[int, tuple[int, int]]:
    """Return bytes of a frame without padding, and of its padding, by header bytes 2 and 3.

    The protection, padding and private bits of the key are cleared.
    """
    table = {}
    for version, rates in _RATES.items():
        for layer in (1, 2, 3):
            for index, kilobits in enumerate(_BITRATES[version == 3, layer], start=1):
                for rate_index, rate in enumerate(rates):
                    key = (
                        (0xE0 | version << 3 | (4 - layer) << 1) << 8 | index << 4 | rate_index << 2
                    )
                    if layer == 1:
                        table[key] = (12_000 * kilobits // rate * 4, 4)
                    else:
                        slots = 72_000 if layer == 3 and version != 3 else 144_000
                        table[key] = (slots * kilobits // rate, 1)
    return table


_FRAME_LENGTHS = _frame_lengths()


@dataclass
class Run:
    """Frames of one format: version, layer, sample rate, and mono or not.

    Attributes
    ----------
    spans
        Positions (begin, end) of frames without interruption.
    """

    format: int
    samples_per_frame: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0


@dataclass
class Stream:
    """The frames of an MPEG stream.

    Attributes
    ----------
    first
        Position of the first frame.
    declared, declared_bytes
        Frames and bytes that the header in the first frame states; None without a header.
    gaps
        Positions (begin, end) between frames that hold neither frames nor tags.
    headers
        Xing, Info and VBRI headers after the first frame: recordings that were joined.
    content_end
        Where the closing tags begin.
    tail
        Positions (begin, end) of what follows the last frame and is no tag.
    last_is_cut
        The stream ends within a frame.
    """

    first: int
    declared: int | None
    declared_bytes: int | None
    runs: list[Run] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    headers: int = 0
    tail: tuple[int, int] = (0, 0)
    content_end: int = 0
    last_is_cut: bool = False

    @property
    def frames(self) -> int:
        """Return the number of complete frames."""
        return sum(run.frames for run in self.runs)


def frame_length(data: Buffer, position: int) -> int:
    """Return the bytes of the MPEG audio frame at `position`; 0 if there is no frame header."""
    if position + 4 > len(data) or data[position] != 0xFF:
        return 0
    third = data[position + 2]
    length, padding = _FRAME_LENGTHS.get((data[position + 1] & 0xFE) << 8 | third & 0xFC, (0, 0))
    return length + padding if third & 2 else length


def _format(data: Buffer, position: int) -> int:
    """Return what is equal in all frames of a format: version, layer, rate, and mono or not."""
    return (
        (data[position + 1] & 0xFE) << 8
        | data[position + 2] & 0x0C
        | (data[position + 3] >> 6 == 3)
    )


def _samples_per_frame(data: Buffer, position: int) -> int:
    second = data[position + 1]
    layer = 4 - (second >> 1 & 3)
    return 384 if layer == 1 else 576 if layer == 3 and second >> 3 & 3 != 3 else 1152


def _header_offset(data: Buffer, position: int) -> int:
    """Return where in a frame a Xing or Info header begins: after the side information."""
    is_mono, is_mpeg1 = data[position + 3] >> 6 == 3, data[position + 1] >> 3 & 3 == 3
    return 4 + ((17 if is_mono else 32) if is_mpeg1 else (9 if is_mono else 17))


def first_frame(data: Buffer, start: int) -> int:
    """Return where frames begin; -1 if out of reach.

    Four of a format follow each other, or else two of any (one at the end of the data).
    """
    reach = min(start + _SYNC_SEARCH, len(data))
    for match in _SYNC.finditer(data, start, reach):
        if _frames_follow(data, match.start(), -1, len(data)):
            return match.start()
    for match in _SYNC.finditer(data, start, reach):
        position = match.start()
        length = frame_length(data, position)
        if length and (frame_length(data, position + length) or position + length >= len(data) - 3):
            return position
    return -1


def scan(data: Buffer, start: int) -> Stream | None:
    """Find all frames after the tags that end at `start`; return None if there are none.

    Takes about 1 ms for 30 s.
    """
    first = first_frame(data, start)
    if first < 0:
        return None
    stream = Stream(first, *_declared(data, first))
    stream.content_end = start_of_trailing_tags(data, first)
    position = first
    while position >= 0:
        position = _next_frame(data, stream, _read_span(data, stream, position))
    return stream


def _read_span(data: Buffer, stream: Stream, position: int) -> int:
    """Add the frames that follow each other from `position` on; return the end of the last."""
    format_ = _format(data, position)
    if not stream.runs or stream.runs[-1].format != format_:
        stream.runs.append(Run(format_, _samples_per_frame(data, position)))
    run, offset = stream.runs[-1], _header_offset(data, position)
    begin, lengths, end = position, _FRAME_LENGTHS, stream.content_end
    while position + 4 <= end and data[position] == 0xFF:
        third = data[position + 2]
        length, padding = lengths.get((data[position + 1] & 0xFE) << 8 | third & 0xFC, (0, 0))
        if not length or _format(data, position) != format_:
            break
        if third & 2:
            length += padding
        if position + length > end:
            stream.last_is_cut = True
            break
        if position > stream.first and (
            data[position + offset : position + offset + 4] in (b"Xing", b"Info")
            or data[position + 36 : position + 40] == b"VBRI"
        ):
            stream.headers += 1
        position += length
        run.frames += 1
    if position > begin:
        run.spans.append((begin, position))
    return position


def _next_frame(data: Buffer, stream: Stream, end: int) -> int:
    """Return where frames go on after an interruption, which is noted; -1 if they do not."""
    begin = min(end_of_leading_tags(data, end), stream.content_end)
    stream.tail = (begin, begin if stream.last_is_cut else stream.content_end)
    if stream.last_is_cut or len(stream.gaps) >= _GAPS:
        return -1
    reach = min(begin + _SYNC_SEARCH, stream.content_end)
    format_ = stream.runs[-1].format
    for match in _SYNC.finditer(data, begin, reach):
        position = match.start()
        if _frames_follow(data, position, format_, stream.content_end):
            if position > begin:
                stream.gaps.append((begin, position))
            return position
    return -1


def _frames_follow(data: Buffer, position: int, format_: int, end: int) -> bool:
    """Tell whether frames begin at `position`: two of the format so far, or four of another."""
    here = position + 3 < end and _format(data, position)
    for _ in range(2 if here == format_ else _FRAMES_OF_NEW_FORMAT):
        length = frame_length(data, position)
        if not length or position + length > end or _format(data, position) != here:
            return False
        position += length
    return True


def _declared(data: Buffer, first: int) -> tuple[int | None, int | None]:
    """Return the frame and byte counts of the Xing, Info or VBRI header in the first frame."""
    frame = data[first : first + frame_length(data, first)]
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark, 4, 48)
        if at >= 0 and at + 16 <= len(frame) and frame[at + 7] & 1:
            frames, size = unpack_from(">II", frame, at + 8)
            return frames, size if frame[at + 7] & 2 else None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        size, frames = unpack_from(">II", frame, 46)
        return frames, size
    return None, None


def with_frame_count(data: Buffer) -> bytes:
    """Prepend a Xing header with the frame count to an MPEG stream that has none.

    Without it libsndfile estimates the length from the first frame's bitrate and stops there: of a
    stream of variable bitrate it may read half. With it libsndfile removes the decoder's delay of
    529 samples, which `librosa.load` keeps in streams without a header.
    """
    stream = scan(data, end_of_leading_tags(data, 0))
    assert stream is not None, "only for data with frames"
    first = stream.first
    # No checksum, and a bitrate that leaves room for the header
    second, third, fourth = data[first + 1] | 1, data[first + 2] & 0x0C | 0x90, data[first + 3]
    beginning = bytes([0xFF, second, third, fourth])
    header = (
        beginning.ljust(_header_offset(beginning, 0), b"\0")
        + b"Xing"
        + pack(">II", 1, stream.frames)
    )
    return header.ljust(frame_length(header, 0), b"\0") + data[first:]


def corrected_header(data: Buffer, stream: Stream) -> bytes | None:
    """Return the first frame with the number of frames that follow it in its format.

    The encoder's delay, which the decoder removes, stays; its padding at the end, which belongs to
    the end of another stream, is set to 0. None for a VBRI header, which states no delay.
    """
    frame = bytearray(data[stream.first : stream.first + frame_length(data, stream.first)])
    at = max(frame.find(b"Xing", 4, 48), frame.find(b"Info", 4, 48))
    if at < 0:
        return None
    frame[at + 8 : at + 12] = pack(">I", stream.runs[0].frames - 1)
    flags = frame[at + 7]
    if flags & 2:
        size = sum(end - begin for begin, end in stream.runs[0].spans)
        frame[at + 12 : at + 16] = pack(">I", size)
    extension = (
        at + 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    )
    delays = extension + 21  # in the extension of LAME: 12 bits of delay, 12 bits of padding
    if delays + 3 <= len(frame):
        frame[delays + 1] &= 0xF0
        frame[delays + 2] = 0
    return bytes(frame)
