"""The CPU kernels of Time and Freq against the modules they stand for, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from musicrec.models import INPUT_SHAPES, build_model
from musicrec.models.directional import DirectionalNetwork
from musicrec.models.kernels.directional import applies_to

CLASSES = 5
# Odd numbers of rows and columns, of filters and channels; both pools; both paddings; several input
# channels.
CASES = [
    ("time", "mel", {"shape": (41, 163)}),
    ("time", "mfcc", {"shape": (12, 301)}),
    ("time", "cifar", {}),
    ("time", "mel", {"shape": (16, 161), "branch_filters": 3, "channels": (5, 6, 7, 9, 10)}),
    ("freq", "mel", {"shape": (161, 37)}),
    ("freq", "cifar", {"branch_filters": 1, "channels": (3, 5)}),
    ("freq", "cqt", {"shape": (133, 20), "kernel_size": 5}),
]


def network_and_batch(
    architecture: str, feature: str, sizes: dict, batch: int
) -> tuple[DirectionalNetwork, Tensor, Tensor]:
    """Return a network with non-trivial batch norms, some of negative scale, and images."""
    torch.manual_seed(1)
    network = build_model(architecture, feature, CLASSES, **sizes).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.0, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -1.0, 1.0)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    channels, *own = INPUT_SHAPES[feature]
    return (
        network,
        1 + torch.randn(batch, channels, *sizes.get("shape", own)),
        torch.randint(CLASSES, (batch,)),
    )


def gradients(
    network: nn.Module, images: Tensor, labels: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    outputs = network(images)
    functional.cross_entropy(outputs, labels).backward()
    return outputs.detach(), {
        name: parameter.grad for name, parameter in network.named_parameters()
    }


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(("architecture", "feature", "sizes"), CASES)
def test_training_equals_the_modules_in_float64(
    architecture: str, feature: str, sizes: dict, batch: int
) -> None:
    network, images, labels = network_and_batch(architecture, feature, sizes, batch)
    exact = copy.deepcopy(network).double()
    assert applies_to(network, images)
    assert not applies_to(exact, images.double())
    found, found_gradients = gradients(network, images, labels)
    expected, expected_gradients = gradients(exact, images.double(), labels)
    torch.testing.assert_close(found.double(), expected, atol=3e-6, rtol=1e-5)
    for name, gradient in expected_gradients.items():
        # By the norm: where two numbers of a pool are equal up to rounding, float32 may send the
        # gradient to the other one.
        assert found_gradients[name].stride() == gradient.stride(), (
            name
        )  # else DDP copies through a slow path
        assert (found_gradients[name] - gradient).norm() <= 2e-3 * gradient.norm(), name
    for name, buffer in exact.named_buffers():
        torch.testing.assert_close(
            dict(network.named_buffers())[name].to(buffer), buffer, atol=1e-5, rtol=1e-5, msg=name
        )


@pytest.mark.parametrize(("architecture", "feature", "sizes"), CASES)
def test_inference_equals_the_modules_in_float64(
    architecture: str, feature: str, sizes: dict
) -> None:
    network, images, _ = network_and_batch(architecture, feature, sizes, 2)
    before = copy.deepcopy(network.eval().state_dict())
    with torch.no_grad():
        assert applies_to(network, images)
        found = network(images)
        expected = copy.deepcopy(network).double()(images.double())
    torch.testing.assert_close(found.double(), expected, atol=3e-6, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_threads_share_a_batch_and_change_nothing() -> None:
    threads = torch.get_num_threads()
    results = []
    for count in (1, 3):
        network, images, labels = network_and_batch("time", "mel", {"shape": (41, 163)}, 4)
        try:
            torch.set_num_threads(count)
            results.append(gradients(network, images, labels))
        finally:
            torch.set_num_threads(threads)
    # The gradients' sums over samples and the last layers are torch's own, whose order may follow
    # the threads.
    torch.testing.assert_close(results[0], results[1], atol=1e-6, rtol=1e-4)


def test_a_mean_far_from_zero_does_not_eat_the_variance() -> None:
    network, images, _ = network_and_batch("time", "mel", {"shape": (8, 161)}, 2)
    exact = copy.deepcopy(network).double()
    offset = images + 100.0
    torch.testing.assert_close(
        network(offset).double(), exact(offset.double()), atol=1e-3, rtol=1e-3
    )


def test_what_is_no_number_stays_so() -> None:
    network, images, _ = network_and_batch("freq", "mel", {"shape": (161, 37)}, 2)
    images[1, 0, 80, 20] = torch.nan
    assert network(images).isnan().all()


def test_other_uses_go_through_the_modules() -> None:
    network, images, _ = network_and_batch("time", "mel", {"shape": (8, 161)}, 2)
    assert applies_to(network, images)
    assert not applies_to(network.double(), images.double())
    network.float()
    assert not applies_to(network, images.clone().requires_grad_())
    assert not applies_to(network, images.to("meta"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not applies_to(network, images)
    assert not applies_to(network.eval(), images)
    twelve_rows, images, _ = network_and_batch("freq", "mfcc", {}, 1)
    assert not applies_to(twelve_rows, images)


def test_gradients_reach_the_images_of_whoever_asks() -> None:
    network, images, labels = network_and_batch("time", "mel", {"shape": (8, 161)}, 2)
    images.requires_grad_()
    functional.cross_entropy(network(images), labels).backward()
    assert images.grad.abs().sum() > 0
