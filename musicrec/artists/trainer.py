"""Train artist embeddings pass by pass: steps, scores, phases, and the state to continue from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse
import torch

from musicrec.artists.batching import near_steps, random_steps
from musicrec.artists.graph import ArtistGraph
from musicrec.artists.init import random_table, spread_along_relations
from musicrec.artists.objectives import build_objective
from musicrec.artists.quality import related_jaccard
from musicrec.artists.row_adam import RowAdam
from musicrec.artists.settings import EmbeddingSettings
from musicrec.artists.warm_start import Anchors, WarmStart, starting_table

State = dict[str, torch.Tensor]


class Trainer:
    """A training between two passes: everything that ``state`` carries."""

    def __init__(
        self,
        graph: ArtistGraph,
        settings: EmbeddingSettings,
        device: torch.device,
        start: WarmStart | None,
        score: Callable[[torch.Tensor], float] | None,
        near: scipy.sparse.csr_array | None,
    ):
        """Start from random vectors, or from those of ``start``; see ``train_embeddings``."""
        self.graph, self.settings, self.device, self.score = graph, settings, device, score
        self.objective = build_objective(graph, settings, near)
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
        self.scores: list[float] = []
        self.stages: list[int] = []
        self.sample = np.flatnonzero(graph.degrees)
        if settings.jaccard_artists is not None and settings.jaccard_artists < len(self.sample):
            chosen = np.random.default_rng([settings.seed, 0, 1]).choice(
                self.sample, settings.jaccard_artists, replace=False
            )
            self.sample = np.sort(chosen)
        self._start_stage(0)

    @property
    def _identity(self) -> tuple[int, int, int]:
        """Facts, besides the table's shape, that a state shares with what continues it."""
        return (
            len(self.graph.heads),
            self.settings.seed,
            0 if self.anchors is None else len(self.anchors.rows),
        )

    @property
    def finished(self) -> bool:
        """Whether the last phase has ended."""
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
            gradient = self.objective.gradient(self.table, self.unit, artists, generator)
            self.table_adam.step(self.table, gradient.rows, gradient.vectors, rate)
            self.unit_adam.step(
                self.unit, self.unit_row, torch.stack((gradient.weight, gradient.bias))[None], rate
            )
            if self.anchors is not None:
                self.anchors.hold(self.table, gradient.rows if self.settings.lazy else None)
            total += gradient.loss * int(self.objective.weights[artists].sum())
        loss = total.item() / int(self.objective.weights.sum())
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"stage {self.stage}, pass {self.stage_passes}: the loss is {loss}: lower the "
                "learning rate"
            )
        self.stage_passes += 1
        last = self.stage_passes == (stage.passes or stage.maximum_passes)
        self.losses.append(loss)
        self.stages.append(self.stage)
        self._measure(last)
        self._judge()
        if last or self.waited >= stage.patience:
            self.table.copy_(self.best_table)
            self.unit.copy_(self.best_unit)
            self._start_stage(self.stage + 1)

    def _measure(self, last: bool) -> None:
        """Append the Jaccard index and the score of the pass, NaN where they are not computed."""
        settings = self.settings
        by_score, fixed = settings.select_by == "held_out", settings.select_by == "last"
        wanted = last or (not fixed and self.stage_passes % settings.jaccard_every == 0)
        self.jaccards.append(
            related_jaccard(self.graph, self.table, self.sample, settings.metric)
            if wanted and not by_score
            else float("nan")
        )
        self.scores.append(self.score(self.table) if wanted and by_score else float("nan"))

    def _steps(self, size: int, generator: np.random.Generator) -> Iterable[np.ndarray]:
        """Return the artists of each step of a pass."""
        if self.settings.full_batch:
            return (self.objective.artists,)
        if self.settings.steps == "near":
            return near_steps(self.table, self.objective.artists, size, generator)
        return random_steps(self.objective.artists, size, generator)

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
        saved = {name: tensor.detach().to("cpu", copy=copy) for name, tensor in tensors.items()}
        if self.score is not None:
            saved["held_out"] = torch.tensor(self.scores, dtype=torch.float64)
        return saved | {
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
        self.scores = (
            [float("nan")] * len(self.losses) if self.score is None else state["held_out"].tolist()
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
        figures = {
            "loss": -self.losses[-1],
            "jaccard": self.jaccards[-1],
            "held_out": self.scores[-1],
            "last": len(self.losses),
        }
        score = figures[self.settings.select_by]
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
