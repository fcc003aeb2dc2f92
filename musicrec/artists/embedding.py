"""Train artist embeddings from related artists, in phases; resumable after every pass.

The default settings are the thesis' (Whitell 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from musicrec.artists.batching import near_steps, random_steps
from musicrec.artists.contrastive import contrastive_loss_and_gradient, draw_batch
from musicrec.artists.graph import ArtistGraph
from musicrec.artists.init import random_table, spread_along_relations
from musicrec.artists.objective import Gradient, draw_examples, loss_and_gradient
from musicrec.artists.quality import related_jaccard
from musicrec.artists.row_adam import RowAdam
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.warm_start import Anchors, Drift, WarmStart, starting_table

State = dict[str, torch.Tensor]


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
    state: Callable[..., State]


@dataclass(frozen=True)
class EmbeddingResult:
    """Trained embeddings.

    Attributes
    ----------
    vectors : ndarray of float32
        (A, D) of the best pass; of unit length, unless the metric is Euclidean.
    loss, jaccard, stage : ndarray
        (P,) of each pass; ``jaccard`` is NaN where it was not computed.
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

    Raises
    ------
    ValueError
        The graph has no relation, ``state`` belongs to another graph, other settings or another
        start, or ``start`` has another width.
    FloatingPointError
        The loss is not finite.
    """
    if not len(graph.heads):
        raise ValueError(
            f"the graph of {len(graph)} artists has no relation to learn from: give a related table"
        )
    training = _Training(graph, settings, torch.device(device), start)
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
        stage=np.array(training.stages),
        best_pass=training.best_pass,
        weight=weight,
        bias=bias,
        state=training.state(copy=False),
        drift=training.anchors.drift(training.best_table) if training.anchors is not None else None,
    )


class _Training:
    """The training between two passes: everything that ``state`` carries."""

    def __init__(
        self,
        graph: ArtistGraph,
        settings: EmbeddingSettings,
        device: torch.device,
        start: WarmStart | None,
    ):
        self.graph, self.settings, self.device = graph, settings, device
        self.heads = np.flatnonzero(graph.degrees)
        generator = np.random.default_rng([settings.seed, 0, 0])
        drawn = random_table(len(graph), settings.dimensions, generator)
        if settings.initial == "spread" and start is None:
            drawn = spread_along_relations(graph, drawn)
        self.table = torch.from_numpy(drawn).to(device)
        # A weight of 1 and no bias, where Keras draws the weight from +-1.7: half of those draws
        # begin with related artists pushed apart.
        self.unit = torch.tensor([[1.0, 0.0]], device=device)
        self.anchors: Anchors | None = None
        if start is not None:
            if start.vectors.shape[1] != settings.dimensions:
                raise ValueError(
                    f"a warm start of {start.vectors.shape[1]} dimensions, and the settings "
                    f"have {settings.dimensions}"
                )
            self.anchors = Anchors(graph, start, device)
            self.table = starting_table(graph, self.anchors, self.table)
            self.unit = torch.tensor(
                [[start.weight, start.bias]], dtype=torch.float32, device=device
            )
        self.best_table, self.best_unit = self.table.clone(), self.unit.clone()
        self.best_pass, self.best_score = -1, -np.inf
        self.losses: list[float] = []
        self.jaccards: list[float] = []
        self.stages: list[int] = []
        self.sample = self.heads
        if settings.jaccard_artists is not None and settings.jaccard_artists < len(self.heads):
            chosen = np.random.default_rng([settings.seed, 0, 1]).choice(
                self.heads, settings.jaccard_artists, replace=False
            )
            self.sample = np.sort(chosen)
        self._start_stage(0)

    @property
    def _identity(self) -> tuple[int, int, int]:
        """What a state must share with the training that continues it, beside the table's shape."""
        return (
            len(self.graph.heads),
            self.settings.seed,
            0 if self.anchors is None else len(self.anchors.rows),
        )

    @property
    def finished(self) -> bool:
        return self.stage == len(self.settings.stages)

    def run_pass(self) -> None:
        """One pass over all artists, and the decision whether it was the stage's last."""
        stage = self.settings.stages[self.stage]
        generator = np.random.default_rng([self.settings.seed, 1 + self.stage, self.stage_passes])
        rate = stage.learning_rate
        if self.settings.decay == "linear":
            rate *= 1 - self.stage_passes / stage.maximum_passes
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for artists in self._steps(stage.artists_per_step, generator):
            gradient = self._gradient(artists, generator)
            self.table_adam.step(self.table, gradient.rows, gradient.vectors, rate)
            self.unit_adam.step(
                self.unit, self.unit_row, torch.stack((gradient.weight, gradient.bias))[None], rate
            )
            if self.anchors is not None:
                self.anchors.hold(self.table, gradient.rows if self.settings.lazy else None)
            total += gradient.loss * int(self.graph.degrees[artists].sum())
        loss = total.item() / len(self.graph.heads)
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"stage {self.stage}, pass {self.stage_passes}: the loss is {loss}: lower the "
                "learning rate"
            )
        self.stage_passes += 1
        last = self.stage_passes == stage.maximum_passes
        measured = last or self.stage_passes % self.settings.jaccard_every == 0
        self.losses.append(loss)
        self.jaccards.append(
            related_jaccard(self.graph, self.table, self.sample, self.settings.metric)
            if measured
            else float("nan")
        )
        self.stages.append(self.stage)
        self._judge()
        if last or self.waited >= stage.patience:
            self.table.copy_(self.best_table)
            self.unit.copy_(self.best_unit)
            self._start_stage(self.stage + 1)

    def _steps(self, size: int, generator: np.random.Generator) -> Iterable[np.ndarray]:
        """Return the artists of each step of a pass."""
        if self.settings.full_batch:
            return (self.heads,)
        if self.settings.steps == "near":
            return near_steps(self.table, self.heads, size, generator)
        return random_steps(self.heads, size, generator)

    def _gradient(self, artists: np.ndarray, generator: np.random.Generator) -> Gradient:
        settings = self.settings
        if settings.objective == "thesis":
            examples = draw_examples(self.graph, artists, generator).to(self.device)
            return loss_and_gradient(self.table, self.unit[0, 0], self.unit[0, 1], examples)
        batch = draw_batch(
            self.graph, artists, settings.uniform_negatives, settings.rank_exponent, generator
        ).to(self.device)
        return contrastive_loss_and_gradient(
            self.table, batch, settings.temperature, settings.metric
        )

    def state(self, copy: bool = True) -> State:
        """Everything, on the CPU."""
        tensors = {
            name: getattr(self, name) for name in ("table", "unit", "best_table", "best_unit")
        }
        for name, adam in (("table", self.table_adam), ("unit", self.unit_adam)):
            tensors |= {
                f"{name}_first_moment": adam.first_moment,
                f"{name}_second_moment": adam.second_moment,
            }
        counters = [
            self.stage,
            self.stage_passes,
            self.waited,
            self.best_pass,
            self.table_adam.steps,
            *self._identity,
        ]
        return {name: tensor.detach().to("cpu", copy=copy) for name, tensor in tensors.items()} | {
            "counters": torch.tensor(counters, dtype=torch.int64),
            "scores": torch.tensor([self.best_score, self.stage_score], dtype=torch.float64),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "jaccards": torch.tensor(self.jaccards, dtype=torch.float64),
            "stages": torch.tensor(self.stages, dtype=torch.int64),
        }

    def load(self, state: State) -> None:
        """Continue from ``state``, which is copied."""
        self.stage, self.stage_passes, self.waited, self.best_pass, steps, *identity = state[
            "counters"
        ].tolist()
        saved = (*state["table"].shape, *identity)
        if saved != (*self.table.shape, *self._identity) or self.stage > len(self.settings.stages):
            raise ValueError(
                f"the state is at stage {self.stage} and has (artists, dimensions, relations, "
                f"seed, known artists) = {saved}; this "
                f"training has {(*self.table.shape, *self._identity)} and "
                f"{len(self.settings.stages)} stages: give this run's own state"
            )
        self.best_score, self.stage_score = state["scores"].tolist()
        self.losses, self.jaccards, self.stages = (
            state[name].tolist() for name in ("losses", "jaccards", "stages")
        )
        for name in ("table", "unit", "best_table", "best_unit"):
            getattr(self, name).copy_(state[name])
        for name, adam in (("table", self.table_adam), ("unit", self.unit_adam)):
            adam.first_moment.copy_(state[f"{name}_first_moment"])
            adam.second_moment.copy_(state[f"{name}_second_moment"])
            adam.steps = steps

    def _start_stage(self, stage: int) -> None:
        self.stage, self.stage_passes, self.waited, self.stage_score = stage, 0, 0, -np.inf
        self.table_adam = RowAdam(
            torch.zeros_like(self.table), torch.zeros_like(self.table), 0, self.settings.lazy
        )
        self.unit_adam = RowAdam(
            torch.zeros_like(self.unit), torch.zeros_like(self.unit), 0, lazy=False
        )
        self.unit_row = torch.zeros(1, dtype=torch.int64, device=self.device)

    def _judge(self) -> None:
        """Update the phase's best score, for its patience, and the best table of the run."""
        score = -self.losses[-1] if self.settings.select_by == "loss" else self.jaccards[-1]
        if np.isnan(score):
            return
        if score > self.stage_score:
            self.stage_score, self.waited = score, 0
        else:
            self.waited += 1
        if score > self.best_score:
            self.best_score, self.best_pass = score, len(self.losses) - 1
            self.best_table.copy_(self.table)
            self.best_unit.copy_(self.unit)
