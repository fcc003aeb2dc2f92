"""Time forward and backward of the Time and Freq networks on one CPU thread, against `torch.nn`.

The plain `torch.nn` version is written out here in full and takes our weights. Both train on the
same batch in turns, in process CPU time, so that noise on the machine affects them alike; the ratio
is taken turn by turn. Where the compiled kernels do not apply, both versions are torch's layers and
the ratio shows the noise; the target is for the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from musicrec.models import INPUT_SHAPES, build_model
from musicrec.models.directional import DirectionalNetwork
from musicrec.models.kernels.directional import applies_to
from musicrec.models.layers import Conv2d, ConvBlock, SameMaxPool2d, same_padding

FEATURES = ("mel", "stft_halved", "cqt", "mfcc")
ARCHITECTURES = ("time", "freq")
CLASSES = 16
TOLERANCE = 1e-4  # between the two float32 losses


def plain_convolution(layer: Conv2d, shape: tuple[int, int]) -> list[nn.Module]:
    """Return `nn.Conv2d` with the layer's weights, after `nn.ZeroPad2d` where it pads unevenly."""
    convolution = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        groups=layer.groups,
        bias=False,
    )
    convolution.weight = nn.Parameter(layer.weight.detach().clone())
    if layer.keras_padding == "valid":
        return [convolution]
    top, bottom = same_padding(shape[0], layer.kernel_size[0], layer.stride[0])
    left, right = same_padding(shape[1], layer.kernel_size[1], layer.stride[1])
    if top == bottom and left == right:
        convolution.padding = (top, left)
        return [convolution]
    return [nn.ZeroPad2d((left, right, top, bottom)), convolution]


def plain_pool(pool: SameMaxPool2d | None) -> list[nn.Module]:
    """Return `nn.MaxPool2d` for a pooling layer, or nothing."""
    return [] if pool is None else [nn.MaxPool2d(pool.kernel_size, pool.stride, ceil_mode=True)]


def plain_norm(norm: nn.BatchNorm2d) -> nn.Module:
    """Return a fresh `nn.BatchNorm2d` with the same settings."""
    return nn.BatchNorm2d(norm.num_features, eps=norm.eps, momentum=norm.momentum)


class PlainParallel(nn.Module):
    """Parallel convolutions whose outputs are concatenated."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, F, T) to (B, filters x branches, F', T')."""
        return torch.cat([branch(images) for branch in self.branches], dim=1)


def plain_network(network: DirectionalNetwork) -> nn.Sequential:
    """Return the same network built only of `torch.nn` layers, with the same initial weights."""
    first, *blocks = network.features
    shape = network.input_shape[1:]
    layers: list[nn.Module] = [
        PlainParallel(
            [nn.Sequential(*plain_convolution(layer, shape)) for layer in first.convolutions]
        )
    ]
    layers += [plain_norm(first.norm), nn.ReLU(inplace=True)]
    shapes = [first.output_shape(shape)]
    for block in blocks:
        assert isinstance(block, ConvBlock)
        layers += plain_convolution(block.convolution.depthwise, shapes[-1]) + plain_convolution(
            block.convolution.pointwise, shapes[-1]
        )
        layers += [plain_norm(block.norm), *plain_pool(block.pool), nn.ReLU(inplace=True)]
        shapes.append(block.output_shape(shapes[-1]))
    head = nn.Linear(network.head.in_features, network.head.out_features)
    head.load_state_dict(network.head.state_dict())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).train(
        network.training
    )


def step(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return CPU milliseconds of a forward and backward pass, and its loss."""
    model.zero_grad()
    start = time.process_time()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    return 1000 * (time.process_time() - start), loss.item()


def measure(
    architecture: str, feature: str, batch: int, turns: int, seed: int = 0
) -> tuple[np.ndarray, bool]:
    """Return CPU milliseconds per clip (turns, 2), plain and ours, and whether ours is compiled.

    Raises
    ------
    RuntimeError
        If the two compute different losses.
    """
    torch.manual_seed(seed)
    ours = build_model(architecture, feature, CLASSES).train()
    models = (plain_network(ours), ours)
    images = torch.randn(batch, *INPUT_SHAPES[feature])
    labels = torch.randint(CLASSES, (batch,))
    # The first pass also compiles the kernels and touches the memory.
    losses = [step(model, images, labels)[1] for model in models]
    if abs(losses[0] - losses[1]) > TOLERANCE:
        raise RuntimeError(
            f"{architecture} on {feature}: loss of the plain network {losses[0]}, ours {losses[1]}"
        )
    times = np.array(
        [[step(model, images, labels)[0] / batch for model in models] for _ in range(turns)]
    )
    return times, applies_to(ours, images)


def table_row(name: str, times: np.ndarray) -> tuple[str, float]:
    """Return a line of the table, and our speed-up."""
    plain, ours = np.median(times, axis=0)
    low, ratio, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
    return f"{name:<18} {plain:10.1f} {ours:10.1f} {ratio:8.2f} {low:7.2f}-{high:.2f}", float(ratio)


def run(options: Sequence[str]) -> int:
    """Print the table; return 1 if a compiled network is slower than the plain one."""
    parser = argparse.ArgumentParser(prog="benchmark.py layers", description=__doc__)
    parser.add_argument("--features", nargs="+", choices=[*INPUT_SHAPES], default=FEATURES)
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7)
    parsed = parser.parse_args(options)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        print(
            f"{'CPU ms per clip':<18} {'nn.Conv2d':>10} {'ours':>10} {'ratio':>8} {'quartiles':>12}"
        )
        ratios = []
        for architecture in parsed.architectures:
            for feature in parsed.features:
                times, compiled = measure(architecture, feature, parsed.batch, parsed.turns)
                line, ratio = table_row(f"{feature}.{architecture}", times)
                print(line if compiled else f"{line}  torch's layers", flush=True)
                ratios += [ratio] if compiled else []
    finally:
        torch.set_num_threads(threads)
    print(
        f"forward + backward, batch {parsed.batch}, one thread, medians of {parsed.turns} turns; "
        "target: ratio >= 1"
    )
    return 0 if min(ratios, default=1.0) >= 1 else 1
