"""Decode AAC and M4A, which libsndfile does not read, with PyAV.

PyAV is an optional package that brings FFmpeg.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from musicrec.audio.errors import AudioError
from musicrec.audio.source import OpenSource

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

    from musicrec.audio.limits import Limits

# Seconds by which an MP4's stated length may exceed its samples (encoder delay, last partly filled
# frames)
_TOLERANCE = 0.2


def read_mono(
    opened: OpenSource, offset: float, duration: float | None, limits: Limits
) -> tuple[np.ndarray, int, int, str]:
    """Decode to mono; return samples (N,) at the native rate, rate in Hz, channels and codec."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise AudioError(
            "unreadable", f"{opened.name} is AAC or M4A: install musicrec[aac] (PyAV) to decode it"
        ) from error
    file = opened.rewound()
    if isinstance(file, int):
        file = io.FileIO(file, closefd=False)
    try:
        with av.open(file, metadata_errors="replace") as media:
            if not media.streams.audio:
                raise AudioError("not_audio", f"{opened.name} has no audio stream")
            stream = media.streams.audio[0]
            if stream.codec_context is None:
                raise AudioError("unreadable", f"{opened.name}: its codec is unknown")
            rate, channels, codec = stream.rate, stream.channels, stream.codec_context.name
            limits.check_stream(opened.name, channels, rate)
            stated = None if stream.duration is None else float(stream.duration * stream.time_base)
            mono = _decode(media, stream, offset, duration, opened.name, limits)
    except av.error.FFmpegError as error:
        raise AudioError("unreadable", f"{opened.name}: {error.strerror}") from error
    if offset and not len(mono):
        raise AudioError("too_short", f"{opened.name}: offset={offset:g} s is beyond its end")
    if stated is not None and codec != "mp3" and media.format.name.startswith("mov"):
        requested = stated - offset if duration is None else min(duration, stated - offset)
        if len(mono) / rate < requested - _TOLERANCE:
            raise AudioError(
                "truncated",
                f"{opened.name}: {len(mono) / rate:.2f} of {requested:.2f} s could be decoded",
            )
    return mono, rate, channels, codec


def _decode(
    media: InputContainer,
    stream: AudioStream,
    offset: float,
    duration: float | None,
    name: str,
    limits: Limits,
) -> np.ndarray:
    import av

    from musicrec.audio.streams import mix_down

    # The resampler only unpacks sample formats: rate and channels are unchanged. FFmpeg's own
    # mixing to mono would add 3 dB.
    unpack = av.AudioResampler(format="fltp")
    start = int(offset * stream.rate)
    stop = None if duration is None else start + int(duration * stream.rate)
    parts: list[np.ndarray] = []
    done = 0
    for packed in media.decode(stream):
        for frame in unpack.resample(packed):
            planes = frame.to_ndarray()  # (channels, N)
            mono = np.empty(planes.shape[1], dtype=np.float32)
            mix_down(planes.T, mono)
            parts.append(mono[max(start - done, 0) :])
            done += len(mono)
        limits.check_length(name, done - start, stream.rate, stream.channels)
        if stop is not None and done >= stop:
            break
    samples = np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)
    return samples if stop is None else samples[: stop - start]
