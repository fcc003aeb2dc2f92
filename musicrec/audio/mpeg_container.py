"""Decide what of an MPEG stream is decoded, and whether it is cut off or damaged too much."""

from __future__ import annotations

from musicrec.audio import mpeg
from musicrec.audio.chunks import Part
from musicrec.audio.identified import Container, Link
from musicrec.audio.mpeg import LARGEST_FRAME, Buffer, frame_length
from musicrec.audio.tags import ID3V1

_MISSING_FRAMES = 2  # encoders disagree whether the header frame and the last padding frame count
_SMALL_PART = 0.1  # of a stream that may be no MPEG
_LEAST_PART = 4096  # bytes that may be no MPEG, however short the stream
_LONGEST_TAIL = 8192  # bytes after the last frame that may be no tag, however short the stream
_LINKS = 100  # changes of format that are read


def inspect_mpeg(data: Buffer, start: int, end: int) -> Container | None:
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
