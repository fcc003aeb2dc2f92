"""Train artist embeddings from related artists, in phases; resumable after every pass.

The default settings are the thesis' (Whitell 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from torch.nn.functional import normalize

from musicrec.artists.graph import ArtistGraph
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.trainer import State, Trainer
from musicrec.artists.warm_start import Drift, WarmStart


@dataclass(frozen=True)
class PassProgress:
    """What a finished pass tells.

    ``state()`` copies the whole training, to be saved and continued from; ``state(copy=False)`` is
    good until the next pass and takes no memory on a CPU (a copy of 109,883 artists x 800 takes 1.4
    GB).
    """

    stage: int
    passes: int
    loss: float
    jaccard: float
    held_out: float
    state: Callable[..., State]


@dataclass(frozen=True)
class EmbeddingResult:
    """Trained embeddings.

    Attributes
    ----------
    vectors : ndarray of float32
        (A, D) of the best pass; of unit length, unless the metric is Euclidean.
    loss, jaccard, held_out, stage : ndarray
        (P,) of each pass; ``jaccard`` and ``held_out`` are NaN where they were not computed.
    best_pass : int
        The pass, from 0, whose table ``vectors`` is.
    weight, bias : float
        The dense unit of that pass.
    state : dict of tensors
        The end of the training.
    drift : Drift or None
        How far the artists known to a warm start are from their earlier vectors.
    """

    vectors: np.ndarray
    loss: np.ndarray
    jaccard: np.ndarray
    held_out: np.ndarray
    stage: np.ndarray
    best_pass: int
    weight: float
    bias: float
    state: State
    drift: Drift | None = None


def train_embeddings(
    graph: ArtistGraph,
    settings: EmbeddingSettings,
    state: State | None = None,
    on_pass: Callable[[PassProgress], bool | None] | None = None,
    device: str | torch.device = "cpu",
    start: WarmStart | None = None,
    score: Callable[[torch.Tensor], float] | None = None,
    near: scipy.sparse.csr_array | None = None,
) -> EmbeddingResult:
    """Train embeddings of all artists of a graph.

    Every pass draws its order and its negatives from (seed, stage, pass), so that a run continued
    from a state equals the uninterrupted one: bit for bit on a CPU with the same number of threads.
    A stage starts with fresh Adam moments, from the best table so far.

    Parameters
    ----------
    state
        A training to continue, as ``PassProgress.state()`` gave it: tensors only, so that
        safetensors and ``torch.load(weights_only=True)`` carry it.
    on_pass
        Called after every pass; the training ends there if it returns True.
    start
        Vectors of an earlier training to start from and to stay near; random ones if not given. To
        be given again with ``state``.
    score
        Maps the table (A, D) to the score of a pass, higher is better; for
        ``select_by="held_out"``.
    near
        The graph's ``musicrec.artists.objectives.soft_positives``, so that several trainings share
        them; computed if they are needed and not given.

    Raises
    ------
    ValueError
        ``select_by`` is "held_out" and there is no ``score``, or
        The graph has no relation, ``state`` belongs to another graph, other settings or another
        start, or ``start`` has another width.
    FloatingPointError
        The loss is not finite.
    """
    if not len(graph.heads):
        raise ValueError(
            f"the graph of {len(graph)} artists has no relation to learn from: give a related table"
        )
    if settings.select_by == "held_out" and score is None:
        raise ValueError("select_by 'held_out': give a score of held-out relations")
    training = Trainer(graph, settings, torch.device(device), start, score, near)
    if state is not None:
        training.load(state)
        del state  # as large as the training, and no longer needed
    while not training.finished:
        training.run_pass()
        progress = PassProgress(
            training.stages[-1],
            len(training.losses),
            training.losses[-1],
            training.jaccards[-1],
            training.scores[-1],
            training.state,
        )
        if on_pass is not None and on_pass(progress):
            break
    weight, bias = training.best_unit[0].tolist()
    return EmbeddingResult(
        vectors=(
            training.best_table
            if settings.metric == "euclidean"
            else normalize(training.best_table)
        )
        .cpu()
        .numpy(),
        loss=np.array(training.losses),
        jaccard=np.array(training.jaccards),
        held_out=np.array(training.scores),
        stage=np.array(training.stages),
        best_pass=training.best_pass,
        weight=weight,
        bias=bias,
        state=training.state(copy=False),
        drift=training.anchors.drift(training.best_table) if training.anchors is not None else None,
    )
