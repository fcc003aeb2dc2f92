"""A contrastive objective for artist embeddings: an artist's related artists against all others that its step knows.

A step takes B artists. Its candidates are these artists, all that are related to them (in-batch), and uniformly drawn ones. For a relation
(a, p) of weight w the loss is that of a softmax over p and the candidates that are not related to a (InfoNCE, van den Oord et al. 2018,
with known relations masked and each relation alone in its own softmax):

    w * log(1 + sum_n exp((s(a, n) - s(a, p)) / temperature))

averaged over the weights. The similarity s is the cosine, or the negative squared distance. The gradient is written out, as for the thesis'
objective: two more matrix products of the size of the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.neighbours import Metric
from musicrec.artists.objective import Gradient


@dataclass(frozen=True)
class Batch:
    """One step: which rows of the table it names and how they relate.

    Attributes
    ----------
    rows : int64
        (C,) the candidates: distinct rows of the table, sorted.
    artists : int64
        (B,) places of the step's artists among the candidates.
    heads, tails : int64
        (P,) the relations: places among the artists, and among the candidates.
    weights : float32
        (P,)
    """

    rows: torch.Tensor
    artists: torch.Tensor
    heads: torch.Tensor
    tails: torch.Tensor
    weights: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(*(part.to(device) for part in (self.rows, self.artists, self.heads, self.tails, self.weights)))


def draw_batch(graph: ArtistGraph, artists: np.ndarray, negatives: int, rank_decay: float, generator: np.random.Generator) -> Batch:
    """All relations of ``artists`` (B,), and ``negatives`` uniform draws.

    A relation of rank r weighs ``r ** -rank_decay``.
    """
    degrees = graph.degrees[artists]
    edges = np.repeat(graph.offsets[artists] - np.cumsum(degrees) + degrees, degrees) + np.arange(degrees.sum())
    drawn = generator.integers(len(graph), size=negatives)
    rows, places = np.unique(np.concatenate((artists, graph.tails[edges], drawn)), return_inverse=True)
    return Batch(
        rows=torch.from_numpy(rows),
        artists=torch.from_numpy(places[: len(artists)]),
        heads=torch.from_numpy(np.repeat(np.arange(len(artists)), degrees)),
        tails=torch.from_numpy(places[len(artists) : len(artists) + len(edges)]),
        weights=torch.from_numpy((graph.ranks[edges] ** -rank_decay).astype(np.float32)),
    )


def contrastive_loss_and_gradient(table: torch.Tensor, batch: Batch, temperature: float, metric: Metric) -> Gradient:
    """Weighted mean loss of one step, and its gradient by the rows of ``table`` (A, D) that it names.

    With unit vectors u = x / |x| and a gradient g by u, the gradient by x is (g - (g . u) u) / |x|. A zero row has cosine 0 to everything
    and no gradient.
    """
    vectors = table[batch.rows]
    if metric == "cosine":
        lengths = vectors.norm(dim=1, keepdim=True)
        inverse_lengths = torch.where(lengths > 0, 1 / lengths, 0)
        units = vectors.mul_(inverse_lengths)
        loss, slopes = _loss_and_slopes(units[batch.artists] @ units.T, batch, temperature)
        pulls = slopes.T @ units[batch.artists]
        pulls.index_add_(0, batch.artists, slopes @ units)
        pulls.addcmul_((pulls * units).sum(dim=1, keepdim=True), units, value=-1)
        return Gradient(loss, batch.rows, pulls.mul_(inverse_lengths))
    queries = vectors[batch.artists]
    squares = vectors.square().sum(dim=1)
    similarities = (queries @ vectors.T).mul_(2).sub_(squares).sub_(squares[batch.artists, None])
    loss, slopes = _loss_and_slopes(similarities, batch, temperature)
    pulls = slopes.T @ queries - slopes.sum(dim=0)[:, None] * vectors
    pulls.index_add_(0, batch.artists, slopes @ vectors - slopes.sum(dim=1, keepdim=True) * queries)
    return Gradient(loss, batch.rows, pulls.mul_(2))


def _loss_and_slopes(similarities: torch.Tensor, batch: Batch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its derivative by the similarities (B, C), which are overwritten."""
    weights = batch.weights.to(similarities.dtype)
    weights = weights / weights.sum()
    logits = similarities.div_(temperature)
    positives = logits[batch.heads, batch.tails]  # (P,)
    logits[batch.heads, batch.tails] = -torch.inf
    logits[torch.arange(len(logits), device=logits.device), batch.artists] = -torch.inf
    against = logits.logsumexp(dim=1).clamp(min=torch.finfo(logits.dtype).min)  # (B,); finite even where nothing is left to push away
    margins = against[batch.heads] - positives
    loss = (weights * torch.nn.functional.softplus(margins)).sum()
    pushes = weights * torch.sigmoid(margins) / temperature  # (P,), what each relation pulls; the other candidates share its opposite
    shares = torch.zeros_like(against).index_add_(0, batch.heads, pushes)
    # exp(logit - against) * share, with the share in the exponent: one walk less over the matrix.
    slopes = logits.add_((shares.log() - against)[:, None]).exp_()
    slopes[batch.heads, batch.tails] = -pushes
    return loss, slopes
