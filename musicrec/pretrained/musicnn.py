"""The musicnn network for tagging music, up to its penultimate layer, in torch.

Sources: Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio
tagging"; Pons et al. 2018, "End-to-end learning for music audio tagging at scale". The layers are
those of ``musicnn/models.py`` (build_musicnn) of the package, including its order of activation,
batch norm and pooling, and its names of variables.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

TIMBRAL_FILTERS, TEMPORAL_FILTERS, MIDDLE_FILTERS, VECTOR_SIZE = 204, 51, 64, 200
TIMBRAL_KERNELS = ((7, 38), (7, 67))  # frames, mel bands
TEMPORAL_FRAMES = (128, 64, 32)
MIDDLE_FRAMES, MIDDLE_LAYERS = 7, 3
BATCH_NORM_EPSILON = 1e-3  # of tf.layers
FRONT = 2 * TIMBRAL_FILTERS + 3 * TEMPORAL_FILTERS
POOLED = 2 * (FRONT + MIDDLE_LAYERS * MIDDLE_FILTERS)


class Musicnn(nn.Module):
    """Log mel spectrograms (N, T, 96) to vectors (N, 200).

    The vector is the batch-normed output of the penultimate layer, from which the original predicts
    its 50 tags. The network is not trained here: it has no dropout, and its batch norms use the
    statistics of the checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=BATCH_NORM_EPSILON)
        self.timbral = nn.ModuleList(
            nn.Conv2d(1, TIMBRAL_FILTERS, kernel, padding=(kernel[0] // 2, 0))
            for kernel in TIMBRAL_KERNELS
        )
        self.temporal = nn.ModuleList(
            nn.Conv2d(1, TEMPORAL_FILTERS, (frames, 1)) for frames in TEMPORAL_FRAMES
        )
        filters = [TIMBRAL_FILTERS] * 2 + [TEMPORAL_FILTERS] * 3
        self.front_norms = nn.ModuleList(map(_norm1d, filters))
        self.middle = nn.ModuleList(
            nn.Conv1d(size, MIDDLE_FILTERS, MIDDLE_FRAMES, padding=MIDDLE_FRAMES // 2)
            for size in (FRONT, MIDDLE_FILTERS, MIDDLE_FILTERS)
        )
        self.middle_norms = nn.ModuleList(_norm1d(MIDDLE_FILTERS) for _ in range(MIDDLE_LAYERS))
        self.pool_norm = _norm1d(POOLED)
        self.penultimate = nn.Linear(POOLED, VECTOR_SIZE)
        self.penultimate_norm = _norm1d(VECTOR_SIZE)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Return the vectors of spectrograms of any number of frames T."""
        # Channels last, in which these convolutions take two thirds of the time.
        image = self.norm(spectrograms[:, None]).contiguous(memory_format=torch.channels_last)
        responses = [convolution(image) for convolution in self.timbral]
        for frames, convolution in zip(TEMPORAL_FRAMES, self.temporal, strict=True):
            # As TensorFlow pads "same": of an odd number of frames the last one follows.
            padding = (0, 0, (frames - 1) // 2, frames // 2)
            responses.append(convolution(functional.pad(image, padding)))
        front = [
            norm(functional.relu(_strongest(response, norm.weight)))
            for response, norm in zip(responses, self.front_norms, strict=True)
        ]
        layers = [torch.cat(front, 1)]
        for number, (convolution, norm) in enumerate(
            zip(self.middle, self.middle_norms, strict=True)
        ):
            layer = norm(functional.relu(convolution(layers[-1])))
            layers.append(layer + layers[-1] if number else layer)
        features = torch.cat(layers, 1)
        # Maximum and mean of a channel are neighbours in the original's flattened tensor.
        pooled = torch.stack([features.amax(2), features.mean(2)], 2).flatten(1)
        hidden = functional.relu(self.penultimate(self.pool_norm(pooled)))
        return self.penultimate_norm(hidden)

    def load_variables(self, variables: Mapping[str, np.ndarray]) -> None:
        """Set all weights from the variables of a TensorFlow checkpoint, by their names there."""
        for name, layer in self._layers().items():
            for theirs, ours in _VARIABLES[type(layer)].items():
                value = torch.from_numpy(variables[f"{name}/{theirs}"].copy())
                if theirs == "kernel":
                    value = _kernel(layer, value)
                getattr(layer, ours).copy_(value)

    def variable_names(self) -> list[str]:
        """Return the names of the variables that ``load_variables`` needs."""
        return [
            f"{name}/{variable}"
            for name, layer in self._layers().items()
            for variable in _VARIABLES[type(layer)]
        ]

    def _layers(self) -> dict[str, nn.Module]:
        """Return the layers by their names in the checkpoint: kinds, numbered as created."""
        norms = [self.norm, *self.front_norms, *self.middle_norms]
        kinds = {
            "conv2d": [*self.timbral, *self.temporal, *self.middle],
            "batch_normalization": [*norms, self.pool_norm, self.penultimate_norm],
            "dense": [self.penultimate],
        }
        return {
            f"{kind}_{number}" if number else kind: layer
            for kind, layers in kinds.items()
            for number, layer in enumerate(layers)
        }


_WEIGHTS = {"kernel": "weight", "bias": "bias"}
_STATISTICS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_VARIABLES: dict[type, dict[str, str]] = {
    nn.Conv1d: _WEIGHTS,
    nn.Conv2d: _WEIGHTS,
    nn.Linear: _WEIGHTS,
    nn.BatchNorm1d: _STATISTICS,
    nn.BatchNorm2d: _STATISTICS,
}


def _norm1d(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=BATCH_NORM_EPSILON)


def _strongest(responses: Tensor, gamma: Tensor) -> Tensor:
    """Return, of responses (N, C, T, F), those (N, C, T) that are largest over F after the norm.

    The original takes the maximum after activation and norm. Both keep the order of a channel, the
    norm reversed where its factor ``gamma`` (C,) is negative, and cost a third of the whole network
    if they are applied to all responses.
    """
    responses = responses.permute(0, 2, 3, 1)  # as they lie in memory
    return torch.where(gamma < 0, responses.amin(2), responses.amax(2)).mT


def _kernel(layer: nn.Module, kernel: Tensor) -> Tensor:
    """Return a kernel (frames, bands, 1, filters) or (inputs, outputs) in torch's order of axes."""
    if isinstance(layer, nn.Linear):
        return kernel.T
    # A convolution over all channels at once is one-dimensional here.
    return (
        kernel[:, :, 0].permute(2, 1, 0)
        if isinstance(layer, nn.Conv1d)
        else kernel.permute(3, 2, 0, 1)
    )
