"""Full-length tracks in windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from musicrec.audio import segments, spread_segments

RATE = 22_050


@pytest.mark.parametrize("seconds", [30, 30.5, 59, 60, 61.3, 200])
@pytest.mark.parametrize("hop", [30, 10, 7.5])
def test_windows_cover_the_track(seconds, hop):
    track = np.arange(round(seconds * RATE), dtype=np.float32)
    windows = list(segments(track, hop))
    starts = [round(start * RATE) for start, _ in windows]
    assert starts[0] == 0
    assert starts[-1] + 30 * RATE == len(track)
    assert all(0 < later - earlier <= hop * RATE for earlier, later in pairwise(starts))
    for start, (_, samples) in zip(starts, windows, strict=True):
        assert len(samples) == 30 * RATE
        assert samples[0] == start
        assert np.shares_memory(samples, track)


def test_short_track_is_one_window():
    (window,) = segments(np.ones(RATE, dtype=np.float32))
    assert window.start_seconds == 0
    assert len(window.samples) == RATE


def test_hop_must_be_positive():
    with pytest.raises(ValueError, match="hop_seconds=0"):
        list(segments(np.ones(10, dtype=np.float32), 0))


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
