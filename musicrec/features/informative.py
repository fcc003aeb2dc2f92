"""Tell recordings that say nothing: silence, and features that do not change over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from musicrec.audio.parameters import FFT_SIZE, FRAMES, HOP, SAMPLE_RATE
from musicrec.features.reader import open_part, read_stored

SILENT, CONSTANT = "silent", "constant"
# Frames at both ends see the padding around the recording; the long wavelets of the constant-Q
# transform see it from farther, which the percentiles leave out.
EDGE_FRAMES = FFT_SIZE // HOP
PERCENTILES = (5, 95)
# Of the largest value. MFCCs of a sine tone stay within 1e-5, those of a synthetic chord within
# 5e-3; the least of 208 rendered pieces of music has .2, white noise .7.
CONSTANT_RANGE = 5e-3


def is_constant(feature: np.ndarray, seconds: float) -> bool:
    """Return whether a feature (F, T) says the same at all times of a recording.

    Parameters
    ----------
    seconds
        Duration of the recording; later frames are padding.
    """
    frames = min(FRAMES, max(1, math.ceil(seconds * SAMPLE_RATE / HOP)))
    edge = EDGE_FRAMES if frames > 3 * EDGE_FRAMES else 0
    low, high = np.percentile(feature[:, edge : frames - edge], PERCENTILES, axis=1)
    return bool((high - low).max() <= CONSTANT_RANGE * max(1.0, float(np.abs(feature).max())))


def reasons_of_part(
    place: tuple[str, Sequence[tuple[str, int]]], feature: str
) -> list[tuple[str, str]]:
    """Return the tracks of a part whose recording says nothing, with the reason of each.

    Parameters
    ----------
    place
        The part's URI, and its tracks with their rows.
    feature
        The stored feature that is looked at.
    """
    part, tracks = place
    with open_part(part) as file:
        facts = file.read(columns=["silent", "duration_seconds"]).to_pydict()
    stored = read_stored([(part, row) for _, row in tracks], feature)
    reasons = []
    for (track, row), (array, _) in zip(tracks, stored, strict=True):
        if facts["silent"][row]:
            reasons.append((track, SILENT))
        elif is_constant(array, facts["duration_seconds"][row]):
            reasons.append((track, CONSTANT))
    return reasons
