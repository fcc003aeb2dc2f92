"""Verdicts of the feature benchmark, and a run on one clip."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from sound import compose

from musicrec.benchmarks import features as benchmark


def times(six_loads: float, one_load: float, ours: float, bare: float) -> dict[str, np.ndarray]:
    values = {
        "six loads": six_loads,
        "one load": one_load,
        "ours": ours,
        "our load": 0.7 * ours,
        "bare decode": bare,
    }
    return {name: np.array([0.9, 1.0, 1.3]) * value for name, value in values.items()}


@pytest.mark.parametrize(
    ("milliseconds", "met"),
    [
        ((600, 280, 50, 30), True),
        ((490, 280, 50, 30), False),
        ((600, 240, 50, 30), False),
        ((600, 280, 50, 24), False),
    ],
)
def test_targets(milliseconds, met):
    lines, verdict = benchmark.speed_table(times(*milliseconds))
    assert verdict is met
    assert any(
        line.startswith("six loads") and f"{milliseconds[0] / milliseconds[2]:.2f}" in line
        for line in lines
    )


@pytest.mark.slow
def test_a_run_on_one_clip(tmp_path, capfd):
    soundfile.write(tmp_path / "clip.mp3", compose(30.0, 44_100), 44_100, format="MP3")
    code = benchmark.run(["--clips", str(tmp_path), "--repeats", "1"])
    printed = capfd.readouterr().out
    assert "1 clips, one core" in printed
    assert "parity limits met" in printed
    assert code == (0 if "speed targets met" in printed else 1)


def test_no_clips(tmp_path, capfd):
    assert benchmark.run(["--clips", str(tmp_path)]) == 2
    assert "no .mp3 under" in capfd.readouterr().err
