"""Transform sixteen real frames at once, one frame per lane (Numba).

pocketfft (SciPy) transforms the 646 frames of a clip in 4.3 ms and its output must be transposed;
this takes 1 ms and writes each frequency's frames next to each other, as the features are stored. A
frame of 2 n samples is treated as n complex numbers (even samples real, odd ones imaginary),
transformed by Stockham's radix-8 algorithm, which needs no bit reversal, and split into the
spectrum of the real frame.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from musicrec.audio.kernels.simd import (
    LANES,
    Vector,
    as_type_of,
    broadcast,
    load,
    store,
    transpose_block,
)

Complex = tuple[Vector, Vector]  # real and imaginary parts of sixteen frames


@cache
def roots_of_unity(
    size: int, dtype: type[np.floating] = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(-2 pi i k / n) as (real, imaginary) pairs, for n = size / 2 and for n = size.

    `transform` needs the first, `real_bins` the second.
    """
    angles = -2 * np.pi * np.arange(size) / size
    roots = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(dtype)
    return np.ascontiguousarray(roots[::2]).reshape(-1), roots.reshape(-1)


@njit(cache=True, forceinline=True)
def _plus(a: Complex, b: Complex) -> Complex:
    return a[0] + b[0], a[1] + b[1]


@njit(cache=True, forceinline=True)
def _minus(a: Complex, b: Complex) -> Complex:
    return a[0] - b[0], a[1] - b[1]


@njit(cache=True, forceinline=True)
def _plus_i(a: Complex, b: Complex) -> Complex:
    """Return a + i b."""
    return a[0] - b[1], a[1] + b[0]


@njit(cache=True, forceinline=True)
def _minus_i(a: Complex, b: Complex) -> Complex:
    """Return a - i b."""
    return a[0] + b[1], a[1] - b[0]


@njit(cache=True, forceinline=True)
def _turn(a: Complex, roots: np.ndarray, k: int) -> Complex:
    """Multiply a by the k-th root."""
    re, im = broadcast(roots[2 * k]), broadcast(roots[2 * k + 1])
    return a[0] * re - a[1] * im, a[0] * im + a[1] * re


@njit(cache=True, forceinline=True)
def _place(position: int) -> int:
    """Return the offset of a number in a buffer.

    A gap after every 32 keeps numbers that are a power of two apart out of the same cache set.
    """
    return (position + position // 32) * LANES


@njit(cache=True)
def workspace(points: int, window: np.ndarray) -> np.ndarray:
    """Allocate the buffers of `transform`: two complex ones of the window's type.

    Real and imaginary parts have one row each.
    """
    return np.empty((4, _place(points) + 5 * LANES), dtype=window.dtype)


@njit(cache=True, forceinline=True)
def _read(re: np.ndarray, im: np.ndarray, position: int) -> Complex:
    return load(re, _place(position)), load(im, _place(position))


@njit(cache=True, forceinline=True)
def _write(re: np.ndarray, im: np.ndarray, position: int, a: Complex) -> None:
    store(re, _place(position), a[0])
    store(im, _place(position), a[1])


@njit(cache=True, forceinline=True)
def _dft_4(
    a: Complex, b: Complex, c: Complex, d: Complex
) -> tuple[Complex, Complex, Complex, Complex]:
    sum_ac, difference_ac, sum_bd, difference_bd = (
        _plus(a, c),
        _minus(a, c),
        _plus(b, d),
        _minus(b, d),
    )
    return (
        _plus(sum_ac, sum_bd),
        _minus_i(difference_ac, difference_bd),
        _minus(sum_ac, sum_bd),
        _plus_i(difference_ac, difference_bd),
    )


@njit(cache=True, forceinline=True)
def _radix_8(
    a: Complex, b: Complex, c: Complex, d: Complex, e: Complex, f: Complex, g: Complex, h: Complex,
    roots: np.ndarray, turn: int, out_re: np.ndarray, out_im: np.ndarray, at: int, step: int,
) -> None:  # fmt: skip
    """Compute the DFT of eight numbers.

    Result j, times root j * turn, is written to position `at` + j * `step`.
    """
    even_0, even_1, even_2, even_3 = _dft_4(a, c, e, g)
    odd_0, odd_1, odd_2, odd_3 = _dft_4(b, d, f, h)
    # Odd result j is multiplied by the eighth root j; the third also by -1, compensated below.
    half = broadcast(roots.dtype.type(0.7071067811865476))
    odd_1 = (odd_1[0] + odd_1[1]) * half, (odd_1[1] - odd_1[0]) * half
    odd_3 = (odd_3[0] - odd_3[1]) * half, (odd_3[0] + odd_3[1]) * half
    _write(out_re, out_im, at, _plus(even_0, odd_0))
    _write(out_re, out_im, at + step, _turn(_plus(even_1, odd_1), roots, turn))
    _write(out_re, out_im, at + 2 * step, _turn(_minus_i(even_2, odd_2), roots, 2 * turn))
    _write(out_re, out_im, at + 3 * step, _turn(_minus(even_3, odd_3), roots, 3 * turn))
    _write(out_re, out_im, at + 4 * step, _turn(_minus(even_0, odd_0), roots, 4 * turn))
    _write(out_re, out_im, at + 5 * step, _turn(_minus(even_1, odd_1), roots, 5 * turn))
    _write(out_re, out_im, at + 6 * step, _turn(_plus_i(even_2, odd_2), roots, 6 * turn))
    _write(out_re, out_im, at + 7 * step, _turn(_plus(even_3, odd_3), roots, 7 * turn))


class HopMatrix(NamedTuple):
    """A recording with one hop per column, so that frames are read side by side.

    `values` is a flat (hop, columns) matrix: row r, column j holds sample j * hop + r - padding,
    zero outside the recording. Sample k of frame f, frames centred and `padding` half their length,
    is at row k % hop, column f + k // hop: sixteen neighbouring frames are read with one load, and
    the overlap of the frames costs no copies.
    """

    values: np.ndarray
    columns: int
    hop_bits: int
    padding: int


def hop_matrix(samples: np.ndarray, hop: int, size: int) -> HopMatrix:
    """Lay out a recording (N,), float32, for all centred frames of `size` samples, `hop` apart.

    Both are powers of two, hop at least 16.
    """
    columns = frame_groups(len(samples), hop) * LANES + max(size // hop, 1)
    columns = -(-columns // LANES) * LANES
    return HopMatrix(
        _side_by_side(np.ascontiguousarray(samples), size // 2, hop, columns),
        columns,
        hop.bit_length() - 1,
        size // 2,
    )


def frame_groups(samples: int, hop: int) -> int:
    """Return the number of groups of sixteen frames that cover every centred frame."""
    return -(-(1 + samples // hop) // LANES)


@njit(cache=True)
def _side_by_side(samples: np.ndarray, padding: int, hop: int, columns: int) -> np.ndarray:
    result = np.empty(columns * hop, dtype=np.float32)
    edge = np.empty(LANES * hop, dtype=np.float32)
    for column in range(0, columns, LANES):
        first = column * hop - padding
        if first >= 0 and first + len(edge) <= len(samples):
            for row in range(0, hop, LANES):
                transpose_block(samples, first + row, hop, result, row * columns + column, columns)
        else:
            edge[:] = 0
            start, end = max(first, 0), min(first + len(edge), len(samples))
            if start < end:
                edge[start - first : end - first] = samples[start:end]
            for row in range(0, hop, LANES):
                transpose_block(edge, row, hop, result, row * columns + column, columns)
    return result


@njit(cache=True, forceinline=True)
def _sample_pair(matrix: HopMatrix, frame: int, shift: int, window: np.ndarray, n: int) -> Complex:
    """Return windowed samples 2 n and 2 n + 1 of sixteen frames, as one complex number each."""
    k = 2 * n
    at = (
        ((k + shift) & ((1 << matrix.hop_bits) - 1)) * matrix.columns
        + frame
        + ((k + shift) >> matrix.hop_bits)
    )
    first, second = (
        as_type_of(window, load(matrix.values, at)),
        as_type_of(window, load(matrix.values, at + matrix.columns)),
    )
    return first * broadcast(window[k]), second * broadcast(window[k + 1])


@njit(cache=True)
def transform(
    matrix: HopMatrix,
    frame: int,
    shift: int,
    window: np.ndarray,
    roots: np.ndarray,
    points: int,
    work: np.ndarray,
) -> int:
    """Compute the complex FFT over `points` sample pairs of sixteen frames.

    The frames are in columns `frame` to `frame` + 15 and begin at row `shift` (even). `points` is a
    power of two, at least 8. `work` is a `workspace`, between whose buffers the passes alternate.
    `window`, `roots` and `work` are all float32 or all float64, which determines the arithmetic.
    Returns the row of `work` with the real parts; the imaginary parts are in the next.
    """
    apart = points // 8
    for p in range(apart):
        _radix_8(
            _sample_pair(matrix, frame, shift, window, p),
            _sample_pair(matrix, frame, shift, window, p + apart),
            _sample_pair(matrix, frame, shift, window, p + 2 * apart),
            _sample_pair(matrix, frame, shift, window, p + 3 * apart),
            _sample_pair(matrix, frame, shift, window, p + 4 * apart),
            _sample_pair(matrix, frame, shift, window, p + 5 * apart),
            _sample_pair(matrix, frame, shift, window, p + 6 * apart),
            _sample_pair(matrix, frame, shift, window, p + 7 * apart),
            roots, p, work[0], work[1], 8 * p, 1,
        )  # fmt: skip
    source, s = 0, 8
    while 8 * s <= points:
        re, im, out_re, out_im = work[source], work[source + 1], work[2 - source], work[3 - source]
        for p in range(points // (8 * s)):
            for q in range(s):
                a = q + s * p
                _radix_8(
                    _read(re, im, a), _read(re, im, a + apart),
                    _read(re, im, a + 2 * apart), _read(re, im, a + 3 * apart),
                    _read(re, im, a + 4 * apart), _read(re, im, a + 5 * apart),
                    _read(re, im, a + 6 * apart), _read(re, im, a + 7 * apart),
                    roots, p * s, out_re, out_im, q + 8 * s * p, s,
                )  # fmt: skip
        source, s = 2 - source, 8 * s
    if s < points:
        _last_pass(work, source, s, points)
        source = 2 - source
    return source


@njit(cache=True)
def _last_pass(work: np.ndarray, source: int, s: int, points: int) -> None:
    """Apply the factor of two or four that passes of eight leave."""
    re, im, out_re, out_im = work[source], work[source + 1], work[2 - source], work[3 - source]
    for q in range(s):
        if points == 2 * s:
            a, b = _read(re, im, q), _read(re, im, q + s)
            _write(out_re, out_im, q, _plus(a, b))
            _write(out_re, out_im, q + s, _minus(a, b))
        else:
            a, b, c, d = _dft_4(
                _read(re, im, q),
                _read(re, im, q + s),
                _read(re, im, q + 2 * s),
                _read(re, im, q + 3 * s),
            )
            _write(out_re, out_im, q, a)
            _write(out_re, out_im, q + s, b)
            _write(out_re, out_im, q + 2 * s, c)
            _write(out_re, out_im, q + 3 * s, d)


@njit(cache=True, forceinline=True)
def real_bins(
    re: np.ndarray, im: np.ndarray, roots: np.ndarray, points: int, k: int
) -> tuple[Vector, Vector, Vector, Vector]:
    """Return bins k and points - k of the real frames' spectrum, 1 <= k <= points / 2.

    `roots` are those of 2 * points.
    """
    half = broadcast(re.dtype.type(0.5))
    a, b = _place(k), _place(points - k)
    a_re, a_im, b_re, b_im = load(re, a), load(im, a), load(re, b), load(im, b)
    even_re, even_im = (a_re + b_re) * half, (a_im - b_im) * half
    odd_re, odd_im = (a_im + b_im) * half, (b_re - a_re) * half
    w_re, w_im = broadcast(roots[2 * k]), broadcast(roots[2 * k + 1])
    turned_re, turned_im = odd_re * w_re - odd_im * w_im, odd_re * w_im + odd_im * w_re
    return even_re + turned_re, even_im + turned_im, even_re - turned_re, turned_im - even_im
