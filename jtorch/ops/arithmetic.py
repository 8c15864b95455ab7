"""Sums, products, quotients and remainders. Powers and roots are with the pointwise functions, bits and gcd in bitwise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import elementwise, kind, require, scale_of, with_slopes
from jtorch.ops._op import Array, Scalar, Scale, derived, op
from jtorch.ops.pointwise import reciprocal

# sums and products


def _times(name: str, scale: Scalar | None, y: Array) -> Array:
    """`scale * y`, where the scale may be a number of no higher kind than y."""
    return y if scale is None else scale_of(name, scale, y.dtype) * y


@op(inplace=True)
@elementwise()
def add(input: Scalar, other: Scalar, *, alpha: Scale | None = None) -> Array:
    """`input + alpha * other`; alpha None means 1 and saves the product.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError where alpha is of a higher kind than the operands, such as a float for integers.
    """
    return jnp.add(input, _times("add", alpha, other))


@elementwise()
def _difference(x: Array, y: Array, *, scale: Array | None, name: str) -> Array:
    return x - _times(name, scale, y)


def _no_bools(name: str, *values: Array | Scalar) -> None:
    known = all(jnp.result_type(x) != jnp.bool_ for x in values)
    _args.check(known, f"{name}(): expected numbers, got bools; use ^, logical_xor() or logical_not()", RuntimeError)


@op(inplace=True, alias="subtract")
def sub(input: Scalar, other: Scalar, *, alpha: Scale | None = None) -> Array:
    """`input - alpha * other`; alpha None means 1 and saves the product.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for bools, or where alpha is of a higher kind than the operands.
    """
    _no_bools("sub", input, other)
    return _difference(input, other, scale=alpha, name="sub")


@op(method=False)
def rsub(input: Array, other: Array | Scalar, *, alpha: Scale | None = None) -> Array:
    """`other - alpha * input`; alpha None means 1 and saves the product.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for bools, or where alpha is of a higher kind than the operands.
    """
    _no_bools("rsub", input, other)
    return _difference(other, input, scale=alpha, name="rsub")


@op(inplace=True, alias="multiply")
@elementwise()
def mul(input: Scalar, other: Scalar) -> Array:
    """`input * other`; of bools whether both are True.

    Shape: (*), (*) -> (*), broadcast
    """
    return jnp.multiply(input, other)


@op(inplace=True, alias="negative")
@elementwise("ifc", error=RuntimeError)
def neg(input: Array) -> Array:
    """`-input`.

    Shape: (*) -> (*)
    Raises: RuntimeError for bools.
    """
    return -input


@op
@elementwise("ifc", error=RuntimeError)
def positive(input: Array) -> Array:
    """The input.

    Shape: (*) -> (*)
    Raises: RuntimeError for bools.
    """
    return input


@op(inplace=True)
@elementwise("ifc")
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value: Scale = 1) -> Array:
    """`input + value * tensor1 * tensor2`.

    Shape: (*), (*), (*) -> (*), broadcast
    """
    return input + _args.scalar("addcmul", value, input.dtype) * tensor1 * tensor2


def _all_one_dtype(name: str, *arrays: Array) -> None:
    dtypes = {str(x.dtype) for x in arrays}
    _args.check(len(dtypes) == 1, f"{name}(): expected one dtype, got {' and '.join(sorted(dtypes))}", RuntimeError)


@op(inplace=True)
@elementwise("fc", error=RuntimeError)
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value: Scale = 1) -> Array:
    """`input + value * tensor1 / tensor2`.

    Shape: (*), (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers.
    """
    return input + _args.scalar("addcdiv", value, input.dtype) * (tensor1 / tensor2)


@op(inplace=True)
def lerp(input: Array, end: Array, weight: Array | Scalar) -> Array:
    """`input + weight * (end - input)`, exact at weights 0 and 1.

    Shape: (*), (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers; RuntimeError for unequal dtypes, and for a complex number between reals.
    """
    weighing = [weight] if jnp.ndim(weight) else []
    _all_one_dtype("lerp", input, end, *weighing)
    if jnp.asarray(weight).aval.weak_type:  # a Python number: it makes nothing of integers and reals
        require("lerp", input.dtype, "fc")
        real = kind(weight.dtype) != "c" or kind(input.dtype) == "c"
        _args.check(real, f"lerp(): expected a real weight for {input.dtype}, got a complex number", RuntimeError)
    return _between(input, end, weight)


@elementwise("fc")
def _between(start: Array, end: Array, weight: Array | Scalar) -> Array:
    """The point at `weight` on the way, reckoned from the nearer end."""
    span = end - start
    return jnp.where(jnp.abs(weight) < 0.5, start + weight * span, end - span * (1 - weight))


# quotients


def _has_zero(x: object) -> bool:
    return _args.is_integral(jnp.result_type(x)) and bool(np.any(np.asarray(x) == 0))


def _refuse_zero(input, other, rounding_mode="floor"):
    """torch raises for integers divided by zero, where XLA would give -1. Bools are refused whatever they are."""
    dtype = _args.result_type(input, other)
    if rounding_mode is not None and kind(dtype) == "i":
        _args.check(not _has_zero(other), "ZeroDivisionError: expected a divisor other than 0", RuntimeError)


def _floored(x: Array, y: Array) -> Array:
    """The quotient rounded down, corrected where `x / y` itself is rounded across an integer."""
    if _args.is_integral(x.dtype):
        return jnp.floor_divide(x, y)
    rest = jax.lax.rem(x, y)
    below = (rest != 0) & ((y < 0) != (rest < 0))
    quotient = (x - rest) / y - below.astype(x.dtype)
    near = jnp.round(quotient)
    quotient = jnp.where(quotient == 0, jnp.copysign(0, x / y).astype(x.dtype), near)
    return jnp.where(y == 0, x / y, quotient)


def _truncated(x: Array, y: Array) -> Array:
    return jax.lax.div(x, y) if _args.is_integral(x.dtype) else jnp.trunc(x / y)


@op(inplace=True)
@elementwise(to_float=True)
def true_divide(input: Scalar, other: Scalar) -> Array:
    """`input / other`, in floats even for integers.

    Shape: (*), (*) -> (*), broadcast
    """
    return input / other


@op(method=False, function=False)
def _times_reciprocal(input: Array | Scalar, other: Array) -> Array:
    """`input / other` where a number is divided by a tensor: what it is times is of the tensor's dtype, so that 1e-3 / 1e-5 of
    float16 is infinite.

    Shape: (*), (*) -> (*), broadcast
    """
    return mul.body(input, reciprocal.body(other))


@op(inplace=True, differentiable=False, validate=_refuse_zero)
@elementwise("if")
def floor_divide(input: Scalar, other: Scalar) -> Array:
    """`input / other` rounded down. It has no gradient.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers divided by 0.
    """
    return _floored(input, other)


@op(method=False, function=False, validate=_refuse_zero)
@elementwise("if", widen=False)  # the quotient of 16-bit floats is rounded to 16 bits before it is truncated
def divide_rounded(input: Scalar, other: Scalar, rounding_mode: str) -> Array:
    """`input / other` rounded to an integer, towards zero (`trunc`) or down (`floor`). Its gradient is 0.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers divided by 0.
    """
    x, y = jax.lax.stop_gradient((input, other))
    return floor_divide.body(x, y) if rounding_mode == "floor" else _truncated(x, y)


@derived(inplace=True, alias="divide")
def div(input, other, *, rounding_mode=None):
    """`input / other`, and rounded towards zero (`trunc`) or down (`floor`) where a rounding mode is given.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for another rounding mode, or for integers divided by 0 with rounding.
    """
    if rounding_mode is None:
        return true_divide(input, other)
    known = rounding_mode in ("trunc", "floor")
    _args.check(known, f"div(): expected rounding_mode None, 'trunc' or 'floor', got {rounding_mode!r}", RuntimeError)
    return divide_rounded(input, other, rounding_mode)


def _linear(rest: Array, x: Array, y: Array, quotient: Callable) -> Array:
    """What a division leaves, with its slopes: 1 along x, the rounded quotient along y."""
    if _args.is_integral(rest.dtype):
        return rest
    return with_slopes(rest, (x, y), (jnp.ones_like(x), -quotient(x, y)))


@op(inplace=True, validate=_refuse_zero)
@elementwise("if")
def remainder(input: Array | Scalar, other: Array | Scalar) -> Array:
    """`input - other * floor(input / other)`: what is left of a division, with the sign of the divisor.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers divided by 0.
    """
    rest = jax.lax.rem(input, other)
    rest = jnp.where((rest != 0) & ((other < 0) != (rest < 0)), rest + other, rest)
    return _linear(rest, input, other, _floored)


@op(inplace=True, validate=_refuse_zero)
@elementwise("if")
def fmod(input: Array, other: Array | Scalar) -> Array:
    """`input - other * trunc(input / other)`: what is left of a division, with the sign of the dividend.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers divided by 0.
    """
    return _linear(jax.lax.rem(input, other), input, other, _truncated)
