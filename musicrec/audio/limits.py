"""Bound what a recording may cost: its length, channels, rate and bytes."""

from __future__ import annotations

from dataclasses import dataclass

from musicrec.audio.errors import AudioError

MAX_SECONDS = 3600.0
MAX_CHANNELS = 8
MIN_NATIVE_RATE = 1_000  # Hz
MAX_NATIVE_RATE = 384_000  # Hz
MAX_BYTES = 1 << 30
# Samples per channel: 691 MB as mono. A FLAC of 4 MB can decode to gigabytes.
MAX_FRAMES = 3600 * 48_000


@dataclass(frozen=True)
class Limits:
    """Upper bounds for a recording.

    They are checked against the header, and again while decoding, because headers may be wrong.
    `max_frames` applies to mono and stereo; with more channels the total number of samples is
    bounded as for stereo.
    """

    max_seconds: float = MAX_SECONDS
    max_channels: int = MAX_CHANNELS
    max_native_rate: int = MAX_NATIVE_RATE
    max_bytes: int = MAX_BYTES
    max_frames: int = MAX_FRAMES

    def check_stream(self, name: str, channels: int, rate: int) -> None:
        """Raise AudioError (unreadable) if the channels or the rate are out of bounds."""
        if not 1 <= channels <= self.max_channels:
            raise AudioError(
                "unreadable",
                f"{name} has {channels} channels, more than max_channels={self.max_channels}",
            )
        if not MIN_NATIVE_RATE <= rate <= self.max_native_rate:
            raise AudioError(
                "unreadable",
                f"{name} has a sample rate of {rate} Hz, "
                f"outside {MIN_NATIVE_RATE}..{self.max_native_rate}",
            )

    def most_frames(self, rate: int, channels: int) -> int:
        """Return the largest number of samples per channel."""
        return min(int(self.max_seconds * rate), 2 * self.max_frames // max(2, channels))

    def check_length(self, name: str, frames: int, rate: int, channels: int) -> None:
        """Raise AudioError (too_long) if there are more samples per channel than allowed."""
        if frames > self.most_frames(rate, channels):
            raise AudioError(
                "too_long",
                f"{name} is longer than max_seconds={self.max_seconds:g} or "
                f"max_frames={self.max_frames:,} ({channels} channels at {rate} Hz); "
                "set a duration or raise the limit",
            )
