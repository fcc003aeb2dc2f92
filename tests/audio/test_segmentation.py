"""Cut full-length tracks into windows."""

from __future__ import annotations

import numpy as np
import pytest

from musicrec.audio import spread_segments

RATE = 22_050


@pytest.mark.parametrize(
    ("seconds", "count", "starts"),
    [
        (200, 3, [0, 85, 170]),
        (200, 1, [0]),
        (45, 3, [0, 15]),
        (61, 8, [0, 15.5, 31]),
        (30, 4, [0]),
        (2, 4, [0]),
        (0, 2, [0]),
    ],
)
def test_spread_windows_reach_from_the_beginning_to_the_end(seconds, count, starts):
    track = np.arange(seconds * RATE, dtype=np.float32)
    windows = spread_segments(track, count)
    assert [window.start_seconds for window in windows] == starts
    for start, window in zip(starts, windows, strict=True):
        np.testing.assert_array_equal(window.samples, track[round(start * RATE) :][: 30 * RATE])
        assert np.shares_memory(window.samples, track) or not len(track)
