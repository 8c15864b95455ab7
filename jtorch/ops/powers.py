"""Powers, and the logarithms, exponentials and angles that take two operands."""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import broadcast, elementwise
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops.bitwise import bitwise_or
from jtorch.ops.pointwise import complex_exp, sqrt

# powers


def _by_squaring(x: Array, y: Array) -> Array:
    """`x ** y` of integers, wrapping as they do. `jnp.power` looks at the six lowest bits of an exponent only."""

    def step(at: tuple) -> tuple:
        found, square, rest = at
        return jnp.where(rest & 1, found * square, found), square * square, rest >> 1

    return jax.lax.while_loop(lambda at: jnp.any(at[2] > 0), step, (jnp.ones_like(x), x, y))[0]


def _integer_power(x: Array, y: Array) -> Array:
    found = _by_squaring(x, jnp.maximum(y, 0))
    alternating = jnp.where(y & 1, -1, 1)
    inverse = jnp.where(x == 1, 1, jnp.where(x == -1, alternating, 0))
    return jnp.where(y < 0, inverse.astype(x.dtype), found)


@jax.custom_jvp
def _complex_power(x: Array, y: Array) -> Array:
    """As torch has it, `0 ** 0` and overflow included."""
    return complex_exp(y * jnp.log(x))


@_complex_power.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    (x, y), (tx, ty), value = primals, tangents, _complex_power(*primals)
    along_x = jnp.where(y == 0, 0, y * _complex_power(x, jnp.where(y == 0, 1, y - 1)))
    flat = (x == 0) & (y.imag == 0) & (y.real >= 0)
    return value, tx * along_x + ty * jnp.where(flat, 0, value * jnp.log(jnp.where(flat, 1, x)))


def _power(x: Array, y: Array) -> Array:
    """`x ** y`, with slopes of 0 at `0 ** 0`, where JAX has NaN."""
    if _args.is_integral(x.dtype):
        return _integer_power(x, y)
    if _args.is_complex(x.dtype):
        return _complex_power(x, y)
    return jnp.power(jnp.where((y == 0) & ((x == 0) | jnp.isnan(x)), 1, x), y)


@op(method=False, function=False)
@elementwise("ifc")
def power(input: Array | Scalar, exponent: Array | Scalar) -> Array:
    """`input ** exponent`. Integers to negative powers are 0, but for those of 1 and -1.

    Shape: (*), (*) -> (*), broadcast
    """
    return _power(input, exponent)


_SHORT = {
    0: jnp.ones_like,
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    0.5: sqrt.body,
    -0.5: jax.lax.rsqrt,
    -1: lambda x: 1 / x,
    -2: lambda x: jnp.square(1 / x),
}
"""Exponents that have a way many times faster than the logarithm."""


@op(method=False, function=False)
def short_power(input: Array, exponent: int | float, is_float: bool) -> Array:
    """`input ** exponent` for the exponents that have a shorter way; `is_float` tells 2.0 from 2.

    Shape: (*) -> (*)
    """

    @elementwise()
    def computed(input: Array) -> Array:
        return _SHORT[exponent](input)

    return computed(input.astype(_args.result_type(input, 1.0 if is_float else 1)))


def _check_exponent(input, exponent) -> None:
    """An integer exponent of integers must not be negative, and must be a number that their dtype holds."""
    dtype = _args.to_dtype(input.dtype)
    dtype = _args.long_dtype() if dtype == np.bool_ else dtype
    if dtype.kind in "iu":
        fits = 0 <= exponent <= np.iinfo(dtype).max
        _args.check(fits, f"pow(): expected an exponent of 0 or more that {dtype} holds, got {exponent}", RuntimeError)


@derived(inplace=True)
def pow(input, exponent):
    """`input ** exponent`.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for integers to a negative number or one out of range; NotImplementedError for bools to bools.
    """
    kind = type(exponent)
    if kind is bool and hasattr(input, "dtype") and _args.to_dtype(input.dtype) == np.bool_:
        return bitwise_or(input, not exponent)
    if (kind is int or kind is float) and not isinstance(input, bool | int | float | complex):
        if kind is int and not 0 <= exponent <= 127:
            _check_exponent(input, exponent)
        if exponent in _SHORT:
            return short_power(input, exponent, kind is float)
    return power(input, exponent)


@op(inplace=True)
@elementwise()
def square(input: Array) -> Array:
    """`input * input`, of bools an integer.

    Shape: (*) -> (*)
    """
    return input.astype(_args.long_dtype()) if input.dtype == jnp.bool_ else input * input


@op(inplace=True)
def float_power(input: Array | Scalar, exponent: Array | Scalar) -> Array:
    """`input ** exponent` in float64, or complex128 where an operand is complex.

    Shape: (*), (*) -> (*), broadcast
    """
    complex_result = any(jnp.iscomplexobj(x) for x in (input, exponent))
    dtype = jax.dtypes.canonicalize_dtype(np.complex128 if complex_result else np.float64)
    return _power(*broadcast("float_power", *(jnp.asarray(x).astype(dtype) for x in (input, exponent))))


@op(inplace=True)
def ldexp(input: Array, other: Array) -> Array:
    """`input * 2 ** other`.

    Shape: (*), (*) -> (*), broadcast
    """
    scale = power.body(2.0, other)
    dtype = _args.result_type(input, scale)
    input, scale = broadcast("ldexp", input, scale)
    return _args.cast(input, dtype) * scale.astype(dtype)


# logarithms of sums and products


@jax.custom_jvp
def _logaddexp(x: Array, y: Array, base: Array) -> Array:
    high = jnp.maximum(x, y)
    gap = jnp.where(x == y, 0, jnp.abs(x - y))  # equal infinities have no difference
    return high + jnp.log1p(jnp.exp(-gap * base)) / base


@_logaddexp.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    x, y, base = primals
    share = jax.nn.sigmoid((x - y) * base)
    return _logaddexp(x, y, base), share * tangents[0] + (1 - share) * tangents[1]


def _complex_logaddexp(x: Array, y: Array) -> Array:
    """Of complex numbers; the imaginary part is not brought back to -pi .. pi, as in torch."""
    first = x.real >= y.real
    high, low = jnp.where(first, x, y), jnp.where(first, y, x)
    return high + jnp.log1p(jnp.exp(low - high))


@op
@elementwise("fc")
def logaddexp(input: Array, other: Array) -> Array:
    """`log(exp(input) + exp(other))` without overflow.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers.
    """
    if _args.is_complex(input.dtype):
        return _complex_logaddexp(input, other)
    return _logaddexp(input, other, jnp.ones((), input.dtype))


@op
@elementwise("f")
def logaddexp2(input: Array, other: Array) -> Array:
    """`log2(2 ** input + 2 ** other)` without overflow.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers.
    """
    return _logaddexp(input, other, jnp.asarray(np.log(2), input.dtype))


@jax.custom_jvp
def _xlogy(x: Array, y: Array) -> Array:
    endless = (y <= 0) | (y == jnp.inf)
    return x * jnp.log(jnp.where((x == 0) & endless, 1, y))


@_xlogy.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    x, y = primals
    slope = jnp.where((x == 0) & (y <= 0), 0, jnp.log(y))
    return _xlogy(x, y), slope * tangents[0] + x / y * tangents[1]


@op(inplace=True)
@elementwise("bif", to_float=True)
def xlogy(input: Array | Scalar, other: Array | Scalar) -> Array:
    """`input * log(other)`, and 0 where the input is 0, unless `other` is NaN.

    Shape: (*), (*) -> (*), broadcast
    """
    return _xlogy(input, other)


# angles and lengths


@jax.custom_jvp
def _hypot(x: Array, y: Array) -> Array:
    return jnp.hypot(x, y)


@_hypot.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    length = _hypot(*primals)
    return length, (primals[0] / length) * tangents[0] + (primals[1] / length) * tangents[1]


@op(inplace=True)
@elementwise("f")
def hypot(input: Array, other: Array) -> Array:
    """The length of the hypotenuse, `sqrt(input ** 2 + other ** 2)`.

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for integers.
    """
    return _hypot(input, other)


@op(inplace=True, alias="arctan2")
@elementwise("bif", to_float=True)
def atan2(input: Array, other: Array) -> Array:
    """The angle of the point (other, input), from -pi to pi. Its gradient at the origin is 0.

    Shape: (*), (*) -> (*), broadcast
    """
    origin = input * input + other * other == 0
    angle = jnp.arctan2(jnp.where(origin, 1, input), jnp.where(origin, 1, other))
    return jnp.where(origin, jax.lax.stop_gradient(jnp.arctan2(input, other)), angle)
