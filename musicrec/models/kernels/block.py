"""Blocks of Time and Freq on the CPU: convolutions in tiles that fit the cache.

Forward and backward passes.

Kernels lie along the last axis of flat (B, channels, rows, columns); only what the backward pass
needs is ever written to memory. Each function treats the samples first..last - 1, so that several
threads may share a batch. Numba's cache: see `row`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from musicrec.audio.kernels.simd import LANES, broadcast, load, store

from .norm import normalise_gradient
from .row import (
    COLUMNS,
    ROWS,
    clear_tail,
    copy,
    correlate,
    correlate_rows,
    moments,
    multiply,
    multiply_transposed,
    round_up,
    total,
)

# 128 channels of a tile are 256 KB: two such and the weights fit a core's second-level cache.
TILE_COLUMNS = 512


@njit(cache=True)
def tile(columns: int) -> tuple[int, int]:
    """Return the rows of a tile (even, so that no pooling window is cut) and its channel stride."""
    rows = max(TILE_COLUMNS // columns // 2 * 2, 2)
    stride = round_up(rows * columns, COLUMNS) + COLUMNS
    return (
        rows,
        stride + COLUMNS if stride % 128 == 0 else stride,
    )  # rows a power of two apart would push each other out


@njit(cache=True)
def depthwise_tile(
    source: np.ndarray, weight: np.ndarray, taps: int, before: int, sample: int, channels: int,
    rows: int, size: int, columns: int,
    start: int, count: int, padded: np.ndarray, target: np.ndarray, stride: int,
) -> None:  # fmt: skip
    """Compute the depthwise convolution of rows start..start + count - 1 into ``target``.

    ``target`` is (channels, count x columns), with zeros after each channel.
    """
    for channel in range(channels):
        for row in range(count):
            copy(
                source,
                ((sample * channels + channel) * rows + start + row) * size,
                padded,
                before,
                size,
            )
            correlate(
                padded,
                0,
                weight,
                channel * taps,
                taps,
                target,
                channel * stride + row * columns,
                columns,
            )
        clear_tail(target, channel * stride, count * columns, round_up(count * columns, COLUMNS))


@njit(cache=True, nogil=True)
def separable_forward(
    source: np.ndarray, depthwise: np.ndarray, pointwise: np.ndarray, target: np.ndarray,
    sums: np.ndarray,
    channels: int, outputs: int, rows: int, size: int, columns: int, taps: int, before: int,
    first: int, last: int,
) -> None:  # fmt: skip
    """Depthwise, then pointwise convolution, and the moments of what comes out.

    source (B, channels, rows, size), depthwise (channels, taps), pointwise (outputs up to a
    multiple of 4, channels), target (B, outputs, rows, columns), sums (B, outputs, 2); `before`
    zeros pad each row.
    """
    tile_rows, stride = tile(columns)
    padded_outputs = round_up(outputs, ROWS)
    padded = np.zeros(size + taps + 2 * COLUMNS, np.float32)
    middle, result = (
        np.zeros(channels * stride, np.float32),
        np.zeros(padded_outputs * stride, np.float32),
    )
    for sample in range(first, last):
        for start in range(0, rows, tile_rows):
            count = min(tile_rows, rows - start)
            width = round_up(count * columns, COLUMNS)
            depthwise_tile(
                source,
                depthwise,
                taps,
                before,
                sample,
                channels,
                rows,
                size,
                columns,
                start,
                count,
                padded,
                middle,
                stride,
            )
            multiply(pointwise, padded_outputs, channels, middle, result, stride, width)
            for output in range(outputs):
                plane = sample * outputs + output
                copy(
                    result,
                    output * stride,
                    target,
                    (plane * rows + start) * columns,
                    count * columns,
                )
                moments(result, output * stride, width, sums, 2 * plane)


@njit(cache=True, nogil=True)
def separable_backward(
    source: np.ndarray, convolved: np.ndarray, gradient: np.ndarray, depthwise: np.ndarray,
    flipped: np.ndarray, transposed: np.ndarray,
    mean: np.ndarray, scale: np.ndarray, shift: np.ndarray, constant: np.ndarray, slope: np.ndarray,
    source_gradient: np.ndarray, depthwise_sums: np.ndarray, pointwise_sums: np.ndarray,
    channels: int, outputs: int, rows: int, size: int, columns: int, taps: int, before: int,
    pool: int, first: int, last: int,
) -> None:  # fmt: skip
    """Gradients of a separable block, from the gradient after ReLU.

    `convolved` is what `separable_forward` wrote, flipped (channels, taps) the depthwise kernels
    turned round, transposed (channels up to a multiple of 4, outputs). The depthwise result is
    computed once more rather than kept. depthwise_sums (B, channels, taps), pointwise_sums (B,
    outputs and channels up to multiples of 4).
    """
    tile_rows, stride = tile(columns)
    padded_outputs, padded_channels = round_up(outputs, ROWS), round_up(channels, ROWS)
    padded = np.zeros(size + taps + 2 * COLUMNS, np.float32)
    spread = np.zeros(size + columns + taps + 2 * COLUMNS, np.float32)
    turned = np.zeros(size + 2 * COLUMNS, np.float32)
    buffers = np.zeros((3, round_up(columns, LANES)), np.float32)
    middle, back = (
        np.zeros(padded_channels * stride, np.float32),
        np.zeros(padded_channels * stride, np.float32),
    )
    arriving = np.zeros(padded_outputs * stride, np.float32)
    lead = taps - 1 - before
    for sample in range(first, last):
        for start in range(0, rows, tile_rows):
            count = min(tile_rows, rows - start)
            width = round_up(count * columns, COLUMNS)
            depthwise_tile(
                source,
                depthwise,
                taps,
                before,
                sample,
                channels,
                rows,
                size,
                columns,
                start,
                count,
                padded,
                middle,
                stride,
            )
            for output in range(outputs):
                normalise_gradient(
                    convolved, gradient, mean, scale, shift, constant, slope,
                    sample * outputs + output, output, start, count, rows, columns, pool, buffers,
                    arriving, output * stride,
                )  # fmt: skip
                clear_tail(arriving, output * stride, count * columns, width)
            to = sample * padded_outputs * padded_channels
            multiply_transposed(
                arriving, padded_outputs, middle, padded_channels, stride, width, pointwise_sums, to
            )
            multiply(transposed, padded_channels, outputs, arriving, back, stride, width)
            for channel in range(channels):
                plane = sample * channels + channel
                for row in range(count):
                    at = (plane * rows + start + row) * size
                    copy(back, channel * stride + row * columns, spread, lead, columns)
                    copy(source, at, padded, before, size)
                    correlate_rows(
                        spread,
                        lead,
                        padded,
                        0,
                        round_up(columns, LANES),
                        taps,
                        depthwise_sums,
                        plane * taps,
                    )
                    correlate(spread, 0, flipped, channel * taps, taps, turned, 0, size)
                    copy(turned, 0, source_gradient, at, size)


@njit(cache=True)
def split_phases(
    source: np.ndarray,
    at: int,
    size: int,
    before: int,
    step: int,
    phases: np.ndarray,
    to: int,
    length: int,
) -> None:
    """Split a row, after `before` zeros, into `step` arrays: strided reads are contiguous."""
    for i in range(size):
        phases[to + (i + before) % step * length + (i + before) // step] = source[at + i]


@njit(cache=True, nogil=True)
def parallel_forward(
    source: np.ndarray, weight: np.ndarray, lengths: np.ndarray, shifts: np.ndarray,
    offsets: np.ndarray, places: np.ndarray,
    target: np.ndarray, sums: np.ndarray,
    channels: int, rows: int, size: int, columns: int, step: int, before: int, first: int,
    last: int,
) -> None:  # fmt: skip
    """Compute parallel long convolutions, two filters at a time, and the moments of their output.

    source (B, channels, rows, size), weight: for each pair of filters (channels, length, 2) from
    offsets[pair] on; tap k of output j reads element step j + k + shifts[pair] of the row after
    `before` zeros. places: the row of each output among the pairs'. target (B, outputs, rows,
    columns), sums (B, outputs, 2).
    """
    outputs = len(places)
    length = (size + before + lengths.max()) // step + columns + 3 * COLUMNS
    phases = np.zeros(channels * step * length, np.float32)
    stride = round_up(columns, LANES)
    result = np.zeros(2 * len(lengths) * stride, np.float32)
    for sample in range(first, last):
        for row in range(rows):
            for channel in range(channels):
                at = ((sample * channels + channel) * rows + row) * size
                split_phases(
                    source, at, size, before, step, phases, channel * step * length, length
                )
            for pair in range(len(lengths)):
                i = 0
                while i < columns:
                    wide = i + 4 * LANES <= stride
                    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = broadcast(np.float32(0))
                    for channel in range(channels):
                        factors = offsets[pair] + 2 * channel * lengths[pair]
                        for k in range(lengths[pair]):
                            tap = k + shifts[pair]
                            at = (channel * step + tap % step) * length + tap // step + i
                            a, b = (
                                broadcast(weight[factors + 2 * k]),
                                broadcast(weight[factors + 2 * k + 1]),
                            )
                            x = load(phases, at)
                            a0, b0 = a0 + a * x, b0 + b * x
                            if wide:
                                x = load(phases, at + LANES)
                                a1, b1 = a1 + a * x, b1 + b * x
                                x = load(phases, at + 2 * LANES)
                                a2, b2 = a2 + a * x, b2 + b * x
                                x = load(phases, at + 3 * LANES)
                                a3, b3 = a3 + a * x, b3 + b * x
                    to = 2 * pair * stride + i
                    store(result, to, a0)
                    store(result, to + stride, b0)
                    if wide:
                        store(result, to + LANES, a1)
                        store(result, to + stride + LANES, b1)
                        store(result, to + 2 * LANES, a2)
                        store(result, to + stride + 2 * LANES, b2)
                        store(result, to + 3 * LANES, a3)
                        store(result, to + stride + 3 * LANES, b3)
                    i += 4 * LANES if wide else LANES
            for output in range(outputs):
                plane = sample * outputs + output
                clear_tail(result, places[output] * stride, columns, stride)
                copy(
                    result, places[output] * stride, target, (plane * rows + row) * columns, columns
                )
                moments(result, places[output] * stride, stride, sums, 2 * plane)


@njit(cache=True, nogil=True)
def parallel_backward(
    source: np.ndarray, convolved: np.ndarray, gradient: np.ndarray,
    lengths: np.ndarray, shifts: np.ndarray, offsets: np.ndarray, places: np.ndarray,
    mean: np.ndarray, scale: np.ndarray, shift: np.ndarray, constant: np.ndarray,
    slope: np.ndarray, sums: np.ndarray,
    channels: int, rows: int, size: int, columns: int, step: int, before: int, first: int,
    last: int,
) -> None:  # fmt: skip
    """Compute the gradient of the weights of `parallel_forward`; sums (B, as weight).

    Its input, the spectrogram, needs no gradient.
    """
    outputs, weights = len(places), sums.size // (len(source) // (channels * rows * size))
    length = (size + before + lengths.max()) // step + columns + 3 * COLUMNS
    phases = np.zeros(channels * step * length, np.float32)
    stride = round_up(columns, LANES)
    arriving = np.zeros(2 * len(lengths) * stride, np.float32)
    buffers = np.zeros((3, stride), np.float32)
    for sample in range(first, last):
        for row in range(rows):
            for channel in range(channels):
                at = ((sample * channels + channel) * rows + row) * size
                split_phases(
                    source, at, size, before, step, phases, channel * step * length, length
                )
            for output in range(outputs):
                normalise_gradient(
                    convolved, gradient, mean, scale, shift, constant, slope,
                    sample * outputs + output, output, row, 1, rows, columns, 0, buffers,
                    arriving, places[output] * stride,
                )  # fmt: skip
                clear_tail(arriving, places[output] * stride, columns, stride)
            for pair in range(len(lengths)):
                for channel in range(channels):
                    to = sample * weights + offsets[pair] + 2 * channel * lengths[pair]
                    for phase in range(step):
                        # Taps of one phase, four at a time: they read neighbours. Those past the
                        # last one are not kept.
                        for k in range(phase, lengths[pair], 4 * step):
                            tap = k + shifts[pair]
                            at = (channel * step + tap % step) * length + tap // step
                            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = broadcast(np.float32(0))
                            for i in range(0, stride, LANES):
                                a, b = (
                                    load(arriving, 2 * pair * stride + i),
                                    load(arriving, (2 * pair + 1) * stride + i),
                                )
                                x = load(phases, at + i)
                                a0, b0 = a0 + a * x, b0 + b * x
                                x = load(phases, at + i + 1)
                                a1, b1 = a1 + a * x, b1 + b * x
                                x = load(phases, at + i + 2)
                                a2, b2 = a2 + a * x, b2 + b * x
                                x = load(phases, at + i + 3)
                                a3, b3 = a3 + a * x, b3 + b * x
                            for j, (a, b) in enumerate(((a0, b0), (a1, b1), (a2, b2), (a3, b3))):
                                if k + j * step < lengths[pair]:
                                    sums[to + 2 * (k + j * step)] += total(a)
                                    sums[to + 2 * (k + j * step) + 1] += total(b)


@njit(cache=True, nogil=True)
def spanning_forward(
    source: np.ndarray,
    weight: np.ndarray,
    target: np.ndarray,
    channels: int,
    rows: int,
    columns: int,
    first: int,
    last: int,
) -> None:
    """Sum ``source`` over rows, weighted by (channels, rows), into ``target``.

    ``target`` is (B, channels, columns), ``source`` (B, channels, rows, columns).
    """
    for plane in range(first * channels, last * channels):
        factors = plane % channels * rows
        i = 0
        while i + LANES <= columns:
            a = broadcast(np.float32(0))
            for row in range(rows):
                a = a + broadcast(weight[factors + row]) * load(
                    source, (plane * rows + row) * columns + i
                )
            store(target, plane * columns + i, a)
            i += LANES
        while i < columns:
            value = np.float32(0)
            for row in range(rows):
                value += weight[factors + row] * source[(plane * rows + row) * columns + i]
            target[plane * columns + i] = value
            i += 1


@njit(cache=True, nogil=True)
def spanning_backward(
    source: np.ndarray, weight: np.ndarray, gradient: np.ndarray, source_gradient: np.ndarray,
    sums: np.ndarray,
    channels: int, rows: int, columns: int, first: int, last: int,
) -> None:  # fmt: skip
    """Gradients of `spanning_forward`; sums (B, channels, rows)."""
    for plane in range(first * channels, last * channels):
        arriving = plane * columns
        for row in range(rows):
            at = (plane * rows + row) * columns
            number = weight[plane % channels * rows + row]
            factor, a = broadcast(number), broadcast(np.float32(0))
            i = 0
            while i + LANES <= columns:
                value = load(gradient, arriving + i)
                a = a + value * load(source, at + i)
                store(source_gradient, at + i, factor * value)
                i += LANES
            rest = np.float32(0)
            while i < columns:
                rest += gradient[arriving + i] * source[at + i]
                source_gradient[at + i] = number * gradient[arriving + i]
                i += 1
            sums[plane * rows + row] += total(a) + rest
