"""The FFT of sixteen real frames at once, one frame a lane (Numba).

pocketfft (SciPy) transforms the 646 frames of a clip in 4.5 ms and leaves them to be transposed; this takes a third of that and writes each
frequency's frames side by side, as the features are stored. A frame of 2 n samples is taken as n complex numbers (even samples real, odd
ones imaginary), transformed by Stockham's radix-4 algorithm, which needs no bit reversal, and split into the spectrum of the real frame.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit

from musicrec.audio.simd import LANES, Vector, as_type_of, broadcast, load, store, transpose_block


@cache
def roots_of_unity(size: int, dtype: type[np.floating] = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """exp(-2 pi i k / n), as (real, imaginary) pairs, for n = size / 2, which `transform` needs, and n = size, which `real_bins` needs."""
    angles = -2 * np.pi * np.arange(size) / size
    roots = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(dtype)
    return np.ascontiguousarray(roots[::2]).reshape(-1), roots.reshape(-1)


@njit(cache=True, forceinline=True)
def _butterfly(
    a_re: Vector, a_im: Vector, b_re: Vector, b_im: Vector, c_re: Vector, c_im: Vector, d_re: Vector, d_im: Vector,
    roots: np.ndarray, p: int, s: int, out_re: np.ndarray, out_im: np.ndarray, at: int, step: int,
) -> None:  # fmt: skip
    """Radix-4 butterfly of a, b, c, d; results 1..3 turned by the roots p, 2p, 3p; written to `at`, `at` + step, ..."""
    sum_ac_re, sum_ac_im = a_re + c_re, a_im + c_im
    dif_ac_re, dif_ac_im = a_re - c_re, a_im - c_im
    sum_bd_re, sum_bd_im = b_re + d_re, b_im + d_im
    dif_bd_re, dif_bd_im = b_re - d_re, b_im - d_im
    store(out_re, at, sum_ac_re + sum_bd_re)
    store(out_im, at, sum_ac_im + sum_bd_im)
    k = 2 * p * s
    w_re, w_im = broadcast(roots[k]), broadcast(roots[k + 1])
    x_re, x_im = dif_ac_re + dif_bd_im, dif_ac_im - dif_bd_re
    store(out_re, at + step, x_re * w_re - x_im * w_im)
    store(out_im, at + step, x_re * w_im + x_im * w_re)
    w_re, w_im = broadcast(roots[2 * k]), broadcast(roots[2 * k + 1])
    x_re, x_im = sum_ac_re - sum_bd_re, sum_ac_im - sum_bd_im
    store(out_re, at + 2 * step, x_re * w_re - x_im * w_im)
    store(out_im, at + 2 * step, x_re * w_im + x_im * w_re)
    w_re, w_im = broadcast(roots[3 * k]), broadcast(roots[3 * k + 1])
    x_re, x_im = dif_ac_re - dif_bd_im, dif_ac_im + dif_bd_re
    store(out_re, at + 3 * step, x_re * w_re - x_im * w_im)
    store(out_im, at + 3 * step, x_re * w_im + x_im * w_re)


class HopMatrix(NamedTuple):
    """A recording with one hop a column, so that frames are read side by side.

    `values` is a flat (hop, columns) matrix: row r, column j holds sample j * hop + r - padding, zero outside the recording. Sample k of
    frame f, frames centred and `padding` half their length, lies at row k % hop, column f + k // hop: sixteen neighbouring frames are read
    with one load, and the overlap of the frames costs no copies.
    """

    values: np.ndarray
    columns: int
    hop_bits: int
    padding: int


def hop_matrix(samples: np.ndarray, hop: int, size: int) -> HopMatrix:
    """Lay out a recording (N,), float32, for all centred frames of `size` samples, `hop` apart; both are powers of two, hop at least 16."""
    columns = frame_groups(len(samples), hop) * LANES + max(size // hop, 1)
    columns = -(-columns // LANES) * LANES
    return HopMatrix(_side_by_side(np.ascontiguousarray(samples), size // 2, hop, columns), columns, hop.bit_length() - 1, size // 2)


def frame_groups(samples: int, hop: int) -> int:
    """Groups of sixteen frames that hold every centred frame of a recording."""
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
def _sample_pair(matrix: HopMatrix, frame: int, shift: int, window: np.ndarray, n: int) -> tuple[Vector, Vector]:
    """Windowed samples 2 n and 2 n + 1 of sixteen frames."""
    k = 2 * n
    at = ((k + shift) & ((1 << matrix.hop_bits) - 1)) * matrix.columns + frame + ((k + shift) >> matrix.hop_bits)
    first, second = as_type_of(window, load(matrix.values, at)), as_type_of(window, load(matrix.values, at + matrix.columns))
    return first * broadcast(window[k]), second * broadcast(window[k + 1])


@njit(cache=True)
def transform(matrix: HopMatrix, frame: int, shift: int, window: np.ndarray, roots: np.ndarray, points: int, work: np.ndarray) -> int:
    """Complex FFT over `points` sample pairs of the frames in columns `frame` to `frame` + 15, which begin at row `shift` there (even).

    `work` is (4, points * 16): two complex buffers, between which the passes alternate. `window`, `roots` and `work` are all float32 or
    all float64, which decides the arithmetic. Returns the row of `work` where the real parts are; the imaginary parts are in the next.
    """
    quarter = points // 4
    for p in range(quarter):
        a_re, a_im = _sample_pair(matrix, frame, shift, window, p)
        b_re, b_im = _sample_pair(matrix, frame, shift, window, p + quarter)
        c_re, c_im = _sample_pair(matrix, frame, shift, window, p + 2 * quarter)
        d_re, d_im = _sample_pair(matrix, frame, shift, window, p + 3 * quarter)
        _butterfly(a_re, a_im, b_re, b_im, c_re, c_im, d_re, d_im, roots, p, 1, work[0], work[1], 4 * p * LANES, LANES)
    source, s = 0, 4
    while 4 * s <= points:
        in_re, in_im, out_re, out_im = work[source], work[source + 1], work[2 - source], work[3 - source]
        quarter = points // (4 * s)
        apart = quarter * s * LANES
        for p in range(quarter):
            for q in range(s):
                a = (q + s * p) * LANES
                b, c, d = a + apart, a + 2 * apart, a + 3 * apart
                a_re, a_im, b_re, b_im = load(in_re, a), load(in_im, a), load(in_re, b), load(in_im, b)
                c_re, c_im, d_re, d_im = load(in_re, c), load(in_im, c), load(in_re, d), load(in_im, d)
                at, step = (q + 4 * s * p) * LANES, s * LANES
                _butterfly(a_re, a_im, b_re, b_im, c_re, c_im, d_re, d_im, roots, p, s, out_re, out_im, at, step)
        source, s = 2 - source, 4 * s
    if s < points:  # twice a power of four: one radix-2 pass is left
        in_re, in_im, out_re, out_im = work[source], work[source + 1], work[2 - source], work[3 - source]
        for q in range(s):
            a, b = q * LANES, (q + s) * LANES
            a_re, a_im, b_re, b_im = load(in_re, a), load(in_im, a), load(in_re, b), load(in_im, b)
            store(out_re, a, a_re + b_re)
            store(out_im, a, a_im + b_im)
            store(out_re, b, a_re - b_re)
            store(out_im, b, a_im - b_im)
        source = 2 - source
    return source


@njit(cache=True, forceinline=True)
def real_bins(re: np.ndarray, im: np.ndarray, roots: np.ndarray, points: int, k: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Bins k and points - k of the real frames' spectrum, 1 <= k <= points / 2; `roots` are those of 2 * points."""
    half = broadcast(re.dtype.type(0.5))
    a, b = k * LANES, (points - k) * LANES
    a_re, a_im, b_re, b_im = load(re, a), load(im, a), load(re, b), load(im, b)
    even_re, even_im = (a_re + b_re) * half, (a_im - b_im) * half
    odd_re, odd_im = (a_im + b_im) * half, (b_re - a_re) * half
    w_re, w_im = broadcast(roots[2 * k]), broadcast(roots[2 * k + 1])
    turned_re, turned_im = odd_re * w_re - odd_im * w_im, odd_re * w_im + odd_im * w_re
    return even_re + turned_re, even_im + turned_im, even_re - turned_re, turned_im - even_im
