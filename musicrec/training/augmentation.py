"""Changes of training examples that leave their target as it is."""

from __future__ import annotations

import torch
from torch import Tensor


def masked(feature: Tensor, time_share: float, frequency_share: float, generator: torch.Generator) -> Tensor:
    """Features (B, 1, F, T) with one block of frames and one of rows set to zero in each example (SpecAugment, Park et al. 2019).

    The width of a block is uniform between nothing and the given share of the axis, in whole lines, and so is its place.
    """
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
