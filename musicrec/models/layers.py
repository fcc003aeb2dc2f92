"""Layers with Keras' semantics: padding, separable convolution, batch norm, initialisation.

Keras pads "same" to an output of ceil(size / stride) and puts the odd element after the input;
torch pads both sides alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]
Padding = Literal["same", "valid"]

# Keras' momentum 0.99 is the share of the old statistic, torch's the share of the new one. It takes
# some 300 batches until the running statistics, and with them the outputs in inference mode, have
# forgotten their start: short trainings want more.
BATCH_NORM_MOMENTUM = 0.01
BATCH_NORM_EPSILON = 1e-3


def same_padding(size: int, kernel: int, stride: int) -> Pair:
    """Return the padding of an axis for ceil(size / stride) outputs; an odd element goes after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def output_size(size: int, kernel: int, stride: int, padding: Padding) -> int:
    """Return the number of outputs of a convolution or pool along an axis of `size` elements.

    Raises
    ------
    ValueError
        If a "valid" kernel is larger than the axis.
    """
    if padding == "same":
        return -(-size // stride)
    if kernel > size:
        raise ValueError(
            f"a valid kernel of {kernel} does not fit an axis of {size}: use a larger input "
            "shape or fewer layers"
        )
    return (size - kernel) // stride + 1


class Conv2d(nn.Conv2d):
    """Convolution without bias, padded "valid" or as Keras pads "same"."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = (1, 1),
        *,
        padding: Padding = "same",
        groups: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)
        self.keras_padding = padding

    def output_shape(self, shape: Pair) -> Pair:
        """Height and width after this layer."""
        height, width = (
            output_size(size, kernel, stride, self.keras_padding)
            for size, kernel, stride in zip(shape, self.kernel_size, self.stride, strict=True)
        )
        return height, width

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        if self.keras_padding == "valid":
            return super().forward(images)
        top, bottom = same_padding(images.shape[-2], self.kernel_size[0], self.stride[0])
        left, right = same_padding(images.shape[-1], self.kernel_size[1], self.stride[1])
        if top == bottom and left == right:
            return functional.conv2d(
                images, self.weight, None, self.stride, (top, left), self.dilation, self.groups
            )
        padded = functional.pad(images, (left, right, top, bottom))
        return functional.conv2d(
            padded, self.weight, None, self.stride, 0, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"{super().extra_repr()}, keras_padding={self.keras_padding}"


class SeparableConv2d(nn.Module):
    """Depthwise convolution (multiplier 1), then a 1x1 convolution across channels.

    No bias, and nothing in between.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Pair, padding: Padding = "same"
    ) -> None:
        super().__init__()
        self.depthwise = Conv2d(
            in_channels, in_channels, kernel_size, padding=padding, groups=in_channels
        )
        self.pointwise = Conv2d(in_channels, out_channels, (1, 1), padding="valid")
        self.out_channels = out_channels

    def output_shape(self, shape: Pair) -> Pair:
        """Height and width after this layer."""
        return self.depthwise.output_shape(shape)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        return self.pointwise(self.depthwise(images))


class SameMaxPool2d(nn.Module):
    """Max pool padded as Keras pads "same"; what is padded never wins.

    Each axis has stride 1 with kernel 1, or stride 2 with kernel 2 or 3. There, torch's implicit
    padding by the amount before the axis, rounded up, meets exactly Keras' windows, without copying
    the input.
    """

    def __init__(self, kernel_size: Pair, stride: Pair) -> None:
        super().__init__()
        for kernel, step in zip(kernel_size, stride, strict=True):
            if (kernel, step) not in ((1, 1), (2, 2), (3, 2)):
                raise ValueError(
                    f"a pool of kernel {kernel} and stride {step} is not supported: use 1/1, "
                    "2/2 or 3/2 along an axis"
                )
        self.kernel_size = kernel_size
        self.stride = stride

    def output_shape(self, shape: Pair) -> Pair:
        """Height and width after this layer."""
        return -(-shape[0] // self.stride[0]), -(-shape[1] // self.stride[1])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""
        top, _ = same_padding(images.shape[-2], self.kernel_size[0], self.stride[0])
        left, _ = same_padding(images.shape[-1], self.kernel_size[1], self.stride[1])
        return functional.max_pool2d(
            images, self.kernel_size, self.stride, (top, left), ceil_mode=True
        )

    def extra_repr(self) -> str:
        """Return the arguments that ``repr`` shows."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class ConvBlock(nn.Module):
    """Convolution, batch norm, max pool where there is one, ReLU, in the thesis' order."""

    def __init__(
        self,
        convolution: Conv2d | SeparableConv2d,
        pool: SameMaxPool2d | None = None,
        momentum: float = BATCH_NORM_MOMENTUM,
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = batch_norm(convolution.out_channels, momentum)
        self.pool = pool
        self.out_channels = convolution.out_channels

    def output_shape(self, shape: Pair) -> Pair:
        """Height and width after this block."""
        shape = self.convolution.output_shape(shape)
        return shape if self.pool is None else self.pool.output_shape(shape)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        images = self.norm(self.convolution(images))
        if self.pool is not None:
            images = self.pool(images)
        return functional.relu(images, inplace=True)


def batch_norm(channels: int, momentum: float = BATCH_NORM_MOMENTUM) -> nn.BatchNorm2d:
    """Batch norm with Keras' constants in torch's meaning."""
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON, momentum=momentum)


def check_images(images: Tensor, expected: tuple[int, int, int]) -> None:
    """Raise ValueError unless `images` is a batch of the shape that the model was built for."""
    if images.ndim != 4 or tuple(images.shape[1:]) != expected:
        channels, frequency, time = expected
        raise ValueError(
            f"input of shape {tuple(images.shape)} where (batch, {channels}, {frequency}, "
            f"{time}) is expected: "
            "build the model with shape=(frequency, time) of the input"
        )


@torch.no_grad()
def initialise(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw every weight of `model` anew as Keras does by default.

    Convolution, dense and recurrent input weights: Glorot-uniform (Glorot and Bengio 2010), with
    Keras' fans: a depthwise kernel counts kernel x channels in and kernel out, a recurrent layer
    the gates together. Recurrent weights: orthogonal over the gates together. Embeddings: uniform
    in -0.05..0.05. Biases 0, but the two forget biases of an LSTM add to 1. Batch norm: scale 1,
    shift 0, running mean 0 and variance 1.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    generator : torch.Generator, optional
        Source of the draws; torch's global one when None.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # torch swaps a depthwise kernel's fans against Keras', but only their sum counts.
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.uniform_(module.weight, -0.05, 0.05, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.RNNBase):
            _initialise_recurrent(module, generator)


def _initialise_recurrent(module: nn.RNNBase, generator: torch.Generator | None) -> None:
    for name, parameter in module.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter, generator=generator)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter, generator=generator)
        else:
            nn.init.zeros_(parameter)
            if isinstance(module, nn.LSTM) and name.startswith("bias_ih"):
                # torch's gate order: input, forget, cell, output.
                parameter[module.hidden_size : 2 * module.hidden_size] = 1.0


def count_parameters(model: nn.Module) -> int:
    """Return the number of weights as the thesis counts them.

    Batch norm's running mean and variance are included, its batch counter is not.
    """
    weights = sum(parameter.numel() for parameter in model.parameters())
    running = sum(
        buffer.numel()
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    )
    return weights + running


def dense_layers(inputs: int, widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Dense layers of these widths with ReLU, and dropout if it is above 0, after each."""
    layers: list[nn.Module] = []
    for before, after in zip((inputs, *widths[:-1]), widths, strict=True):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)
