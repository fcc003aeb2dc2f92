"""Turn clips into vectors by the pretrained musicnn, with weights of its package or of a model.

The vector of a clip is the mean of the network's penultimate layer over its windows of 3 s, from
which Pons and Serra 2019 (and Alonso-Jimenez et al. 2020, "TensorFlow audio models in Essentia")
transfer to other tasks.
"""

from __future__ import annotations

import functools

import numpy as np
import safetensors.torch
import torch

from musicrec.pretrained.bundle import read_bundle
from musicrec.pretrained.musicnn import Musicnn
from musicrec.pretrained.packages import DATA, INDEX, LICENCE, MUSICNN
from musicrec.pretrained.spectrogram import SAMPLE_RATE, windows


class Embedder:
    """The musicnn network with its weights; ``sample_rate`` is what it reads, in Hz."""

    sample_rate = SAMPLE_RATE

    def __init__(self, network: Musicnn) -> None:
        self.network = network

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return the vector of a clip as a feature of one frame, (200, 1) float32.

        Parameters
        ----------
        samples
            float32 mono (N,) at 16 kHz, N at least 257 (16 ms).
        """
        with torch.inference_mode():
            return self.network(windows(samples)).mean(0)[:, None].numpy()

    def weights(self) -> bytes:
        """Return the weights and their licence as safetensors, to store them with a model."""
        licence = MUSICNN.read(LICENCE).decode()
        tensors = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        return safetensors.torch.save(tensors, metadata={"license": licence})

    @classmethod
    def from_weights(cls, content: bytes) -> Embedder:
        """Return the embedder whose ``weights`` these are."""
        network = Musicnn()
        network.load_state_dict(safetensors.torch.load(content))
        return cls(network)


@functools.cache
def load_embedder() -> Embedder:
    """Return the embedder with the weights of the installed package, once per process.

    Raises
    ------
    PackageError
        The package is not installed, or its files are not those of its version.
    """
    network = Musicnn()
    network.load_variables(
        read_bundle(MUSICNN.read(INDEX), MUSICNN.read(DATA), network.variable_names())
    )
    return Embedder(network)
