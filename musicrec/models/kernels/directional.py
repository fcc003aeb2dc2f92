"""Time and Freq on the CPU in few passes over memory.

Written in torch's layers, a block of Time writes and reads its activations some ten times
(depthwise, pointwise, batch norm, pool with 64-bit indices, ReLU, and all of it backward), and a
batch's activations are hundreds of megabytes: the arithmetic waits for memory. Here a block is one
autograd function over compiled kernels. It keeps its input and what comes out of its convolution,
nothing else, and treats batch norm, pool and ReLU as one. Freq's spectrogram is transposed first,
so that the kernels always lie along the rows in memory.

The weights stay those of the modules in `directional`; other devices, types and uses go through
these modules themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ..layers import Conv2d, ConvBlock, same_padding

if TYPE_CHECKING:
    from ..directional import Axis, DirectionalNetwork, ParallelConvolutions

MIN_SIZE = (
    32  # along the axis: rows of 12 numbers fill no vector, and torch's layers are faster there
)
ROWS = 4  # that the kernels' matrix product treats at once


def applies_to(network: DirectionalNetwork, images: Tensor) -> bool:
    """Return whether `directional_features` can replace the modules.

    It needs float32 on the CPU, training mode or no gradients, and rows that are long enough.
    """
    return (
        images.shape[-1 if network.axis == "time" else -2] >= MIN_SIZE
        and images.device.type == "cpu"
        and images.dtype == network.head.weight.dtype == torch.float32
        and not images.requires_grad
        and (network.training or not torch.is_grad_enabled())
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )


def directional_features(blocks: nn.Sequential, axis: Axis, images: Tensor) -> Tensor:
    """Compute `blocks`, the features of a `DirectionalNetwork`, for images (B, C, F, T).

    Returns (B, channels, 1, remaining size along the axis).
    """
    rows = images if axis == "time" else images.transpose(2, 3)
    first, *separable, last = blocks
    rows = _parallel(first, axis, rows.contiguous())
    for block in separable:
        rows = _separable(block, axis, rows)
    depthwise, pointwise = last.convolution.depthwise.weight, last.convolution.pointwise.weight
    spanned = _Spanning.apply(rows, depthwise)
    return functional.relu(last.norm((pointwise.flatten(1) @ spanned).unsqueeze(2)), inplace=True)


class _Norm(NamedTuple):
    """Batch norm as the kernels take it: (x - mean) scale + shift, each (channels,)."""

    mean: Tensor
    scale: Tensor
    shift: Tensor
    inverse_deviation: Tensor
    numbers: (
        int  # that the batch's mean was taken over; 0 where mean and variance are the running ones
    )


def _norm(module: nn.BatchNorm2d, sums: Tensor, numbers: int) -> _Norm:
    """Return the normalisation's constants from moments (B, channels, 2) or running statistics.

    The moments are used in training, where they also update the running statistics.
    """
    if module.training:
        mean, square = (sums.sum(0) / numbers).unbind(1)
        variance = (square - mean * mean).clamp_(min=0)
        with torch.no_grad():
            module.num_batches_tracked += 1
            module.running_mean.lerp_(mean.to(module.running_mean), module.momentum)
            module.running_var.lerp_(
                (variance * (numbers / max(numbers - 1, 1))).to(module.running_var), module.momentum
            )
    else:
        mean, variance = module.running_mean.double(), module.running_var.double()
        numbers = 0
    inverse_deviation = (variance + module.eps).rsqrt()
    scale = module.weight.detach() * inverse_deviation
    return _Norm(
        mean.float(), scale.float(), module.bias.detach().clone(), inverse_deviation, numbers
    )


def _kernels() -> tuple[ModuleType, ModuleType]:
    """Import the kernels on the first pass: Numba takes most of a second to load."""
    from . import block as block_kernels
    from . import norm as norm_kernels

    return block_kernels, norm_kernels


def _run(kernel: Callable[..., None], batch: int, *arguments: Any) -> None:
    """Call a kernel with tensors as flat arrays; torch's threads share the samples.

    A sample's result does not depend on the thread that computes it.
    """
    flat = [
        argument.detach().reshape(-1).numpy() if isinstance(argument, Tensor) else argument
        for argument in arguments
    ]
    threads = min(torch.get_num_threads(), batch)
    if threads <= 1:
        kernel(*flat, 0, batch)
        return
    limits = [batch * thread // threads for thread in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(kernel, *flat, first, last) for first, last in pairwise(limits)]:
            done.result()


def _empty(*shape: int) -> Tensor:
    """Allocate uninitialised memory by NumPy, which asks the system for large pages.

    Touched page by page, fresh memory costs most of a pass.
    """
    return torch.from_numpy(np.empty(shape, np.float32))


def _shaped_like(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient in the weight's shape, type and strides.

    DDP copies it straight into its buckets only if all three agree.
    """
    return torch.empty_like(weight).copy_(gradient.reshape(weight.shape))


def _fill_rows(matrix: Tensor) -> Tensor:
    """Rows of zeros up to a multiple of ROWS."""
    return functional.pad(matrix, (0, 0, 0, -len(matrix) % ROWS))


def _normalise(convolved: Tensor, norm: _Norm, pool: int) -> Tensor:
    _, kernels = _kernels()
    batch, channels, rows, columns = convolved.shape
    result = _empty(batch, channels, *kernels.pooled(rows, columns, pool))
    _run(kernels.normalise, batch, convolved, result, *norm[:3], channels, rows, columns, pool)
    return result


def _normalise_backward(
    convolved: Tensor, gradient: Tensor, norm: _Norm, pool: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return batch norm's gradients and the two terms that `normalise_gradient` adds everywhere.

    The terms are a constant and a slope per channel.
    """
    _, kernels = _kernels()
    batch, channels, rows, columns = convolved.shape
    sums = torch.zeros(batch, channels, 2, dtype=torch.float64)
    _run(
        kernels.normalise_sums,
        batch,
        convolved,
        gradient,
        *norm[:3],
        sums,
        channels,
        rows,
        columns,
        pool,
    )
    plain, product = sums.sum(0).unbind(1)
    weight_gradient = product * norm.inverse_deviation
    constant = -norm.scale * plain / norm.numbers
    slope = -norm.scale * norm.inverse_deviation * weight_gradient / norm.numbers
    return weight_gradient.float(), plain.float(), constant.float(), slope.float()


class _Branches(NamedTuple):
    """Where `parallel_forward` finds the filters of each convolution, two by two (see there)."""

    lengths: Tensor
    shifts: Tensor
    offsets: Tensor
    places: Tensor
    step: int
    before: int


def _branches(convolutions: nn.ModuleList, axis: Axis, size: int) -> _Branches:
    along = 1 if axis == "time" else 0
    step = convolutions[0].stride[along]
    kernels = [convolution.kernel_size[along] for convolution in convolutions]
    paddings = [same_padding(size, kernel, step)[0] for kernel in kernels]
    channels, filters = convolutions[0].in_channels, convolutions[0].out_channels
    pairs = -(-filters // 2)
    lengths = torch.tensor([kernel for kernel in kernels for _ in range(pairs)])
    shifts = torch.tensor([max(paddings) - padding for padding in paddings for _ in range(pairs)])
    offsets = (2 * channels * lengths).cumsum(0) - 2 * channels * lengths
    places = torch.cat(
        [2 * pairs * branch + torch.arange(filters) for branch in range(len(kernels))]
    )
    return _Branches(lengths, shifts, offsets, places, step, max(paddings))


def _pack(weights: Sequence[Tensor]) -> Tensor:
    """Return all convolutions' filters, concatenated; each is (pairs, channels, length, 2)."""
    packed = []
    for weight in weights:
        filters = weight.flatten(2)  # (filters, channels, length)
        filters = functional.pad(filters, (0, 0, 0, 0, 0, len(filters) % 2))
        packed.append(filters.unflatten(0, (-1, 2)).movedim(1, -1).flatten())
    return torch.cat(packed)


def _unpack(packed: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """`_pack` backwards, into the shapes of `weights`."""
    result = []
    for weight in weights:
        filters, channels, length = weight.flatten(2).shape
        pairs = -(-filters // 2)
        count = 2 * pairs * channels * length
        part, packed = packed[:count].view(pairs, channels, length, 2), packed[count:]
        result.append(_shaped_like(weight, part.movedim(-1, 1).flatten(0, 1)[:filters]))
    return result


def _parallel(block: ParallelConvolutions, axis: Axis, images: Tensor) -> Tensor:
    branches = _branches(block.convolutions, axis, images.shape[-1])
    weights = [convolution.weight for convolution in block.convolutions]
    return _Parallel.apply(
        images, block.norm, branches, block.norm.weight, block.norm.bias, *weights
    )


class _Parallel(Function):
    """Parallel convolutions, batch norm, ReLU.

    (B, C, rows, size) -> (B, filters, rows, columns).
    """

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        module: nn.BatchNorm2d,
        branches: _Branches,
        _weight: Tensor,
        _bias: Tensor,
        *weights: Tensor,
    ) -> Tensor:
        kernels, _ = _kernels()
        batch, channels, rows, size = images.shape
        outputs, columns = len(branches.places), -(-size // branches.step)
        convolved = _empty(batch, outputs, rows, columns)
        sums = torch.zeros(batch, outputs, 2, dtype=torch.float64)
        sizes = (channels, rows, size, columns, branches.step, branches.before)
        _run(
            kernels.parallel_forward,
            batch,
            images,
            _pack(weights),
            *branches[:4],
            convolved,
            sums,
            *sizes,
        )
        ctx.norm, ctx.branches, ctx.sizes = (
            _norm(module, sums, batch * rows * columns),
            branches,
            sizes,
        )
        ctx.save_for_backward(images, convolved, *weights)
        return _normalise(convolved, ctx.norm, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels, _ = _kernels()
        images, convolved, *weights = ctx.saved_tensors
        gradient = gradient.contiguous()
        norm_weight, norm_bias, constant, slope = _normalise_backward(
            convolved, gradient, ctx.norm, 0
        )
        sums = torch.zeros(len(images), len(_pack(weights)), dtype=torch.float64)
        arguments = (*ctx.branches[:4], *ctx.norm[:3], constant, slope, sums, *ctx.sizes)
        _run(kernels.parallel_backward, len(images), images, convolved, gradient, *arguments)
        return None, None, None, norm_weight, norm_bias, *_unpack(sums.sum(0), weights)


def _separable(block: ConvBlock, axis: Axis, rows: Tensor) -> Tensor:
    _, kernels = _kernels()
    along = 1 if axis == "time" else 0
    pool = kernels.NO_POOL
    if block.pool is not None:
        pool = kernels.ALONG if block.pool.kernel_size[along] == 2 else kernels.ACROSS
    convolution = block.convolution
    before, columns = _along(convolution.depthwise, along, rows.shape[-1])
    weights = (
        block.norm.weight,
        block.norm.bias,
        convolution.depthwise.weight,
        convolution.pointwise.weight,
    )
    return _Separable.apply(rows, block.norm, columns, before, pool, *weights)


def _along(convolution: Conv2d, along: int, size: int) -> tuple[int, int]:
    """Return the padding before an axis of `size`, and the number of outputs."""
    kernel = convolution.kernel_size[along]
    return (
        (same_padding(size, kernel, 1)[0], size)
        if convolution.keras_padding == "same"
        else (0, size - kernel + 1)
    )


class _Separable(Function):
    """Separable convolution, batch norm, pool, ReLU.

    (B, C, rows, size) -> (B, C', rows', columns').
    """

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, module: nn.BatchNorm2d, columns: int, before: int, pool: int,
        _weight: Tensor, _bias: Tensor, depthwise: Tensor, pointwise: Tensor,
    ) -> Tensor:  # fmt: skip
        kernels, _ = _kernels()
        batch, channels, rows, size = source.shape
        outputs = len(pointwise)
        convolved = _empty(batch, outputs, rows, columns)
        sums = torch.zeros(batch, outputs, 2, dtype=torch.float64)
        ctx.sizes = (channels, outputs, rows, size, columns, depthwise[0].numel(), before)
        _run(
            kernels.separable_forward,
            batch,
            source,
            depthwise,
            _fill_rows(pointwise.flatten(1)),
            convolved,
            sums,
            *ctx.sizes,
        )
        ctx.norm, ctx.pool = _norm(module, sums, batch * rows * columns), pool
        ctx.save_for_backward(source, convolved, depthwise, pointwise)
        return _normalise(convolved, ctx.norm, pool)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels, _ = _kernels()
        source, convolved, depthwise, pointwise = ctx.saved_tensors
        gradient = gradient.contiguous()
        norm_weight, norm_bias, constant, slope = _normalise_backward(
            convolved, gradient, ctx.norm, ctx.pool
        )
        matrix = pointwise.flatten(1)
        outputs, channels = matrix.shape
        source_gradient = _empty(*source.shape)
        depthwise_sums = torch.zeros(len(source), *depthwise.shape, dtype=torch.float64)
        pointwise_sums = torch.zeros(
            len(source), outputs + -outputs % ROWS, channels + -channels % ROWS, dtype=torch.float64
        )
        _run(
            kernels.separable_backward, len(source), source, convolved, gradient,
            depthwise, depthwise.flatten(1).flip(1), _fill_rows(matrix.t()), *ctx.norm[:3],
            constant, slope,
            source_gradient, depthwise_sums, pointwise_sums, *ctx.sizes, ctx.pool,
        )  # fmt: skip
        pointwise_gradient = _shaped_like(pointwise, pointwise_sums.sum(0)[:outputs, :channels])
        return (
            source_gradient, None, None, None, None,
            norm_weight, norm_bias, _shaped_like(depthwise, depthwise_sums.sum(0)),
            pointwise_gradient,
        )  # fmt: skip


class _Spanning(Function):
    """Depthwise convolution over all rows at once: (B, C, rows, columns) -> (B, C, columns)."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, weight: Tensor) -> Tensor:
        kernels, _ = _kernels()
        batch, *sizes = source.shape
        result = _empty(batch, sizes[0], sizes[2])
        _run(kernels.spanning_forward, batch, source, weight, result, *sizes)
        ctx.save_for_backward(source, weight)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        kernels, _ = _kernels()
        source, weight = ctx.saved_tensors
        batch, *sizes = source.shape
        source_gradient = _empty(*source.shape)
        sums = torch.zeros(batch, *weight.shape, dtype=torch.float64)
        _run(
            kernels.spanning_backward,
            batch,
            source,
            weight,
            gradient.contiguous(),
            source_gradient,
            sums,
            *sizes,
        )
        return source_gradient, _shaped_like(weight, sums.sum(0))
