"""Smooth functions of one array: exponentials, logarithms, roots, trigonometry, error and gamma functions, sigmoid.

Each is a row, and a longer body stands above its row. Functions of two operands are in `arithmetic` and `powers`; steps,
signs and limits in `rounding`; the other activations in `activation`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Op, op


def _row(
    name: str,
    function: Callable,
    summary: str,
    alias: str | tuple = (),
    kinds: str = "bifc",
    error: type[Exception] = NotImplementedError,
) -> Op:
    """The op of that name: `function` on floats (and complex numbers), integers being made floats first."""

    def body(input: Array) -> Array:
        return function(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"{summary}\n\n    Shape: (*) -> (*)\n    "
    return op(inplace=True, alias=alias)(elementwise(kinds, to_float=True, error=error)(body))


def _where_complex(function: Callable, of_complex: Callable) -> Callable:
    return lambda x: of_complex(x) if jnp.iscomplexobj(x) else function(x)


def _sided(function: Callable, cut: str, mirror: Callable) -> Callable:
    """`function`, also on the side of its branch cut where 0 is -0: XLA has the other one, of which it is the mirror image.

    cut: the part of complex numbers that is 0 on the cut.
    """

    def of_complex(x: Array) -> Array:
        beyond = jnp.signbit(getattr(x, cut))
        value = function(jnp.where(beyond, mirror(x), x))
        return jnp.where(beyond, mirror(value), value)

    return _where_complex(function, of_complex)


# exponentials, logarithms, roots; of infinite complex numbers as in C


def complex_exp(x: Array) -> Array:
    """e to the power of complex numbers, 0 for a real part of minus infinity whatever the imaginary one is."""
    gone = jnp.isneginf(x.real) & ~jnp.isfinite(x.imag)
    return jnp.where(gone, 0, jnp.exp(jnp.where(gone, 0, x)))


def _exp2(x: Array) -> Array:
    """Exact for whole numbers, where `exp(x * log(2))` is off by many of the last places."""
    whole = jax.lax.stop_gradient(jnp.clip(jnp.round(x), -1100, 1100))
    half = jnp.floor(whole / 2)
    scales = (jnp.ldexp(jnp.ones_like(x), n.astype(jnp.int32)) for n in (half, whole - half))
    return math.prod(scales, start=jnp.exp((x - whole) * math.log(2)))


def _complex_exp2(x: Array) -> Array:
    return complex_exp(jax.lax.complex(x.real * math.log(2), x.imag * math.log(2)))


def _complex_sqrt(x: Array) -> Array:
    endless = jnp.isinf(x.imag)
    root = _sided(jnp.sqrt, "imag", jnp.conj)(jnp.where(endless, 1, x))
    return jnp.where(endless, jax.lax.complex(jnp.full_like(x.imag, jnp.inf), x.imag), root)


def _complex_sigmoid(x: Array) -> Array:
    return 1 / (1 + complex_exp(-x))


exp = _row("exp", _where_complex(jnp.exp, complex_exp), "e to the power of each element.")
exp2 = _row("exp2", _where_complex(_exp2, _complex_exp2), "2 to the power of each element.")
expm1 = _row("expm1", jnp.expm1, "`exp(input) - 1`, exact for small elements.")
log = _row("log", jnp.log, "The natural logarithm.")
log2 = _row("log2", jnp.log2, "The logarithm to base 2.")
log10 = _row("log10", jnp.log10, "The logarithm to base 10.")
log1p = _row("log1p", jnp.log1p, "`log(1 + input)`, exact for small elements.")
sqrt = _row("sqrt", _where_complex(jnp.sqrt, _complex_sqrt), "The square root.")
rsqrt = _row("rsqrt", jax.lax.rsqrt, "1 divided by the square root.")
reciprocal = _row("reciprocal", jnp.reciprocal, "1 divided by each element.")

# trigonometry


@jax.custom_jvp
def _sinh(x: Array) -> Array:
    """From `exp(x / 2)`, which loses nothing for large elements as XLA's `exp(x - log 2)` does; near 0 from expm1."""
    if jnp.iscomplexobj(x):
        return jnp.sinh(x)
    root, near = jnp.exp(x / 2), jnp.expm1(x)
    return jnp.where(abs(x) < 1, (near + near / (near + 1)) / 2, root / 2 * root - 1 / (root * 2) / root)


@jax.custom_jvp
def _cosh(x: Array) -> Array:
    if jnp.iscomplexobj(x):
        return jnp.cosh(x)
    root = jnp.exp(x / 2)
    return root / 2 * root + 1 / (root * 2) / root


_sinh.defjvps(lambda t, _, x: t * _cosh(x))
_cosh.defjvps(lambda t, _, x: t * _sinh(x))


@jax.custom_jvp
def _acosh(x: Array) -> Array:
    return jnp.arccosh(x)


@_acosh.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    """The derivative that JAX has is of the wrong sign for complex numbers whose real part is negative."""
    (x,), (t,), root = primals, tangents, jax.lax.rsqrt
    return _acosh(x), t * (root(x - 1) * root(x + 1) if jnp.iscomplexobj(x) else root((x - 1) * (x + 1)))


def _open_ended(function: Callable, infinite: str, unknown: str) -> Callable:
    """`function`, NaN of complex numbers with one part infinite and the other NaN."""

    def of_complex(x: Array) -> Array:
        lost = jnp.isinf(getattr(x, infinite)) & jnp.isnan(getattr(x, unknown))
        return jnp.where(lost, jnp.nan, function(x))

    return _where_complex(function, of_complex)


sin = _row("sin", jnp.sin, "The sine.")
cos = _row("cos", jnp.cos, "The cosine.")
tan = _row("tan", jnp.tan, "The tangent.")
asin = _row("asin", _sided(jnp.arcsin, "imag", jnp.conj), "The inverse sine.", "arcsin")
acos = _row("acos", _sided(jnp.arccos, "imag", jnp.conj), "The inverse cosine.", "arccos")
atan = _row(
    "atan", _sided(_open_ended(jnp.arctan, "imag", "real"), "real", jnp.negative), "The inverse tangent.", "arctan"
)
sinh = _row("sinh", _sinh, "The hyperbolic sine.")
cosh = _row("cosh", _cosh, "The hyperbolic cosine.")
tanh = _row("tanh", jnp.tanh, "The hyperbolic tangent.")
asinh = _row("asinh", _sided(jnp.arcsinh, "real", jnp.negative), "The inverse hyperbolic sine.", "arcsinh")
acosh = _row("acosh", _sided(_acosh, "imag", jnp.conj), "The inverse hyperbolic cosine.", "arccosh")
atanh = _row(
    "atanh",
    _sided(_open_ended(jnp.arctanh, "real", "imag"), "imag", jnp.conj),
    "The inverse hyperbolic tangent.",
    "arctanh",
)
sinc = _row("sinc", jnp.sinc, "`sin(pi * input) / (pi * input)`, and 1 at 0.")
deg2rad = _row("deg2rad", lambda x: x * (np.pi / 180), "Degrees as radians.", kinds="bif", error=RuntimeError)
rad2deg = _row("rad2deg", lambda x: x * (180 / np.pi), "Radians as degrees.", kinds="bif", error=RuntimeError)

# error and gamma functions

erf = _row("erf", jax.lax.erf, "The error function.", kinds="bif")
erfc = _row("erfc", jax.lax.erfc, "`1 - erf(input)`, exact for large elements.", kinds="bif")


@jax.custom_jvp
def _erfinv(x: Array) -> Array:
    """XLA's value, after a step of Newton's near 1 and -1, where that is off by many of the last places."""
    start, size = jax.lax.erf_inv(x), jnp.abs(x)
    near = (size > 0.9) & (size < 1)
    at = jnp.where(near, jnp.abs(start), 1)
    missed = (1 - size) - jax.lax.erfc(at)
    return jnp.where(near, jnp.copysign(at - missed * _erfinv_slope(at), x), start)


def _erfinv_slope(value: Array) -> Array:
    return math.sqrt(math.pi) / 2 * jnp.exp(value * value)


@_erfinv.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    value = _erfinv(*primals)
    return value, tangents[0] * _erfinv_slope(value)


erfinv = _row("erfinv", _erfinv, "The inverse of the error function.", kinds="bif")


def _digamma(x: Array) -> Array:
    """By reflection where negative: the derivative that JAX has is wrong there."""
    pole, negative = x == 0, x < 0
    rest = x - jnp.round(x)
    angle = jnp.pi * jnp.where(negative, rest, 0.5)
    mirrored = jnp.pi * jnp.cos(angle) / jnp.sin(angle)
    value = jax.lax.digamma(jnp.where(negative, 1 - x, jnp.where(pole, 1, x))) - jnp.where(negative, mirrored, 0)
    return jnp.where(pole, -1 / x, jnp.where(negative & (rest == 0), jnp.nan, value))


@jax.custom_jvp
def _lgamma(x: Array) -> Array:
    return jax.lax.lgamma(x)


_lgamma.defjvps(lambda t, value, x: t * _digamma(x))


lgamma = _row("lgamma", _lgamma, "The logarithm of the absolute value of the gamma function.", kinds="bif")
digamma = _row("digamma", _digamma, "The derivative of lgamma.", kinds="bif")

# the logistic function

sigmoid = _row(
    "sigmoid", _where_complex(jax.nn.sigmoid, _complex_sigmoid), "The logistic function, `1 / (1 + exp(-input))`."
)


@op(inplace=True)
@elementwise("bif", to_float=True)
def logit(input: Array, eps: float | None = None) -> Array:
    """The inverse of sigmoid, `log(input / (1 - input))`, of the input limited to `eps .. 1 - eps` where eps is given.

    Shape: (*) -> (*)
    """
    if eps is not None:
        low, high = (jnp.asarray(x, input.dtype) for x in (eps, 1 - eps))
        input = jnp.where(input < low, low, jnp.where(input > high, high, input))
    else:
        input = input * jnp.where((input < 0) | (input > 1), jnp.nan, 1)  # the slope is NaN there too
    return jnp.log(input) - jnp.log1p(-input)
