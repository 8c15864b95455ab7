"""Factors of symmetric and Hermitian matrices that may have eigenvalues of both signs: LDL, and the systems it solves.

The factors are kept as LAPACK keeps them: D on the diagonal and, within blocks of two, just below it; below D the columns
of L, without the exchanges of rows that came after each.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import batched, info_checked, matrices, need, raise_for_info, same_dtype
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of


@result_of("linalg_ldl_factor")
class LDLFactor(NamedTuple):
    """Both LDL factors in one matrix, and the row exchanged at each step, counted from 1; negative in blocks of two."""

    LD: Array
    pivots: Array


@result_of("linalg_ldl_factor_ex")
class LDLFactorEx(NamedTuple):
    """LDL factors and pivots, and the first place where D is 0 (0: none), counted from 1."""

    LD: Array
    pivots: Array
    info: Array


class _Left(NamedTuple):
    """A factorization under way: the next column, what is left of the matrix, and the results so far."""

    k: Array
    S: Array
    LD: Array
    pivots: Array
    info: Array


_ALPHA = (1 + math.sqrt(17)) / 8
"""The bound on growth is least with this ratio."""


def _magnitude(z: Array) -> Array:
    """The size of numbers as LAPACK compares them."""
    return jnp.abs(z.real) + jnp.abs(z.imag)


def _pivot(S: Array, k: Array) -> tuple[Array, Array, Array]:
    """The row to exchange in step k, whether two columns are eliminated, and whether the column is 0 already.

    Source: Bunch and Kaufman, Math. Comp. 31 (1977): partial pivoting.
    """
    at = jnp.arange(S.shape[-1])
    here, column = _magnitude(S[k, k]), jnp.where(at > k, _magnitude(S[:, k]), 0)
    far = jnp.argmax(column)
    most = column[far]
    row = jnp.max(jnp.where((at >= k) & (at != far), _magnitude(S[:, far]), 0))
    dead = (most == 0) & ~(here > 0)
    stays = dead | (here >= _ALPHA * most) | (here >= _ALPHA * most * (most / row))
    pair = ~stays & ~(_magnitude(S[far, far]) >= _ALPHA * row)
    return jnp.where(stays, k, far.astype(k.dtype)), pair, dead


def _exchanged(S: Array, i: Array, j: Array) -> Array:
    """A matrix with rows and columns i and j exchanged."""
    S = S.at[i].set(S[j]).at[j].set(S[i])
    return S.at[:, i].set(S[:, j]).at[:, j].set(S[:, i])


def _eliminated(S: Array, k: Array, pair: Array, conj: Any) -> tuple[Array, Array]:
    """Columns k and k + 1 of L, 0 down to the end of D's block; the second is 0 without a pair."""
    first, second = S[:, k], S[:, k + 1]
    a, c = jnp.where(S[k, k] == 0, 1, S[k, k]), jnp.where(pair, S[k + 1, k], 1)
    # D's block [[a, conj(c)], [c, b]] is solved with each row divided by c, since c is large beside a and b
    upper, lower = S[k, k] / conj(c), S[k + 1, k + 1] / c
    scale = jnp.where(pair, upper * lower - 1, 1)
    L0 = jnp.where(pair, (lower * first - second) / conj(c) / scale, first / a)
    L1 = jnp.where(pair, (upper * second - first) / c / scale, 0)
    below = jnp.arange(S.shape[-1]) > k + pair
    return jnp.where(below, L0, 0), jnp.where(below, L1, 0)


def _step(hermitian: bool, left: _Left) -> _Left:
    """One column, or two, eliminated."""
    k, S, LD, pivots, info = left
    at, conj = jnp.arange(S.shape[-1]), jnp.conj if hermitian else lambda z: z
    to, pair, dead = _pivot(S, k)
    last = k + pair
    S = _exchanged(S, last, to)
    L0, L1 = _eliminated(S, k, pair, conj)
    LD = LD.at[:, k].set(jnp.where(at > last, L0, jnp.where(at >= k, S[:, k], 0)))
    LD = LD.at[:, k + 1].set(jnp.where(pair, jnp.where(at > last, L1, jnp.where(at > k, S[:, k + 1], 0)), 0))
    sign = jnp.where(pair, -1, 1)
    pivots = pivots.at[k].set(sign * (to + 1)).at[last].set(sign * (to + 1))
    S = S - L0[:, None] * conj(S[:, k]) - L1[:, None] * conj(S[:, k + 1])
    S = jnp.where(at[:, None] == at, S.real, S) if hermitian else S
    return _Left(last + 1, S, LD, pivots, jnp.where(dead & (info == 0), k + 1, info))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _factored(A: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    """LD, pivots and info of a symmetric or Hermitian matrix."""
    size, zero = A.shape[-1], jnp.zeros((), np.int32)
    if not size:
        return A, jnp.zeros(0, np.int32), zero
    start = _Left(zero, A, jnp.zeros_like(A), jnp.zeros(size, np.int32), zero)
    return jax.lax.while_loop(lambda left: left.k < size, functools.partial(_step, hermitian), start)[2:]


def _no_gradient(*_: Any) -> Any:
    _args.fail("linalg.ldl_factor(): expected no gradients to be wanted, which it has not", RuntimeError)


_factored.defvjp(lambda A, hermitian: (_factored(A, hermitian), None), _no_gradient)


@op(method=False, function=False, validate=info_checked("linalg_ldl_factor_ex", "an invertible matrix"))
def linalg_ldl_factor_ex(input: Array, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorEx:
    """The factors of `P @ input @ P.T = L @ D @ L.T` in LAPACK's compact form, and where D is singular.

    With `hermitian`, of `L @ D @ L.mH`. The lower triangle is read; D has blocks of one and two.

    Shape: (*, N, N) -> (*, N, N), (*, N), (*)
    Raises: LinAlgError with `check_errors`, where D is singular; RuntimeError from its gradients.
    Source: LAPACK's sytf2 and hetf2.
    """
    matrices("ldl_factor_ex", input)
    lower, size = jnp.tril(input), input.shape[-1]
    other = jnp.swapaxes(jnp.tril(input, -1), -1, -2)
    A = lower + (jnp.conj(other) if hermitian else other)
    if hermitian:
        A = jnp.where(jnp.eye(size, dtype=bool), A.real, A)
    found = jax.vmap(lambda A: _factored(A, hermitian))(A.reshape(math.prod(A.shape[:-2]), size, size))
    return LDLFactorEx(*(x.reshape(A.shape[:-2] + x.shape[1:]) for x in found))


@derived(method=False, function=False)
def linalg_ldl_factor(input: Any, *, hermitian: bool = False) -> LDLFactor:
    """The factors of `P @ input @ P.T = L @ D @ L.T` in LAPACK's compact form; with `hermitian`, of `L @ D @ L.mH`.

    Shape: (*, N, N) -> (*, N, N), (*, N)
    Raises: LinAlgError where D is singular; RuntimeError from its gradients.
    """
    LD, pivots, info = linalg_ldl_factor_ex(input, hermitian=hermitian)
    raise_for_info("ldl_factor", info, "an invertible matrix")
    return LDLFactor(LD, pivots)


# solving


def _blocks(pivots: Array) -> tuple[Array, Array]:
    """Which columns are the first and which the second of a block of two."""
    paired = pivots < 0
    first = paired & (jnp.cumsum(paired, -1) % 2 == 1)
    return first, paired & ~first


def _ordered(LD: Array, pivots: Array) -> tuple[Array, Array]:
    """LD with all exchanges of rows done in all columns of L, and the order of rows that they lead to."""
    size = LD.shape[-1]
    first, second = _blocks(pivots)
    at = jnp.arange(size, dtype=np.int32)
    rows = jnp.where(first, at, jnp.abs(pivots) - 1)

    def swap(k, state):
        LD, order = state
        j, before = rows[k], at < k - second[k]
        one, two = jnp.where(before, LD[j], LD[k]), jnp.where(before, LD[k], LD[j])
        return LD.at[k].set(one).at[j].set(two), order.at[k].set(order[j]).at[j].set(order[k])

    return jax.lax.fori_loop(0, size, swap, (LD, at))


def _divided(B: Array, LD: Array, pivots: Array, hermitian: bool) -> Array:
    """The solution with the block diagonal D, its blocks scaled as in `_eliminated`."""
    first, second = (x[..., None] for x in _blocks(pivots))
    d = jnp.diagonal(LD, axis1=-2, axis2=-1)[..., None]
    d = d.real.astype(d.dtype) if hermitian else d
    c = jnp.concatenate([jnp.diagonal(LD, -1, axis1=-2, axis2=-1), jnp.ones_like(d[..., :1, 0])], -1)[..., None]
    c = jnp.where(first, c, jnp.where(second, jnp.roll(c, 1, -2), 1))  # of the block, for both of its rows
    across = jnp.where(first, jnp.conj(c), c) if hermitian else c
    other = jnp.where(first, jnp.roll(d, -1, -2), jnp.roll(d, 1, -2)) / (jnp.conj(across) if hermitian else c)
    scaled = B / across
    partner = jnp.where(first, jnp.roll(scaled, -1, -2), jnp.roll(scaled, 1, -2))
    two = (other * scaled - partner) / jnp.where(first | second, d / across * other - 1, 1)
    return jnp.where(first | second, two, B / jnp.where(first | second, 1, d))


@op(method=False, function=False)
def linalg_ldl_solve(LD: Array, pivots: Array, B: Array, *, hermitian: bool = False) -> Array:
    """The X of `A @ X = B`, from the LDL factors of A.

    Shape: (*, N, N), (*, N), (*, N, K) -> (*, N, K)
    Raises: RuntimeError where the sizes or dtypes do not match.
    Differs: it has gradients, where torch has none.
    """
    matrices("ldl_solve", LD)
    same_dtype("linalg.ldl_solve", LD, B)
    need(pivots.shape == LD.shape[:-1] and not _args.is_inexact(pivots.dtype), "linalg.ldl_solve", "integers", pivots)
    need(B.ndim >= 2 and B.shape[-2] == LD.shape[-1], "linalg.ldl_solve", "B of as many rows as LD", LD, B)
    size, lead = LD.shape[-1], LD.shape[:-2]
    if not B.size:
        return batched(LD, B)[1]
    flat = math.prod(lead)
    ordered, order = jax.vmap(_ordered)(LD.reshape(flat, size, size), pivots.reshape(flat, size).astype(np.int32))
    ordered, B = batched(ordered.reshape(LD.shape), B)
    pivots, order = (jnp.broadcast_to(x.reshape(*lead, size), ordered.shape[:-1]) for x in (pivots, order))
    L = jnp.where(_blocks(pivots)[0][..., None, :] & jnp.eye(size, k=-1, dtype=bool), 0, ordered)
    solve = functools.partial(jax.lax.linalg.triangular_solve, L, left_side=True, lower=True, unit_diagonal=True)
    X = solve(jnp.take_along_axis(B, order[..., None], -2))
    X = solve(_divided(X, ordered, pivots, hermitian), transpose_a=True, conjugate_a=hermitian)
    return jnp.take_along_axis(X, jnp.argsort(order, -1)[..., None], -2)
