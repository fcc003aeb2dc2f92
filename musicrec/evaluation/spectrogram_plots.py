"""Plot a clip: six features (Whitell 2019, Figures 1-6) and edge kernels over one (Figure 8)."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.ndimage import convolve

from musicrec.audio import HOP, SAMPLE_RATE
from musicrec.audio.parameters import BINS_PER_OCTAVE, CHROMA_CLASSES, FFT_SIZE, MEL_BANDS
from musicrec.audio.tables import cqt_frequencies, mel_band_centres
from musicrec.evaluation.literal import literal_text
from musicrec.storage.store import resolve, write_atomically
from musicrec.storage.uri import absolute

_NOTES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
TITLES = {
    "stft": "Short-time Fourier transform",
    "stft_halved": "Short-time Fourier transform, lower half",
    "mel": "Mel spectrogram",
    "cqt": "Constant-Q transform",
    "chroma": "Chroma",
    "mfcc": "Mel-frequency cepstral coefficients",
}
_SIZE = (9.0, 5.0)  # inches
_PIXELS_PER_INCH = 120

# Figure 8: 8 in the middle, -1 around, for edges of any direction, for onsets and ends (along
# time), and for steady tones (along frequency).
EDGE_KERNELS: dict[str, np.ndarray] = {}
for _shape in ((3, 3), (9, 1), (1, 9)):
    _kernel = np.full(_shape, -1.0, dtype=np.float32)
    _kernel[_shape[0] // 2, _shape[1] // 2] = 8.0
    EDGE_KERNELS[f"{_shape[0]} x {_shape[1]}"] = _kernel


@literal_text()
def plot_feature(feature: np.ndarray, name: str, clip: str = "") -> Figure:
    """Plot one feature (frequency, time).

    The frequency axis is in Hz, notes or coefficients, time in seconds, values in dB.

    Parameters
    ----------
    name
        One of `musicrec.audio.FEATURES`.
    clip
        Title of the clip.
    """
    figure = Figure(figsize=_SIZE, dpi=_PIXELS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    title = TITLES[name] if not clip else f"{TITLES[name]}: {clip}"
    unit = {"chroma": "fraction of the strongest pitch class", "mfcc": "coefficient"}.get(
        name, "dB"
    )
    _draw(axes, feature, name, title, unit)
    return figure


@literal_text()
def plot_edges(feature: np.ndarray, name: str, clip: str = "") -> Figure:
    """Plot a spectrogram (frequency, time) and the three `EDGE_KERNELS` over it, through ReLU."""
    figure = Figure(
        figsize=(2 * _SIZE[0], 2 * _SIZE[1]), dpi=_PIXELS_PER_INCH, layout="constrained"
    )
    panels = figure.subplots(2, 2).flat
    _draw(panels[0], feature, name, TITLES[name] if not clip else f"{TITLES[name]}: {clip}", "dB")
    for axes, (shape, response) in zip(list(panels)[1:], edges(feature).items(), strict=True):
        _draw(
            axes,
            response,
            name,
            f"{shape} edge kernel (frequency x time), ReLU",
            "dB",
            top=float(np.quantile(response, 0.995)),
        )
    return figure


def edges(feature: np.ndarray) -> dict[str, np.ndarray]:
    """Return the response of each edge kernel, in the feature's shape.

    Negative values are cut to 0; the margin is mirrored.
    """
    return {
        shape: np.maximum(convolve(feature, kernel, mode="reflect"), 0.0)
        for shape, kernel in EDGE_KERNELS.items()
    }


def save_plots(features: dict[str, np.ndarray], folder: str, clip: str) -> list[str]:
    """Write a PNG per feature, and the edge kernels over a mel spectrogram; return the paths."""
    figures = {name: plot_feature(feature, name, clip) for name, feature in features.items()}
    if "mel" in features:
        figures["edge_kernels"] = plot_edges(features["mel"], "mel", clip)
    written, folder = [], absolute(folder)
    for name, figure in figures.items():
        image = io.BytesIO()
        figure.savefig(image, format="png")
        written.append(f"{folder}/{name}.png")
        write_atomically(*resolve(written[-1]), image.getvalue())
    return written


def _draw(
    axes: Axes, feature: np.ndarray, name: str, title: str, unit: str, top: float | None = None
) -> None:
    seconds = feature.shape[1] * HOP / SAMPLE_RATE
    image = axes.imshow(
        feature,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmax=top,
        extent=(0, seconds, -0.5, len(feature) - 0.5),
    )
    positions, labels, quantity = frequency_axis(name)
    axes.set_yticks(positions, labels)
    axes.set(title=title, xlabel="time (s)", ylabel=quantity)
    axes.figure.colorbar(image, ax=axes, label=unit)


def frequency_axis(name: str) -> tuple[list[float], list[str], str]:
    """Return the rows to mark, their labels, and the quantity of the axis."""
    if name in ("stft", "stft_halved"):
        hertz = range(0, 11_001, 1000) if name == "stft" else range(0, 5501, 500)
        return (
            [value * FFT_SIZE / SAMPLE_RATE for value in hertz],
            [f"{value:,}" for value in hertz],
            "frequency (Hz)",
        )
    if name == "mel":
        hertz = [100, 250, 500, 1000, 2000, 4000, 8000]
        return (
            np.interp(hertz, mel_band_centres(), np.arange(MEL_BANDS)).tolist(),
            [f"{value:,}" for value in hertz],
            "frequency (Hz, mel scale)",
        )
    if name == "cqt":
        half_octave = BINS_PER_OCTAVE // 2
        rows = range(0, len(cqt_frequencies()), half_octave)
        notes = [
            f"{('C', 'F♯')[row // half_octave % 2]}{1 + row // BINS_PER_OCTAVE}" for row in rows
        ]
        return list(rows), notes, "pitch"
    if name == "chroma":
        return list(range(CHROMA_CLASSES)), list(_NOTES), "pitch class"
    return list(range(12)), [str(number) for number in range(1, 13)], "coefficient"
