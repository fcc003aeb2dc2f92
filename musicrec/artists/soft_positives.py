"""The objective with soft positives: artists of a neighbourhood against all others in a softmax.

Each head has a distribution over other artists, from personalised PageRank
(``musicrec.artists.pagerank``). Each of these competes, with its share as weight, in a softmax over
cosines divided by a temperature; its competitors are all artists but those related to the head
(decoupled as in ``musicrec.artists.contrastive``, so that related artists are not pushed apart for
being equally right). Relations of relations are positives too, to a lower degree, so that a table
that only repeats the relations it has seen is not the best one.

A step computes C candidates: the heads, all of their neighbourhoods, and artists drawn uniformly
from the others. Each of the latter stands for equally many of the others, so that the sum in the
softmax is estimated without bias; when all others are drawn it is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch

from musicrec.artists.contrastive import decoupled_softmax
from musicrec.artists.objective import Gradient, StepTensors, unit_rows


@dataclass(frozen=True)
class SoftBatch(StepTensors):
    """One step.

    Attributes
    ----------
    candidates : Tensor of int64
        (C,) distinct rows of the table.
    heads : Tensor of int64
        (B,) positions among the candidates.
    positive_heads, positives : Tensor of int64
        (P,) a head and a positive of it: positions among the heads and among the candidates.
    shares : Tensor of float32
        (P,) the weight of each positive; a head's sum to 1.
    related_heads, related : Tensor of int64
        (R,) a head and a candidate that does not compete: one related to it, or the head itself.
    log_counts : Tensor of float32
        (C,) the logarithm of how many artists each candidate stands for.
    """

    candidates: torch.Tensor
    heads: torch.Tensor
    positive_heads: torch.Tensor
    positives: torch.Tensor
    shares: torch.Tensor
    related_heads: torch.Tensor
    related: torch.Tensor
    log_counts: torch.Tensor


def draw_soft_batch(
    neighbourhoods: scipy.sparse.csr_array,
    links: scipy.sparse.csr_array,
    artists: np.ndarray,
    uniform: int,
    generator: np.random.Generator,
) -> SoftBatch:
    """Return a step with heads ``artists`` (B,) and ``uniform`` artists drawn from the others.

    ``links`` (A, A) has an entry for each pair of related artists.
    """
    near, related = neighbourhoods[artists], links[artists]
    needed = np.zeros(neighbourhoods.shape[0], dtype=bool)
    for rows in (artists, near.indices, related.indices):
        needed[rows] = True
    core, others = np.flatnonzero(needed), np.flatnonzero(~needed)
    drawn = (
        others
        if len(others) <= uniform
        else generator.choice(others, uniform, replace=False, shuffle=False)
    )
    candidates = np.concatenate((core, drawn))
    place = np.empty(len(needed), dtype=np.int64)
    place[candidates] = np.arange(len(candidates))
    log_counts = np.zeros(len(candidates), dtype=np.float32)
    if len(drawn):
        log_counts[len(core) :] = math.log(len(others) / len(drawn))
    heads = np.arange(len(artists))
    arrays = (
        candidates,
        place[artists],
        np.repeat(heads, np.diff(near.indptr)),
        place[near.indices],
        near.data,
        np.concatenate((heads, np.repeat(heads, np.diff(related.indptr)))),
        np.concatenate((place[artists], place[related.indices])),
        log_counts,
    )
    return SoftBatch(*map(torch.from_numpy, arrays))


def soft_loss_and_gradient(table: torch.Tensor, batch: SoftBatch, temperature: float) -> Gradient:
    """Return the mean loss of one step's heads, and its gradient by the rows of its candidates.

    With cosine s of a positive and N the logarithm of the sum of exp(cosine / temperature) over the
    competitors, a positive has loss log(1 + exp(N - s / temperature)).

    Parameters
    ----------
    table
        (A, D) float32 or float64; a zero row has cosine 0 to everything and no gradient.
    """
    vectors = table[batch.candidates]
    points, inverse_lengths = unit_rows(vectors)
    heads = points[batch.heads]
    logits = (heads / temperature) @ points.T  # (B, C)
    pairs = batch.positive_heads, batch.positives
    positive = logits[pairs]
    logits += batch.log_counts.to(table.dtype)
    logits[batch.related_heads, batch.related] = -torch.inf
    weights = batch.shares.to(table.dtype) / len(heads)
    loss, pulls, slopes = decoupled_softmax(logits, positive, batch.positive_heads, weights)
    slopes.index_put_(pairs, -pulls, accumulate=True)
    slopes /= temperature  # (B, C) d loss / d cosine
    by_points = slopes.T @ heads
    by_points.index_add_(0, batch.heads, slopes @ points)
    along = (by_points * points).sum(dim=1, keepdim=True)
    nothing = torch.zeros((), dtype=table.dtype, device=table.device)
    return Gradient(
        loss,
        batch.candidates,
        (by_points - along * points) * inverse_lengths,
        nothing,
        nothing,
    )
