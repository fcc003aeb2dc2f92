"""Recommendation: its branches, scaling to unit length, and what a missing modality does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from musicrec.models import AUDIO_ONLY, BRANCHES, VARIANTS, build_stack
from musicrec.models.recommendation import NUMBERS, SUBMODELS, Recommendation

WIDTH = 10
SIZES = {
    "branch_hidden": 9,
    "branch_outputs": 5,
    "pair_hidden": (8, 7),
    "location_hidden": 3,
    "head": (16, 12),
}


def small(**sizes: object) -> Recommendation:
    torch.manual_seed(0)
    return build_stack("recommendation", WIDTH, **(SIZES | sizes)).eval()


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    vectors = {
        name: torch.randn(4, WIDTH, generator=generator)
        for names in SUBMODELS.values()
        for name in names
    }
    return vectors | {
        name: torch.rand(4, generator=generator) for names in NUMBERS.values() for name in names
    }


def dense(layer: nn.Linear, vector: Tensor) -> Tensor:
    return (vector @ layer.weight.T + layer.bias).clamp(min=0)


def test_forward_by_hand(inputs: dict[str, Tensor]) -> None:
    model = small()
    vectors = []
    for name, branch in model.branches.items():
        if name in SUBMODELS:
            parts = [
                inputs[submodel] / inputs[submodel].norm(dim=1, keepdim=True)
                for submodel in SUBMODELS[name]
            ]
        else:
            parts = [inputs[number][:, None] for number in NUMBERS[name]]
        if name != "year":
            parts = [dense(layer, part) for layer, part in zip(branch.single, parts, strict=True)]
        vector = torch.cat(parts, dim=1)
        for layer in branch.joint[::2]:
            vector = dense(layer, vector)
        vectors.append(vector)
    vector = torch.cat(vectors, dim=1)
    for layer in model.hidden[::2]:
        vector = dense(layer, vector)
    expected = vector @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(inputs), expected)
    assert tuple(model.branches) == VARIANTS["Recommendation"]


def test_length_of_a_submodels_output_does_not_matter(inputs: dict[str, Tensor]) -> None:
    model = small()
    longer = inputs | {name: 7.5 * inputs[name] for names in SUBMODELS.values() for name in names}
    torch.testing.assert_close(model(longer), model(inputs))


def test_zero_vector_is_safe(inputs: dict[str, Tensor]) -> None:
    model = small()
    silent = (inputs | {"lyrics": torch.zeros(4, WIDTH)})["lyrics"].requires_grad_()
    output = model(inputs | {"lyrics": silent})
    output.sum().backward()
    assert output.isfinite().all()
    assert silent.grad.isfinite().all()


def test_missing_branch_contributes_zeros_for_its_example_only(inputs: dict[str, Tensor]) -> None:
    model = small()
    present = {
        "lyrics": torch.tensor([1.0, 0.0, 1.0, 0.0]),
        "year": torch.tensor([1.0, 1.0, 0.0, 0.0]),
    }
    masked, full = model(inputs, present), model(inputs)
    torch.testing.assert_close(masked[0], full[0])
    other = {"lyrics": inputs["lyrics"].flip(1), "year": 1 - inputs["year"]}
    changed = model(inputs | other, present)
    torch.testing.assert_close(
        changed[3], masked[3]
    )  # neither modality is there: their values do not matter
    assert not torch.allclose(changed[1], masked[1])  # its year is there
    assert not torch.allclose(masked[3], full[3])
    # Zeros in the concatenation are what the head would see without the branch's columns.
    columns = {name: slice(5 * index, 5 * index + 5) for index, name in enumerate(BRANCHES)}
    with torch.no_grad():
        model.hidden[0].weight[:, columns["lyrics"]] = 0
        model.hidden[0].weight[:, columns["year"]] = 0
    torch.testing.assert_close(model(inputs)[3], masked[3])


def test_missing_branch_learns_nothing(inputs: dict[str, Tensor]) -> None:
    model = small()
    model(inputs, {"albums": torch.zeros(4)}).sum().backward()
    assert not any(parameter.grad.any() for parameter in model.branches["albums"].parameters())
    assert any(parameter.grad.any() for parameter in model.branches["lyrics"].parameters())


def test_all_present_is_no_mask_in_any_form(inputs: dict[str, Tensor]) -> None:
    model = small()
    ones = {name: torch.ones(4) for name in BRANCHES}
    torch.testing.assert_close(model(inputs, ones), model(inputs))
    columns = {name: value[:, None] if value.ndim == 1 else value for name, value in inputs.items()}
    torch.testing.assert_close(
        model(columns, {name: value[:, None] for name, value in ones.items()}), model(inputs)
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_needs_its_own_inputs_only(variant: str, inputs: dict[str, Tensor]) -> None:
    model = small(branches=VARIANTS[variant])
    needed = [name for branch in VARIANTS[variant] for name in (SUBMODELS | NUMBERS)[branch]]
    assert model({name: inputs[name] for name in needed}).shape == (4, WIDTH)
    with pytest.raises(ValueError, match=f"inputs lack {needed[-1]}"):
        model({name: inputs[name] for name in needed[:-1]})


def test_order_of_branches_does_not_matter() -> None:
    forward, backward = small(branches=BRANCHES), small(branches=tuple(reversed(BRANCHES)))
    assert list(forward.state_dict()) == list(backward.state_dict())


def test_dropout_in_the_head_only_where_asked_for(inputs: dict[str, Tensor]) -> None:
    assert not any(isinstance(module, nn.Dropout) for module in small().modules())
    model = small(dropout=0.5).train()
    assert not torch.equal(model(inputs), model(inputs))


def test_errors_name_what_is_wrong(inputs: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="one or more of chroma, mfcc"):
        build_stack("recommendation", WIDTH, branches=(*AUDIO_ONLY, "sleeve"))
    with pytest.raises(ValueError, match="one or more of"):
        build_stack("recommendation", WIDTH, branches=())
    with pytest.raises(ValueError, match="no branch by sleeve"):
        small()(inputs, {"sleeve": torch.ones(4)})
    with pytest.raises(ValueError, match=r"'cqt\.time' has shape \(4, 3\) where \(batch, 10\)"):
        small()(inputs | {"cqt.time": torch.zeros(4, 3)})
