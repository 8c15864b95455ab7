"""Special functions: of Bessel, of the normal distribution, of the gamma family. Those of every day are in `pointwise`.

The index of their public names is `jtorch.special`.
"""

import jax
import jax.numpy as jnp
import jax.scipy.special as functions
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Scalar, op
from jtorch.ops.pointwise import _lgamma
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


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_log_ndtr(input: Array) -> Array:
    """The logarithm of `ndtr`, exact where that is small.

    Shape: (*) -> (*)
    """
    return functions.log_ndtr(input)


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


@op(inplace=True)
@elementwise("f", to_float=False)
def igamma(input: Array, other: Array) -> Array:
    """The regularized lower incomplete gamma function of `input` at `other`.

    Shape: (*), (*) -> (*), broadcast
    """
    return functions.gammainc(input, other)


@op(inplace=True)
@elementwise("f", to_float=False)
def igammac(input: Array, other: Array) -> Array:
    """The regularized upper incomplete gamma function: `1 - igamma(input, other)`.

    Shape: (*), (*) -> (*), broadcast
    """
    return functions.gammaincc(input, other)


@op(method=False, function=False)
@elementwise("bif", to_float=True)
def special_zeta(input: Array | Scalar, other: Array | Scalar) -> Array:
    """The sum of `(k + other) ** -input` over k from 0.

    Shape: (*), (*) -> (*), broadcast
    """
    return functions.zeta(input, other)


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
