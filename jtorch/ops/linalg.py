"""Linear systems and determinants: inv, solve, lstsq, det, Cholesky and LU. Names begin with `linalg_` where torch has
them in `torch.linalg`; the older names beside it are here too.

A matrix that cannot be inverted or factored raises `LinAlgError` where that can be seen; in compiled code the result
holds NaN or inf instead. The `*_ex` forms never raise and say so in `info`. Spectral decompositions are in `spectra`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops.products import precision_for


class LinAlgError(RuntimeError):
    """A matrix cannot be inverted or factored."""


def matrices(name: str, A: Array, square: bool = True) -> None:
    """Raise unless `A` is a batch of float or complex (square) matrices.

    Raises: RuntimeError.
    """
    _args.check(A.ndim >= 2, f"linalg.{name}(): expected at least 2 dimensions, got {A.ndim}", RuntimeError)
    _args.check(
        _args.is_inexact(A.dtype) and A.dtype.itemsize >= 4,
        f"linalg.{name}(): expected a float32, float64 or complex array, got {A.dtype}",
        RuntimeError,
    )
    fits = not square or A.shape[-1] == A.shape[-2]
    _args.check(fits, f"linalg.{name}(): expected square matrices, got {A.shape}", RuntimeError)


def transposed(A: Array) -> Array:
    """The last two dimensions exchanged, complex elements conjugated."""
    return jnp.conj(jnp.swapaxes(A, -1, -2))


def raise_for_info(name: str, info: Any, what: str) -> None:
    """Raise where an `info` is not 0, if it can be looked at.

    Raises: LinAlgError.
    """
    try:
        codes = np.asarray(info)
    except jax.errors.TracerArrayConversionError:
        return
    if codes.any():
        batch = np.flatnonzero(codes)[0]
        where = f" in batch element {batch}" if codes.ndim else ""
        _args.fail(f"linalg.{name}(): expected {what}{where}; stopped at column {codes.reshape(-1)[batch]}", LinAlgError)


@jax.custom_jvp
def mirrored(A: Array) -> Array:
    """The Hermitian matrix of which the lower triangle is given. Both triangles share the gradient, as in torch."""
    return jnp.tril(A) + transposed(jnp.tril(A, -1))


@mirrored.defjvp
def _mirrored_tangent(primals, tangents):
    return mirrored(primals[0]), (tangents[0] + transposed(tangents[0])) / 2


# Cholesky


class CholeskyEx(NamedTuple):
    """A Cholesky factor, and the order of the first leading minor that is not positive-definite (0: none)."""

    L: Array
    info: Array


@op(method=False, function=False)
def linalg_cholesky_ex(A: Array, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """The factor of `A = L @ L.mH`, and where the factorization failed.

    Shape: (*, N, N) -> (*, N, N), (*)
    Differs: the factor is NaN where it failed; torch leaves what it had so far.
    """
    matrices("cholesky", A)
    lower = mirrored(transposed(A) if upper else A)
    L = jax.lax.linalg.cholesky(lower, symmetrize_input=False)
    bad = jnp.isnan(jnp.diagonal(L, axis1=-2, axis2=-1).real)
    info = jnp.where(bad.any(-1), _first_bad_minor(lower), 0) if A.shape[-1] else jnp.zeros(A.shape[:-2])
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
def linalg_cholesky(A: Any, *, upper: bool = False) -> Any:
    """The lower triangular factor of `A = L @ L.mH`, or the upper one of `A = U.mH @ U`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is not positive-definite; RuntimeError for other than square float matrices.
    """
    L, info = linalg_cholesky_ex(A, upper=upper)
    raise_for_info("cholesky", info, "a positive-definite matrix")
    return L


@derived
def cholesky(input: Any, upper: bool = False) -> Any:
    """The lower triangular factor of `input = L @ L.mH`, or the upper one of `input = U.mH @ U`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is not positive-definite.
    """
    return linalg_cholesky(input, upper=upper)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _cholesky_solved(B: Array, L: Array, upper: bool) -> Array:
    half = _triangular(L, B, upper, adjoint=upper)
    return _triangular(L, half, upper, adjoint=not upper)


@_cholesky_solved.defjvp
def _cholesky_solved_tangent(upper, primals, tangents):
    (B, L), (dB, dL) = primals, tangents
    X = _cholesky_solved(B, L, upper)
    precision = precision_for(L.dtype)
    half = jnp.matmul(transposed(dL), L, precision=precision) if upper else jnp.matmul(dL, transposed(L), precision=precision)
    dA = half + transposed(half)
    return X, _cholesky_solved(dB - jnp.matmul(dA, X, precision=precision), L, upper)


@op
def cholesky_solve(B: Array, L: Array, upper: bool = False) -> Array:
    """The X of `A @ X = B`, from the Cholesky factor of A.

    Shape: (*, N, K), (*, N, N) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("cholesky_solve", L)
    _args.check(
        B.ndim >= 2 and B.shape[-2] == L.shape[-1],
        f"cholesky_solve(): expected B of {L.shape[-1]} rows, got {B.shape}",
        RuntimeError,
    )
    return _cholesky_solved(*_batched(B, L), upper)


@op
def cholesky_inverse(L: Array, upper: bool = False) -> Array:
    """The inverse of A, from its Cholesky factor.

    Shape: (*, N, N) -> (*, N, N)
    """
    matrices("cholesky_inverse", L)
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return cholesky_solve.body(eye, L, upper)


# triangular systems


def _batched(*arrays: Array) -> list[Array]:
    """Matrices with their batch dimensions broadcast."""
    try:
        lead = np.broadcast_shapes(*(x.shape[:-2] for x in arrays))
    except ValueError:
        shapes = [x.shape for x in arrays]
        _args.fail(f"linalg: expected batch dimensions that broadcast, got shapes {shapes}", RuntimeError)
    return [jnp.broadcast_to(x, lead + x.shape[-2:]) for x in arrays]


def _triangular(
    A: Array, B: Array, upper: bool, left: bool = True, adjoint: bool = False, transpose: bool = False, unit: bool = False
) -> Array:
    return jax.lax.linalg.triangular_solve(
        A, B, left_side=left, lower=not upper, transpose_a=adjoint or transpose, conjugate_a=adjoint, unit_diagonal=unit
    )


@op(method=False, function=False)
def linalg_solve_triangular(
    A: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Array:
    """The X of `A @ X = B` for a triangular A, or of `X @ A = B`.

    Shape: (*, N, N), (*, N, K) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("solve_triangular", A)
    matrices("solve_triangular", B, square=False)
    rows = B.shape[-2 if left else -1]
    _args.check(rows == A.shape[-1], f"linalg.solve_triangular(): expected {A.shape[-1]} rows, got {B.shape}", RuntimeError)
    A, B = _batched(A, B)
    return _triangular(A, B, upper, left, unit=unitriangular)


class TriangularSolve(NamedTuple):
    """The solution, and a copy of the coefficients."""

    solution: Array
    cloned_coefficient: Array


@op
def triangular_solve(
    b: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolve:
    """The X of `A @ X = b` for a triangular A, and A.

    Shape: (*, N, K), (*, N, N) -> (*, N, K), (*, N, N)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("triangular_solve", A)
    b, A = _batched(b, A)
    return TriangularSolve(_triangular(A, b, upper, transpose=transpose, unit=unitriangular), A)


# LU


class LUFactor(NamedTuple):
    """Both LU factors in one matrix, and the rows exchanged at each step, counted from 1."""

    LU: Array
    pivots: Array


class LUFactorEx(NamedTuple):
    """LU factors and pivots, and the first place where the diagonal of U is 0 (0: none), counted from 1."""

    LU: Array
    pivots: Array
    info: Array


class LU(NamedTuple):
    """The factors of `A = P @ L @ U`."""

    P: Array
    L: Array
    U: Array


def _zero_pivot(LU: Array) -> Array:
    zero = jnp.diagonal(LU, axis1=-2, axis2=-1) == 0
    if not zero.shape[-1]:
        return jnp.zeros(zero.shape[:-1], np.int32)
    return jnp.where(zero.any(-1), jnp.argmax(zero, -1) + 1, 0).astype(np.int32)


def _need_pivot(name: str, pivot: bool) -> None:
    _args.check(pivot, f"linalg.{name}(): expected pivot=True, got False", RuntimeError)


@op(method=False, function=False)
def linalg_lu_factor_ex(A: Array, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """The LU factors of a matrix in compact form, and where they are singular.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N)), (*)
    Raises: RuntimeError for pivot=False.
    """
    matrices("lu_factor", A, square=False)
    _need_pivot("lu_factor", pivot)
    LU, pivots, _ = jax.lax.linalg.lu(A)
    return LUFactorEx(LU, (pivots + 1).astype(np.int32), _zero_pivot(LU))


@derived(method=False, function=False)
def linalg_lu_factor(A: Any, *, pivot: bool = True) -> LUFactor:
    """The LU factors of a matrix in compact form.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N))
    Raises: RuntimeError for pivot=False.
    """
    LU, pivots, _ = linalg_lu_factor_ex(A, pivot=pivot)
    return LUFactor(LU, pivots)


@op(method=False, function=False)
def linalg_lu(A: Array, *, pivot: bool = True) -> LU:
    """The factors of `A = P @ L @ U`: a permutation, unit lower triangular, upper triangular.

    Shape: (*, M, N) -> (*, M, M), (*, M, K), (*, K, N) for K = min(M, N)
    Raises: RuntimeError for pivot=False.
    """
    matrices("lu", A, square=False)
    _need_pivot("lu", pivot)
    both, _, order = jax.lax.linalg.lu(A)
    rows, columns = A.shape[-2:]
    least = min(rows, columns)
    L = jnp.tril(both[..., :, :least], -1) + jnp.eye(rows, least, dtype=A.dtype)
    P = (order[..., None, :] == jnp.arange(rows)[:, None]).astype(A.dtype)
    return LU(P, L, jnp.triu(both[..., :least, :]))


def _permutation(pivots: Array, size: int) -> Array:
    """The order of rows that exchanges step by step lead to."""

    def one(pivots):
        def swap(i, order):
            j = pivots[i] - 1
            return order.at[i].set(order[j]).at[j].set(order[i])

        return jax.lax.fori_loop(0, pivots.shape[0], swap, jnp.arange(size, dtype=np.int32))

    flat = pivots.reshape(-1, pivots.shape[-1]).astype(np.int32)
    return jax.vmap(one)(flat).reshape(*pivots.shape[:-1], size)


@op(method=False, function=False)
def linalg_lu_solve(LU: Array, pivots: Array, B: Array, *, left: bool = True, adjoint: bool = False) -> Array:
    """The X of `A @ X = B` (or `X @ A = B`, or with the adjoint of A), from the LU factors of A.

    Shape: (*, N, N), (*, N), (*, N, K) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("lu_solve", LU)
    if not left:
        return transposed(linalg_lu_solve.body(LU, pivots, transposed(B), adjoint=not adjoint))
    order = _permutation(pivots, LU.shape[-1])
    fits = B.ndim >= 2 and B.shape[-2] == LU.shape[-1]
    _args.check(fits, f"linalg.lu_solve(): expected B of {LU.shape[-1]} rows, got {B.shape}", RuntimeError)
    wide, B = _batched(LU, B)
    order = jnp.broadcast_to(order, (*wide.shape[:-2], order.shape[-1]))[..., None]
    if adjoint:
        X = _triangular(wide, _triangular(wide, B, True, adjoint=True), False, adjoint=True, unit=True)
        return jnp.take_along_axis(X, jnp.argsort(order, axis=-2), axis=-2)
    X = _triangular(wide, jnp.take_along_axis(B, order, axis=-2), False, unit=True)
    return _triangular(wide, X, True)


@op
def lu_solve(b: Array, LU_data: Array, LU_pivots: Array) -> Array:
    """The X of `A @ X = b`, from the LU factors of A.

    Shape: (*, N, K), (*, N, N), (*, N) -> (*, N, K)
    Raises: RuntimeError where the sizes do not match.
    """
    return linalg_lu_solve.body(LU_data, LU_pivots, b)


# general systems and inverses


class InvEx(NamedTuple):
    """An inverse, and the first place where elimination met a 0 (0: none)."""

    inverse: Array
    info: Array


class SolveEx(NamedTuple):
    """A solution, and the first place where elimination met a 0 (0: none)."""

    result: Array
    info: Array


def _singular_at(A: Array) -> Array:
    return _zero_pivot(jax.lax.linalg.lu(jax.lax.stop_gradient(A))[0])


def _solved(A: Array, B: Array) -> Array:
    A, B = _batched(A, B)
    return jnp.linalg.solve(A, B)


@op(method=False, function=False)
def linalg_inv_ex(A: Array, *, check_errors: bool = False) -> InvEx:
    """The inverse of square matrices, and where they are singular.

    Shape: (*, N, N) -> (*, N, N), (*)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("inv", A)
    eye = jnp.eye(A.shape[-1], dtype=A.dtype)
    return InvEx(_solved(A, eye) if A.size else A, _singular_at(A))


@derived(method=False, function=False)
def linalg_inv(A: Any) -> Any:
    """The inverse of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is singular; RuntimeError for other than square float matrices.
    """
    made, info = linalg_inv_ex(A)
    raise_for_info("inv", info, "an invertible matrix")
    return made


@derived
def inverse(input: Any) -> Any:
    """The inverse of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where a matrix is singular; RuntimeError for other than square float matrices.
    """
    return linalg_inv(input)


@op(method=False, function=False)
def linalg_solve_ex(A: Array, B: Array, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """The X of `A @ X = B`, or of `X @ A = B`, and where A is singular.

    Shape: (*, N, N), (*, N, K) or (*, N) -> the shape of B
    Raises: RuntimeError where the sizes do not match.
    """
    matrices("solve", A)
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    _args.check(left or not vector, "linalg.solve(): expected left=True where B is a vector", RuntimeError)
    _args.check(A.dtype == B.dtype, f"linalg.solve(): expected one dtype, got {A.dtype} and {B.dtype}", RuntimeError)
    right = B[..., None] if vector else B if left else transposed(B)
    fits = right.shape[-2] == A.shape[-1]
    _args.check(fits, f"linalg.solve(): expected B of {A.shape[-1]} rows, got {B.shape}", RuntimeError)
    X = _solved(A if left else transposed(A), right)
    X = X[..., 0] if vector else X if left else transposed(X)
    return SolveEx(X, _singular_at(A))


@derived(method=False, function=False)
def linalg_solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """The X of `A @ X = B`, or of `X @ A = B`.

    Shape: (*, N, N), (*, N, K) or (*, N) -> the shape of B
    Raises: LinAlgError where A is singular; RuntimeError where the sizes do not match.
    """
    X, info = linalg_solve_ex(A, B, left=left)
    raise_for_info("solve", info, "an invertible matrix")
    return X


class SlogDet(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Array
    logabsdet: Array


@op(method=False, function=False)
def linalg_det(A: Array) -> Array:
    """The determinant of square matrices.

    Shape: (*, N, N) -> (*)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("det", A)
    return jnp.linalg.det(A) if A.shape[-1] else jnp.ones(A.shape[:-2], A.dtype)


@op
def det(input: Array) -> Array:
    """The determinant of square matrices.

    Shape: (*, N, N) -> (*)
    Raises: RuntimeError for other than square float matrices.
    """
    return linalg_det.body(input)


@op(method=False, function=False)
def linalg_slogdet(A: Array) -> SlogDet:
    """The sign of the determinant of square matrices, and the logarithm of its absolute value.

    Shape: (*, N, N) -> (*), (*)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("slogdet", A)
    return SlogDet(*jnp.linalg.slogdet(A))


@op
def slogdet(input: Array) -> SlogDet:
    """The sign of the determinant of square matrices, and the logarithm of its absolute value.

    Shape: (*, N, N) -> (*), (*)
    Raises: RuntimeError for other than square float matrices.
    """
    return linalg_slogdet.body(input)


@op
def logdet(input: Array) -> Array:
    """The logarithm of the determinant of square matrices: -inf where that is 0, NaN where it is negative.

    Shape: (*, N, N) -> (*)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("logdet", input)
    sign, value = jnp.linalg.slogdet(input)
    if _args.is_complex(input.dtype):
        return value + jnp.log(sign)
    return jnp.where(sign < 0, jnp.nan, value)
