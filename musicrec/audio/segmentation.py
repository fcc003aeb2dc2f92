"""Cut full-length tracks into windows of one clip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from musicrec.audio.parameters import CLIP_SAMPLES, SAMPLE_RATE


class Segment(NamedTuple):
    """A window of a track: its start, and a view of its samples (N,), N at most 661,500."""

    start_seconds: float
    samples: np.ndarray


def spread_segments(samples: np.ndarray, count: int) -> list[Segment]:
    """Return at most ``count`` windows of 30 s, evenly spaced from a track's beginning to its end.

    There are no more windows than needed to cover the track. A track of 30 s or less, or a count of
    1, gives one window at the beginning.
    """
    windows = min(count, -(-len(samples) // CLIP_SAMPLES)) or 1
    starts = np.linspace(0, max(0, len(samples) - CLIP_SAMPLES), windows).astype(int).tolist()
    return [Segment(start / SAMPLE_RATE, samples[start : start + CLIP_SAMPLES]) for start in starts]
