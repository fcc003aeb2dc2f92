"""Recommendation: one embedding from audio, lyrics, album art, place and year."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from musicrec.config.inputs import BRANCHES, INPUTS, RECORDING, THESIS_BRANCHES

from .layers import dense_layers, initialise
from .stacks import select_inputs

AUDIO_ONLY = tuple(name for name in THESIS_BRANCHES if INPUTS[name].fields == (RECORDING,))

# The thesis' variants (Table 6) by name: all inputs, and audio with one or none of the others.
VARIANTS: dict[str, tuple[str, ...]] = {
    "Recommendation": THESIS_BRANCHES,
    **{
        f"By{name.capitalize()}": (*AUDIO_ONLY, name)
        for name in THESIS_BRANCHES
        if name not in AUDIO_ONLY
    },
    "AudioOnly": AUDIO_ONLY,
}

# What each branch reads: outputs of submodels, or numbers scaled to 0..1.
SUBMODELS = {name: each.submodels for name, each in INPUTS.items() if each.submodels}
NUMBERS = {name: each.numbers for name, each in INPUTS.items() if each.numbers}


class Branch(nn.Module):
    """A dense layer over each input, concatenated, then further dense layers; ReLU after each.

    Parameters
    ----------
    names : sequence of str
        Names of the inputs.
    inputs : int
        Length of each input.
    hidden : int or None
        Width of the dense layer that each input has to itself; None for none.
    joint : sequence of int
        Widths of the dense layers over all of them.
    unit_length : bool
        Scale each input to unit length first; a zero vector stays zero.
    """

    def __init__(
        self,
        names: Sequence[str],
        inputs: int,
        hidden: int | None,
        joint: Sequence[int],
        unit_length: bool,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.inputs = inputs
        self.unit_length = unit_length
        self.single = nn.ModuleList(nn.Linear(inputs, hidden) for _ in names) if hidden else None
        self.joint = dense_layers(len(self.names) * (hidden or inputs), joint)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map (B, inputs) of each name to (B, joint[-1])."""
        vectors = select_inputs(inputs, self.names, self.inputs)
        if self.unit_length:
            vectors = [functional.normalize(vector, dim=1) for vector in vectors]
        if self.single is not None:
            vectors = [
                functional.relu(layer(vector))
                for layer, vector in zip(self.single, vectors, strict=True)
            ]
        return self.joint(torch.cat(vectors, dim=1))


class Recommendation(nn.Module):
    """A branch for each modality, concatenated, dense layers, dense to the embedding.

    The embedding is not normalised.

    Parameters
    ----------
    outputs : int
        Length of the embedding.
    branches : sequence of str
        Which of `BRANCHES` to build, by default the thesis' eight; `VARIANTS` holds the thesis' six
        selections. Their order does not matter.
    branch_hidden, branch_outputs : int
        Width of the dense layer on each submodel's output, and of each branch's last layer.
    pair_hidden : sequence of int
        Widths between the two for the branches of two submodels.
    location_hidden : int
        Width of the dense layer on each number of a branch with several (latitude, longitude).
    head : sequence of int
        Widths of the dense layers over all branches.
    dropout : float
        Share dropped after each of the head's layers; 0 in the thesis.
    submodel_outputs : int, optional
        Length of each submodel's output; `outputs` when None.

    Raises
    ------
    ValueError
        If `branches` is empty or names an unknown branch.
    """

    def __init__(
        self,
        outputs: int,
        *,
        branches: Sequence[str] = THESIS_BRANCHES,
        branch_hidden: int = 1024,
        branch_outputs: int = 512,
        pair_hidden: Sequence[int] = (2048, 1024),
        location_hidden: int = 128,
        head: Sequence[int] = (4096, 2048, 1024),
        dropout: float = 0.0,
        submodel_outputs: int | None = None,
    ) -> None:
        super().__init__()
        unknown = [name for name in branches if name not in BRANCHES]
        if unknown or not branches:
            raise ValueError(
                f"branches={tuple(branches)} must be one or more of {', '.join(BRANCHES)}"
            )
        inputs = submodel_outputs or outputs
        self.branches = nn.ModuleDict()
        for name in BRANCHES:
            if name not in branches:
                continue
            if name in SUBMODELS:
                between = pair_hidden if len(SUBMODELS[name]) > 1 else ()
                branch = Branch(
                    SUBMODELS[name],
                    inputs,
                    branch_hidden,
                    (*between, branch_outputs),
                    unit_length=True,
                )
            else:
                hidden = location_hidden if len(NUMBERS[name]) > 1 else None
                branch = Branch(NUMBERS[name], 1, hidden, (branch_outputs,), unit_length=False)
            self.branches[name] = branch
        self.hidden = dense_layers(len(self.branches) * branch_outputs, head, dropout)
        self.head = nn.Linear(head[-1], outputs)
        initialise(self)

    def forward(
        self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Embedding of each example.

        Parameters
        ----------
        inputs : mapping of str to Tensor
            By the names in `SUBMODELS` and `NUMBERS`, all those of the built branches: outputs of
            submodels (B, submodel_outputs), of any length; latitude, longitude and year (B,) or (B,
            1), scaled to 0..1.
        present : mapping of str to Tensor, optional
            By branch (B,), 1 where the example has the modality and 0 where not: the branch then
            contributes zeros. A branch that is not named is present. The input of a missing one
            must be finite (zeros, say).

        Returns
        -------
        Tensor
            (B, outputs).
        """
        present = present or {}
        unknown = [name for name in present if name not in BRANCHES]
        if unknown:
            raise ValueError(
                f"present names no branch by {', '.join(unknown)}: use {', '.join(BRANCHES)}"
            )
        columns = {
            name: value[:, None] if value.ndim == 1 else value for name, value in inputs.items()
        }
        vectors = []
        for name, branch in self.branches.items():
            vector = branch(columns)
            if name in present:
                vector = vector * present[name].reshape(-1, 1).to(vector.dtype)
            vectors.append(vector)
        return self.head(self.hidden(torch.cat(vectors, dim=1)))
