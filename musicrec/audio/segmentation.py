"""Full-length tracks as windows of one clip's length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from musicrec.audio.parameters import CLIP_SAMPLES, CLIP_SECONDS, SAMPLE_RATE


class Segment(NamedTuple):
    """A window of a track: where it begins, and a view of its samples (N,), N at most 661,500."""

    start_seconds: float
    samples: np.ndarray


def spread_segments(samples: np.ndarray, count: int) -> list[Segment]:
    """At most ``count`` windows of 30 s, evenly spaced from a track's beginning to its end, and no more than it takes to cover it.

    A track of 30 s or less, or a count of 1, is one window from its beginning.
    """
    windows = min(count, -(-len(samples) // CLIP_SAMPLES)) or 1
    starts = np.linspace(0, max(0, len(samples) - CLIP_SAMPLES), windows).astype(int).tolist()
    return [Segment(start / SAMPLE_RATE, samples[start : start + CLIP_SAMPLES]) for start in starts]


def segments(samples: np.ndarray, hop_seconds: float = CLIP_SECONDS) -> Iterator[Segment]:
    """Split a track (N,) at 22,050 Hz into windows of 30 s that begin `hop_seconds` apart.

    The last window ends with the track, so that none is padded and every sample is in one (with a hop of at most 30 s); it overlaps its
    neighbour by more where the length is no multiple of the hop. A track of 30 s or less is one window.
    """
    if not hop_seconds > 0:
        raise ValueError(f"hop_seconds={hop_seconds} must be more than 0")
    hop = max(1, round(hop_seconds * SAMPLE_RATE))
    last = max(0, len(samples) - CLIP_SAMPLES)
    for start in [*range(0, last, hop), last]:
        yield Segment(start / SAMPLE_RATE, samples[start : start + CLIP_SAMPLES])
