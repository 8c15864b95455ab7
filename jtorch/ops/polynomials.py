"""Orthogonal polynomials, of a degree that may differ from element to element.

All come from their recurrences, run as long as the highest degree asks for; of Chebyshev's, high degrees between -1 and 1
are trigonometric. The index of their public names is `jtorch.special`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Op, Scalar, op


def _degrees(n: Array) -> Array:
    """Whole degrees; those that are no numbers, or none that 64 bits hold, count as negative."""
    limit = float(np.iinfo(np.int32).max)
    return jnp.where(jnp.abs(n) < 2.0**63, jnp.clip(n, -1, limit), -1).astype(np.int32)


def _recurred(x: Array, degree: Array, first: Array, step: Callable) -> Array:
    """The polynomial of each degree: 1, then `first`, then `step(k, the last, the one before)` for the one after k."""

    def go_on(at: tuple) -> Array:
        k, last, _ = at
        return jnp.any((k < degree) & ~jnp.isnan(last))

    def advance(at: tuple) -> tuple:
        k, last, before = at
        going = k < degree
        made = step(k.astype(x.dtype), last, before)
        return k + 1, jnp.where(going, made, last), jnp.where(going, last, before)

    start = (jnp.asarray(1, np.int32), first, jnp.ones_like(x))
    last = jax.lax.while_loop(go_on, advance, start)[1]
    return jnp.where(degree > 0, last, jnp.where(degree == 0, 1, 0).astype(x.dtype))


def _row(name: str, function: Callable, summary: str) -> Op:
    """The op `special_<name>`."""

    def body(input: Array | Scalar, n: Array | Scalar) -> Array:
        return function(input, _degrees(n))

    body.__name__ = body.__qualname__ = f"special_{name}"
    body.__doc__ = f"""{summary} 0 where n is negative.

    Shape: (*), (*) -> (*), broadcast
    """
    return op(method=False, function=False, differentiable=False)(elementwise("bif", to_float=True)(body))


# Chebyshev's: of each kind the first, the values at 1 and at -1, and the form in the angle whose cosine is x


def _chebyshev(first: Callable, right: Callable, left: Callable, wave: Callable) -> Callable:
    def polynomial(x: Array, degree: Array) -> Array:
        n = degree.astype(x.dtype)
        sign = jnp.where(degree % 2 == 0, 1, -1)
        at_end = jnp.where(x > 0, right(n), left(n) * sign)
        inside, end = (jnp.abs(x) < 1) & (degree > 8), (jnp.abs(x) == 1) & (degree > 0)
        closed = jnp.where(end, at_end, wave(n, jnp.arccos(jnp.where(inside, x, 0))))
        steps = jnp.where(inside | end, 0, degree)
        return jnp.where(inside | end, closed, _recurred(x, steps, first(x), lambda _, p, q: 2 * x * p - q))

    return polynomial


_T = _chebyshev(lambda x: x, lambda n: 1.0, lambda n: 1.0, lambda n, angle: jnp.cos(n * angle))
_U = _chebyshev(
    lambda x: 2 * x, lambda n: n + 1, lambda n: n + 1, lambda n, angle: jnp.sin((n + 1) * angle) / jnp.sin(angle)
)
_V = _chebyshev(
    lambda x: 2 * x - 1,
    lambda n: 1.0,
    lambda n: 2 * n + 1,
    lambda n, angle: jnp.cos((n + 0.5) * angle) / jnp.cos(angle / 2),
)
_W = _chebyshev(
    lambda x: 2 * x + 1,
    lambda n: 2 * n + 1,
    lambda n: 1.0,
    lambda n, angle: jnp.sin((n + 0.5) * angle) / jnp.sin(angle / 2),
)


def _shifted(polynomial: Callable) -> Callable:
    return lambda x, degree: polynomial(2 * x - 1, degree)


# the others


def _hermite(scale: int) -> Callable:
    def polynomial(x: Array, degree: Array) -> Array:
        limit = 512 if x.dtype == np.float64 else 128  # above, the numbers do not fit the dtype
        found = _recurred(x, jnp.minimum(degree, limit), scale * x, lambda k, p, q: scale * (x * p - k * q))
        return jnp.where(degree > limit, jnp.nan, found)

    return polynomial


def _laguerre(x: Array, degree: Array) -> Array:
    at_zero = (jnp.abs(x) == 0) & (degree > 0)
    steps = jnp.where(at_zero, 0, degree)
    found = _recurred(x, steps, 1 - x, lambda k, p, q: ((k + k + 1 - x) * p - k * q) / (k + 1))
    return jnp.where(at_zero, 1, found)


def _legendre(x: Array, degree: Array) -> Array:
    end = (jnp.abs(x) == 1) & (degree > 0)
    steps = jnp.where(end, 0, degree)
    found = _recurred(x, steps, x, lambda k, p, q: ((k + k + 1) * x * p - k * q) / (k + 1))
    return jnp.where(end, jnp.where((x > 0) | (degree % 2 == 0), 1, -1), found)


special_chebyshev_polynomial_t = _row("chebyshev_polynomial_t", _T, "Chebyshev's polynomial of the first kind.")
special_chebyshev_polynomial_u = _row("chebyshev_polynomial_u", _U, "Chebyshev's polynomial of the second kind.")
special_chebyshev_polynomial_v = _row("chebyshev_polynomial_v", _V, "Chebyshev's polynomial of the third kind.")
special_chebyshev_polynomial_w = _row("chebyshev_polynomial_w", _W, "Chebyshev's polynomial of the fourth kind.")
special_shifted_chebyshev_polynomial_t = _row(
    "shifted_chebyshev_polynomial_t", _shifted(_T), "`chebyshev_polynomial_t(2 * input - 1, n)`."
)
special_shifted_chebyshev_polynomial_u = _row(
    "shifted_chebyshev_polynomial_u", _shifted(_U), "`chebyshev_polynomial_u(2 * input - 1, n)`."
)
special_shifted_chebyshev_polynomial_v = _row(
    "shifted_chebyshev_polynomial_v", _shifted(_V), "`chebyshev_polynomial_v(2 * input - 1, n)`."
)
special_shifted_chebyshev_polynomial_w = _row(
    "shifted_chebyshev_polynomial_w", _shifted(_W), "`chebyshev_polynomial_w(2 * input - 1, n)`."
)
special_hermite_polynomial_h = _row("hermite_polynomial_h", _hermite(2), "Hermite's polynomial of the physicists.")
special_hermite_polynomial_he = _row("hermite_polynomial_he", _hermite(1), "Hermite's polynomial of the statisticians.")
special_laguerre_polynomial_l = _row("laguerre_polynomial_l", _laguerre, "Laguerre's polynomial.")
special_legendre_polynomial_p = _row("legendre_polynomial_p", _legendre, "Legendre's polynomial.")
