"""Building blocks of the CPU kernels of Time and Freq, in vectors of sixteen numbers.

Products of matrices and correlations of rows.

All arrays are flat and their indices are not checked. `columns` is a multiple of 16 unless said
otherwise, and what lies between a row's end and the next multiple of 16 is scratch: read as it is,
overwritten at will.

Numba's cache on disk follows the file of the kernel, not of what it calls: after a change here
delete ``__pycache__/block*.nb*``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from musicrec.audio.kernels.simd import (
    LANES,
    Vector,
    as_type_of,
    broadcast,
    float32x16,
    load,
    store,
)

COLUMNS = 2 * LANES  # that `multiply` treats at once
ROWS = 4


@intrinsic
def total(typingctx: Any, vector: types.Type) -> Any:
    """Sum of a vector's sixteen numbers, by halves."""
    if not isinstance(vector, Vector):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[0]
        width = LANES // 2
        while width:
            order = ir.Constant(
                ir.VectorType(ir.IntType(32), LANES), [lane ^ width for lane in range(LANES)]
            )
            value = builder.fadd(value, builder.shuffle_vector(value, value, order))
            width //= 2
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.element(vector), generate


@intrinsic
def where_greater(
    typingctx: Any, left: types.Type, right: types.Type, one: types.Type, other: types.Type
) -> Any:
    """`one` in the lanes where left > right, `other` elsewhere."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right, one, other = arguments
        return builder.select(builder.fcmp_ordered(">", left, right), one, other)

    return float32x16(float32x16, float32x16, float32x16, float32x16), generate


@njit(cache=True)
def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is not below ``number``."""
    return (number + multiple - 1) // multiple * multiple


@njit(cache=True)
def copy(source: np.ndarray, at: int, target: np.ndarray, to: int, count: int) -> None:
    """`count` numbers, any count, and no more."""
    i = 0
    while i + LANES <= count:
        store(target, to + i, load(source, at + i))
        i += LANES
    while i < count:
        target[to + i] = source[at + i]
        i += 1


@njit(cache=True)
def clear_tail(target: np.ndarray, at: int, count: int, columns: int) -> None:
    """Zeros from the `count`-th to the `columns`-th number."""
    for i in range(at + count, at + columns):
        target[i] = 0.0


@njit(cache=True)
def moments(source: np.ndarray, at: int, columns: int, sums: np.ndarray, to: int) -> None:
    """Add the sum and the sum of squares to `sums`.

    They are float64, so that a mean far from 0 does not cancel the variance.
    """
    first = as_type_of(sums, broadcast(np.float32(0)))
    second = first
    for i in range(0, columns, LANES):
        value = as_type_of(sums, load(source, at + i))
        first = first + value
        second = second + value * value
    sums[to] += total(first)
    sums[to + 1] += total(second)


@njit(cache=True)
def correlate(
    source: np.ndarray,
    at: int,
    weight: np.ndarray,
    first: int,
    taps: int,
    target: np.ndarray,
    to: int,
    columns: int,
) -> None:
    """Compute target[l] = sum over k of weight[k] source[l + k], for any number of columns.

    Overwrites up to 15 numbers more.
    """
    i = 0
    while i + 4 * LANES <= columns:
        a = b = c = d = broadcast(np.float32(0))
        for k in range(taps):
            factor = broadcast(weight[first + k])
            a = a + factor * load(source, at + i + k)
            b = b + factor * load(source, at + i + k + LANES)
            c = c + factor * load(source, at + i + k + 2 * LANES)
            d = d + factor * load(source, at + i + k + 3 * LANES)
        store(target, to + i, a)
        store(target, to + i + LANES, b)
        store(target, to + i + 2 * LANES, c)
        store(target, to + i + 3 * LANES, d)
        i += 4 * LANES
    while i < columns:
        a = broadcast(np.float32(0))
        for k in range(taps):
            a = a + broadcast(weight[first + k]) * load(source, at + i + k)
        store(target, to + i, a)
        i += LANES


@njit(cache=True)
def correlate_rows(
    gradient: np.ndarray,
    at: int,
    source: np.ndarray,
    start: int,
    columns: int,
    taps: int,
    sums: np.ndarray,
    to: int,
) -> None:
    """sums[k] += sum over l of gradient[l] source[l + k]."""
    for k in range(taps):
        a = broadcast(np.float32(0))
        for i in range(0, columns, LANES):
            a = a + load(gradient, at + i) * load(source, start + i + k)
        sums[to + k] += total(a)


@njit(cache=True)
def multiply(
    weight: np.ndarray,
    rows: int,
    inner: int,
    source: np.ndarray,
    target: np.ndarray,
    stride: int,
    columns: int,
) -> None:
    """Compute target (rows, columns) = weight (rows, inner) source (inner, columns).

    Rows must be a multiple of 4, columns of 32.

    Source's and target's rows lie `stride` apart. Eight sums at a time hide the latency of an
    addition on every machine.
    """
    for j in range(0, columns, COLUMNS):
        for row in range(0, rows, ROWS):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = broadcast(np.float32(0))
            for k in range(inner):
                x, y = load(source, k * stride + j), load(source, k * stride + j + LANES)
                factor = broadcast(weight[row * inner + k])
                a0 = a0 + factor * x
                a1 = a1 + factor * y
                factor = broadcast(weight[(row + 1) * inner + k])
                b0 = b0 + factor * x
                b1 = b1 + factor * y
                factor = broadcast(weight[(row + 2) * inner + k])
                c0 = c0 + factor * x
                c1 = c1 + factor * y
                factor = broadcast(weight[(row + 3) * inner + k])
                d0 = d0 + factor * x
                d1 = d1 + factor * y
            at = row * stride + j
            store(target, at, a0)
            store(target, at + LANES, a1)
            store(target, at + stride, b0)
            store(target, at + stride + LANES, b1)
            store(target, at + 2 * stride, c0)
            store(target, at + 2 * stride + LANES, c1)
            store(target, at + 3 * stride, d0)
            store(target, at + 3 * stride + LANES, d1)


@njit(cache=True)
def multiply_transposed(
    left: np.ndarray,
    rows: int,
    right: np.ndarray,
    others: int,
    stride: int,
    columns: int,
    sums: np.ndarray,
    to: int,
) -> None:
    """Add left (rows, columns) right (others, columns)^T to sums (rows, others).

    Rows must be a multiple of 4, others of 2.
    """
    for row in range(0, rows, ROWS):
        for other in range(0, others, 2):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = broadcast(np.float32(0))
            for i in range(0, columns, LANES):
                x, y = load(right, other * stride + i), load(right, (other + 1) * stride + i)
                factor = load(left, row * stride + i)
                a0 = a0 + factor * x
                a1 = a1 + factor * y
                factor = load(left, (row + 1) * stride + i)
                b0 = b0 + factor * x
                b1 = b1 + factor * y
                factor = load(left, (row + 2) * stride + i)
                c0 = c0 + factor * x
                c1 = c1 + factor * y
                factor = load(left, (row + 3) * stride + i)
                d0 = d0 + factor * x
                d1 = d1 + factor * y
            at = to + row * others + other
            sums[at] += total(a0)
            sums[at + 1] += total(a1)
            sums[at + others] += total(b0)
            sums[at + others + 1] += total(b1)
            sums[at + 2 * others] += total(c0)
            sums[at + 2 * others + 1] += total(c1)
            sums[at + 3 * others] += total(d0)
            sums[at + 3 * others + 1] += total(d1)
