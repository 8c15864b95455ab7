"""Rounding, signs and limits: functions made of straight pieces, and the neighbours of floats."""

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._elementwise import elementwise, require
from jtorch.ops._op import Array, Op, Scalar, op

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
    shift = jnp.asarray(10.0 ** abs(decimals), input.dtype)
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


@op(inplace=True, alias="absolute")
@elementwise("ifc")
def abs(input: Array) -> Array:
    """The absolute value. Its gradient at 0 is 0.

    Shape: (*) -> (*)
    Raises: NotImplementedError for bools.
    """
    if not _args.is_float(input.dtype):
        return jnp.abs(input)
    return input * jax.lax.stop_gradient(jnp.sign(input))


def _sign(input: Array) -> Array:
    return input if input.dtype == jnp.bool_ else jnp.sign(jnp.where(jnp.isnan(input), 0, input))


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
    if not _args.is_complex(input.dtype):
        return _sign(input)
    zero = input == 0
    safe = jnp.where(zero, 1, input)
    return jnp.where(zero, 0, safe / jnp.abs(safe))


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
    return jnp.where(input == 0, values, (input > 0).astype(values.dtype))


@op(inplace=True, differentiable=False)
@elementwise("f", widen=False)
def nextafter(input: Array, other: Array) -> Array:
    """The next float after the input towards `other`. It has no gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers.
    """
    return jnp.nextafter(input, other)


# limits


@op
@elementwise("bif", error=RuntimeError, widen=False)
def maximum(input: Array, other: Array) -> Array:
    """The greater of each two elements, NaN where one is NaN. Equal ones share the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return _chosen(jnp.maximum, input, other)


@op
@elementwise("bif", error=RuntimeError, widen=False)
def minimum(input: Array, other: Array) -> Array:
    """The smaller of each two elements, NaN where one is NaN. Equal ones share the gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for complex numbers.
    """
    return _chosen(jnp.minimum, input, other)
