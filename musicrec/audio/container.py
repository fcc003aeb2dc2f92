"""Identify a file's container from its bytes, never from its name, and check that it is complete.

libsndfile plays what is left of a truncated file without reporting an error, and refuses whole
files for bytes that are no sound, so both are read from the containers: the sizes of chunks, the
end-of-stream page and the links of Ogg, the frames of MPEG. In an MP3 without a frame count only an
incomplete last frame shows truncation: one cut exactly between two frames cannot be distinguished
from a shorter recording. FLAC and MP4 state their length; decoding shows whether it is reached.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

from musicrec.audio import chunks, mpeg, ogg
from musicrec.audio.chunks import Part
from musicrec.audio.mpeg import LARGEST_FRAME, Buffer, frame_length, with_frame_count
from musicrec.audio.tags import ID3V1, end_of_leading_tags

__all__ = ["LARGEST_FRAME", "Buffer", "Container", "Link", "frame_length", "inspect"]
__all__ += ["with_frame_count"]

# The beginnings of files that are searched for behind a tag whose size is wrong
_BEGINNING = re.compile(rb"RIFF[\s\S]{4}WAVE|FORM[\s\S]{4}AIF[FC]|OggS\0\x02|fLaC\0\0\0\x22")
_BEGINNING_SEARCH = 65536  # bytes
_ZEROS = re.compile(rb"\0*")
_MISSING_FRAMES = 2  # encoders disagree whether the header frame and the last padding frame count
_SMALL_PART = 0.1  # of a stream that may be no MPEG
_LEAST_PART = 4096  # bytes that may be no MPEG, however short the stream
_LONGEST_TAIL = 8192  # bytes after the last frame that may be no tag, however short the stream
_LINKS = 100  # changes of format that are read
_NOT_AUDIO = {
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"FLV\1": "Flash video",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "ASF or Windows Media",
    b"\0\0\1\xba": "an MPEG program stream",
    b".RMF": "RealMedia",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff\xe0": "JPEG",
    b"\xff\xd8\xff\xe1": "JPEG",
    b"%PDF": "PDF",
    b"PK\3\4": "ZIP",
}


@dataclass(frozen=True)
class Link:
    """A part of a file that is decoded by itself.

    Attributes
    ----------
    parts
        Its bytes: spans of the file, and bytes in place of wrong ones.
    uncounted_samples
        Samples in the frames of an MPEG stream that does not state their number, otherwise 0.
    """

    parts: tuple[Part, ...]
    uncounted_samples: int = 0

    def content(self, data: Buffer) -> bytes:
        """Return the bytes to decode."""
        return b"".join(
            part if isinstance(part, bytes) else data[part[0] : part[1]] for part in self.parts
        )


@dataclass(frozen=True)
class Container:
    """The kind of a file, and whether it is complete.

    Attributes
    ----------
    kind
        wav, aiff, w64, caf, au, flac, ogg, mpeg, adts or mp4.
    fault
        Why the file is refused, or None; `reason` is its reason among `AUDIO_ERRORS`.
    uncounted_samples
        Samples in the frames of an MPEG stream that does not state their number, otherwise 0.
    warning
        What is wrong with the file although it is read, or None.
    links
        What is decoded in place of the whole file, one after the other; empty if that is right.
    """

    kind: str
    fault: str | None = None
    uncounted_samples: int = 0
    reason: str = "truncated"
    warning: str | None = None
    links: tuple[Link, ...] = ()


def inspect(data: Buffer) -> Container | None:
    """Recognise a container and check it; return None if the bytes are not supported audio."""
    start = end_of_leading_tags(data, 0)
    identified = _other_kind(data) or _inspect_mp4(data) or _inspect_tagged(data, start)
    if identified is None and not frame_length(data, start):
        # The size of a tag may be wrong by some bytes.
        beginning = _BEGINNING.search(data, start, start + _BEGINNING_SEARCH)
        identified = _inspect_tagged(data, beginning.start()) if beginning else None
    return identified or _inspect_mpeg(data, start, len(data))


def _other_kind(data: Buffer) -> Container | None:
    """Return the refusal of a kind of file that is no audio; its bytes may look like frames."""
    for beginning, name in _NOT_AUDIO.items():
        if data[: len(beginning)] == beginning:
            return Container("other", f"it is {name}, not an audio file", reason="not_audio")
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return Container("other", "it is AVI, not an audio file", reason="not_audio")
    return None


def _inspect_mp4(data: Buffer) -> Container | None:
    if data[4:8] != b"ftyp":
        return None
    missing = "the moov atom, which lists the samples, is missing"
    return Container("mp4", None if data.find(b"moov") >= 0 else missing)


def _inspect_chunks(data: Buffer, start: int) -> Container | None:
    """Inspect the formats that state the size of their samples."""
    head = data[start : start + 28]
    kind, samples = "", None
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        order = ">" if head[:4] == b"RIFX" else "<"
        kind, samples = "wav", chunks.riff(data, start, b"data", order)
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        kind, samples = "aiff", chunks.riff(data, start, b"SSND", ">")
    elif head[:4] in (b".snd", b"dns."):
        kind, samples = "au", chunks.au(data, start)
    elif head[:4] == b"caff":
        kind, samples = "caf", chunks.core_audio(data, start)
    elif head[:4] == b"riff" and head[24:28] == b"wave":
        kind, samples = "w64", chunks.wave64(data, start)
    return None if samples is None else _of_samples(kind, samples, data, start)


def _inspect_tagged(data: Buffer, tags_end: int) -> Container | None:
    """Inspect the formats that may follow a tag, and zeros that pad it."""
    padding = _ZEROS.match(data, tags_end)
    start = padding.end() if padding else tags_end
    head = data[start : start + 12]
    if head[:4] == b"OggS":
        return _inspect_ogg(data, start)
    if head[:4] == b"fLaC":
        return Container("flac", links=_rest(data, start))
    if len(head) > 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return Container("adts")
    return _inspect_chunks(data, start)


def _rest(data: Buffer, start: int) -> tuple[Link, ...]:
    """Return the file from `start` on as a link, or none for the whole file."""
    return (Link(((start, len(data)),)),) if start else ()


def _of_samples(kind: str, samples: chunks.Samples, data: Buffer, start: int) -> Container:
    if samples.is_mpeg and samples.fault is None:
        stream = _inspect_mpeg(data, *samples.span)
        if stream is None:
            return Container(kind, "its MPEG stream has no frames", reason="unreadable")
        links = stream.links or (Link((samples.span,), stream.uncounted_samples),)
        return replace(stream, kind=kind, links=links)
    links = (Link(samples.parts),) if samples.parts else _rest(data, start)
    return Container(kind, samples.fault, warning=samples.warning, links=links)


def _inspect_ogg(data: Buffer, start: int) -> Container:
    begins, is_video = ogg.links(data, start)
    if is_video:
        return Container("ogg", "it is Ogg video", reason="not_audio")
    if len(begins) > ogg.LINKS:
        return Container("ogg", f"it has more than {ogg.LINKS} links", reason="unreadable")
    fault = ogg.fault(data)
    if fault or not begins or (len(begins) == 1 and not ogg.is_flac(data, begins[0])):
        return Container("ogg", fault, links=_rest(data, start))
    links = tuple(
        Link((ogg.unwrapped_flac(data, *span) if ogg.is_flac(data, span[0]) else span,))
        for span in itertools.pairwise([*begins, len(data)])
    )
    warning = f"{len(links)} Ogg streams follow each other and are read as one recording"
    return Container("ogg", warning=warning if len(links) > 1 else None, links=links)


def _inspect_mpeg(data: Buffer, start: int, end: int) -> Container | None:
    """Inspect an MPEG stream that begins at `start`, after its tags."""
    part = data if end == len(data) else data[:end]
    stream = mpeg.scan(part, start)
    if stream is None:
        return None
    counted = stream.declared is not None and (
        abs(stream.declared - stream.frames) <= _MISSING_FRAMES
    )
    is_one = len(stream.runs) == 1 and len(stream.runs[0].spans) == 1
    refused = _cut_stream(stream) or (None if is_one and counted else _too_much_else(stream))
    if refused:
        return refused
    warning = _warnings(stream, start, counted)
    if is_one and counted:
        links = (Link(((stream.first, end),)),) if stream.first > start else ()
        return Container("mpeg", warning=warning, links=links)
    if is_one and stream.declared is None and stream.first == start and _ends_well(stream, end):
        samples = stream.frames * stream.runs[0].samples_per_frame
        return Container("mpeg", uncounted_samples=samples)
    return Container("mpeg", warning=warning, links=_links(part, stream))


def _cut_stream(stream: mpeg.Stream) -> Container | None:
    """Return the refusal of a stream that was cut off."""
    declared, present = stream.declared, stream.frames
    if declared is not None and declared > present + _MISSING_FRAMES:
        missing = declared - present - _MISSING_FRAMES
        is_explained = missing <= _lost_frames(stream)
        if missing > _SMALL_PART * declared if is_explained else _is_cut(stream):
            return Container("mpeg", f"{present:,} of {declared:,} MPEG frames are present")
    elif stream.last_is_cut and (declared is None or declared < present - _MISSING_FRAMES):
        return Container("mpeg", "the last frame is incomplete")
    return None if present else Container("mpeg", "the first frame is incomplete")


def _links(data: Buffer, stream: mpeg.Stream) -> tuple[Link, ...]:
    """Return the runs of frames as links; a header in the first states what was counted."""
    links = []
    for run in stream.runs:
        parts: list[Part] = list(run.spans)
        frames = run.frames
        if run is stream.runs[0] and stream.declared is not None:
            header, (begin, end) = mpeg.corrected_header(data, stream), run.spans[0]
            parts[0] = (begin + frame_length(data, begin), end)
            if header is not None:
                links.append(Link((header, *parts)))
                continue
            frames -= 1
        if frames:
            links.append(Link(tuple(parts), frames * run.samples_per_frame))
    return tuple(links)


def _too_much_else(stream: mpeg.Stream) -> Container | None:
    """Return the refusal of a stream of which more than a small part is no MPEG."""
    size = sum(end - begin for run in stream.runs for begin, end in run.spans)
    inside = sum(end - begin for begin, end in stream.gaps)
    if stream.gaps and inside > max(_LEAST_PART, _SMALL_PART * size):
        at = stream.gaps[0][0]
        fault = f"{inside:,} bytes that are no MPEG, the first at offset {at:,}"
        return Container("mpeg", fault, reason="unreadable")
    tail = stream.tail[1] - stream.tail[0]
    if tail > max(_LONGEST_TAIL, _SMALL_PART * size):
        fault = f"{tail:,} bytes that are no MPEG follow at offset {stream.tail[0]:,}"
        return Container("mpeg", fault, reason="unreadable")
    if len(stream.runs) > _LINKS:
        fault = f"its format changes more than {_LINKS} times"
        return Container("mpeg", fault, reason="unreadable")
    return None


def _lost_frames(stream: mpeg.Stream) -> int:
    """Return how many frames at most the bytes that are no MPEG have replaced."""
    size = sum(end - begin for run in stream.runs for begin, end in run.spans)
    gaps = [*stream.gaps, stream.tail]
    average = max(1, size // max(1, stream.frames))
    return sum(-(-(end - begin) // average) + 1 for begin, end in gaps if end > begin)


def _is_cut(stream: mpeg.Stream) -> bool:
    """Tell whether frames that the header states are missing, or its count of them is wrong.

    A file that was cut off seldom ends with a frame, and never has as many bytes as it states.
    """
    if stream.last_is_cut:
        return True
    if stream.declared_bytes:
        present = stream.tail[0] - stream.first
        return present < stream.declared_bytes - _MISSING_FRAMES * LARGEST_FRAME
    return False


def _ends_well(stream: mpeg.Stream, end: int) -> bool:
    """Tell whether the decoder finds nothing after the last frame that stops it."""
    last = stream.runs[-1].spans[-1][1]
    return last == end or (last == stream.content_end and end - last == ID3V1)


def _warnings(stream: mpeg.Stream, start: int, is_counted: bool) -> str | None:
    warnings = []
    if stream.first > start:
        warnings.append(f"{stream.first - start:,} bytes before the first frame are skipped")
    if stream.gaps:
        skipped, at = sum(end - begin for begin, end in stream.gaps), stream.gaps[0][0]
        warnings.append(f"{skipped:,} bytes that are no MPEG, the first at offset {at:,}")
    begin, end = stream.tail
    if end > begin:
        warnings.append(f"{end - begin:,} bytes after the last frame, at offset {begin:,}")
    if stream.declared is not None and not is_counted:
        warnings.append(f"the header states {stream.declared:,} frames, not {stream.frames:,}")
    if stream.headers or len(stream.runs) > 1:
        joined = max(stream.headers + 1, len(stream.runs))
        warnings.append(f"{joined} MPEG streams follow each other and are read as one recording")
    return "; ".join(warnings) or None
