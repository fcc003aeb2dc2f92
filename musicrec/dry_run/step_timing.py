"""Time a training step and a forward pass, from which a training's duration is estimated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from musicrec.specs.submodel import SubmodelSpec
from musicrec.training.loop import Schedule
from musicrec.training.objectives import OBJECTIVES
from musicrec.training.optimizers import make_optimizer

TIMED_STEPS = 3
# A first step longer than this (seconds) is used as is, warm-up included, to keep the plan quick.
LONG_STEP = 10.0


@dataclass(frozen=True)
class TimedModel:
    """A submodel and a batch of its inputs, as sent to the worker that times a step."""

    name: str
    spec: SubmodelSpec
    inputs: np.ndarray
    task: str
    schedule: Schedule
    seed: int


def time_steps(model: TimedModel, device: str, threads: int) -> tuple[str, float, float]:
    """Return the submodel's name, and the seconds of a training step and of a forward pass."""
    torch.set_num_threads(threads)
    torch.manual_seed(model.seed)
    network = model.spec.build().to(device)
    inputs = torch.from_numpy(model.inputs).to(device)
    target = _target(model.task, len(inputs), model.spec.outputs).to(device)
    objective, schedule = OBJECTIVES[model.task], model.schedule
    optimizer = make_optimizer(
        schedule.optimizer, network.parameters(), schedule.learning_rates[0], schedule.weight_decay
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective.loss(network(inputs), target).backward()
        optimizer.step()

    def forward() -> None:
        with torch.no_grad():
            network(inputs)

    return model.name, _median_seconds(step, device), _median_seconds(forward, device)


def _target(task: str, batch: int, outputs: int) -> torch.Tensor:
    if task == "single_genre":
        return torch.randint(outputs, (batch,))
    return (
        torch.randint(2, (batch, outputs)) if task == "many_genres" else torch.randn(batch, outputs)
    )


def _median_seconds(call: Callable[[], None], device: str) -> float:
    """Return the median of some calls after a warm-up, or the warm-up's time if it is long."""

    def seconds() -> float:
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    first = seconds()
    return first if first > LONG_STEP else statistics.median(seconds() for _ in range(TIMED_STEPS))
