"""Changes of training examples: masks, which leave their target as it is, and mixtures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def masked(
    feature: Tensor, time_share: float, frequency_share: float, generator: torch.Generator
) -> Tensor:
    """Set one block of frames and one of rows to zero in each example of (B, 1, F, T).

    Source: SpecAugment, Park et al. 2019.

    The width of a block is uniform between nothing and the given share of the axis, in whole lines,
    and so is its place.
    """
    # torchaudio's mask_along_axis_iid draws from torch's global generator only, which would tie an
    # epoch's masks to whatever else drew from it, and never masks the last line of an axis (20
    # columns, 20,000 draws: 0).
    masks = []
    for axis, share in ((3, time_share), (2, frequency_share)):
        size = feature.shape[axis]
        draws = torch.rand(2, feature.shape[0], 1, generator=generator)
        width = (draws[0] * (int(share * size) + 1)).floor()
        start = (draws[1] * (size - width + 1)).floor()
        place = torch.arange(size)[None, :]
        inside = (place >= start) & (place < start + width)  # (B, size)
        masks.append(inside[:, None, None, :] if axis == 3 else inside[:, None, :, None])
    return feature.masked_fill((masks[0] | masks[1]).to(feature.device), 0.0)


def mixed(
    inputs: Tensor, targets: Tensor, alpha: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each example of a batch with another one, inputs and targets alike.

    Source: mixup, Zhang et al. 2018.

    Parameters
    ----------
    inputs
        (B, ...) float.
    targets
        (B, outputs) float: vectors, or probabilities of classes.
    alpha
        Of Beta(alpha, alpha), from which the share of each example's own part is drawn.
    """
    count = len(inputs)
    share = torch.from_numpy(generator.beta(alpha, alpha, count).astype(np.float32))
    other = torch.from_numpy(generator.permutation(count))

    def mix(values: Tensor) -> Tensor:
        own = share.reshape(-1, *[1] * (values.ndim - 1))
        return own * values + (1 - own) * values[other]

    return mix(inputs), mix(targets)
