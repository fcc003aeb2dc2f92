"""Ensembles over the outputs of frozen submodels (Whitell 2019).

Every stack reads a mapping from a submodel's name to its outputs (B, submodel_outputs). A
submodel's name is `feature.architecture`, for instance `mel.time`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import initialise

Activation = Literal["none", "sigmoid", "softmax"]

GENRE_SUBMODELS = (
    "stft_halved.time",
    "mel.time",
    "cqt.time",
    "stft_halved.freq",
    "mel.freq",
    "cqt.freq",
    "chroma.rnn",
    "mfcc.rnn",
)


def select_inputs(inputs: Mapping[str, Tensor], names: Sequence[str], width: int) -> list[Tensor]:
    """Return the outputs of the named submodels, in order, each (B, width).

    Raises
    ------
    ValueError
        If a name is missing or its tensor has another width.
    """
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ValueError(
            f"inputs lack {', '.join(missing)}: give one tensor for each of {', '.join(names)}"
        )
    for name in names:
        if inputs[name].ndim != 2 or inputs[name].shape[1] != width:
            raise ValueError(
                f"input {name!r} has shape {tuple(inputs[name].shape)} where (batch, {width}) "
                "is expected"
            )
    return [inputs[name] for name in names]


class ClassifierStack(nn.Module):
    """Logits of submodels, concatenated; dense layers with ReLU and dropout; dense to the classes.

    Base of two ensembles.

    Parameters
    ----------
    outputs : int
        Number of classes.
    submodels : sequence of str
        Names of the inputs, in the order of concatenation.
    hidden : sequence of int
        Widths of the dense layers.
    dropout : float
        Share dropped after each of them.
    l2 : float
        Weight of `l2_penalty`.
    submodel_outputs : int, optional
        Length of each input; `outputs` when None.
    """

    def __init__(
        self,
        outputs: int,
        *,
        submodels: Sequence[str],
        hidden: Sequence[int],
        dropout: float,
        l2: float,
        submodel_outputs: int | None,
    ) -> None:
        super().__init__()
        self.submodels = tuple(submodels)
        self.submodel_outputs = submodel_outputs or outputs
        self.l2 = l2
        widths = (len(self.submodels) * self.submodel_outputs, *hidden)
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], outputs)
        initialise(self)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map (B, submodel_outputs) by submodel to (B, outputs), without softmax or sigmoid."""
        vector = torch.cat(select_inputs(inputs, self.submodels, self.submodel_outputs), dim=1)
        for layer in self.hidden:
            vector = self.dropout(functional.relu(layer(vector)))
        return self.head(vector)

    def l2_penalty(self) -> Tensor:
        """Return the term that is added to the loss.

        It is l2 x the sum of the hidden layers' squared weights (no biases, not the last layer).
        """
        return self.l2 * sum(
            (layer.weight.square().sum() for layer in self.hidden),
            start=self.head.weight.new_zeros(()),
        )


class TimeFreq(ClassifierStack):
    """Dense layers over the logits of Time and Freq of one feature.

    Parameters as in `ClassifierStack`.
    """

    def __init__(
        self,
        outputs: int,
        *,
        submodels: Sequence[str] = ("time", "freq"),
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.5,
        l2: float = 0.002,
        submodel_outputs: int | None = None,
    ) -> None:
        super().__init__(
            outputs,
            submodels=submodels,
            hidden=hidden,
            dropout=dropout,
            l2=l2,
            submodel_outputs=submodel_outputs,
        )


class GenreEnsemble(ClassifierStack):
    """Dense layers over the logits of eight submodels. Parameters as in `ClassifierStack`."""

    def __init__(
        self,
        outputs: int,
        *,
        submodels: Sequence[str] = GENRE_SUBMODELS,
        hidden: Sequence[int] = (1024, 512, 256),
        dropout: float = 0.5,
        l2: float = 0.002,
        submodel_outputs: int | None = None,
    ) -> None:
        super().__init__(
            outputs,
            submodels=submodels,
            hidden=hidden,
            dropout=dropout,
            l2=l2,
            submodel_outputs=submodel_outputs,
        )


class TimeFreqAvg(nn.Module):
    """The mean of the submodels' outputs; has no weights.

    Where the task applies a sigmoid or softmax to its logits, the thesis averages what comes out of
    it. Tell so by `activation`: the result is then again a logit, whose sigmoid or softmax is the
    mean of the submodels' probabilities.

    Parameters
    ----------
    outputs : int
        Length of each input and of the output.
    submodels : sequence of str
        Names of the inputs, two or more.
    activation : {"none", "sigmoid", "softmax"}
        What the task applies to the output.
    """

    def __init__(
        self,
        outputs: int,
        *,
        submodels: Sequence[str] = ("time", "freq"),
        activation: Activation = "none",
    ) -> None:
        super().__init__()
        if activation not in ("none", "sigmoid", "softmax"):
            raise ValueError(
                f"unknown activation {activation!r}: use one of none, sigmoid, softmax"
            )
        self.outputs = outputs
        self.submodels = tuple(submodels)
        self.activation = activation

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map (B, outputs) of each submodel to (B, outputs)."""
        stacked = torch.stack(
            select_inputs(inputs, self.submodels, self.outputs)
        )  # (submodels, B, outputs)
        if self.activation == "sigmoid":
            # logit(p) = log p - log(1 - p); the number of submodels cancels.
            return functional.logsigmoid(stacked).logsumexp(0) - functional.logsigmoid(
                -stacked
            ).logsumexp(0)
        if self.activation == "softmax":
            return functional.log_softmax(stacked, dim=-1).logsumexp(0)
        return stacked.mean(dim=0)
