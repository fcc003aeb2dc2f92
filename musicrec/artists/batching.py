"""In which steps a pass takes the artists."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.functional import normalize


def random_steps(
    artists: np.ndarray, size: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """All ``artists`` (N,) once, ``size`` a step."""
    order = generator.permutation(artists)
    yield from (order[start : start + size] for start in range(0, len(order), size))


def near_steps(
    table: torch.Tensor, artists: np.ndarray, size: int, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield all ``artists`` (N,) once, in steps of at most ``size`` that are close in the table.

    Closeness is measured in ``table`` (A, D) as it is now.

    Near heads share related artists, so that a step has far fewer candidates for as many relations,
    and each of these is a hard negative of most heads. The artists are halved again and again by
    the difference of their cosines to two of them (a random projection tree), so steps differ from
    pass to pass, and their order is drawn.
    """
    parts = [torch.from_numpy(artists).to(table.device)]
    while max(map(len, parts)) > size:
        parts = [
            half
            for part in parts
            for half in (_halves(table, part, generator) if len(part) > size else (part,))
        ]
    for number in generator.permutation(len(parts)):
        yield parts[number].cpu().numpy()


def _halves(
    table: torch.Tensor, part: torch.Tensor, generator: np.random.Generator
) -> tuple[torch.Tensor, ...]:
    points = table[part]
    one, other = normalize(points[generator.choice(len(part), 2, replace=False)])
    sides = points @ (one - other) / points.norm(dim=1).clamp(min=1e-30)
    return part[sides.argsort(stable=True)].tensor_split(2)
