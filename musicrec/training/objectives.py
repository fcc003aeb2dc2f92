"""What a task minimises, and what decides which weights are kept (thesis section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Objective:
    """A task.

    Attributes
    ----------
    loss
        (output, target) -> scalar, the mean over the batch.
    metric
        (output, target) -> (B,), the validation metric of each example.
    better
        +1 if a higher validation metric is better, -1 if a lower one is.
    """

    metric_name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    metric: Callable[[Tensor, Tensor], Tensor]
    better: int


def _cosine(output: Tensor, target: Tensor) -> Tensor:
    return functional.cosine_similarity(output.float(), target.float(), dim=1)


# Regression of the artist's embedding: negative cosine similarity.
EMBEDDING = Objective("cosine", loss=lambda output, target: -_cosine(output, target).mean(), metric=_cosine, better=1)


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
