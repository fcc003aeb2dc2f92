"""Decode a recording to float32 mono samples, exactly as `librosa.load` does.

libsndfile decodes MP3, FLAC, Ogg Vorbis and Opus, WAV and AIFF; PyAV (optional) decodes AAC and
M4A. The format is identified from the content. The channels are averaged block by block while they
are in the processor's cache, and soxr's HQ quality resamples: the same samples as `librosa.load` in
half its time, because NumPy's mean over the channel axis costs as much as the decoding.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import soxr
from pyarrow.fs import FileSystem

from musicrec.audio import container
from musicrec.audio.errors import AudioError
from musicrec.audio.identified import Container, Link
from musicrec.audio.limits import Limits
from musicrec.audio.mpeg import LARGEST_FRAME, with_frame_count
from musicrec.audio.parameters import SAMPLE_RATE
from musicrec.audio.source import Locate, OpenSource, Source, in_memory, open_source
from musicrec.audio.streams import Excerpt, estimated_length, read_mono

# 200 dB over full scale: beyond it a float file is damaged, and powers exceed the range of float32.
LOUDEST = 1e10
SILENCE_PEAK = 1e-4  # 80 dB below full scale, the dynamic range of the features

_MPEG_FRAME = 1152  # samples
_REPAIR_BYTES = 2 * LARGEST_FRAME  # that a repaired file may have more


@dataclass(frozen=True)
class DecodedAudio:
    """Samples, and the properties of the recording that the decoder reports.

    Attributes
    ----------
    samples
        float32 mono (N,), in [-1, 1] unless the recording itself exceeds that range.
    sample_rate
        Of `samples`, in Hz.
    duration_seconds
        Length of the requested part, at the recording's own rate.
    native_sample_rate, channels, container, codec
        Of the recording, before mixing down and resampling.
    silent
        No sample reaches `SILENCE_PEAK`.
    warning
        What is wrong with the file although it is read (bytes that were skipped, a wrong length in
        a header), or None.
    """

    samples: np.ndarray
    sample_rate: int
    duration_seconds: float
    native_sample_rate: int
    channels: int
    container: str
    codec: str
    silent: bool
    warning: str | None = None


def load_audio(
    source: Source,
    sample_rate: int | None = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
) -> np.ndarray:
    """Load a recording as float32 mono samples (N,).

    Equal to ``librosa.load(source, sr=sample_rate, offset=..., duration=...)``.

    Parameters
    ----------
    source
        Local path, URI (``file://``, ``s3://`` and others that `pyarrow.fs` supports) or the
        encoded bytes.
    sample_rate
        In Hz; None keeps the recording's own.
    offset, duration
        In seconds; `duration` None reads to the end.

    Raises
    ------
    AudioError
        As `decode`.
    """
    return decode(source, sample_rate, offset, duration).samples


def decode(
    source: Source,
    sample_rate: int | None = SAMPLE_RATE,
    offset: float = 0.0,
    duration: float | None = None,
    *,
    minimum_seconds: float = 0.0,
    limits: Limits | None = None,
    locate: Locate = FileSystem.from_uri,
) -> DecodedAudio:
    """Decode, mix down and resample a recording; see `load_audio` for the shared parameters.

    Parameters
    ----------
    locate
        Returns a URI's file system, with the caller's time-outs and retries, and the path within
        it.

    Raises
    ------
    AudioError
        not_found; empty (no bytes, or no samples); not_audio (unknown format); truncated (the file
        ends before the end that its header states, or inside a frame); too_short (under
        `minimum_seconds`, or `offset` beyond the end); too_long (over `limits`); unreadable
        (damaged, samples that are NaN, infinite or over `LOUDEST`, channels or rate over `limits`,
        AAC or M4A without PyAV, more than a small part is no MPEG).
    OSError
        The storage behind a URI failed: a retry may help.
    """
    limits = limits or Limits()
    if offset < 0 or (duration is not None and duration <= 0):
        raise ValueError(
            f"offset={offset} must be at least 0 and duration={duration} more than 0 seconds"
        )
    with open_source(source, limits.max_bytes, locate) as opened:
        identified = container.inspect(opened.data)
        if identified is None:
            raise AudioError(
                "not_audio",
                f"{opened.name} is not MP3, FLAC, Ogg, WAV, AIFF, AU, CAF, Wave64, AAC or MP4: "
                f"it begins with {opened.data[:8]!r}",
            )
        if identified.fault is not None:
            raise AudioError(identified.reason, f"{opened.name}: {identified.fault}")
        excerpt = Excerpt(offset, duration, limits)
        mono, rate, channels, codec = _read(opened, identified, excerpt)
    seconds = len(mono) / rate
    if not len(mono):
        raise AudioError("empty", f"{opened.name} contains 0 samples")
    if seconds < minimum_seconds:
        raise AudioError(
            "too_short",
            f"{opened.name} lasts {seconds:.3f} s, less than minimum_seconds={minimum_seconds:g}",
        )
    target = rate if sample_rate is None else sample_rate
    samples = _resample(mono, rate, target)
    peak = max(float(samples.max()), -float(samples.min()))
    if not peak <= LOUDEST:
        wrong = np.flatnonzero(~(np.abs(mono) <= LOUDEST))
        detail = (
            f"sample {wrong[0]:,} ({wrong[0] / rate:.3f} s) is {mono[wrong[0]]}"
            if len(wrong)
            else f"samples near {LOUDEST:g}"
        )
        raise AudioError("unreadable", f"{opened.name}: {detail}")
    silent, kind, warning = peak < SILENCE_PEAK, identified.kind, identified.warning
    return DecodedAudio(samples, target, seconds, rate, channels, kind, codec, silent, warning)


def _read(
    opened: OpenSource, identified: Container, excerpt: Excerpt
) -> tuple[np.ndarray, int, int, str]:
    """Decode to mono; return samples (N,) at the native rate, rate in Hz, channels and codec."""
    if identified.kind in ("mp4", "adts"):
        from musicrec.audio import advanced_audio_coding

        return advanced_audio_coding.read_mono(
            opened, excerpt.offset, excerpt.duration, excerpt.limits
        )
    if not identified.links:
        link = Link(((0, len(opened.data)),), identified.uncounted_samples)
        return _read_link(opened, identified.kind, link, excerpt)
    if len(identified.links) > 1:
        return _read_links(opened, identified, excerpt)
    (link,) = identified.links
    with _open_link(opened, link, excerpt.limits) as reopened:
        return _read_link(reopened, identified.kind, link, excerpt)


def _open_link(
    opened: OpenSource, link: Link, limits: Limits
) -> AbstractContextManager[OpenSource]:
    return in_memory(link.content(opened.data), opened.name, limits.max_bytes + _REPAIR_BYTES)


def _read_links(
    opened: OpenSource, identified: Container, excerpt: Excerpt
) -> tuple[np.ndarray, int, int, str]:
    """Decode links one after the other, at the rate of the first, until the part is complete."""
    offset, duration, limits = excerpt.offset, excerpt.duration, excerpt.limits
    parts: list[np.ndarray] = []
    rate, most_channels, first_codec, done = 0, 0, "", 0
    for link in identified.links:
        # A second more than is missing, since durations are rounded down to samples
        missing = None if duration is None else offset + duration + 1 - done / max(rate, 1)
        with _open_link(opened, link, limits) as reopened:
            mono, own_rate, channels, codec = _read_link(
                reopened, identified.kind, link, Excerpt(0.0, missing, limits)
            )
        rate, first_codec = rate or own_rate, first_codec or codec
        most_channels = max(most_channels, channels)
        parts.append(_resample(mono, own_rate, rate) if len(mono) else mono)
        done += len(parts[-1])
        start = int(offset * rate)
        limits.check_length(opened.name, done - start, rate, most_channels)
        if duration is not None and done >= start + int(duration * rate):
            break
    excerpt.check_offset(opened.name, done, rate)
    stop = None if duration is None else start + int(duration * rate)
    return np.concatenate(parts)[start:stop], rate, most_channels, first_codec


def _read_link(
    opened: OpenSource, kind: str, link: Link, excerpt: Excerpt
) -> tuple[np.ndarray, int, int, str]:
    """Decode a link, with a frame count where libsndfile would stop before its end."""
    # A frame on either side of an interruption may lack bits that were in the bytes skipped.
    tolerance = 2 * _MPEG_FRAME * len(link.parts)
    if (
        link.uncounted_samples
        and estimated_length(opened) < link.uncounted_samples - 2 * _MPEG_FRAME
    ):
        counted = with_frame_count(opened.data)
        most_bytes = excerpt.limits.max_bytes + 2 * _REPAIR_BYTES
        with in_memory(counted, opened.name, most_bytes) as reopened:
            return read_mono(reopened, kind, tolerance, excerpt)
    return read_mono(opened, kind, None if link.uncounted_samples else tolerance, excerpt)


def _resample(mono: np.ndarray, rate: int, target: int) -> np.ndarray:
    if rate == target:
        return mono
    length = int(np.ceil(len(mono) * (float(target) / rate)))
    samples = soxr.resample(mono, rate, target, quality="soxr_hq")
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return samples[:length]
