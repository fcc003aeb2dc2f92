"""Clips for which the outputs of the original musicnn are stored (musicnn_reference.json)."""

from __future__ import annotations

import numpy as np

RATE = 16_000


def clips() -> dict[str, np.ndarray]:
    """Return clips of 3 to 6 s, float32 at 16 kHz, by name; the same on every machine."""
    seconds = np.arange(6 * RATE) / RATE
    noise = np.random.default_rng(7).random(6 * RATE) - 0.5
    chord = sum(np.sin(2 * np.pi * pitch * seconds) for pitch in (220.0, 277.18, 329.63, 1318.5))
    beats = np.exp(-30 * (seconds % 0.5)) * (np.sin(2 * np.pi * 60 * seconds) + noise)
    made = {
        "chord": 0.1 * chord * (1 - 0.8 * (seconds % 1.5)),
        "beats": 0.5 * beats,
        "both, over full scale": 40 * (chord + beats),
        "noise of 3 s": noise[: 3 * RATE],
    }
    return {name: samples.astype(np.float32) for name, samples in made.items()}
