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
from dataclasses import replace

from musicrec.audio import chunks, ogg
from musicrec.audio.identified import Container, Link
from musicrec.audio.mpeg import Buffer, frame_length
from musicrec.audio.mpeg_container import inspect_mpeg
from musicrec.audio.tags import end_of_leading_tags

# The beginnings of files that are searched for behind a tag whose size is wrong
_BEGINNING = re.compile(rb"RIFF[\s\S]{4}WAVE|FORM[\s\S]{4}AIF[FC]|OggS\0\x02|fLaC\0\0\0\x22")
_BEGINNING_SEARCH = 65536  # bytes
_ZEROS = re.compile(rb"\0*")
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


def inspect(data: Buffer) -> Container | None:
    """Recognise a container and check it; return None if the bytes are not supported audio."""
    start = end_of_leading_tags(data, 0)
    identified = _other_kind(data) or _inspect_mp4(data) or _inspect_tagged(data, start)
    if identified is None and not frame_length(data, start):
        # The size of a tag may be wrong by some bytes.
        beginning = _BEGINNING.search(data, start, start + _BEGINNING_SEARCH)
        identified = _inspect_tagged(data, beginning.start()) if beginning else None
    return identified or inspect_mpeg(data, start, len(data))


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
        stream = inspect_mpeg(data, *samples.span)
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
