"""The tuning estimate against librosa's."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from sound import RATE, compose

from musicrec.audio.tuning import estimate_tuning


@pytest.mark.parametrize("cents", [-24, -11, 0, 3, 17, 30])
def test_tuning_of_detuned_music(cents):
    samples = compose(12.0, tuning_cents=cents, seed=cents + 100)[:, 0]
    ours = estimate_tuning(samples)
    assert ours == librosa.estimate_tuning(y=samples, sr=RATE, bins_per_octave=24)
    # A bin is 50 cents wide; 30 cents up is 20 down from the next.
    assert abs((ours * 50 - cents + 25) % 50 - 25) < 4


def test_silence_is_in_tune():
    assert estimate_tuning(np.zeros(5 * RATE, dtype=np.float32)) == 0.0
