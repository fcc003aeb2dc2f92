"""Every architecture and stack, at a small size, can overfit 32 examples of every task.

Judged in inference mode, so that batch norm's running statistics must be right too; their momentum
is raised, because at most 160 batches are too few for the thesis'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from musicrec.models import build_model, build_stack
from musicrec.models.recommendation import NUMBERS, SUBMODELS

pytestmark = pytest.mark.slow

EXAMPLES, OUTPUTS, MOMENTUM = 32, 8, 0.1
Loss = Callable[[Tensor, Tensor], Tensor]


def spectrograms(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(32, 1, F, T): each a ripple of its own frequency, tempo and phase, under noise."""
    frequency = torch.arange(shape[0])[:, None] / shape[0]
    time = torch.arange(shape[1])[None, :] / shape[1]
    rates = 2 * torch.pi * (1 + 5 * torch.rand(EXAMPLES, 3, 1, 1, generator=generator))
    clean = torch.cos(rates[:, 0] * frequency) * torch.cos(rates[:, 1] * time + rates[:, 2])
    return (clean + 0.1 * torch.randn(EXAMPLES, *shape, generator=generator))[:, None]


def pictures(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(32, 3, H, W) in 0..1."""
    return torch.cat([spectrograms(shape, generator) for _ in range(3)], dim=1).sigmoid()


def texts(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(32, shape[1]) words from 1 below shape[0], at least 4 in each text, padded at the front."""
    vocabulary, longest = shape
    words = torch.randint(1, vocabulary, (EXAMPLES, longest), generator=generator)
    lengths = torch.randint(4, longest + 1, (EXAMPLES, 1), generator=generator)
    return words * (torch.arange(longest) >= longest - lengths)


@dataclass(frozen=True)
class Case:
    feature: str | None
    inputs: Callable[[tuple[int, int], torch.Generator], Tensor]
    shape: tuple[int, int]
    sizes: dict[str, object]
    learning_rate: float = 1e-2
    epochs: int = 80
    batch: int = 16


DIRECTIONAL = {
    "channels": (12, 16, 24),
    "kernel_size": 5,
    "kernel_divisors": (3, 6),
    "branch_filters": 4,
    "batch_norm_momentum": MOMENTUM,
}
CASES = {
    "simple": Case(
        "mfcc",
        spectrograms,
        (12, 32),
        {"shape": (12, 32), "channels": (8, 12, 16, 24, 32), "batch_norm_momentum": MOMENTUM},
    ),
    "time": Case("mel", spectrograms, (12, 48), DIRECTIONAL | {"shape": (12, 48)}),
    "freq": Case("mel", spectrograms, (48, 12), DIRECTIONAL | {"shape": (48, 12)}),
    "rnn": Case("mfcc", spectrograms, (12, 16), {"hidden": (24, 24)}),
    "large_rnn": Case("mfcc", spectrograms, (12, 16), {"hidden": (24, 32)}),
    "mlp": Case(
        "statistics", spectrograms, (16, 8), {"inputs": 128, "hidden": (64,), "dropout": 0.0}
    ),
    "lyrics": Case(
        None,
        texts,
        (40, 12),
        {"vocabulary": 40, "embedding_size": 16, "hidden": (24, 32)},
        epochs=160,
    ),
    "albums": Case(
        None,
        pictures,
        (32, 32),
        {"width_multiplier": 0.1, "batch_norm_momentum": 2 * MOMENTUM},
        3e-3,
        55,
        32,
    ),
}


# Dropout and weight penalty as in the thesis; Recommendation has neither.
STACKS: dict[str, dict[str, object]] = {
    "time_freq": {"hidden": (128, 64)},
    "genre_ensemble": {"hidden": (128, 96, 64)},
    "recommendation": {
        "branch_hidden": 32,
        "branch_outputs": 16,
        "pair_hidden": (32, 24),
        "location_hidden": 8,
        "head": (64, 48, 32),
    },
}


def trained(
    model: nn.Module, inputs: dict[str, Tensor] | Tensor, targets: Tensor, loss: Loss, case: Case
) -> Tensor:
    """Train by Adam, its rate falling to 0, on shuffled batches; return the outputs.

    They are (32, OUTPUTS), in inference mode.
    """

    def forward(rows: Tensor) -> Tensor:
        return model(
            {name: value[rows] for name, value in inputs.items()}
            if isinstance(inputs, dict)
            else inputs[rows]
        )

    optimizer = torch.optim.Adam(model.parameters(), lr=case.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, case.epochs)
    for _ in range(case.epochs):
        for batch in torch.randperm(EXAMPLES).split(case.batch):
            optimizer.zero_grad()
            value = loss(forward(batch), targets[batch])
            if hasattr(model, "l2_penalty"):
                value = value + model.l2_penalty()
            value.backward()
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        model.eval()
        return forward(torch.arange(EXAMPLES))


def outputs_after_training(architecture: str, targets: Tensor, loss: Loss) -> Tensor:
    case = CASES[architecture]
    model = build_model(architecture, case.feature, OUTPUTS, **case.sizes)
    return trained(
        model, case.inputs(case.shape, torch.Generator().manual_seed(1)), targets, loss, case
    )


def stack_outputs_after_training(name: str, targets: Tensor, loss: Loss) -> Tensor:
    """Train the stack on random outputs of submodels, and a random place and year."""
    model = build_stack(name, OUTPUTS, **STACKS[name])
    names = (
        model.submodels
        if name != "recommendation"
        else [submodel for branch in SUBMODELS.values() for submodel in branch]
    )
    inputs = {submodel: torch.randn(EXAMPLES, OUTPUTS) for submodel in names}
    if name == "recommendation":
        inputs |= {
            number: torch.rand(EXAMPLES) for numbers in NUMBERS.values() for number in numbers
        }
    return trained(
        model,
        inputs,
        targets,
        loss,
        Case(None, spectrograms, (0, 0), {}, learning_rate=3e-3, epochs=150),
    )


def negative_cosine(output: Tensor, target: Tensor) -> Tensor:
    return -functional.cosine_similarity(output, target).mean()


def after_training(name: str, targets: Tensor, loss: Loss) -> Tensor:
    return (stack_outputs_after_training if name in STACKS else outputs_after_training)(
        name, targets, loss
    )


@pytest.mark.parametrize("name", [*CASES, "time_freq", "genre_ensemble"])
def test_learns_genres(name: str) -> None:
    torch.manual_seed(0)
    genres = torch.randint(0, OUTPUTS, (EXAMPLES,))
    predicted = after_training(name, genres, functional.cross_entropy).argmax(dim=1)
    assert (predicted == genres).float().mean() >= 0.95


@pytest.mark.parametrize("name", ["time", "lyrics", "genre_ensemble"])
def test_learns_many_genres(name: str) -> None:
    torch.manual_seed(0)
    genres = (torch.rand(EXAMPLES, OUTPUTS) < 0.3).float()
    predicted = after_training(name, genres, functional.binary_cross_entropy_with_logits) > 0
    assert (predicted == genres.bool()).float().mean() >= 0.95


@pytest.mark.parametrize("name", [*CASES, "recommendation"])
def test_learns_embeddings(name: str) -> None:
    torch.manual_seed(0)
    embeddings = functional.normalize(torch.randn(EXAMPLES, OUTPUTS), dim=1)
    outputs = after_training(name, embeddings, negative_cosine)
    assert functional.cosine_similarity(outputs, embeddings).mean() >= 0.95
