"""Clip section: a clip's six features (Whitell 2019, Figures 1-6) and edge kernels (Figure 8)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from musicrec.evaluation.spectrogram_plots import TITLES, plot_edges, plot_feature
from musicrec.report.sections import Plot, Section

# In the thesis' order.
_FIGURES = {"stft": 1, "stft_halved": 2, "mel": 3, "cqt": 4, "chroma": 5, "mfcc": 6}
_INCHES = (6.4, 3.8)  # small, so that its letters can be read on a phone
_READINGS = {
    "stft": "The strength of every frequency over time, on a linear scale: loud is bright.",
    "stft_halved": "The lower half of the same spectrogram, where most of the energy is.",
    "mel": "The same in bands as wide as the ear's: low pitches have more room.",
    "cqt": "Bands a quarter tone wide: a melody keeps its shape at any pitch.",
    "chroma": "The twelve pitch classes, whatever the octave: harmony without timbre.",
    "mfcc": "Twelve numbers for the shape of the spectrum: timbre without pitch.",
}


def clip_section(features: Mapping[str, np.ndarray], clip: str) -> Section:
    """Plot the stored features (frequency, time) of one clip; ``clip`` is its title."""
    shown = {name: feature for name, feature in features.items() if name in _FIGURES}
    if not shown:
        return Section(
            "clip",
            "A clip as the models see it",
            missing="no audio feature is stored for this catalog",
        )
    plots = []
    for name, number in _FIGURES.items():
        if name in shown:
            drawn = plot_feature(shown[name], name)
            drawn.set_size_inches(*_INCHES)
            plots.append(
                Plot(
                    f"figure-{number:02d}-{name}",
                    TITLES[name],
                    _READINGS[name],
                    drawn,
                    thesis=f"Figure {number}",
                )
            )
    if "mel" in shown:
        reading = (
            "The mel spectrogram, and its convolutions with an edge kernel and ReLU: 3 x 3 finds "
            "every edge; 9 x 1 spans bands and responds to steady tones; 1 x 9 spans time and "
            "responds to onsets. The models Freq and Time have kernels of the last two shapes."
        )
        drawn = plot_edges(shown["mel"], "mel")
        drawn.set_size_inches(1.6 * _INCHES[0], 1.6 * _INCHES[1])
        plots.append(
            Plot(
                "figure-08-edge-kernels",
                "Edge kernels over the mel spectrogram",
                reading,
                drawn,
                thesis="Figure 8",
            )
        )
    return Section("clip", "A clip as the models see it", f"The clip: {clip}.", tuple(plots))
