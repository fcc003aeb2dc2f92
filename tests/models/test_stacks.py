"""TimeFreq, TimeFreqAvg and GenreEnsemble over the outputs of submodels."""

from __future__ import annotations

import pytest
import torch

from musicrec.models import build_stack

CLASSES = 6


def outputs_of(submodels: tuple[str, ...], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(4, CLASSES, generator=generator) for name in submodels}


@pytest.mark.parametrize("name", ["time_freq", "genre_ensemble"])
def test_classifier_stack_is_dense_relu_over_the_concatenation_in_order(name: str) -> None:
    stack = build_stack(name, CLASSES).eval()
    inputs = outputs_of(stack.submodels)
    vector = torch.cat([inputs[submodel] for submodel in stack.submodels], dim=1)
    for layer in stack.hidden:
        vector = (vector @ layer.weight.T + layer.bias).clamp(min=0)
    shuffled = dict(reversed(inputs.items()))
    torch.testing.assert_close(stack(shuffled), vector @ stack.head.weight.T + stack.head.bias)


@pytest.mark.parametrize(
    ("name", "widths"), [("time_freq", [256, 128]), ("genre_ensemble", [1024, 512, 256])]
)
def test_widths_dropout_and_penalty_of_the_thesis(name: str, widths: list[int]) -> None:
    stack = build_stack(name, CLASSES)
    assert [layer.out_features for layer in stack.hidden] == widths
    assert stack.dropout.p == 0.5
    expected = 0.002 * sum(layer.weight.square().sum().item() for layer in stack.hidden)
    assert stack.l2_penalty().item() == pytest.approx(expected, rel=1e-5)
    stack.l2_penalty().backward()
    torch.testing.assert_close(stack.hidden[0].weight.grad, 0.004 * stack.hidden[0].weight)
    assert stack.hidden[0].bias.grad is None
    assert stack.head.weight.grad is None


def test_dropout_acts_in_training_only() -> None:
    stack = build_stack("time_freq", CLASSES, submodels=("mel.time", "mel.freq"))
    inputs = outputs_of(stack.submodels)
    assert not torch.equal(stack(inputs), stack(inputs))
    stack.eval()
    assert torch.equal(stack(inputs), stack(inputs))


def test_average_is_the_mean() -> None:
    stack = build_stack("time_freq_avg", CLASSES)
    inputs = outputs_of(stack.submodels)
    torch.testing.assert_close(stack(inputs), (inputs["time"] + inputs["freq"]) / 2)
    assert not list(stack.parameters())


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_average_of_probabilities_comes_back_as_a_logit(activation: str) -> None:
    submodels = ("mel.time", "mel.freq", "cqt.time")
    stack = build_stack("time_freq_avg", CLASSES, submodels=submodels, activation=activation)
    inputs = outputs_of(submodels)
    apply = torch.sigmoid if activation == "sigmoid" else lambda logits: logits.softmax(dim=1)
    torch.testing.assert_close(
        apply(stack(inputs)), sum(apply(value) for value in inputs.values()) / 3
    )
    certain = {name: torch.full((1, CLASSES), -200.0) for name in submodels}
    assert stack(certain).isfinite().all()


def test_inputs_that_lack_or_do_not_fit_are_named() -> None:
    stack = build_stack("time_freq", CLASSES, submodels=("mel.time", "mel.freq"))
    inputs = outputs_of(stack.submodels)
    with pytest.raises(ValueError, match=r"inputs lack mel\.freq"):
        stack({"mel.time": inputs["mel.time"]})
    with pytest.raises(ValueError, match=r"'mel\.freq' has shape \(4, 2\) where \(batch, 6\)"):
        stack(inputs | {"mel.freq": torch.zeros(4, 2)})
    with pytest.raises(ValueError, match="unknown activation 'relu'"):
        build_stack("time_freq_avg", CLASSES, activation="relu")


def test_submodels_may_be_wider_than_the_classes() -> None:
    stack = build_stack("time_freq", 3, submodel_outputs=CLASSES)
    assert stack(outputs_of(stack.submodels)).shape == (4, 3)
