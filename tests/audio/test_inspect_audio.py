"""Plots of a clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sound import DATA

from musicrec.audio import FEATURES
from musicrec.evaluation.spectrogram_plots import EDGE_KERNELS, edges, frequency_axis, plot_feature

JOB = Path(__file__).parents[2] / "jobs" / "inspect_audio.py"


def inspect(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(JOB), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_seven_plots(tmp_path):
    result = inspect(DATA / "music.flac", "--out", tmp_path / "plots")
    assert result.returncode == 0, result.stderr
    assert "6.00 s of flac/pcm_16, 22,050 Hz, 1 channels" in result.stdout
    for name in (*FEATURES, "edge_kernels"):
        with Image.open(tmp_path / "plots" / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 10


def test_broken_file(tmp_path):
    (tmp_path / "text.mp3").write_text("not a song")
    result = inspect(tmp_path / "text.mp3", "--out", tmp_path)
    assert result.returncode == 2
    assert "not_audio" in result.stderr
    assert not list(tmp_path.glob("*.png"))


def test_edge_kernels():
    """Use 8 in the middle and -1 around, as in the thesis' Figure 8.

    A line along time gives a response to the kernel along frequency only.
    """
    assert {shape: kernel.shape for shape, kernel in EDGE_KERNELS.items()} == {
        "3 x 3": (3, 3),
        "9 x 1": (9, 1),
        "1 x 9": (1, 9),
    }
    image = np.zeros((40, 60), dtype=np.float32)
    image[20] = 1
    responses = edges(image)
    assert responses["9 x 1"][20, 30] == 8
    assert responses["1 x 9"].max() == 0
    assert responses["3 x 3"][20, 30] == 6
    assert all(response.min() == 0 for response in responses.values())


@pytest.mark.parametrize(
    ("name", "row", "label"),
    [
        ("stft", 4096 * 2000 / 22_050, "2,000"),
        ("cqt", 24, "C2"),
        ("cqt", 36, "F♯2"),
        ("chroma", 9, "A"),
    ],
)
def test_axes_name_the_right_rows(name, row, label):
    positions, labels, _ = frequency_axis(name)
    assert dict(zip(labels, positions, strict=True))[label] == pytest.approx(row)
    axes = plot_feature(np.zeros((200, 643)), name).axes[0]
    assert axes.get_xlabel() == "time (s)"
    assert axes.get_xlim() == pytest.approx((0, 643 * 1024 / 22_050))
