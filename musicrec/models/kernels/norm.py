"""Batch norm, max pool of pairs and ReLU in one pass over memory, forward and backward.

CPU kernels of Time and Freq.

Arrays are flat (B, channels, rows, columns). A pool joins pairs of rows (`ACROSS`) or of columns
(`ALONG`); of an odd number the last one stands alone. Numba's cache: see `row`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from musicrec.audio.kernels.simd import LANES, broadcast, load, maximum, store

from .row import clear_tail, copy, round_up, total, where_greater

NO_POOL, ACROSS, ALONG = 0, 1, 2


@njit(cache=True)
def pooled(rows: int, columns: int, pool: int) -> tuple[int, int]:
    """Rows and columns after the pool."""
    return (rows + 1) // 2 if pool == ACROSS else rows, (
        columns + 1
    ) // 2 if pool == ALONG else columns


@njit(cache=True)
def read_pairs(
    source: np.ndarray,
    at: int,
    columns: int,
    pool: int,
    alone: bool,
    one: np.ndarray,
    other: np.ndarray,
) -> None:
    """Read the two values of each pooling window, padded with zeros to a multiple of 16.

    A value without a partner is its own partner. `other` is not written without a pool.
    """
    if pool == ALONG:
        half = columns // 2
        for i in range(half):
            one[i] = source[at + 2 * i]
            other[i] = source[at + 2 * i + 1]
        if columns % 2:
            one[half] = source[at + columns - 1]
            other[half] = one[half]
            half += 1
        clear_tail(one, 0, half, round_up(half, LANES))
        clear_tail(other, 0, half, round_up(half, LANES))
        return
    copy(source, at, one, 0, columns)
    clear_tail(one, 0, columns, round_up(columns, LANES))
    if pool == ACROSS:
        copy(source, at if alone else at + columns, other, 0, columns)
        clear_tail(other, 0, columns, round_up(columns, LANES))


@njit(cache=True, nogil=True)
def normalise(
    source: np.ndarray, target: np.ndarray, mean: np.ndarray, scale: np.ndarray, shift: np.ndarray,
    channels: int, rows: int, columns: int, pool: int, first: int, last: int,
) -> None:  # fmt: skip
    """Compute target = relu(pool((source - mean) scale + shift)) of samples first..last - 1."""
    out_rows, out_columns = pooled(rows, columns, pool)
    step = 2 if pool == ACROSS else 1
    size = round_up(columns, LANES)
    one, other, result = (
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )
    zero = broadcast(np.float32(0))
    for plane in range(first * channels, last * channels):
        channel = plane % channels
        centre, factor, offset = (
            broadcast(mean[channel]),
            broadcast(scale[channel]),
            broadcast(shift[channel]),
        )
        for row in range(out_rows):
            read_pairs(
                source,
                (plane * rows + row * step) * columns,
                columns,
                pool,
                row * step + 1 == rows,
                one,
                other,
            )
            for i in range(0, out_columns, LANES):
                value = (load(one, i) - centre) * factor + offset
                if pool != NO_POOL:
                    value = maximum(value, (load(other, i) - centre) * factor + offset)
                store(result, i, maximum(zero, value))  # in this order NaN stays NaN
            copy(result, 0, target, (plane * out_rows + row) * out_columns, out_columns)


@njit(cache=True, nogil=True)
def normalise_sums(
    source: np.ndarray, gradient: np.ndarray, mean: np.ndarray, scale: np.ndarray,
    shift: np.ndarray, sums: np.ndarray,
    channels: int, rows: int, columns: int, pool: int, first: int, last: int,
) -> None:  # fmt: skip
    """Add the gradient's sums and its products with source - mean to sums (B, channels, 2).

    The gradient is the one at the normalised values.
    """
    out_rows, out_columns = pooled(rows, columns, pool)
    step = 2 if pool == ACROSS else 1
    size = round_up(columns, LANES)
    one, other, arriving = (
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )
    zero = broadcast(np.float32(0))
    for plane in range(first * channels, last * channels):
        channel = plane % channels
        centre, factor, offset = (
            broadcast(mean[channel]),
            broadcast(scale[channel]),
            broadcast(shift[channel]),
        )
        for row in range(out_rows):
            read_pairs(
                source,
                (plane * rows + row * step) * columns,
                columns,
                pool,
                row * step + 1 == rows,
                one,
                other,
            )
            copy(gradient, (plane * out_rows + row) * out_columns, arriving, 0, out_columns)
            clear_tail(arriving, 0, out_columns, round_up(out_columns, LANES))
            plain = product = zero
            for i in range(0, out_columns, LANES):
                winner = load(one, i) - centre
                value = winner * factor + offset
                if pool != NO_POOL:
                    partner = load(other, i) - centre
                    partner_value = partner * factor + offset
                    winner = where_greater(partner_value, value, partner, winner)
                    value = where_greater(partner_value, value, partner_value, value)
                passing = where_greater(value, zero, load(arriving, i), zero)
                plain = plain + passing
                product = product + passing * winner
            sums[2 * plane] += total(plain)
            sums[2 * plane + 1] += total(product)


@njit(cache=True)
def normalise_gradient(
    source: np.ndarray, gradient: np.ndarray, mean: np.ndarray, scale: np.ndarray,
    shift: np.ndarray,
    constant: np.ndarray, slope: np.ndarray,
    plane: int, channel: int, start: int, count: int, rows: int, columns: int, pool: int,
    buffers: np.ndarray, target: np.ndarray, to: int,
) -> None:  # fmt: skip
    """Gradient at `source`, rows start..start + count - 1 of a plane; start is even.

    scale x passing + constant + slope (source - mean): the last two are what the batch's mean and
    variance pass on.
    """
    out_rows, out_columns = pooled(rows, columns, pool)
    step = 2 if pool == ACROSS else 1
    one, other, arriving = buffers[0], buffers[1], buffers[2]
    centre, factor, offset = (
        broadcast(mean[channel]),
        broadcast(scale[channel]),
        broadcast(shift[channel]),
    )
    base, tilt, zero = (
        broadcast(constant[channel]),
        broadcast(slope[channel]),
        broadcast(np.float32(0)),
    )
    for row in range(start, start + count, step):
        alone = row + 1 == rows
        read_pairs(source, (plane * rows + row) * columns, columns, pool, alone, one, other)
        copy(gradient, (plane * out_rows + row // step) * out_columns, arriving, 0, out_columns)
        for i in range(0, out_columns, LANES):
            left = load(one, i) - centre
            value = left * factor + offset
            if pool == NO_POOL:
                passing = where_greater(value, zero, load(arriving, i), zero)
                store(one, i, passing * factor + (base + tilt * left))
                continue
            right = load(other, i) - centre
            partner = right * factor + offset
            passing = where_greater(maximum(value, partner), zero, load(arriving, i), zero) * factor
            store(one, i, where_greater(partner, value, zero, passing) + (base + tilt * left))
            store(other, i, where_greater(partner, value, passing, zero) + (base + tilt * right))
        at = to + (row - start) * columns
        if pool == ALONG:
            for i in range(columns // 2):
                target[at + 2 * i] = one[i]
                target[at + 2 * i + 1] = other[i]
            if columns % 2:
                target[at + columns - 1] = one[columns // 2]
        else:
            copy(one, 0, target, at, columns)
            if pool == ACROSS and not alone:
                copy(other, 0, target, at + columns, columns)
