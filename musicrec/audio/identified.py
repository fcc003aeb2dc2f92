"""Describe an identified file: its kind, its faults, and the bytes that are decoded."""

from __future__ import annotations

from dataclasses import dataclass

from musicrec.audio.chunks import Part
from musicrec.audio.mpeg import Buffer


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
