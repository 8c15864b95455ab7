"""Functions of Bessel and Airy.

Near 0 they are their power series. Elsewhere they are integrals of Laplace's kind, whose integrands fall off like
`exp(-s**2)`: the trapezoidal rule with a few dozen points has all digits of a double there, so that no table is needed.
The index of their public names is `jtorch.special`.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
import jax.scipy.special as functions
import numpy as np

from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Op, op

_EULER = float(np.euler_gamma)
_TERMS = 14


def _points(step: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The points of the trapezoidal rule from 0 on, and their weights."""
    s = np.arange(0, end, step)
    return s, step * np.where(s == 0, 0.5, 1.0)


_S, _W = _points(0.2, 6.4)
_T, _V = _points(0.1, 6.9)


def _weights(order: int) -> np.ndarray:
    """Of the integral of `exp(-s**2) * s**(2 * order)` from 0 on, divided by its value."""
    weights = _W * np.exp(-(_S**2)) * _S ** (2 * order)
    return weights * 2 / math.gamma(order + 0.5)


def _series(q: Array, coefficients: list[float]) -> Array:
    total = jnp.full_like(q, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * q + c
    return total


def _plain(order: int) -> list[float]:
    """The power series of `I(x) / (x / 2)**order` in `x**2 / 4`."""
    return [1 / (math.factorial(k) * math.factorial(k + order)) for k in range(_TERMS)]


def _logarithmic(order: int) -> list[float]:
    """The series that stands beside the logarithm in those of the second kind."""
    sums = [sum(1 / j for j in range(1, k + 1)) for k in range(_TERMS + 1)]
    return [c * (sums[k] + sums[k + order] - 2 * _EULER) / 2 for k, c in enumerate(_plain(order))]


# of real arguments


def _hankel(x: Array, order: int) -> tuple[Array, Array]:
    """The real and the imaginary part of the Hankel function, for x from 2 on."""
    y = jnp.asarray(_S**2, x.dtype) / (2 * x[..., None])
    size = jnp.sqrt(1 + y * y)
    real = jnp.sqrt((size + 1) / 2)
    imag = y / (2 * real)
    if order == 0:
        real, imag = real / size, -imag / size
    weights = jnp.asarray(_weights(order), x.dtype)
    P, Q = jnp.sum(weights * real, -1), jnp.sum(weights * imag, -1)
    sin, cos = jnp.sin(x), jnp.cos(x)  # of x, not of x - pi / 4, which would be rounded
    c, s = (cos + sin, sin - cos) if order == 0 else (sin - cos, -sin - cos)
    scale = 1 / jnp.sqrt(jnp.pi * x)
    return scale * (P * c - Q * s), scale * (P * s + Q * c)


def _split(x: Array, at: float) -> tuple[Array, Array, Array]:
    """Whether the argument is small, and arguments that suit either way to compute it."""
    small = x < at
    return small, jnp.where(small, x, at / 2), jnp.where(small, at, x)


def _first_kind(x: Array, order: int) -> Array:
    small, near, far = _split(jnp.abs(x), 2.0)
    series = _series(-near * near / 4, _plain(order)) * (near / 2) ** order
    value = jnp.where(small, series, jnp.where(far == jnp.inf, jnp.nan, _hankel(far, order)[0]))
    return jnp.where(x < 0, -value, value) if order else value


def _second_kind(x: Array, order: int) -> Array:
    small, near, far = _split(x, 2.0)
    near = jnp.where(near > 0, near, 1)
    q, half = -near * near / 4, near / 2
    series = jnp.log(half) * _series(q, _plain(order)) - _series(q, _logarithmic(order))
    series = 2 / jnp.pi * (series * half**order - (1 / near if order else 0))
    value = jnp.where(small, series, jnp.where(far == jnp.inf, jnp.nan, _hankel(far, order)[1]))
    return jnp.where(x > 0, value, jnp.where(x == 0, -jnp.inf, jnp.nan))


def _modified_second(x: Array, order: int, scaled: bool) -> Array:
    small, near, far = _split(x, 1.0)
    near = jnp.where(near > 0, near, 0.5)
    q, half = near * near / 4, near / 2
    series = jnp.log(half) * _series(q, _plain(order)) - _series(q, _logarithmic(order))
    series = half * series + 1 / near if order else -series
    y = 1 + jnp.asarray(_S**2, x.dtype) / (2 * far[..., None])
    y = jnp.sqrt(y) if order else 1 / jnp.sqrt(y)
    integral = jnp.sqrt(jnp.pi / (2 * far)) * jnp.sum(jnp.asarray(_weights(order), x.dtype) * y, -1)
    series, integral = (series * jnp.exp(near), integral) if scaled else (series, integral * jnp.exp(-far))
    return jnp.where(x > 0, jnp.where(small, series, integral), jnp.where(x == 0, jnp.inf, jnp.nan))


# Airy's


def _airy_series(x: Array) -> Array:
    cube = x**3
    f, g = [1.0], [1.0]
    for k in range(1, 8):
        f.append(f[-1] / ((3 * k - 1) * 3 * k))
        g.append(g[-1] / (3 * k * (3 * k + 1)))
    first, second = 3 ** (-2 / 3) / math.gamma(2 / 3), 3 ** (-1 / 3) / math.gamma(1 / 3)
    return first * _series(cube, f) - second * x * _series(cube, g)


def _airy(x: Array) -> Array:
    """Left of 0 as twice the real part of `w * Ai(-w**2 * x)` for the cube root w of -1, where the integral converges."""
    size = jnp.abs(x)
    far = jnp.where(size < 1, 1, size)
    root = jnp.sqrt(far)
    zeta, scale = 2 * far * root / 3, 1 / (jnp.pi * jnp.sqrt(root))
    t, square = jnp.asarray(_T, x.dtype), _T**2
    wave = jnp.cos(t**3 / (3 * (root * jnp.sqrt(root))[..., None]))

    def integral(weights: np.ndarray) -> Array:
        return jnp.sum(jnp.asarray(_V * weights, x.dtype) * wave, -1)

    right = scale * jnp.exp(-zeta) * integral(np.exp(-square))
    fall = np.exp(-square * math.cos(math.pi / 6))
    A, B = integral(fall * np.cos(square / 2)), integral(fall * np.sin(square / 2))
    cos, sin, root3 = jnp.cos(zeta), jnp.sin(zeta), math.sqrt(3)  # pi / 3 - zeta itself would be rounded
    left = scale * (A * (cos + root3 * sin) + B * (root3 * cos - sin))
    value = jnp.where(size < 1, _airy_series(jnp.where(size < 1, x, 0)), jnp.where(x > 0, right, left))
    return jnp.where(jnp.isinf(x), jnp.nan, value)


# the ops


def _row(name: str, function: Callable, summary: str) -> Op:
    """The op `special_<name>`: `function` on floats, integers being made floats first."""

    def body(input: Array) -> Array:
        return function(input)

    body.__name__ = body.__qualname__ = f"special_{name}"
    body.__doc__ = f"{summary}\n\n    Shape: (*) -> (*)\n    "
    return op(method=False, function=False)(elementwise("bif", to_float=True)(body))


def _at(function: Callable, *options: object) -> Callable:
    return lambda x: function(x, *options)


def _spherical(x: Array) -> Array:
    away = jnp.where((x == 0) | jnp.isinf(x), 1, x)
    return jnp.where(x == 0, 1, jnp.where(jnp.isinf(x), 0, jnp.sin(away) / away))


special_airy_ai = _row("airy_ai", _airy, "The Airy function Ai.")
special_bessel_j0 = _row("bessel_j0", _at(_first_kind, 0), "The Bessel function of the first kind, of order 0.")
special_bessel_j1 = _row("bessel_j1", _at(_first_kind, 1), "The Bessel function of the first kind, of order 1.")
special_bessel_y0 = _row("bessel_y0", _at(_second_kind, 0), "The Bessel function of the second kind, of order 0.")
special_bessel_y1 = _row("bessel_y1", _at(_second_kind, 1), "The Bessel function of the second kind, of order 1.")
special_modified_bessel_i0 = _row(
    "modified_bessel_i0", functions.i0, "The modified Bessel function of the first kind, of order 0."
)
special_modified_bessel_i1 = _row(
    "modified_bessel_i1", functions.i1, "The modified Bessel function of the first kind, of order 1."
)
special_modified_bessel_k0 = _row(
    "modified_bessel_k0",
    _at(_modified_second, 0, False),
    "The modified Bessel function of the second kind, of order 0.",
)
special_modified_bessel_k1 = _row(
    "modified_bessel_k1",
    _at(_modified_second, 1, False),
    "The modified Bessel function of the second kind, of order 1.",
)
special_scaled_modified_bessel_k0 = _row(
    "scaled_modified_bessel_k0", _at(_modified_second, 0, True), "`exp(input) * modified_bessel_k0(input)`."
)
special_scaled_modified_bessel_k1 = _row(
    "scaled_modified_bessel_k1", _at(_modified_second, 1, True), "`exp(input) * modified_bessel_k1(input)`."
)
special_spherical_bessel_j0 = _row("spherical_bessel_j0", _spherical, "`sin(input) / input`, and 1 at 0.")
