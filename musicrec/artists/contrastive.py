"""The contrastive objective for artist embeddings: a step's examples, loss and gradient.

A step has B heads and C candidates: the heads, all artists related to one of them, and some drawn
uniformly. For one relation of a head, the related artist competes with the candidates that are
neither related to this head nor the head itself, in a softmax over similarities divided by a
temperature (InfoNCE, van den Oord et al. 2018, with shared negatives). A head's other related
artists take no part, so that they are not pushed apart for being equally right. The loss is the
weighted mean over relations.

One product (B, D) x (D, C) gives all similarities, two more the gradient. Written out, nothing else
of that size is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import Metric
from musicrec.artists.objective import Gradient, StepTensors, unit_rows


@dataclass(frozen=True)
class Batch(StepTensors):
    """One step.

    Attributes
    ----------
    candidates : Tensor of int64
        (C,) distinct rows of the table.
    heads : Tensor of int64
        (B,) positions among the candidates.
    relation_heads, relation_tails : Tensor of int64
        (P,) the ends of each relation: positions among the heads and among the candidates.
    weights : Tensor of float64
        (P,) of the relations; they sum to 1.
    """

    candidates: torch.Tensor
    heads: torch.Tensor
    relation_heads: torch.Tensor
    relation_tails: torch.Tensor
    weights: torch.Tensor


def draw_batch(
    graph: ArtistGraph,
    artists: np.ndarray,
    uniform: int,
    rank_exponent: float,
    generator: np.random.Generator,
) -> Batch:
    """Return a step with heads ``artists`` (B,) and ``uniform`` artists drawn as extra candidates.

    A relation has weight ``rank ** -rank_exponent``.
    """
    edges = graph.relations_of(artists)
    tails = graph.tails[edges]
    candidates = np.unique(
        np.concatenate((artists, tails, generator.integers(len(graph), size=uniform)))
    )
    weights = graph.ranks[edges].astype(np.float64) ** -rank_exponent
    return Batch(
        torch.from_numpy(candidates),
        torch.from_numpy(np.searchsorted(candidates, artists)),
        torch.from_numpy(np.repeat(np.arange(len(artists)), graph.degrees[artists])),
        torch.from_numpy(np.searchsorted(candidates, tails)),
        torch.from_numpy(weights / weights.sum()),
    )


def decoupled_softmax(
    logits: torch.Tensor, positive: torch.Tensor, heads: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss of positives that compete with the negatives of their head only.

    With N the logarithm of the sum of the exponentials of a head's logits, a positive of logit p
    has loss log(1 + exp(N - p)).

    Parameters
    ----------
    logits
        (B, C), -inf for what does not compete; overwritten.
    positive
        (P,) the logits of the positives.
    heads
        (P,) the row of each positive.
    weights
        (P,) of the positives in the loss.

    Returns
    -------
    loss
        The weighted sum.
    pulls
        (P,) minus the derivative of the loss by each positive's logit.
    slopes
        (B, C) the derivative by each logit that competes, 0 elsewhere.
    """
    # The sum is empty, and its logarithm the lowest number, for a head that is related to all
    # candidates: its loss and slopes are 0.
    totals = logits.logsumexp(dim=1).clamp(min=torch.finfo(logits.dtype).min)
    gaps = totals[heads] - positive
    loss = (weights * torch.nn.functional.softplus(gaps)).sum()
    pulls = weights * torch.sigmoid(gaps)
    slopes = logits.sub_(totals[:, None]).exp_()
    slopes *= torch.zeros_like(totals).index_add_(0, heads, pulls)[:, None]
    return loss, pulls, slopes


def contrastive_loss_and_gradient(
    table: torch.Tensor, batch: Batch, temperature: float, metric: Metric = "cosine"
) -> Gradient:
    """Loss of one step and its gradient by the rows of its candidates.

    With similarity s of the related artist and N the logarithm of the sum of exp(similarity /
    temperature) over the others, the loss of a relation is log(1 + exp(N - s / temperature)).

    Parameters
    ----------
    table
        (A, D) float32 or float64; a zero row has cosine 0 to everything and no gradient.
    metric
        "cosine", or "euclidean": minus half the squared distance, which for unit vectors is the
        cosine but for a constant, so that one temperature serves both.
    """
    vectors = table[batch.candidates]
    if metric == "cosine":
        points, inverse_lengths = unit_rows(vectors)
    else:
        points = vectors
    heads = points[batch.heads]
    logits = heads @ points.T  # (B, C)
    if metric == "euclidean":
        halves = points.square().sum(dim=1) / 2
        logits -= halves[batch.heads, None]
        logits -= halves
    logits /= temperature

    relations = batch.relation_heads, batch.relation_tails
    related = logits[relations]
    logits[relations] = -torch.inf
    logits[torch.arange(len(heads), device=table.device), batch.heads] = -torch.inf
    weights = batch.weights.to(related.dtype)
    loss, pulls, slopes = decoupled_softmax(logits, related, batch.relation_heads, weights)
    slopes[relations] = -pulls
    slopes /= temperature  # (B, C) d loss / d similarity
    by_heads, by_points = slopes @ points, slopes.T @ heads
    if metric == "euclidean":
        by_heads -= slopes.sum(dim=1, keepdim=True) * heads
        by_points -= slopes.sum(dim=0)[:, None] * points
    by_points.index_add_(0, batch.heads, by_heads)
    if metric == "cosine":
        along = (by_points * points).sum(dim=1, keepdim=True)
        by_points = (by_points - along * points) * inverse_lengths
    nothing = torch.zeros((), dtype=table.dtype, device=table.device)
    return Gradient(loss, batch.candidates, by_points, nothing, nothing)
