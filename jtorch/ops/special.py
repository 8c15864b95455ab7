"""Special functions: of Bessel, of the normal distribution, of the gamma family. Those of every day are in `pointwise`.

The index of their public names is `jtorch.special`.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.special as functions
import numpy as np

from jtorch.ops import _args, _gamma
from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Scalar, op
from jtorch.ops.pointwise import _digamma, _lgamma
from jtorch.ops.powers import _xlogy

# modified Bessel functions, whose derivatives JAX takes from forms that have none at 0


@jax.custom_jvp
def _i0(x: Array) -> Array:
    return functions.i0(x)


@jax.custom_jvp
def _i1(x: Array) -> Array:
    return functions.i1(x)


@_i0.defjvp
def _i0_tangent(primals: tuple, tangents: tuple) -> tuple:
    return _i0(*primals), _i1(*primals) * tangents[0]


@_i1.defjvp
def _i1_tangent(primals: tuple, tangents: tuple) -> tuple:
    (x,), value = primals, _i1(*primals)
    away = jnp.where(x == 0, 1, x)
    return value, jnp.where(x == 0, 0.5, _i0(x) - value / away) * tangents[0]


@op(inplace=True)
@elementwise("bif", to_float=True)
def i0(input: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0.

    Shape: (*) -> (*)
    """
    return _i0(input)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_i0e(input: Array) -> Array:
    """`exp(-|input|) * i0(input)`.

    Shape: (*) -> (*)
    """
    return functions.i0e(input)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_i1(input: Array) -> Array:
    """The modified Bessel function of the first kind, of order 1.

    Shape: (*) -> (*)
    """
    return _i1(input)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_i1e(input: Array) -> Array:
    """`exp(-|input|) * i1(input)`.

    Shape: (*) -> (*)
    """
    return functions.i1e(input)


# the normal distribution, and information


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_ndtr(input: Array) -> Array:
    """The probability that a standard normal number is below the input.

    Shape: (*) -> (*)
    """
    return jax.lax.erfc(-input * float(np.sqrt(0.5))) / 2


_EXP, _LIMIT = 0.5, 6.0
"""The step and the end of the trapezoidal rule for erfcx."""


@jax.custom_jvp
def _erfcx(x: Array) -> Array:
    """From 1 on by the trapezoidal rule, less what its poles bring in.

    Source: Matta and Reichel, Math. Comp. 25 (1971).
    """
    near = x < 1
    far = jnp.where(near, 1, x)
    points = np.arange(_EXP, _LIMIT + _EXP, _EXP)
    weights = jnp.asarray(np.exp(-(points**2)), x.dtype)
    total = 1 + 2 * jnp.sum(weights / (1 + (jnp.asarray(points, x.dtype) / far[..., None]) ** 2), -1)
    close = jnp.minimum(far, _LIMIT)
    poles = 2 * jnp.exp(close**2) / jnp.expm1(2 * np.pi / _EXP * close)
    integral = _EXP / np.pi * total / far - jnp.where(far < _LIMIT, poles, 0)
    below = jnp.where(near, x, 0)
    return jnp.where(near, jnp.exp(below * below) * jax.lax.erfc(below), integral)


@_erfcx.defjvp
def _erfcx_tangent(primals: tuple, tangents: tuple) -> tuple:
    (x,), value = primals, _erfcx(*primals)
    return value, (2 * x * value - 2 / math.sqrt(math.pi)) * tangents[0]


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_erfcx(input: Array) -> Array:
    """`exp(input**2) * erfc(input)`, exact for large elements.

    Shape: (*) -> (*)
    """
    return _erfcx(input)


@jax.custom_jvp
def _log_ndtr(x: Array) -> Array:
    return functions.log_ndtr(x)


@jax.custom_jvp
def _hazard(x: Array) -> Array:
    """The density of the normal distribution divided by `ndtr`."""
    return math.sqrt(2 / math.pi) / _erfcx(-x * math.sqrt(0.5))


_hazard.defjvps(lambda t, value, x: -t * value * (x + value))
_log_ndtr.defjvps(lambda t, value, x: t * _hazard(x))


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_log_ndtr(input: Array) -> Array:
    """The logarithm of `ndtr`, exact where that is small.

    Shape: (*) -> (*)
    """
    return _log_ndtr(input)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_ndtri(input: Array) -> Array:
    """The inverse of `ndtr`.

    Shape: (*) -> (*)
    """
    return functions.ndtri(input)


@jax.custom_jvp
def _entr(x: Array) -> Array:
    return jnp.where(x < 0, -jnp.inf, -_xlogy(x, jnp.where(x < 0, 1, x)))


@_entr.defjvp
def _entr_tangent(primals: tuple, tangents: tuple) -> tuple:
    return _entr(*primals), (-jnp.log(primals[0]) - 1) * tangents[0]


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_entr(input: Array) -> Array:
    """`-input * log(input)` where positive, 0 at 0, minus infinity below.

    Shape: (*) -> (*)
    """
    return _entr(input)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_xlog1py(input: Array | Scalar, other: Array | Scalar) -> Array:
    """`input * log1p(other)`, and 0 where the input is 0, unless `other` is NaN.

    Shape: (*), (*) -> (*), broadcast
    """
    plain = (input == 0) & ((other <= -1) | (other == jnp.inf))
    return jnp.where(plain, input * 0, input * jnp.log1p(jnp.where(plain, 0, other)))


# the gamma family


def _with_ends(function: Callable, a: Array, x: Array, start: int) -> Array:
    """An incomplete gamma function, which is `start` at an `x` of 0, with torch's values where JAX has none."""
    endless, none = a == jnp.inf, (a == 0) & (x > 0)
    begins = (endless & ~(x < 0) & (x != jnp.inf)) | (jnp.isnan(a) & (x == 0))
    over = none | (jnp.isnan(a) & (x == jnp.inf))
    known = jnp.where(begins, start, jnp.where(over, 1 - start, jnp.nan))
    inner = function(jnp.where(endless | none, 1, a), jnp.where(none, 1, x))
    return jnp.where(begins | over | endless, known, inner)


@op(inplace=True)
@elementwise("f", to_float=False)
def igamma(input: Array, other: Array) -> Array:
    """The regularized lower incomplete gamma function of `input` at `other`.

    Shape: (*), (*) -> (*), broadcast
    """
    return _with_ends(_gamma.lower, input, other, 0)


@op(inplace=True)
@elementwise("f", to_float=False)
def igammac(input: Array, other: Array) -> Array:
    """The regularized upper incomplete gamma function: `1 - igamma(input, other)`.

    Shape: (*), (*) -> (*), broadcast
    """
    return _with_ends(_gamma.upper, input, other, 1)


def _zeta(x: Array, q: Array) -> Array:
    """Far below 0 by what lies on either side of it: `jax.scipy.special.zeta` adds up nine numbers only."""
    far = (q < -8) & (q > -jnp.inf)
    below = jnp.where(far, -jnp.floor(q), 0)
    rest = q + below
    mirrored = _zeta_above(x, jnp.where(far, 1 - rest, 1)) - _zeta_above(x, below + 1 - jnp.where(far, rest, 0))
    sign = jnp.where(x == jnp.floor(x), jnp.where(x % 2 == 0, 1, -1), jnp.nan)
    above = _zeta_above(x, rest)
    nearer = jnp.where(1 - rest < rest, sign * mirrored, above)  # where both are infinite
    return jnp.where(far, jnp.where(jnp.isinf(above) & jnp.isinf(mirrored), nearer, above + sign * mirrored), above)


def _zeta_above(x: Array, q: Array) -> Array:
    """With one number, or the first two, where that is all that the dtype holds and JAX has NaN."""
    first = jnp.abs(q) ** -x
    certain = (q > 0) & ((first == 0) | (first == jnp.inf))
    value = functions.zeta(x, jnp.where(certain, 1, q))
    value = jnp.where(jnp.isnan(value) & (q > 0) & (x > 1), first + (q + 1) ** -x, value)
    return jnp.where(certain, first, value)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_zeta(input: Array | Scalar, other: Array | Scalar) -> Array:
    """The sum of `(k + other) ** -input` over k from 0.

    Shape: (*), (*) -> (*), broadcast
    """
    endless, pole = input == jnp.inf, (other <= 0) & (other == jnp.floor(other))
    limit = jnp.where(other == 1, 1, jnp.where((other > 0) & (other < 1), jnp.inf, jnp.nan))
    value = _zeta(jnp.where(endless, 2, input), other)
    return jnp.where(input < 1, jnp.nan, jnp.where(pole, jnp.inf, jnp.where(endless, limit, value)))


def _cotangent_slope(n: int, cot: Array) -> Array:
    """The n-th derivative of the cotangent, from its value."""
    polynomial = np.polynomial.Polynomial([0, 1])
    for _ in range(n):
        polynomial = polynomial.deriv() * np.polynomial.Polynomial([-1, 0, -1])
    total = jnp.zeros_like(cot)
    for c in polynomial.coef[::-1]:
        total = total * cot + float(c)
    return total


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _polygamma(n: int, x: Array) -> Array:
    """By reflection below 1/2, where the zeta function would be a sum of many terms."""
    if n == 0:
        return _digamma(x)
    sign, below = (-1) ** (n + 1), x < 0.5
    value = sign * float(math.factorial(n)) * functions.zeta(n + 1.0, jnp.where(below, 1 - x, x))
    rest = x - jnp.round(x)
    angle = np.pi * jnp.where(below & (rest != 0), rest, 0.25)
    mirrored = -sign * value - float(np.pi ** (n + 1)) * _cotangent_slope(n, jnp.cos(angle) / jnp.sin(angle))
    found = jnp.where(below, jnp.where(rest == 0, sign * jnp.inf, mirrored), value)
    far = (0, jnp.nan) if n == 1 else (jnp.nan, sign * jnp.inf)  # as torch's zeta function has it
    return jnp.where(jnp.isinf(x), jnp.where(x > 0, *far), found)


@_polygamma.defjvp
def _polygamma_tangent(n: int, primals: tuple, tangents: tuple) -> tuple:
    return _polygamma(n, *primals), tangents[0] * _polygamma(n + 1, *primals)


@elementwise("bif", to_float=True)
def _polygamma_of(input: Array, n: int) -> Array:
    return _polygamma(n, input)


@op(method=False)
def polygamma(n: int, input: Array) -> Array:
    """The n-th derivative of digamma.

    Shape: (*) -> (*)
    Raises: RuntimeError for a negative n.
    """
    _args.check(n >= 0, f"polygamma(): expected n of 0 or more, got {n}", RuntimeError)
    return _polygamma_of(input, n)


@op(inplace=True)
@elementwise("bif", to_float=True)
def mvlgamma(input: Array, p: int) -> Array:
    """The logarithm of the gamma function of `p` dimensions: the sum of `lgamma(input - j / 2)` for j below p, and a constant.

    Shape: (*) -> (*)
    Raises: RuntimeError for p < 1.
    """
    _args.check(p >= 1, f"mvlgamma(): expected p >= 1, got {p}", RuntimeError)
    parts = [_lgamma(input - j / 2) for j in range(p)]
    return sum(parts[1:], parts[0]) + p * (p - 1) / 4 * float(np.log(np.pi))
