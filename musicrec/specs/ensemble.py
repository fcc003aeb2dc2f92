"""Inputs of the Recommendation ensemble and the rule of missing inputs, for training and serving.

The rule of missing inputs: a branch is present if everything that it reads is there (both
coordinates; both submodels of a pair); an absent branch contributes zeros to the head. An ensemble
trained with modality dropout takes any subset that is not empty; one trained without (the thesis)
needs every branch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from musicrec.config.inputs import INPUTS, numbers_of, submodels_of
from musicrec.models import build_stack


@dataclass(frozen=True)
class EnsembleSpec:
    """One ensemble, apart from its weights.

    Attributes
    ----------
    ranges
        Least and greatest value in the catalog of each number, by which it is scaled to 0..1.
    needs_all
        Whether every branch must be present.
    """

    outputs: int
    branches: tuple[str, ...]
    sizes: dict[str, Any] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    needs_all: bool = True

    def build(self) -> nn.Module:
        """Build the model, with weights drawn from torch's global generator."""
        return build_stack("recommendation", self.outputs, branches=self.branches, **self.sizes)

    def submodels(self) -> list[str]:
        """Return the names of the submodels that it reads."""
        return submodels_of(self.branches)

    def numbers(self) -> list[str]:
        """Return the names of the numbers that it reads."""
        return numbers_of(self.branches)

    def scale(self, name: str, values: np.ndarray) -> np.ndarray:
        """Scale a number to 0..1 over the catalog's range, as float32.

        Values beyond the range are clipped; NaN stays NaN.
        """
        low, high = self.ranges[name]
        return np.clip((values - low) / ((high - low) or 1.0), 0, 1).astype(np.float32)

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can write them."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EnsembleSpec:
        """Return the specification that ``as_json`` gave."""
        ranges = {name: tuple(pair) for name, pair in values["ranges"].items()}
        return cls(**{**values, "branches": tuple(values["branches"]), "ranges": ranges})


@dataclass(frozen=True)
class StackInputs:
    """The ensemble's inputs for N tracks.

    Attributes
    ----------
    vectors
        Of each submodel (N, D) float32; a row of zeros where it had nothing to read.
    numbers
        Of each number (N,) float32 in 0..1; 0 where unknown.
    present
        Of each branch (N,) float32, 1 or 0.
    """

    vectors: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    present: dict[str, np.ndarray]

    @classmethod
    def gather(
        cls, spec: EnsembleSpec, vectors: dict[str, np.ndarray], numbers: dict[str, np.ndarray]
    ) -> StackInputs:
        """Apply the rule of missing inputs.

        ``vectors`` has rows of zeros, and ``numbers`` (unscaled) NaN, where something is not known.
        """
        scaled = {name: spec.scale(name, numbers[name]) for name in spec.numbers()}
        known = {name: np.any(vectors[name] != 0, axis=1) for name in spec.submodels()} | {
            n: ~np.isnan(v) for n, v in scaled.items()
        }
        present = {
            branch: np.logical_and.reduce(
                [known[name] for name in (*INPUTS[branch].submodels, *INPUTS[branch].numbers)]
            )
            for branch in spec.branches
        }
        return cls(
            vectors={name: vectors[name] for name in spec.submodels()},
            numbers={name: np.nan_to_num(values) for name, values in scaled.items()},
            present={branch: values.astype(np.float32) for branch, values in present.items()},
        )

    def usable(self, needs_all: bool) -> np.ndarray:
        """(N,) whether a track has what the ensemble needs: every branch, or at least one."""
        present = np.stack(list(self.present.values()))
        return present.all(axis=0) if needs_all else present.any(axis=0)

    def tensors(self, rows: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the model's two arguments for some rows: inputs and present."""
        inputs = {
            name: torch.from_numpy(values[rows])
            for name, values in (self.vectors | self.numbers).items()
        }
        return inputs, {
            branch: torch.from_numpy(values[rows]) for branch, values in self.present.items()
        }


def drop_modalities(
    present: dict[str, Tensor], probability: float, generator: np.random.Generator
) -> dict[str, Tensor]:
    """Drop each present branch of each example with this probability.

    An example that would lose all of its branches keeps them all.
    """
    stacked = torch.stack(list(present.values()))  # (branches, B)
    keep = (
        torch.from_numpy((generator.random(stacked.shape) >= probability).astype(np.float32))
        * stacked
    )
    keep = torch.where(keep.any(dim=0, keepdim=True), keep, stacked)
    return dict(zip(present, keep, strict=True))
