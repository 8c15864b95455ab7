"""The incomplete gamma functions near their middle, where series need more terms than anybody adds up.

For large `a` and `x` not far from it both are a normal distribution's tail and a correction, uniformly: DLMF 8.12.
"""

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax.scipy import special as functions

from jtorch.ops._op import Array

_LEAST, _WIDTH = 20, 0.3
"""From which `a` on, and up to which part of it `x` may be off."""
_ORDERS, _TERMS = 12, 18
"""Of the expansion in `1 / a`, and of each of its coefficients in `eta`: enough for float64 within those bounds."""


def lower(a: Array, x: Array) -> Array:
    """`jax.scipy.special.gammainc`, right for large arguments too."""
    return _chosen(functions.gammainc, -1, a, x)


def upper(a: Array, x: Array) -> Array:
    """`jax.scipy.special.gammaincc`, right for large arguments too."""
    return _chosen(functions.gammaincc, 1, a, x)


def _chosen(function, side: int, a: Array, x: Array) -> Array:
    near = (a > _LEAST) & (jnp.abs(x - a) < _WIDTH * a) & (a < jnp.inf)
    there, elsewhere = (tuple(jnp.where(at, v, 2.0 * _LEAST) for v in (a, x)) for at in (near, ~near))
    return jnp.where(near, _uniform(side, *there), function(*elsewhere))


def _uniform(side: int, a: Array, x: Array) -> Array:
    """The upper function (`side` 1) or the lower one (-1), by DLMF 8.12.3 and 8.12.4."""
    mu = (x - a) / a
    eta = mu * jnp.sqrt(_square_over_square(mu))
    tail = jax.lax.erfc(side * eta * jnp.sqrt(a / 2)) / 2
    orders = [_polynomial(row, eta) for row in _coefficients()]
    correction = _polynomial(orders, 1 / a) * jnp.exp(-a * eta * eta / 2) / jnp.sqrt(2 * math.pi * a)
    return tail + side * correction


def _square_over_square(mu: Array) -> Array:
    """`eta ** 2 / mu ** 2`, where `eta ** 2 / 2 = mu - log(1 + mu)`, from the series of the inverse hyperbolic tangent."""
    total = 2 + mu
    rest = _polynomial([1 / (2 * n + 3) for n in range(12)], (mu / total) ** 2)
    return 2 / total - 4 * mu * rest / total**3


def _polynomial(coefficients, x: Array) -> Array:
    value = jnp.zeros_like(x)
    for c in reversed(coefficients):
        value = value * x + c
    return value


@functools.cache
def _coefficients() -> list[list[float]]:
    """d[k][n] of DLMF 8.12.8: the coefficient of `eta ** n / a ** k`. From those of `mu` in powers of `eta`."""
    count = 2 * _ORDERS + _TERMS + 2
    alpha = [Fraction(0), Fraction(1)]
    for m in range(3, count + 2):
        pairs = sum((alpha[i] * alpha[m - i] for i in range(2, m - 1)), Fraction(0))
        alpha.append(alpha[m - 2] / m - pairs / 2)
    first = [Fraction(-1, 3), *((n + 2) * alpha[n + 2] for n in range(1, count - 1))]
    rows = [first]
    for k in range(1, _ORDERS):
        stirling = (-1) ** k * math.prod(range(1, 2 * k + 2, 2)) * alpha[2 * k + 1]
        rows.append(
            [stirling * d + (n + 2) * above for n, (d, above) in enumerate(zip(first, rows[-1][2:], strict=False))]
        )
    return [[float(d) for d in row[:_TERMS]] for row in rows]
