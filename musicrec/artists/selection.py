"""Choose temperature and passes by relations held out, before the training on all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch

from musicrec.artists.embedding import EmbeddingResult, PassProgress, train_embeddings
from musicrec.artists.graph import ArtistGraph
from musicrec.artists.held_out import HeldOut, held_out_ndcg
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.trainer import State

# Temperatures are compared in at most this many dimensions; the best is then trained in all.
SEARCH_DIMENSIONS = 128


@dataclass(frozen=True)
class Trial:
    """A training without the relations held out.

    Attributes
    ----------
    ndcg : float
        Of the relations held out, by the table that was kept.
    passes : tuple of pairs of int
        The phases that led to that table, and the passes of each.
    """

    temperature: float
    dimensions: int
    ndcg: float
    passes: tuple[tuple[int, int], ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON stores them."""
        return {**vars(self), "passes": [list(pair) for pair in self.passes]}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Trial:
        """Return a trial from its fields as JSON stores them."""
        passes = tuple((stage, count) for stage, count in fields["passes"])
        return cls(**{**fields, "passes": passes})


def next_trial(
    settings: EmbeddingSettings, temperatures: Sequence[float], done: Sequence[Trial]
) -> EmbeddingSettings | None:
    """Return the settings of the trial that follows ``done``, None if no other is needed.

    First each temperature in at most ``SEARCH_DIMENSIONS``, then the best in all dimensions.
    """
    tried = {(trial.temperature, trial.dimensions) for trial in done}
    narrow = min(settings.dimensions, SEARCH_DIMENSIONS)
    for temperature in temperatures:
        if (temperature, narrow) not in tried:
            return dataclasses.replace(settings, temperature=temperature, dimensions=narrow)
    best = chosen(settings, done).temperature if temperatures else settings.temperature
    if (best, settings.dimensions) in tried:
        return None
    return dataclasses.replace(settings, temperature=best)


def chosen(settings: EmbeddingSettings, done: Sequence[Trial]) -> Trial:
    """Return the best of the trials in all dimensions, else of all."""
    whole = [trial for trial in done if trial.dimensions == settings.dimensions]
    return max(whole or done, key=lambda trial: trial.ndcg)


def run_trial(
    graph: ArtistGraph,
    held: HeldOut,
    settings: EmbeddingSettings,
    state: State | None = None,
    on_pass: Callable[[PassProgress], bool | None] | None = None,
    device: str | torch.device = "cpu",
    near: scipy.sparse.csr_array | None = None,
) -> Trial:
    """Train on ``graph``, which lacks the relations of ``held``, and measure these.

    ``state``, ``on_pass`` and ``near`` are those of ``train_embeddings``.
    """
    started = time.perf_counter()
    result = train_embeddings(
        graph,
        settings,
        state,
        on_pass,
        device,
        score=lambda table: held_out_ndcg(graph, table, held, settings.metric),
        near=near,
    )
    by_score = settings.select_by == "held_out"
    ndcg = (
        float(result.held_out[result.best_pass])
        if by_score
        else held_out_ndcg(graph, result.vectors, held, settings.metric)
    )
    passes = _leading_passes(result) if by_score else ()
    seconds = round(time.perf_counter() - started, 1)
    return Trial(settings.temperature, settings.dimensions, ndcg, passes, seconds)


def final_settings(settings: EmbeddingSettings, trial: Trial) -> EmbeddingSettings:
    """Return the settings of the training on all relations, by a trial's temperature and passes."""
    stages = tuple(
        dataclasses.replace(settings.stages[stage], passes=passes) for stage, passes in trial.passes
    )
    return dataclasses.replace(
        settings, temperature=trial.temperature, stages=stages, select_by="last"
    )


def _leading_passes(result: EmbeddingResult) -> tuple[tuple[int, int], ...]:
    """Return the phases that lead to a result's vectors, and the passes of each.

    A phase starts from the best table of all phases before it.
    """
    led, best = [], result.best_pass
    while best >= 0:
        stage = int(result.stage[best])
        first = int(np.flatnonzero(result.stage == stage)[0])
        led.append((stage, best - first + 1))
        earlier = np.nan_to_num(result.held_out[:first], nan=-np.inf)
        best = int(np.argmax(earlier)) if len(earlier) else -1
    return tuple(reversed(led))
