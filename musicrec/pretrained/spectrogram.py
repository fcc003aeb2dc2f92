"""Compute the log mel spectrograms that musicnn was trained on, in windows of 3 seconds.

The parameters are those of ``musicnn/configuration.py`` and ``MSD_musicnn/config.json``. The
original converts the mel spectrogram to float16 before the logarithm, where a loud clip (above
65,504) becomes infinite; here it stays float32.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musicrec.audio import tables

SAMPLE_RATE = 16_000  # Hz
FFT_SIZE, HOP, MEL_BANDS = 512, 256, 96
WINDOW_FRAMES = 187  # 3 s
COMPRESSION = 10_000


def windows(samples: np.ndarray) -> Tensor:
    """Return the log mel spectrograms (N, 187, 96) of consecutive windows of a clip.

    The rest after the last whole window is dropped, as in the original. A clip shorter than a
    window is repeated, as in the training of the network.

    Parameters
    ----------
    samples
        float32 mono (N,) at 16 kHz, more than 256.
    """
    frames = log_mel(samples)
    if len(frames) < WINDOW_FRAMES:
        frames = frames.repeat(-(-WINDOW_FRAMES // len(frames)), 1)
    count = len(frames) // WINDOW_FRAMES
    return frames[: count * WINDOW_FRAMES].reshape(count, WINDOW_FRAMES, MEL_BANDS)


def log_mel(samples: np.ndarray) -> Tensor:
    """Return log10(1 + 10,000 times the mel power spectrogram), float32 (frames, 96).

    Equal to ``librosa.feature.melspectrogram`` with reflected edges, which was its default when the
    network was trained.
    """
    window = torch.from_numpy(tables.hann_window(FFT_SIZE))
    spectrum = torch.stft(
        torch.from_numpy(samples), FFT_SIZE, HOP, window=window, return_complex=True
    )
    filters = torch.from_numpy(tables.mel_filters(SAMPLE_RATE, FFT_SIZE, MEL_BANDS))
    return torch.log10(1 + COMPRESSION * (filters @ spectrum.abs().square())).T
