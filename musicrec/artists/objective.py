"""The thesis' objective for artist embeddings: a step's examples, loss and gradient.

Source: Whitell 2019, Figure 18.

An example is (artist, context, label). Its prediction is ``sigmoid(weight * cos(artist, context) +
bias)``, its loss the binary cross entropy; a step's loss is the mean over its examples. The
gradient is written out, since it touches only the rows that a step names: automatic differentiation
would hold several copies of (examples, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from musicrec.artists.graph import ArtistGraph


class StepTensors:
    """Base of the tensors of one step, which are the fields of a dataclass."""

    def to(self, device: torch.device) -> Self:
        """Return a copy on another device."""
        return type(self)(*(tensor.to(device) for tensor in vars(self).values()))


@dataclass(frozen=True)
class Examples(StepTensors):
    """The examples of one step: artists and contexts (N,) int64 positions, labels (N,) 0 or 1."""

    artists: torch.Tensor
    contexts: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Gradient:
    """Mean loss of a step and its gradient.

    ``vectors`` (R, D) is the gradient at the distinct table rows ``rows`` (R,).

    ``weight`` and ``bias`` are by the dense unit, zero for an objective without one.
    """

    loss: torch.Tensor
    rows: torch.Tensor
    vectors: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


def draw_examples(
    graph: ArtistGraph, artists: np.ndarray, generator: np.random.Generator
) -> Examples:
    """Return the relations of ``artists`` (B,) with label 1 and as many negatives with label 0.

    The negatives of an artist are uniformly random artists, one for each of its relations.

    Uniform means uniform, as the thesis has it: a random artist may be a related one, or the artist
    itself (whose cosine of 1 moves nothing but the dense unit). In a catalog of A artists with r
    relations each that happens to a share of (r + 1) / A: 0.02 % of the thesis' negatives, 19 % in
    a catalog of 70 artists with 12 relations each.
    """
    positives = graph.tails[graph.relations_of(artists)]
    negatives = generator.integers(len(graph), size=len(positives))
    heads = np.repeat(artists, graph.degrees[artists])
    labels = np.repeat(np.array([1.0, 0.0], dtype=np.float32), len(positives))
    return Examples(
        torch.from_numpy(np.concatenate((heads, heads))),
        torch.from_numpy(np.concatenate((positives, negatives))),
        torch.from_numpy(labels),
    )


def unit_rows(vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return vectors (N, D) of length 1, zeros as they are, and their inverse lengths (N, 1)."""
    lengths = vectors.norm(dim=1, keepdim=True)
    inverse_lengths = torch.where(lengths > 0, 1 / lengths, 0)
    return vectors * inverse_lengths, inverse_lengths


def loss_and_gradient(
    table: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, examples: Examples
) -> Gradient:
    """Mean binary cross entropy of one step's examples, and its gradient.

    With unit vectors u = x / |x|, v = y / |y| and c = u . v, the gradient of c by x is (v - c u) /
    |x|.

    Parameters
    ----------
    table
        (A, D) float32 or float64; a zero row has cosine 0 to everything and no gradient.
    weight, bias
        The dense unit's two numbers, 0-dimensional.
    """
    rows, inverse = torch.unique(
        torch.cat((examples.artists, examples.contexts)), return_inverse=True
    )
    artists, contexts = inverse.chunk(2)
    vectors = table[rows]
    units, inverse_lengths = unit_rows(vectors)

    artist_units, context_units = units[artists], units[contexts]
    cosines = torch.einsum("nd,nd->n", artist_units, context_units)
    logits = weight * cosines + bias
    labels = examples.labels.to(logits.dtype)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    errors = (torch.sigmoid(logits) - labels) / len(labels)  # d loss / d logit

    slopes = (weight * errors)[:, None]
    # The part along u itself is the same for every example of a row but for its factor, so it is
    # summed as one number a row.
    pulls = torch.zeros_like(vectors)
    pulls.index_add_(0, artists, slopes * context_units)
    pulls.index_add_(0, contexts, slopes * artist_units)
    along = torch.zeros_like(inverse_lengths)
    along.index_add_(0, artists, slopes * cosines[:, None])
    along.index_add_(0, contexts, slopes * cosines[:, None])
    return Gradient(
        loss,
        rows,
        (pulls - along * units) * inverse_lengths,
        (errors * cosines).sum(),
        errors.sum(),
    )
