"""Linear systems, inverses and determinants.

Names begin with `linalg_` where torch has them in `torch.linalg`; the older names beside it are here too.

A matrix that cannot be inverted raises `LinAlgError` where that can be seen; in compiled code the result holds NaN or
inf instead. The `*_ex` forms never raise and say so in `info`. Factors are in `factors`, spectral decompositions in
`spectra`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._matrices import LinAlgError as LinAlgError
from jtorch.ops._matrices import batched, info_checked, matrices, raise_for_info, transposed, zero_pivot
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of


@result_of("linalg_inv_ex")
class InvEx(NamedTuple):
    """An inverse, and the first place where elimination met a 0 (0: none)."""

    inverse: Array
    info: Array


@result_of("linalg_solve_ex")
class SolveEx(NamedTuple):
    """A solution, and the first place where elimination met a 0 (0: none)."""

    result: Array
    info: Array


def _singular_at(A: Array) -> Array:
    return zero_pivot(jax.lax.linalg.lu(jax.lax.stop_gradient(A))[0])


def _solved(A: Array, B: Array) -> Array:
    A, B = batched(A, B)
    return jnp.linalg.solve(A, B)


@op(method=False, function=False, validate=info_checked("linalg_inv_ex", "an invertible matrix"))
def linalg_inv_ex(A: Array, *, check_errors: bool = False) -> InvEx:
    """The inverse of square matrices, and where they are singular.

    Shape: (*, N, N) -> (*, N, N), (*)
    Raises: RuntimeError for other than square float matrices; LinAlgError with `check_errors`, where one is singular.
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


@op(method=False, function=False, validate=info_checked("linalg_solve_ex", "an invertible matrix"))
def linalg_solve_ex(A: Array, B: Array, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """The X of `A @ X = B`, or of `X @ A = B`, and where A is singular.

    Shape: (*, N, N), (*, N, K) or (*, N) -> the shape of B
    Raises: RuntimeError where the sizes do not match; LinAlgError with `check_errors`, where A is singular.
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


@result_of("linalg_slogdet")
class LinalgSlogDet(NamedTuple):
    """The sign of a determinant, and the logarithm of its absolute value."""

    sign: Array
    logabsdet: Array


@result_of("slogdet")
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
def linalg_slogdet(A: Array) -> LinalgSlogDet:
    """The sign of the determinant of square matrices, and the logarithm of its absolute value.

    Shape: (*, N, N) -> (*), (*)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("slogdet", A)
    return LinalgSlogDet(*jnp.linalg.slogdet(A))


@op
def slogdet(input: Array) -> SlogDet:
    """The sign of the determinant of square matrices, and the logarithm of its absolute value.

    Shape: (*, N, N) -> (*), (*)
    Raises: RuntimeError for other than square float matrices.
    """
    return SlogDet(*linalg_slogdet.body(input))


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
