"""Outputs and gradients of every architecture, input and stack, at the thesis' sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from musicrec.models import INPUT_SHAPES, VARIANTS, build_model, build_stack
from musicrec.models.recommendation import NUMBERS, SUBMODELS

OUTPUTS, BATCH = 3, 2
TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "one genre": lambda output: functional.cross_entropy(output, torch.tensor([0, 2])),
    "many genres": lambda output: functional.binary_cross_entropy_with_logits(
        output, torch.tensor([[0.0, 1, 1], [1, 0, 0]])
    ),
    "embedding": lambda output: (
        -functional.cosine_similarity(output, torch.tensor([[0.6, 0.8, 0], [0, 0.6, -0.8]])).mean()
    ),
}
SINGLE = [
    *(
        (architecture, feature)
        for architecture in ("simple", "time", "freq")
        for feature in INPUT_SHAPES
    ),
    *(
        (architecture, feature)
        for architecture in ("rnn", "large_rnn")
        for feature in ("chroma", "mfcc")
    ),
    ("mlp", "statistics"),
    ("lyrics", None),
    ("albums", None),
]
STACKS = {
    "time_freq": {},
    "time_freq_avg": {},
    "genre_ensemble": {},
    **{f"recommendation {name}": {"branches": branches} for name, branches in VARIANTS.items()},
}


def sizes(architecture: str, feature: str | None) -> dict[str, object]:
    """Return the thesis' shape; of the whole STFT, the axis across the kernels is cut.

    Uncut it takes half a minute. The axis along the kernels is whole.
    """
    if architecture == "lyrics":
        return {"vocabulary": 10}
    if architecture == "mlp":
        return {"inputs": 40}
    rows, columns = INPUT_SHAPES[feature][1:] if feature else (0, 0)
    if feature in ("stft", "stft_halved") and architecture != "simple":
        return {"shape": (128, columns) if architecture == "time" else (rows, 40)}
    return {}


def example(architecture: str, feature: str | None, shape: tuple[int, int] | None) -> Tensor:
    """Return a batch of that shape.

    Texts are short, images small, and the clips of recurrent layers a tenth as long.
    """
    generator = torch.Generator().manual_seed(1)
    if architecture == "lyrics":
        return torch.tensor([[0, 0, 5, 6, 7, 8], [1, 2, 3, 4, 5, 9]])
    if architecture == "mlp":
        return 3 * torch.randn(BATCH, 1, 40, 1, generator=generator)
    if architecture == "albums":
        return torch.rand(BATCH, 3, 96, 96, generator=generator)
    channels, rows, columns = INPUT_SHAPES[feature]
    rows, columns = shape or (rows, columns // 10 if "rnn" in architecture else columns)
    return torch.randn(BATCH, channels, rows, columns, generator=generator)


def stack_and_inputs(name: str, **sizes: object) -> tuple[nn.Module, dict[str, Tensor]]:
    architecture = name.partition(" ")[0]
    torch.manual_seed(0)
    stack = build_stack(architecture, OUTPUTS, **STACKS[name], **sizes)
    if architecture != "recommendation":
        return stack, {submodel: torch.randn(BATCH, OUTPUTS) for submodel in stack.submodels}
    vectors = {
        submodel: torch.randn(BATCH, OUTPUTS)
        for branch in stack.branches
        for submodel in SUBMODELS.get(branch, ())
    }
    return stack, vectors | {
        number: torch.rand(BATCH) for branch in stack.branches for number in NUMBERS.get(branch, ())
    }


def assert_learns_under_every_task(model: nn.Module, output: Tensor) -> None:
    """Every task gives finite gradients to the output and to every weight.

    One pass back serves all tasks: it is linear in the output's gradient, so that its sum is finite
    only if each part is.
    """
    assert output.shape == (BATCH, OUTPUTS)
    wanted = {
        task: torch.autograd.grad(loss(output), output, retain_graph=True)[0]
        for task, loss in TASKS.items()
    }
    for task, gradient in wanted.items():
        assert gradient.isfinite().all(), task
        assert gradient.any(), task
    output.backward(sum(wanted.values()))
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    assert any(weight.grad.any() for weight in model.parameters())


@pytest.mark.parametrize(("architecture", "feature"), SINGLE)
def test_single_input(architecture: str, feature: str | None) -> None:
    torch.manual_seed(0)
    chosen = sizes(architecture, feature)
    model = build_model(architecture, feature, OUTPUTS, **chosen)
    inputs = example(architecture, feature, chosen.get("shape"))
    assert_learns_under_every_task(model, model(inputs))
    with torch.no_grad():
        alone = model.eval()(inputs[:1])
    assert alone.shape == (1, OUTPUTS)
    assert alone.isfinite().all()


@pytest.mark.parametrize("name", [name for name in STACKS if name != "time_freq_avg"])
def test_stack(name: str) -> None:
    stack, inputs = stack_and_inputs(name)
    assert_learns_under_every_task(stack, stack(inputs))
    with torch.no_grad():
        together, alone = (
            stack.eval()(inputs),
            stack({submodel: value[:1] for submodel, value in inputs.items()}),
        )
    torch.testing.assert_close(alone, together[:1])


@pytest.mark.parametrize("activation", ["none", "sigmoid", "softmax"])
def test_average_passes_finite_gradients_to_its_inputs(activation: str) -> None:
    inputs = {
        name: torch.randn(BATCH, OUTPUTS).mul(100).requires_grad_()
        for name in ("mel.time", "mel.freq")
    }
    output = build_stack("time_freq_avg", OUTPUTS, submodels=tuple(inputs), activation=activation)(
        inputs
    )
    for task, loss in TASKS.items():
        for gradient in torch.autograd.grad(loss(output), list(inputs.values()), retain_graph=True):
            assert gradient.isfinite().all(), task


@pytest.mark.parametrize("name", STACKS)
def test_exported_stack_loads_as_weights_only(name: str, tmp_path: Path) -> None:
    sizes = (
        {"branch_hidden": 6, "branch_outputs": 4, "pair_hidden": (6,), "head": (8,)}
        if name.startswith("recommendation")
        else {}
    )
    stack, inputs = stack_and_inputs(name, **sizes)
    torch.save(stack.state_dict(), tmp_path / "stack.pt")
    other, _ = stack_and_inputs(name, **sizes)
    for weight in other.parameters():
        nn.init.zeros_(weight)
    other.load_state_dict(torch.load(tmp_path / "stack.pt", weights_only=True))
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(inputs), stack.eval()(inputs), atol=0, rtol=0)
