"""Represent sixteen numbers as one Numba value, for kernels that state what runs in parallel.

The numbers are float32, or float64 where rounding would show. LLVM's own vectoriser gives up on an
FFT: it cannot prove that the many strided arrays do not overlap. With an explicit vector type the
kernels in this package process sixteen frames at once and LLVM maps each operation to the machine's
registers (one of AVX-512, two of AVX, four of SSE or NEON). There is only what the kernels need:
load, store, broadcast, + - *, maximum, square root, comparison, logarithm. Indices are not checked
against the arrays' bounds.

Numba's cache on disk depends on the file of the kernel, not on the functions that it calls: after a
change here or in `fft`, delete ``__pycache__/*.nbi``.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 16
_I32 = ir.IntType(32)
_INTEGERS = ir.VectorType(_I32, LANES)


class Vector(types.Type):
    """Sixteen numbers of one Numba float type."""

    def __init__(self, element: types.Float) -> None:
        self.element = element
        self.llvm = ir.VectorType(
            ir.FloatType() if element == types.float32 else ir.DoubleType(), LANES
        )
        super().__init__(name=f"Vector({element})")


float32x16 = Vector(types.float32)
float64x16 = Vector(types.float64)
_VECTORS = {types.float32: float32x16, types.float64: float64x16}
_VECTOR = float32x16.llvm


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [float(np.float32(value))] * LANES)


def _integer_constant(value: int) -> ir.Constant:
    return ir.Constant(_INTEGERS, [value] * LANES)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTORS[array_type.dtype].llvm.as_pointer())


def _is_flat(array: Any) -> bool:
    return (
        isinstance(array, types.Array)
        and array.ndim == 1
        and array.layout == "C"
        and array.dtype in _VECTORS
    )


@intrinsic
def load(typingctx: Any, array: types.Type, index: types.Type) -> Any:
    """Load sixteen numbers of a flat array from `index` on."""
    if not _is_flat(array):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(
            _pointer(context, builder, signature.args[0], *arguments),
            align=array.dtype.bitwidth // 8,
        )

    return _VECTORS[array.dtype](array, types.intp), generate


@intrinsic
def store(typingctx: Any, array: types.Type, index: types.Type, vector: types.Type) -> Any:
    """Write sixteen numbers to a flat array of their type from `index` on."""
    if not (_is_flat(array) and vector is _VECTORS[array.dtype]):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def as_type_of(typingctx: Any, array: types.Type, vector: types.Type) -> Any:
    """Convert the vector's numbers to the type of the array."""
    if not (isinstance(array, types.Array) and isinstance(vector, Vector)):
        return None
    target = _VECTORS[array.dtype]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if target is vector:
            return arguments[1]
        return (builder.fpext if target is float64x16 else builder.fptrunc)(
            arguments[1], target.llvm
        )

    return target(array, vector), generate


@intrinsic
def transpose_block(
    typingctx: Any,
    source: types.Type,
    start: types.Type,
    source_stride: types.Type,
    target: types.Type,
    at: types.Type,
    target_stride: types.Type,
) -> Any:
    """Write the 16 x 16 block of `source` at `start`, transposed, to `target` at `at`.

    Rows of the source are `source_stride` apart.
    """
    if not (
        _is_flat(source) and _is_flat(target) and source.dtype == target.dtype == types.float32
    ):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, start, source_stride, target, at, target_stride = arguments

        def row(array_type: types.Array, array: Any, first: Any, stride: Any, number: int) -> Any:
            return _pointer(
                context,
                builder,
                array_type,
                array,
                builder.add(first, builder.mul(stride, stride.type(number))),
            )

        rows = [
            builder.load(row(signature.args[0], source, start, source_stride, i), align=4)
            for i in range(LANES)
        ]
        # Four rounds, each swapping the off-diagonal quarters of blocks of twice `width` lanes.
        width = 1
        while width < LANES:
            lower = [i if i & width == 0 else i - width + LANES for i in range(LANES)]
            upper = [i + width if i & width == 0 else i + LANES for i in range(LANES)]
            for i in range(LANES):
                if i & width == 0:
                    pair = rows[i], rows[i + width]
                    rows[i] = builder.shuffle_vector(*pair, ir.Constant(_INTEGERS, lower))
                    rows[i + width] = builder.shuffle_vector(*pair, ir.Constant(_INTEGERS, upper))
            width *= 2
        for i, vector in enumerate(rows):
            builder.store(vector, row(signature.args[3], target, at, target_stride, i), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), generate


@intrinsic
def broadcast(typingctx: Any, number: types.Type) -> Any:
    """Repeat a number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(_VECTORS[number].llvm, ir.Undefined)
        return builder.shuffle_vector(
            builder.insert_element(undefined, arguments[0], _I32(0)),
            undefined,
            _integer_constant(0),
        )

    return _VECTORS[number](number), generate


def _binary(instruction: str) -> Any:
    @intrinsic
    def operation(typingctx: Any, left: types.Type, right: types.Type) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(
                *arguments, flags=("contract",)
            )  # a * b + c becomes one fused instruction

        return left(left, right), generate

    return operation


_add, _subtract, _multiply = _binary("fadd"), _binary("fsub"), _binary("fmul")


def _overload(python_operator: Any, operation: Any) -> None:
    @overload(python_operator)
    def choose(left: types.Type, right: types.Type) -> Any:
        if isinstance(left, Vector) and left is right:

            def implementation(
                left: types.Type, right: types.Type
            ) -> Any:  # Numba compares this signature with that of `choose`
                return operation(left, right)

            return implementation
        return None


_overload(operator.add, _add)
_overload(operator.sub, _subtract)
_overload(operator.mul, _multiply)


def _maximum(builder: Any, left: Any, right: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", left, right), left, right)


@intrinsic
def maximum(typingctx: Any, left: types.Type, right: types.Type) -> Any:
    """Return the larger number of each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _maximum(builder, *arguments)

    return float32x16(float32x16, float32x16), generate


@intrinsic
def square_root(typingctx: Any, vector: types.Type) -> Any:
    """Return the square root of each lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.sqrt.v{LANES}f32"
        )
        return builder.call(function, arguments)

    return float32x16(float32x16), generate


@intrinsic
def peak_lanes(
    typingctx: Any, below: types.Type, centre: types.Type, above: types.Type, threshold: types.Type
) -> Any:
    """Set bit i where lane i of `centre` is > threshold, > `below` and >= `above`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        below, centre, above, threshold = arguments
        mask = builder.and_(
            builder.and_(
                builder.fcmp_ordered(">", centre, below), builder.fcmp_ordered(">=", centre, above)
            ),
            builder.fcmp_ordered(">", centre, threshold),
        )
        return builder.zext(builder.bitcast(mask, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(float32x16, float32x16, float32x16, float32x16), generate


@intrinsic
def trailing_zeros(typingctx: Any, bits: types.Type) -> Any:
    """Return the index of the lowest set bit of a non-zero 64-bit integer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


# log(1 + f) / f for f in [-1/3, 1/3], by Chebyshev interpolation: 10 coefficients leave 2e-7 dB of
# error.
_CHEBYSHEV = np.polynomial.Chebyshev.interpolate(
    lambda f: np.log1p(f) / f, 9, domain=[-1 / 3, 1 / 3]
)
_LOGARITHM = _CHEBYSHEV.convert(kind=np.polynomial.Polynomial).coef
_TWO_THIRDS = 0x3F2AAAAB  # the bits of float32(2/3)


@intrinsic
def decibels(typingctx: Any, power: types.Type, floor: types.Type) -> Any:
    """Compute 10 log10(max(power, floor)), floor positive.

    The error is within 4e-6 dB, apart from the last bits of the sum.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def add(left: Any, right: Any) -> Any:
            return builder.fadd(left, right, flags=("contract",))

        def multiply(left: Any, right: Any) -> Any:
            return builder.fmul(left, right, flags=("contract",))

        # power = 2^exponent * mantissa, mantissa in [2/3, 4/3)
        bits = builder.bitcast(_maximum(builder, *arguments), _INTEGERS)
        exponent = builder.ashr(
            builder.sub(bits, _integer_constant(_TWO_THIRDS)), _integer_constant(23)
        )
        mantissa = builder.bitcast(
            builder.sub(bits, builder.shl(exponent, _integer_constant(23))), _VECTOR
        )
        fraction = add(mantissa, _constant(-1.0))
        scale = 10 / np.log(10)
        series = _constant(_LOGARITHM[-1] * scale)
        for coefficient in _LOGARITHM[-2::-1]:
            series = add(multiply(series, fraction), _constant(coefficient * scale))
        return add(
            multiply(builder.sitofp(exponent, _VECTOR), _constant(10 * np.log10(2))),
            multiply(series, fraction),
        )

    return float32x16(float32x16, float32x16), generate
