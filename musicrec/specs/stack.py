"""Specification of a stack over submodels' outputs: TimeFreq, TimeFreqAvg, GenreEnsemble.

The Recommendation ensemble also reads metadata and works without missing inputs;
`musicrec.specs.ensemble` describes it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import nn

from musicrec.models import build_stack

AVERAGE = "time_freq_avg"


@dataclass(frozen=True)
class StackSpec:
    """One stack.

    Attributes
    ----------
    activation
        What turns the submodels' outputs into what an average is taken of ("none", "softmax",
        "sigmoid").
    """

    name: str
    architecture: str
    outputs: int
    submodels: tuple[str, ...]
    activation: str = "none"
    sizes: dict[str, Any] = field(default_factory=dict)

    @property
    def learns(self) -> bool:
        """Whether there is anything to train: an average has no weights."""
        return self.architecture != AVERAGE

    def build(self) -> nn.Module:
        """Build the model, with weights drawn from torch's global generator."""
        own = {} if self.learns else {"activation": self.activation}
        return build_stack(
            self.architecture, self.outputs, submodels=self.submodels, **own, **self.sizes
        )

    def usable(self, vectors: dict[str, np.ndarray]) -> np.ndarray:
        """Return (N,) whether a track has every output that the stack reads.

        ``vectors`` have rows of zeros where there is none.
        """
        return np.logical_and.reduce(
            [np.any(vectors[name] != 0, axis=1) for name in self.submodels]
        )

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can write them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> StackSpec:
        """Return the specification that ``as_json`` gave."""
        return cls(**{**values, "submodels": tuple(values["submodels"])})
