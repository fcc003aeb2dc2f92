"""The objectives of artist embeddings under one interface: which artists learn, and a gradient."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.sparse
import torch

from musicrec.artists.contrastive import contrastive_loss_and_gradient, draw_batch
from musicrec.artists.graph import ArtistGraph
from musicrec.artists.objective import Gradient, draw_examples, loss_and_gradient
from musicrec.artists.pagerank import adjacency, neighbourhoods
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.soft_positives import draw_soft_batch, soft_loss_and_gradient


class Objective(Protocol):
    """An objective over a graph.

    Attributes
    ----------
    artists : ndarray of int64
        (N,) the heads of a pass.
    weights : ndarray
        (A,) of each artist's share of the mean loss.
    """

    artists: np.ndarray
    weights: np.ndarray

    def gradient(
        self,
        table: torch.Tensor,
        unit: torch.Tensor,
        artists: np.ndarray,
        generator: np.random.Generator,
    ) -> Gradient:
        """Return loss and gradient of a step with heads ``artists`` (B,)."""


def build_objective(
    graph: ArtistGraph, settings: EmbeddingSettings, near: scipy.sparse.csr_array | None = None
) -> Objective:
    """Return the objective that the settings name.

    ``near`` are the graph's ``soft_positives``, computed here if they are needed and not given.
    """
    if settings.objective == "pagerank":
        near = soft_positives(graph, settings) if near is None else near
        return PageRank(settings, near, adjacency(graph))
    return {"thesis": Thesis, "contrastive": Contrastive}[settings.objective](graph, settings)


def soft_positives(graph: ArtistGraph, settings: EmbeddingSettings) -> scipy.sparse.csr_array:
    """Return the neighbourhoods (A, A) of a graph's artists for the objective "pagerank"."""
    return neighbourhoods(graph, settings.restart, settings.neighbourhood)


class _OfRelations:
    """An objective whose examples are the relations of the heads."""

    def __init__(self, graph: ArtistGraph, settings: EmbeddingSettings):
        self.graph, self.settings = graph, settings
        self.artists, self.weights = np.flatnonzero(graph.degrees), graph.degrees


class Thesis(_OfRelations):
    """See ``musicrec.artists.objective``."""

    def gradient(
        self,
        table: torch.Tensor,
        unit: torch.Tensor,
        artists: np.ndarray,
        generator: np.random.Generator,
    ) -> Gradient:
        """Return loss and gradient of a step."""
        examples = draw_examples(self.graph, artists, generator).to(table.device)
        return loss_and_gradient(table, unit[0, 0], unit[0, 1], examples)


class Contrastive(_OfRelations):
    """See ``musicrec.artists.contrastive``."""

    def gradient(
        self,
        table: torch.Tensor,
        unit: torch.Tensor,
        artists: np.ndarray,
        generator: np.random.Generator,
    ) -> Gradient:
        """Return loss and gradient of a step."""
        settings = self.settings
        batch = draw_batch(
            self.graph, artists, settings.uniform_negatives, settings.rank_exponent, generator
        ).to(table.device)
        return contrastive_loss_and_gradient(table, batch, settings.temperature, settings.metric)


class PageRank:
    """See ``musicrec.artists.soft_positives``."""

    def __init__(
        self,
        settings: EmbeddingSettings,
        near: scipy.sparse.csr_array,
        links: scipy.sparse.csr_array,
    ):
        self.settings, self.neighbourhoods, self.links = settings, near, links
        self.weights = (np.diff(self.neighbourhoods.indptr) > 0).astype(np.int64)
        self.artists = np.flatnonzero(self.weights)

    def gradient(
        self,
        table: torch.Tensor,
        unit: torch.Tensor,
        artists: np.ndarray,
        generator: np.random.Generator,
    ) -> Gradient:
        """Return loss and gradient of a step."""
        batch = draw_soft_batch(
            self.neighbourhoods, self.links, artists, self.settings.uniform_negatives, generator
        ).to(table.device)
        return soft_loss_and_gradient(table, batch, self.settings.temperature)
