"""Building by name, then train, save, copy, compile, and compute in lower precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from musicrec.models import build_model, build_stack

OUTPUTS = 5


def spectral(
    architecture: str, feature: str, shape: tuple[int, int], **sizes: object
) -> tuple[nn.Module, Tensor]:
    return build_model(architecture, feature, OUTPUTS, shape=shape, **sizes), torch.randn(
        3, 1, *shape
    )


# One small model of each architecture with a batch for it.
EXAMPLES: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "simple": lambda: spectral("simple", "cqt", (84, 160), channels=(4, 6, 8, 10)),
    "time": lambda: spectral("time", "cqt", (84, 160), channels=(6, 8, 10)),
    "freq": lambda: spectral("freq", "cqt", (84, 160), channels=(6, 8, 10)),
    "rnn": lambda: spectral("rnn", "mfcc", (12, 20), hidden=(6, 6)),
    "large_rnn": lambda: spectral("large_rnn", "mfcc", (12, 20), hidden=(6, 8)),
    "lyrics": lambda: (
        build_model("lyrics", None, OUTPUTS, vocabulary=9, embedding_size=4, hidden=(6, 8)),
        torch.randint(0, 9, (3, 11)),
    ),
    "albums": lambda: (
        build_model("albums", None, OUTPUTS, width_multiplier=0.35),
        torch.rand(3, 3, 64, 64),
    ),
}


@pytest.mark.parametrize(
    "feature", ["stft", "stft_halved", "mel", "cqt", "chroma", "mfcc", "cifar"]
)
@pytest.mark.parametrize("architecture", ["simple", "time", "freq"])
def test_thesis_sizes_run_backward_on_every_feature(architecture: str, feature: str) -> None:
    with torch.device("meta"):
        model = build_model(architecture, feature, 16)
        model(torch.empty(2, *model.input_shape)).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in model.parameters())


@pytest.mark.parametrize("architecture", EXAMPLES)
def test_weights_travel_as_safetensors_and_weights_only(architecture: str, tmp_path: Path) -> None:
    model, batch = EXAMPLES[architecture]()
    model(batch)  # moves the running statistics
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    for state in (
        safetensors.torch.load_file(tmp_path / "model.safetensors"),
        torch.load(tmp_path / "model.pt", weights_only=True),
    ):
        other, _ = EXAMPLES[architecture]()
        other.load_state_dict(state)
        torch.testing.assert_close(other.eval()(batch), model.eval()(batch))


@pytest.mark.parametrize("architecture", EXAMPLES)
def test_copy_is_independent(architecture: str) -> None:
    model, batch = EXAMPLES[architecture]()
    model.eval()
    twin, before = copy.deepcopy(model), model(batch)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(0.1)
    assert not torch.allclose(twin(batch), before)
    assert torch.equal(model(batch), before)


@pytest.mark.parametrize("architecture", ["simple", "time", "freq", "albums"])
def test_convolutional_compiles_without_a_graph_break(architecture: str) -> None:
    model, batch = EXAMPLES[architecture]()
    model.eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch), model(batch))


def test_recommendation_compiles_without_a_graph_break() -> None:
    model = build_stack(
        "recommendation",
        8,
        branch_hidden=6,
        branch_outputs=4,
        pair_hidden=(6,),
        head=(8,),
        branches=("mel", "year"),
    )
    inputs = {"mel.time": torch.randn(3, 8), "mel.freq": torch.randn(3, 8), "year": torch.rand(3)}
    present = {"year": torch.tensor([1.0, 0.0, 1.0])}
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(inputs, present), model(inputs, present))


@pytest.mark.parametrize("architecture", EXAMPLES)
def test_bfloat16_stays_near_float32(architecture: str) -> None:
    torch.manual_seed(0)
    model, batch = EXAMPLES[architecture]()
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = model(batch).float()
    with torch.no_grad():
        torch.testing.assert_close(low, model(batch), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: build_model("resnet", "mel", 3),
            "unknown architecture 'resnet': use one of simple, time, freq, rnn, large_rnn, "
            "mlp, lyrics, albums",
        ),
        (
            lambda: build_model("time", "spectrum", 3),
            "unknown feature 'spectrum': use one of stft, stft_halved, mel",
        ),
        (lambda: build_model("time", None, 3), "'time' reads a feature, and none is named"),
        (lambda: build_model("lyrics", "mel", 3, vocabulary=9), "feature must be None, not 'mel'"),
        (lambda: build_model("lyrics", None, 3), "'lyrics' needs the size 'vocabulary'"),
        (lambda: build_model("time", "mel", 0), "outputs=0 must be a whole number of at least 1"),
        (
            lambda: build_model("time", "mel", 3, filters=2),
            "'time' has no size 'filters': use branch_filters, kernel_divisors, channels",
        ),
        (
            lambda: build_model("albums", None, 3, width_multiplier=0),
            "width_multiplier=0 must be above 0",
        ),
        (lambda: build_model("simple", "mel", 3, channels=(4, 4, 4)), "at least 4 layers"),
        (lambda: build_model("freq", "mel", 3, channels=(4,)), "at least 2 separable layers"),
        (lambda: build_model("time", "mel", 3, shape=(256,)), "shape must be (frequency, time)"),
        (
            lambda: build_stack("bagging", 3),
            "unknown stack 'bagging': use one of time_freq, time_freq_avg, genre_ensemble, "
            "recommendation",
        ),
        (
            lambda: build_stack("recommendation", 3, width=5),
            "'recommendation' has no size 'width': use branches, branch_hidden",
        ),
    ],
)
def test_errors_name_the_thing_its_value_and_the_fix(
    call: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(ValueError) as raised:
        call()
    assert message in str(raised.value)


def test_sizes_may_come_as_lists_from_a_configuration() -> None:
    model = build_model(
        "time", "mel", 3, channels=[4, 6, 8], kernel_divisors=[8, 16], shape=[128, 160]
    )
    assert model(torch.randn(2, 1, 128, 160)).shape == (2, 3)
