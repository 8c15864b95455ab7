"""Rounding, signs and limits: functions made of straight pieces, and the neighbours of floats."""

import builtins
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import broadcast, elementwise, kind, require, with_slopes
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, Op, Scalar, op
from jtorch.ops._results import result_of

# rounding


def _integer_of(name: str, function, summary: str, alias: str | tuple = ()) -> Op:
    """The op that rounds to an integer: `function` on floats, nothing on integers. Its gradient is 0."""

    def body(input: Array) -> Array:
        require(name, input.dtype, "if")
        return input if _args.is_integral(input.dtype) else function(jax.lax.stop_gradient(input))

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{summary} Its gradient is 0.\n\n    Shape: (*) -> (*)\n    "
    return op(inplace=True, alias=alias)(body)


floor = _integer_of("floor", jnp.floor, "The next integer below.")
ceil = _integer_of("ceil", jnp.ceil, "The next integer above.")
trunc = _integer_of("trunc", jnp.trunc, "The next integer towards 0.", "fix")


@elementwise("f")
def _to_decimals(input: Array, decimals: int) -> Array:
    shift = jnp.asarray(10.0 ** builtins.abs(decimals), input.dtype)
    return jnp.round(input * shift) / shift if decimals > 0 else jnp.round(input / shift) * shift


@op(inplace=True)
def round(input: Array, *, decimals: int = 0) -> Array:
    """The nearest integer, the even one of two, or the nearest number of so many decimals. Its gradient is 0.

    Shape: (*) -> (*)
    Raises: NotImplementedError for bools, and for integers where decimals are given.
    """
    require("round", input.dtype, "f" if decimals else "if")
    if _args.is_integral(input.dtype):
        return input
    input = jax.lax.stop_gradient(input)
    return _to_decimals(input, decimals) if decimals else jnp.round(input)


@op(inplace=True)
@elementwise("f")
def frac(input: Array) -> Array:
    """What follows the decimal point: `input - trunc(input)`.

    Shape: (*) -> (*)
    Raises: NotImplementedError for integers.
    """
    return input - jax.lax.stop_gradient(jnp.trunc(input))


# signs


def _sign(input: Array) -> Array:
    return input if input.dtype == jnp.bool_ else jnp.sign(jnp.where(jnp.isnan(input), 0, input))


@jax.custom_jvp
def _length(x: Array) -> Array:
    """Of complex numbers; infinite where one part is, whatever the other."""
    return jnp.where(jnp.isinf(x.real) | jnp.isinf(x.imag), jnp.inf, jnp.abs(x))


_length.defjvps(lambda t, _, x: (jnp.conj(_direction(x)) * t).real)


def _direction(x: Array) -> Array:
    zero = x == 0
    safe = jnp.where(zero, 1, x)
    return jnp.where(zero, 0, safe / jnp.abs(safe))


@op(inplace=True, alias="absolute")
@elementwise("ifc")
def abs(input: Array) -> Array:
    """The absolute value. Its gradient at 0 is 0.

    Shape: (*) -> (*)
    Raises: NotImplementedError for bools.
    """
    if _args.is_complex(input.dtype):
        return _length(input)
    if not _args.is_float(input.dtype):
        return jnp.abs(input)
    return input * jax.lax.stop_gradient(_sign(input))


@op(inplace=True)
@elementwise("bif")
def sign(input: Array) -> Array:
    """-1, 0 or 1. Its gradient is 0.

    Shape: (*) -> (*)
    Raises: NotImplementedError for complex numbers; see sgn().
    """
    return _sign(input)


@op(inplace=True)
@elementwise()
def sgn(input: Array) -> Array:
    """-1, 0 or 1; of complex numbers the one of length 1 in their direction, and 0 of 0.

    Shape: (*) -> (*)
    """
    return _direction(input) if _args.is_complex(input.dtype) else _sign(input)


@op(differentiable=False)
@elementwise("bif")
def signbit(input: Array) -> Array:
    """Whether the sign bit is set: True for negative numbers, and for -0.0.

    Shape: (*) -> (*)
    Raises: NotImplementedError for complex numbers.
    """
    return jnp.signbit(input) if _args.is_float(input.dtype) else input < 0


@op(inplace=True)
@elementwise("bif", to_float=True)
def copysign(input: Array, other: Array | Scalar) -> Array:
    """The size of the input with the sign of `other`. Its gradient where the input is 0 is 0.

    Shape: (*), (*) -> (*), broadcast
    """
    flip = jnp.where(jnp.signbit(input) == jnp.signbit(other), 1, -1).astype(input.dtype)
    return jnp.where(input == 0, jax.lax.stop_gradient(jnp.copysign(input, other)), input * flip)


@op(inplace=True, differentiable=False)
def heaviside(input: Array, values: Array) -> Array:
    """0 where negative, 1 where positive, `values` where 0. It has no gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers or unequal dtypes.
    """
    same = input.dtype == values.dtype
    _args.check(same, f"heaviside(): expected one dtype, got {input.dtype} and {values.dtype}", RuntimeError)
    return _heaviside(input, values)


@elementwise("bif", error=RuntimeError)
def _heaviside(input: Array, values: Array) -> Array:
    return jnp.where(input == 0, values, _args.cast(input > 0, values.dtype))


@op(inplace=True)
@elementwise("f", widen=False)
def nextafter(input: Array, other: Array) -> Array:
    """The next float after the input towards `other`. Its slope along the input is 1, but 0 where both are equal.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers.
    """
    value = jnp.nextafter(*jax.lax.stop_gradient((input, other)))
    return with_slopes(value, (input,), ((input != other).astype(value.dtype),))


# limits


def _greater(x: Array, y: Array) -> Array:
    """The greater one, with torch's slopes: a half each for equal ones, 1 each where one is NaN."""
    if _args.is_integral(x.dtype):
        return jnp.maximum(x, y)
    half = jnp.asarray(0.5, x.dtype)
    level = jnp.where(x == y, half * x + half * y, x + y)
    return jnp.where(x > y, x, jnp.where(x < y, y, level))


@op
@elementwise("bif", error=RuntimeError, widen=False)
def maximum(input: Array, other: Array) -> Array:
    """The greater of each two elements, NaN where one is NaN. Equal ones share the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return _greater(input, other)


def _smaller(x: Array, y: Array) -> Array:
    return jnp.minimum(x, y) if _args.is_integral(x.dtype) else -_greater(-x, -y)


@op
@elementwise("bif", error=RuntimeError, widen=False)
def minimum(input: Array, other: Array) -> Array:
    """The smaller of each two elements, NaN where one is NaN. Equal ones share the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return _smaller(input, other)


@op
@elementwise("bif", error=RuntimeError, widen=False)
def fmax(input: Array, other: Array) -> Array:
    """The greater of each two elements, or the one that is not NaN. The first of equal ones gets the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return jnp.where((input >= other) | jnp.isnan(other), input, other)


@op
@elementwise("bif", error=RuntimeError, widen=False)
def fmin(input: Array, other: Array) -> Array:
    """The smaller of each two elements, or the one that is not NaN. The first of equal ones gets the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return jnp.where((input <= other) | jnp.isnan(other), input, other)


def _held(bound: Array | Scalar | None, dtype: jnp.dtype) -> Array | None:
    """A limit in the dtype of the result. -1 is 255 in uint8; numbers beyond it become the last that integers hold."""
    if bound is None:
        return None
    bound = jnp.asarray(bound)
    if dtype.kind in "iu" and bound.dtype.kind in "iu" and bound.weak_type:
        info, own = jnp.iinfo(dtype), jnp.iinfo(bound.dtype)
        low, high = builtins.max(info.min, own.min), builtins.min(info.max, own.max)
        bound = jnp.where(bound < (low or -high), low, jnp.minimum(bound, high))
    return bound.astype(dtype)


def _limited(name: str, input: Array, min: Array | Scalar | None, max: Array | Scalar | None) -> Array:
    """The input between the limits. What equals a limit has slope 1 along the input, and NaN has none."""
    dtype = _args.result_type(*(x for x in (input, min, max) if x is not None))
    require(name, dtype, "bif")
    x, *limits = broadcast(name, input.astype(dtype), *(_held(x, dtype) for x in (min, max) if x is not None))
    low, high = (None if x is None else limits.pop(0) for x in (min, max))
    true = jnp.ones((), bool)
    inside = (true if low is None else x >= low) & (true if high is None else x <= high)
    value = x if low is None else jnp.maximum(x, low)
    value = jax.lax.stop_gradient(value if high is None else jnp.minimum(value, high))
    known = ~jnp.isnan(value)
    if low is not None:
        value = jnp.where(known & (x < low) & (true if high is None else low < high), low, value)
    if high is not None:
        value = jnp.where(known & ((x > high) | (~true if low is None else high < low)), high, value)
    return jnp.where(inside, x, value)


def _is_complex_number(bound: Array | Scalar | None) -> bool:
    return bound is not None and kind(jnp.result_type(bound)) == "c" and jnp.asarray(bound).aval.weak_type


@op(inplace=True, alias="clip")
def clamp(input: Array, min: Array | Scalar | None = None, max: Array | Scalar | None = None) -> Array:
    """The input where it lies between `min` and `max`, else the limit it is beyond; `max` where `min > max`.

    Shape: (*), (*), (*) -> (*), broadcast
    Raises: RuntimeError without any limit, or for a complex number as a limit of floats; NotImplementedError for other complex
        numbers.
    Differs: torch raises for limits beyond the range of an integer dtype; here they are beyond every element. Both take
        -1 for 255 between unsigned integers. torch takes tensors as limits of bools, and no True or False.
    """
    given = min is not None or max is not None
    _args.check(given, "clamp(): expected min or max, got neither", RuntimeError)
    real = kind(input.dtype) != "f" or not any(map(_is_complex_number, (min, max)))
    _args.check(real, f"clamp(): expected real limits for {input.dtype}, got a complex number", RuntimeError)
    return _limited("clamp", input, min, max)


@op(inplace=True)
def clamp_min(input: Array, min: Array | Scalar) -> Array:
    """The input where it is not below `min`, else `min`.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for complex numbers.
    """
    return _limited("clamp_min", input, min, None)


@op(inplace=True)
def clamp_max(input: Array, max: Array | Scalar) -> Array:
    """The input where it is not above `max`, else `max`.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for complex numbers.
    """
    return _limited("clamp_max", input, None, max)


def _finite(x: Array, nan: Scalar, posinf: Scalar | None, neginf: Scalar | None) -> Array:
    info = jnp.finfo(x.dtype)
    top, bottom = (info.max if posinf is None else posinf), (info.min if neginf is None else neginf)
    nan, top, bottom = (_args.scalar("nan_to_num", v, x.dtype) for v in (nan, top, bottom))
    return jnp.where(jnp.isnan(x), nan, jnp.where(x == jnp.inf, top, jnp.where(x == -jnp.inf, bottom, x)))


@op(inplace=True)
def nan_to_num(input: Array, nan: Scalar = 0.0, posinf: Scalar | None = None, neginf: Scalar | None = None) -> Array:
    """The input with numbers for NaN and the infinities; None means the greatest and the least that the dtype holds.

    Shape: (*) -> (*)
    """
    if _args.is_integral(input.dtype):
        return input
    if _args.is_complex(input.dtype):
        return jax.lax.complex(*(_finite(x, nan, posinf, neginf) for x in (input.real, input.imag)))
    return _finite(input, nan, posinf, neginf)


@result_of("frexp")
class Frexp(NamedTuple):
    """Numbers as `mantissa * 2**exponent`."""

    mantissa: Array
    exponent: Array


@op
def frexp(input: Array) -> Frexp:
    """Numbers of size 0.5 up to 1, and the powers of 2 that they have to be multiplied by; the exponent of 0 is 0.

    Shape: (*) -> (*), (*)
    Raises: RuntimeError for other dtypes than floats.
    """
    _args.check(_args.is_float(input.dtype), f"frexp(): expected a float dtype, got {input.dtype}", RuntimeError)
    x = wide(input)
    _, exponent = jnp.frexp(jax.lax.stop_gradient(x))
    half = exponent // 2  # in two steps, since one power of 2 may be out of range
    mantissa = x * jnp.exp2(-half.astype(x.dtype)) * jnp.exp2((half - exponent).astype(x.dtype))
    return Frexp(mantissa.astype(input.dtype), exponent.astype(np.int32))
