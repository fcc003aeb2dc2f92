"""The training loop in plain torch; resumable after every epoch.

Learning rates in phases, early stopping, best weights restored.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from musicrec.training import batching as order
from musicrec.training.divergence import Diverged, Losses
from musicrec.training.memory import peak_mebibytes
from musicrec.training.objectives import Objective
from musicrec.training.optimizers import Decay, OptimizerName, make_optimizer, rate_of_epoch
from musicrec.training.prefetch import prefetched

Batch = tuple[tuple[Any, ...], Tensor]
LoadedBatch = tuple[np.ndarray, tuple[Any, ...], Tensor]


class Examples(Protocol):
    """Rows to train on, each a tuple of model arguments and a target."""

    train: np.ndarray
    validation: np.ndarray

    def groups(self) -> Sequence[np.ndarray]:
        """Return the training rows in groups, one array for those stored together."""

    def window(self) -> int:
        """How many groups can be held in memory at once."""

    def names(self, rows: np.ndarray) -> list[str]:
        """Return names for some rows, for error messages."""

    def batch(self, rows: np.ndarray, generator: np.random.Generator | None) -> Batch:
        """Arguments and targets (B, outputs) of some rows; augmented where a generator is given."""


class Checkpoints(Protocol):
    """Where a training keeps its last state and its best weights."""

    def load_last(self) -> dict[str, Any] | None:
        """Return the last state, or None before the first epoch has ended."""

    def save_last(self, state: dict[str, Any]) -> None:
        """Write the last state."""

    def load_best(self) -> dict[str, Tensor]:
        """Return the best weights."""

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Write the best weights."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate, which may decay, and the patience (epochs) of each phase."""

    learning_rates: tuple[float, ...]
    patience: tuple[int, ...]
    maximum_epochs: int
    batch_size: int
    gradient_norm: float | None = None
    weight_decay: float = 0.0
    optimizer: OptimizerName = "adam"
    decay: Decay = "none"


@dataclass(frozen=True)
class World:
    """One worker among those that train together.

    Attributes
    ----------
    precision
        Of the forward pass; weights, losses and the optimizer are float32 in any case.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast(
            self.device.type, self.precision, enabled=self.precision != torch.float32
        )

    def batches(
        self, examples: Examples, rows: Iterable[np.ndarray], generator: np.random.Generator | None
    ) -> Iterator[LoadedBatch]:
        """Yield the batches of ``rows`` on this worker's device.

        For a GPU they are prepared while it computes.
        """
        loaded = ((part, *examples.batch(part, generator)) for part in rows)
        for part, arguments, target in prefetched(loaded) if self.device.type == "cuda" else loaded:
            yield part, _to_device(arguments, self.device), _to_device(target, self.device)

    def share_buffers(self, model: nn.Module) -> None:
        """Average the buffers over all workers.

        These are the running statistics of batch norm, each computed from the worker's own batches.
        """
        if self.size > 1:
            for buffer in filter(torch.is_floating_point, model.buffers()):
                torch.distributed.all_reduce(buffer)
                buffer.div_(self.size)

    def mean(self, values: Sequence[float]) -> float:
        """Return the mean of all workers' values."""
        total = torch.tensor(
            [math.fsum(values), len(values)], dtype=torch.float64, device=self.device
        )
        if self.size > 1:
            torch.distributed.all_reduce(total)
        return float(total[0] / total[1])


@dataclass
class Progress:
    """Where a training stands between two epochs; carried by its checkpoint."""

    stage: int = 0
    epoch: int = 0
    stage_epochs: int = 0
    waited: int = 0
    best: float = math.nan
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)


def draw_seed(*parts: int | str) -> int:
    """Return a seed for torch's generators that depends on every part."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "little")


def fit(
    model: nn.Module,
    examples: Examples,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    checkpoints: Checkpoints,
    world: World | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Progress:
    """Train until the last stage's patience is spent; the model ends with the best weights.

    A stage starts from the best weights so far with a fresh optimizer. Everything random in an
    epoch is drawn from (seed, epoch), so that a run continued from its checkpoint equals the
    uninterrupted one.

    Parameters
    ----------
    model
        On ``world.device``; wrapped for several workers by the caller.
    on_epoch
        Called on every worker after an epoch is saved, with its record.

    Raises
    ------
    Diverged
        The loss of a batch is not finite, or an output for a validation row.
    """
    world = world or World()
    plain = model.module if hasattr(model, "module") else model
    progress, saved = Progress(), checkpoints.load_last()
    optimizer = _optimizer(model, schedule, 0)
    if saved is not None:
        progress = Progress(**saved["progress"])
        plain.load_state_dict(saved["model"])
        optimizer = _optimizer(
            model, schedule, min(progress.stage, len(schedule.learning_rates) - 1)
        )
        if progress.stage_epochs:
            optimizer.load_state_dict(saved["optimizer"])
    while progress.stage < len(schedule.learning_rates):
        record = _epoch(model, examples, objective, schedule, optimizer, seed, progress, world)
        improved = (
            math.isnan(progress.best)
            or objective.better * (record["validation"] - progress.best) > 0
        )
        progress.epoch += 1
        progress.stage_epochs += 1
        progress.waited = 0 if improved else progress.waited + 1
        progress.history.append(record)
        if improved:
            progress.best, progress.best_epoch = record["validation"], record["epoch"]
            if world.rank == 0:
                checkpoints.save_best(plain.state_dict())
        stage_ends = (
            progress.waited >= schedule.patience[progress.stage]
            or progress.stage_epochs >= schedule.maximum_epochs
        )
        if stage_ends:
            _barrier(world)
            plain.load_state_dict(checkpoints.load_best())
            progress.stage, progress.stage_epochs, progress.waited = progress.stage + 1, 0, 0
            if progress.stage < len(schedule.learning_rates):
                optimizer = _optimizer(model, schedule, progress.stage)
        if world.rank == 0:
            checkpoints.save_last(
                {
                    "progress": asdict(progress),
                    "model": plain.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
            )
        if on_epoch is not None:
            on_epoch(record)
    return progress


def evaluate(
    model: nn.Module,
    examples: Examples,
    rows: np.ndarray,
    objective: Objective,
    batch_size: int,
    world: World,
) -> float:
    """Return the mean metric over ``rows``, split over the workers; NaN if one is not finite."""
    model.eval()
    values: list[float] = []
    with torch.no_grad():
        for _, arguments, target in world.batches(
            examples, order.shard(rows, batch_size, world.rank, world.size), None
        ):
            with world.autocast():
                output = model(*arguments)
            # An accuracy is a number whatever the outputs are: one of a broken output counts for
            # nothing.
            finite = torch.isfinite(output.flatten(1)).all(dim=1)
            values += objective.metric(output, target).masked_fill(~finite, math.nan).tolist()
    return world.mean(values)


def _epoch(
    model: nn.Module,
    examples: Examples,
    objective: Objective,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    seed: int,
    progress: Progress,
    world: World,
) -> dict[str, float]:
    started = time.perf_counter()
    torch.manual_seed(draw_seed(seed, progress.epoch, world.rank))
    generator = np.random.default_rng([seed, progress.epoch, world.rank])
    model.train()
    penalty = getattr(model.module if hasattr(model, "module") else model, "l2_penalty", None)
    rate = rate_of_epoch(
        schedule.decay,
        schedule.learning_rates[progress.stage],
        progress.stage_epochs,
        schedule.maximum_epochs,
    )
    for group in optimizer.param_groups:
        group["lr"] = rate
    losses = Losses(progress.epoch, rate, examples.names)
    rows_in_order = order.epoch_order(examples.groups(), seed, progress.epoch, examples.window())
    rows_of_batches = order.batches(rows_in_order, schedule.batch_size, world.rank, world.size)
    for rows, arguments, target in world.batches(examples, rows_of_batches, generator):
        with world.autocast():
            output = model(*arguments)
        loss = objective.loss(output, target)
        if penalty is not None:
            loss = loss + penalty()
        losses.add(loss.detach(), rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if schedule.gradient_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_norm)
        optimizer.step()
    world.share_buffers(model)
    loss, trained = world.mean(losses.all()), time.perf_counter() - started
    validation = evaluate(
        model, examples, examples.validation, objective, schedule.batch_size, world
    )
    if not math.isfinite(validation):
        raise Diverged(
            f"outputs for validation rows are not finite after epoch {progress.epoch}, learning "
            f"rate {rate:g}: lower the rate"
        )
    return {
        "epoch": progress.epoch,
        "stage": progress.stage,
        "learning_rate": rate,
        "loss": loss,
        "validation": validation,
        "examples_per_second": len(rows_in_order) / trained,
        "peak_mebibytes": peak_mebibytes(),
        "ended": time.time(),
        "seconds": time.perf_counter() - started,
    }


def _optimizer(model: nn.Module, schedule: Schedule, stage: int) -> torch.optim.Optimizer:
    return make_optimizer(
        schedule.optimizer,
        model.parameters(),
        schedule.learning_rates[stage],
        schedule.weight_decay,
    )


def _to_device(arguments: Any, device: torch.device) -> Any:
    if isinstance(arguments, Tensor):
        return arguments.to(device, non_blocking=True)
    if isinstance(arguments, dict):
        return {name: _to_device(value, device) for name, value in arguments.items()}
    return tuple(_to_device(value, device) for value in arguments)


def _barrier(world: World) -> None:
    if world.size > 1:
        torch.distributed.barrier()
