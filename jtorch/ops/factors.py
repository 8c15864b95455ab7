"""Triangular factors: Cholesky and LU, and the systems that they solve.

A matrix that has no Cholesky factor raises `LinAlgError` where that can be seen; in compiled code the factor is NaN.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import (
    batched,
    info_checked,
    matrices,
    mirrored,
    precision_for,
    raise_for_info,
    transposed,
    zero_pivot,
)
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of


@result_of("linalg_cholesky_ex")
class CholeskyEx(NamedTuple):
    """A Cholesky factor, and the order of the first leading minor that is not positive-definite (0: none)."""

    L: Array
    info: Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _cholesky(A: Array, upper: bool) -> Array:
    """The lower factor of the Hermitian matrix of which a triangle is given."""
    return jax.lax.linalg.cholesky(mirrored(transposed(A) if upper else A), symmetrize_input=False)


@_cholesky.defjvp
def _cholesky_tangent(upper: bool, primals: tuple, tangents: tuple) -> tuple:
    """The triangles share the tangent, whichever is given, and it is not made Hermitian: the diagonal may turn complex.

    That is torch's; where the input is made Hermitian before, nothing is left of it.
    """
    L = _cholesky(*primals, upper)
    half = jax.lax.linalg.triangular_solve(L, tangents[0], lower=True, transpose_a=True, conjugate_a=True)
    inner = jax.lax.linalg.triangular_solve(L, half, left_side=True, lower=True)
    shared = jnp.tril(inner) + jnp.tril(transposed(inner), -1)
    return L, jnp.matmul(L, shared / 2, precision=precision_for(L.dtype))


@op(method=False, function=False, validate=info_checked("linalg_cholesky_ex", "a positive-definite matrix"))
def linalg_cholesky_ex(input: Array, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """The factor of `input = L @ L.mH`, and where the factorization failed.

    Shape: (*, N, N) -> (*, N, N), (*)
    Raises: LinAlgError with `check_errors`, where a matrix is not positive-definite.
    Differs: the factor is NaN where it failed; torch leaves what it had so far.
    """
    matrices("cholesky", input)
    L = _cholesky(input, upper)
    bad = jnp.isnan(jnp.diagonal(L, axis1=-2, axis2=-1).real)
    first = _first_bad_minor(mirrored(transposed(input) if upper else input)) if input.shape[-1] else 0
    info = jnp.where(bad.any(-1), first, 0)
    return CholeskyEx(transposed(L) if upper else L, info.astype(np.int32))


def _first_bad_minor(A: Array) -> Array:
    """The order of the first leading minor that is not positive, by elimination."""
    size = A.shape[-1]

    def step(k, state):
        A, found = state
        pivot = A[..., k, k].real
        found = jnp.where((found == 0) & ~(pivot > 0), k + 1, found)
        column = A[..., :, k] * (jnp.arange(size) > k)
        safe = jnp.where(pivot > 0, pivot, 1)[..., None, None]
        return A - column[..., :, None] * column[..., None, :].conj() / safe, found

    return jax.lax.fori_loop(0, size, step, (jax.lax.stop_gradient(A), jnp.zeros(A.shape[:-2], np.int32)))[1]


@derived(method=False, function=False)
def linalg_cholesky(input: Any, *, upper: bool = False) -> Any:
    """The lower triangular factor of `input = L @ L.mH`, or the upper one of `input = U.mH @ U`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is not positive-definite; RuntimeError for other than square float matrices.
    """
    L, info = linalg_cholesky_ex(input, upper=upper)
    raise_for_info("cholesky", info, "a positive-definite matrix")
    return L


@derived
def cholesky(input: Any, upper: bool = False) -> Any:
    """The lower triangular factor of `input = L @ L.mH`, or the upper one of `input = U.mH @ U`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is not positive-definite.
    """
    return linalg_cholesky(input, upper=upper)


def _cholesky_solved(B: Array, L: Array, upper: bool) -> Array:
    """The solution for `A = L @ L.mH`, as a function of all of L, although only a triangle is read; as in torch."""
    first, second = (transposed(L), L) if upper else (L, transposed(L))
    A = jnp.matmul(first, second, precision=precision_for(L.dtype))
    factor = jax.lax.stop_gradient(L)

    def solve(_: Any, b: Array) -> Array:
        return _triangular(factor, _triangular(factor, b, upper, adjoint=upper), upper, adjoint=not upper)

    return jax.lax.custom_linear_solve(
        lambda x: jnp.matmul(A, x, precision=precision_for(L.dtype)),
        B,
        solve,
        transpose_solve=lambda _, b: jnp.conj(solve(None, jnp.conj(b))),
    )


@op
def cholesky_solve(input: Array, input2: Array, upper: bool = False) -> Array:
    """The X of `A @ X = input`, from the Cholesky factor of A.

    Shape: (*, N, K), (*, N, N) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("cholesky_solve", input2)
    _args.check(
        input.ndim >= 2 and input.shape[-2] == input2.shape[-1],
        f"cholesky_solve(): expected input of {input2.shape[-1]} rows, got {input.shape}",
        RuntimeError,
    )
    return _cholesky_solved(*batched(input, input2), upper)


@op
def cholesky_inverse(input: Array, upper: bool = False) -> Array:
    """The inverse of A, from its Cholesky factor.

    Shape: (*, N, N) -> (*, N, N)
    """
    matrices("cholesky_inverse", input)
    eye = jnp.broadcast_to(jnp.eye(input.shape[-1], dtype=input.dtype), input.shape)
    return cholesky_solve.body(eye, input, upper)


# triangular systems


def _triangular(
    A: Array,
    B: Array,
    upper: bool,
    left: bool = True,
    adjoint: bool = False,
    transpose: bool = False,
    unit: bool = False,
) -> Array:
    return jax.lax.linalg.triangular_solve(
        A, B, left_side=left, lower=not upper, transpose_a=adjoint or transpose, conjugate_a=adjoint, unit_diagonal=unit
    )


@op(method=False, function=False)
def linalg_solve_triangular(
    input: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Array:
    """The X of `input @ X = B` for a triangular input, or of `X @ input = B`.

    Shape: (*, N, N), (*, N, K) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("solve_triangular", input)
    matrices("solve_triangular", B, square=False)
    rows = B.shape[-2 if left else -1]
    _args.check(
        rows == input.shape[-1],
        f"linalg.solve_triangular(): expected {input.shape[-1]} rows, got {B.shape}",
        RuntimeError,
    )
    input, B = batched(input, B)
    return _triangular(input, B, upper, left, unit=unitriangular)


@result_of("triangular_solve")
class TriangularSolve(NamedTuple):
    """The solution, and a copy of the coefficients."""

    solution: Array
    cloned_coefficient: Array


@op
def triangular_solve(
    input: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolve:
    """The X of `A @ X = input` for a triangular A, and A.

    Shape: (*, N, K), (*, N, N) -> (*, N, K), (*, N, N)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("triangular_solve", A)
    input, A = batched(input, A)
    return TriangularSolve(_triangular(A, input, upper, transpose=transpose, unit=unitriangular), A)


# LU


@result_of("linalg_lu_factor")
class LUFactor(NamedTuple):
    """Both LU factors in one matrix, and the rows exchanged at each step, counted from 1."""

    LU: Array
    pivots: Array


@result_of("linalg_lu_factor_ex")
class LUFactorEx(NamedTuple):
    """LU factors and pivots, and the first place where the diagonal of U is 0 (0: none), counted from 1."""

    LU: Array
    pivots: Array
    info: Array


@result_of("linalg_lu")
class LU(NamedTuple):
    """The factors of `A = P @ L @ U`."""

    P: Array
    L: Array
    U: Array


@result_of("lu_unpack")
class Unpacked(NamedTuple):
    """The factors of `A = P @ L @ U`, empty where they were not asked for."""

    P: Array
    L: Array
    U: Array


def _need_pivot(name: str, pivot: bool) -> None:
    _args.check(pivot, f"linalg.{name}(): expected pivot=True, got False", RuntimeError)


@op(method=False, function=False, validate=info_checked("linalg_lu_factor_ex", "an invertible matrix"))
def linalg_lu_factor_ex(A: Array, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """The LU factors of a matrix in compact form, and where they are singular.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N)), (*)
    Raises: RuntimeError for pivot=False; LinAlgError with `check_errors`, where a matrix is singular.
    """
    matrices("lu_factor", A, square=False)
    _need_pivot("lu_factor", pivot)
    LU, pivots, _ = jax.lax.linalg.lu(A)
    return LUFactorEx(LU, (pivots + 1).astype(np.int32), zero_pivot(LU))


@derived(method=False, function=False)
def linalg_lu_factor(A: Any, *, pivot: bool = True) -> LUFactor:
    """The LU factors of a matrix in compact form.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N))
    Raises: RuntimeError for pivot=False; LinAlgError where a matrix is singular.
    """
    LU, pivots, info = linalg_lu_factor_ex(A, pivot=pivot)
    raise_for_info("lu_factor", info, "an invertible matrix")
    return LUFactor(LU, pivots)


@derived
def lu(A, pivot=True, get_infos=False):
    """The LU factors of a matrix in compact form, the rows exchanged, and on demand where they are singular.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N)), (*)
    Raises: RuntimeError for pivot=False; LinAlgError without `get_infos`, where a matrix is singular.
    """
    LU, pivots, info = linalg_lu_factor_ex(A, pivot=pivot)
    if get_infos:
        return LU, pivots, info
    raise_for_info("lu", info, "an invertible matrix")
    return LU, pivots


@op(method=False, function=False)
def _lu_parts(A: Array) -> tuple[Array, Array, Array]:
    """The order of the rows, and the two triangular factors."""
    matrices("lu", A, square=False)
    both, _, order = jax.lax.linalg.lu(A)
    rows, columns = A.shape[-2:]
    least = min(rows, columns)
    L = jnp.tril(both[..., :, :least], -1) + jnp.eye(rows, least, dtype=A.dtype)
    return order, L, jnp.triu(both[..., :least, :])


@op(method=False, function=False, differentiable=False)
def _permutation_matrix(order: Array, like: Array) -> Array:
    """The matrix that puts rows back that were taken in an order, in the dtype of another array.

    Shape: (*, M), (*, M, N) -> (*, M, M)
    """
    return _args.cast(order[..., None, :] == jnp.arange(order.shape[-1])[:, None], like.dtype)


@derived(method=False, function=False)
def linalg_lu(A: Any, *, pivot: bool = True) -> LU:
    """The factors of `A = P @ L @ U`: a permutation, unit lower triangular, upper triangular.

    Shape: (*, M, N) -> (*, M, M), (*, M, K), (*, K, N) for K = min(M, N)
    Raises: RuntimeError for pivot=False.
    """
    _need_pivot("lu", pivot)
    order, L, U = _lu_parts(A)
    return LU(_permutation_matrix(order, A), L, U)


def _permutation(pivots: Array, size: int) -> Array:
    """The order of rows that exchanges step by step lead to."""

    def one(pivots):
        def swap(i, order):
            j = pivots[i] - 1
            return order.at[i].set(order[j]).at[j].set(order[i])

        return jax.lax.fori_loop(0, pivots.shape[0], swap, jnp.arange(size, dtype=np.int32))

    if not pivots.size:
        return jnp.broadcast_to(jnp.arange(size, dtype=np.int32), (*pivots.shape[:-1], size))
    flat = pivots.reshape(-1, pivots.shape[-1]).astype(np.int32)
    return jax.vmap(one)(flat).reshape(*pivots.shape[:-1], size)


def _check_pivots(name: str, pivots: Array) -> None:
    _args.check(pivots.dtype == np.int32, f"{name}(): expected pivots of dtype int32, got {pivots.dtype}", RuntimeError)


@op(method=False, function=False)
def linalg_lu_solve(LU: Array, pivots: Array, B: Array, *, left: bool = True, adjoint: bool = False) -> Array:
    """The X of `A @ X = B` (or `X @ A = B`, or with the adjoint of A), from the LU factors of A.

    Shape: (*, N, N), (*, N), (*, N, K) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("lu_solve", LU)
    _check_pivots("linalg.lu_solve", pivots)
    if not left:
        return transposed(linalg_lu_solve.body(LU, pivots, transposed(B), adjoint=not adjoint))
    order = _permutation(pivots, LU.shape[-1])
    fits = B.ndim >= 2 and B.shape[-2] == LU.shape[-1]
    _args.check(fits, f"linalg.lu_solve(): expected B of {LU.shape[-1]} rows, got {B.shape}", RuntimeError)
    wide, B = batched(LU, B)
    order = jnp.broadcast_to(order, (*wide.shape[:-2], order.shape[-1]))[..., None]
    if adjoint:
        X = _triangular(wide, _triangular(wide, B, True, adjoint=True), False, adjoint=True, unit=True)
        return jnp.take_along_axis(X, jnp.argsort(order, axis=-2), axis=-2)
    X = _triangular(wide, jnp.take_along_axis(B, order, axis=-2), False, unit=True)
    return _triangular(wide, X, True)


@op
def lu_solve(input: Array, LU_data: Array, LU_pivots: Array) -> Array:
    """The X of `A @ X = input`, from the LU factors of A.

    Shape: (*, N, K), (*, N, N), (*, N) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    return linalg_lu_solve.body(LU_data, LU_pivots, input)


class _Triangles(NamedTuple):
    L: Array
    U: Array


@op(method=False, function=False)
def lu_triangles(LU_data: Array) -> _Triangles:
    """The unit lower and the upper triangle of LU factors in compact form.

    Shape: (*, M, N) -> (*, M, K), (*, K, N) for K = min(M, N)
    """
    rows, least = LU_data.shape[-2], min(LU_data.shape[-2:])
    L = jnp.tril(LU_data[..., :, :least], -1) + jnp.eye(rows, least, dtype=LU_data.dtype)
    return _Triangles(L, jnp.triu(LU_data[..., :least, :]))


@op(method=False, function=False, differentiable=False)
def lu_permutation(LU_data: Array, LU_pivots: Array) -> Array:
    """The permutation matrix of the exchanges of rows, in the dtype of the factors.

    Shape: (*, M, N), (*, K) -> (*, M, M)
    """
    _check_pivots("lu_unpack", LU_pivots)
    rows = LU_data.shape[-2]
    order = _permutation(LU_pivots, rows)
    return _args.cast(order[..., None, :] == jnp.arange(rows)[:, None], LU_data.dtype)


@op(method=False, function=False, differentiable=False)
def lu_nothing(LU_data: Array) -> Array:
    """An empty array of the dtype of the factors: what stands for those that are not asked for.

    Shape: (*) -> (0)
    """
    return jnp.zeros((0,), LU_data.dtype)


@derived(method=False)
def lu_unpack(LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> Unpacked:
    """The factors of `A = P @ L @ U` from their compact form; those not asked for are empty.

    Shape: (*, M, N), (*, K) -> (*, M, M), (*, M, K), (*, K, N) for K = min(M, N)
    """
    nothing = lu_nothing(LU_data)
    P = lu_permutation(LU_data, LU_pivots) if unpack_pivots else nothing
    return Unpacked(P, *(lu_triangles(LU_data) if unpack_data else (nothing, nothing)))
