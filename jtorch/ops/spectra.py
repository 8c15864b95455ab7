"""Singular values and eigenvalues, and what is built on them: condition, matrix functions. QR is in `orthogonal`; rank,
pseudoinverse and least squares are in `least_squares`.

Vectors are determined only up to a sign or a phase; so are gradients through them.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import accumulator, finite, matrices, mirrored, precision_for, transposed
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of
from jtorch.ops.linalg import linalg_inv, linalg_inv_ex, linalg_solve
from jtorch.ops.masking import masked_fill
from jtorch.ops.norms import linalg_norm
from jtorch.ops.shape import conjugate_transpose, movedim, reshape


@result_of("linalg_svd")
class LinalgSVD(NamedTuple):
    """The factors of `A = U @ diag(S) @ Vh`."""

    U: Array
    S: Array
    Vh: Array


@result_of("svd")
class SVD(NamedTuple):
    """The factors of `A = U @ diag(S) @ V.mH`."""

    U: Array
    S: Array
    V: Array


def _need_no_driver(driver: str | None) -> None:
    fits = driver is None or jax.default_backend() != "cpu"
    _args.check(fits, f"linalg.svd(): expected no driver on a CPU, got {driver!r}", RuntimeError)


@op(method=False, function=False, validate=finite)
def linalg_svd(A: Array, full_matrices: bool = True, *, driver: str | None = None) -> LinalgSVD:
    """The factors of `A = U @ diag(S) @ Vh`, the singular values descending.

    Shape: (*, M, N) -> (*, M, M), (*, K), (*, N, N) for K = min(M, N); or (*, M, K), (*, K), (*, K, N)
    """
    matrices("svd", A, square=False)
    _need_no_driver(driver)
    U, S, Vh = jnp.linalg.svd(A, full_matrices=False)
    if not full_matrices or A.shape[-1] == A.shape[-2]:
        return LinalgSVD(U, S, Vh)
    rest_U, _, rest_Vh = jnp.linalg.svd(jax.lax.stop_gradient(A))  # the vectors of no singular value have no gradient
    least = S.shape[-1]
    U = jnp.concatenate([U, rest_U[..., least:]], -1)
    return LinalgSVD(U, S, jnp.concatenate([Vh, rest_Vh[..., least:, :]], -2))


@op(method=False, function=False, validate=finite)
def linalg_svdvals(A: Array, *, driver: str | None = None) -> Array:
    """The singular values, descending.

    Shape: (*, M, N) -> (*, min(M, N))
    """
    matrices("svdvals", A, square=False)
    _need_no_driver(driver)
    return jnp.linalg.svd(A, compute_uv=False)


@derived
def svd(input: Any, some: bool = True, compute_uv: bool = True) -> SVD:
    """The factors of `input = U @ diag(S) @ V.mH`, the singular values descending.

    Shape: (*, M, N) -> (*, M, K), (*, K), (*, N, K) for K = min(M, N); full U and V without `some`
    """
    if not compute_uv:
        return SVD(*svd_values_only(input))
    U, S, Vh = linalg_svd(input, not some)
    return SVD(U, S, conjugate_transpose(Vh))


@op(method=False, function=False, validate=finite)
def svd_values_only(input: Array) -> SVD:
    """The singular values, with zeros in place of the vectors.

    Shape: (*, M, N) -> (*, M, M), (*, K), (*, N, N) for K = min(M, N)
    """
    S = linalg_svdvals.body(input)
    lead, (rows, columns) = input.shape[:-2], input.shape[-2:]
    return SVD(jnp.zeros((*lead, rows, rows), input.dtype), S, jnp.zeros((*lead, columns, columns), input.dtype))


@result_of("linalg_eigh")
class Eigh(NamedTuple):
    """Real eigenvalues, and the eigenvectors as columns."""

    eigenvalues: Array
    eigenvectors: Array


@result_of("linalg_eig")
class Eig(NamedTuple):
    """Complex eigenvalues, and the eigenvectors as columns."""

    eigenvalues: Array
    eigenvectors: Array


def _eigh(name: str, A: Array, UPLO: str) -> Eigh:
    matrices(name, A)
    known = UPLO in ("L", "U", "l", "u")
    _args.check(known, f"linalg.{name}(): expected UPLO 'L' or 'U', got {UPLO!r}", RuntimeError)
    lower = UPLO in "Ll"
    vectors, values = jax.lax.linalg.eigh(mirrored(A if lower else transposed(A)), lower=lower, symmetrize_input=False)
    return Eigh(values, vectors)


@op(method=False, function=False)
def linalg_eigh(input: Array, UPLO: str = "L") -> Eigh:
    """The eigenvalues of symmetric (Hermitian) matrices, ascending, and their eigenvectors; one triangle is read.

    Shape: (*, N, N) -> (*, N), (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return _eigh("eigh", input, UPLO)


@op(method=False, function=False)
def linalg_eigvalsh(input: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of symmetric (Hermitian) matrices, ascending; one triangle is read.

    Shape: (*, N, N) -> (*, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return _eigh("eigvalsh", input, UPLO).eigenvalues


def _need_numbers(input: Array) -> None:
    finite = np.isfinite(np.asarray(input)).all()
    _args.check(finite, "linalg.eig(): expected finite numbers, got NaN or infinity", RuntimeError)


@op(method=False, function=False, validate=_need_numbers)
def linalg_eig(input: Array) -> Eig:
    """The complex eigenvalues of square matrices, and their eigenvectors.

    Shape: (*, N, N) -> (*, N), (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    Differs: on the CPU only, as in JAX.
    """
    matrices("eig", input)
    if not input.size:
        dtype = jnp.promote_types(input.dtype, jnp.complex64)
        return Eig(jnp.zeros(input.shape[:-1], dtype), jnp.zeros(input.shape, dtype))
    return Eig(*jax.lax.linalg.eig(input, compute_left_eigenvectors=False, enable_eigvec_derivs=True))


@op(method=False, function=False, validate=_need_numbers)
def linalg_eigvals(input: Array) -> Array:
    """The complex eigenvalues of square matrices.

    Shape: (*, N, N) -> (*, N)
    Raises: RuntimeError for other than square float matrices.
    Differs: on the CPU only, as in JAX.
    """
    matrices("eigvals", input)
    return jnp.linalg.eigvals(input)


@derived(method=False, function=False)
def linalg_cond(input: Any, p: float | str | None = None) -> Any:
    """The condition number: the norm of order `p` times that of the inverse; None is 2.

    Shape: (*, N, N) -> (*); (*, M, N) for the orders None, 2, -2
    """
    known = (None, 1, -1, 2, -2, math.inf, -math.inf, "fro", "nuc")
    _args.check(p in known, f"linalg.cond(): expected p to be one of {known}, got {p!r}", RuntimeError)
    if p in (None, 2, -2, "nuc"):
        return condition_of(input, p)
    inverse, info = linalg_inv_ex(input)
    product = linalg_norm(input, p, (-2, -1)) * linalg_norm(inverse, p, (-2, -1))
    return masked_fill(product, info > 0, math.inf)


@op(method=False, function=False, validate=finite)
def condition_of(A: Array, p: float | str | None) -> Array:
    """The condition number by singular values: the largest divided by the smallest, the other way round, or by their sums.

    Shape: (*, M, N) -> (*)
    """
    if p == "nuc":
        matrices("cond", A)
    S = linalg_svdvals.body(A)
    if not S.shape[-1]:
        return jnp.zeros(A.shape[:-2], S.dtype)
    if p == "nuc":
        return jnp.sum(S, -1) * jnp.sum(1 / S, -1)
    return S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]


# functions of matrices


@op(method=False, function=False)
def power_of(input: Array, n: int) -> Array:
    """A square matrix multiplied with itself, `n >= 0` times.

    Shape: (*, N, N) -> (*, N, N)
    """
    fits = input.ndim >= 2 and input.shape[-1] == input.shape[-2]
    _args.check(fits, f"linalg.matrix_power(): expected square matrices, got {input.shape}", RuntimeError)
    if n == 0:
        return jnp.broadcast_to(jnp.eye(input.shape[-1], dtype=input.dtype), input.shape)
    out, square = None, input
    while n:
        if n & 1:
            out = square if out is None else jnp.matmul(out, square, precision=precision_for(input.dtype))
        n >>= 1
        square = jnp.matmul(square, square, precision=precision_for(input.dtype)) if n else square
    return out


@derived
def matrix_power(input: Any, n: int) -> Any:
    """A square matrix multiplied with itself; its inverse for a negative `n`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where an inverse is wanted that is not there; RuntimeError for other than square matrices.
    """
    return power_of(input, n) if n >= 0 else power_of(linalg_inv(input), -n)


@derived(method=False, function=False)
def linalg_matrix_power(input: Any, n: int) -> Any:
    """A square matrix multiplied with itself; its inverse for a negative `n`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where an inverse is wanted that is not there; RuntimeError for other than square matrices.
    """
    return matrix_power(input, n)


_TAYLOR = [1 / math.factorial(k) for k in range(19)]
_MOST_SQUARINGS = 32


def _expm(A: Array) -> Array:
    """Halved until the first terms of the Taylor series do, summed, and squared as often as it was halved.

    Source: Higham, "The scaling and squaring method for the matrix exponential revisited" (2005); the sum is by
    Paterson and Stockmeyer's scheme.
    """
    limit = 1.0 if A.real.dtype.itemsize == 8 else 3.0
    norm = jax.lax.stop_gradient(jnp.abs(A).sum(-2).max(-1))[..., None, None]
    halvings = jnp.clip(jnp.ceil(jnp.log2(norm / limit)), 0, _MOST_SQUARINGS)
    halvings = jnp.where(jnp.isfinite(halvings), halvings, 0)
    A = A * jnp.exp2(-halvings).astype(A.dtype)
    times = functools.partial(jnp.matmul, precision=precision_for(A.dtype))
    square = times(A, A)
    powers = [jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape), A, square, times(square, A)]
    fourth = times(square, square)
    total = jnp.zeros_like(A)
    for at in range(16, -1, -4):
        block = sum(c * X for c, X in zip(_TAYLOR[at : at + 4], powers, strict=False))
        total = times(total, fourth) + block if at < 16 else block

    def squared(i, X):
        return jax.lax.cond(jnp.any(i < halvings), lambda: jnp.where(i < halvings, times(X, X), X), lambda: X)

    return jax.lax.fori_loop(0, _MOST_SQUARINGS, squared, total)


@op
def matrix_exp(input: Array) -> Array:
    """The exponential of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    wide = input.astype(accumulator(input.dtype) or input.dtype)
    matrices("matrix_exp", wide)
    if not input.size:
        return input
    return _expm(wide).astype(input.dtype)


@derived(method=False, function=False)
def linalg_matrix_exp(input: Any) -> Any:
    """The exponential of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return matrix_exp(input)


# systems of several dimensions


def _split_shape(name: str, shape: Sequence[int], at: int) -> tuple[tuple, tuple, int]:
    front, back = tuple(shape[:at]), tuple(shape[at:])
    size = math.prod(front)
    _args.check(
        size == math.prod(back), f"linalg.{name}(): expected a square when split at {at}, got {shape}", RuntimeError
    )
    return front, back, size


@derived(method=False, function=False)
def linalg_tensorinv(input: Any, ind: int = 2) -> Any:
    """The inverse of `tensordot(input, ., ind)`.

    Shape: (A*, B*) -> (B*, A*) where A has `ind` dimensions
    Raises: LinAlgError where there is none; RuntimeError where the sizes do not make a square.
    """
    _args.check(ind > 0, f"linalg.tensorinv(): expected ind > 0, got {ind}", RuntimeError)
    front, back, size = _split_shape("tensorinv", input.shape, ind)
    return reshape(linalg_inv(reshape(input, size, size)), *back, *front)


@derived(method=False, function=False)
def linalg_tensorsolve(input: Any, other: Any, dims: Sequence[int] | None = None) -> Any:
    """The X of `tensordot(input, X, X.ndim) = other`.

    Shape: (B*, X*), (B*) -> (X*)
    Raises: LinAlgError where the input is singular; RuntimeError where the sizes do not make a square.
    """
    if dims is not None:
        input = movedim(input, tuple(dims), tuple(range(input.ndim - len(dims), input.ndim)))
    rest = tuple(input.shape[other.ndim :])
    size = math.prod(rest)
    fits = size == math.prod(other.shape)
    _args.check(
        fits,
        f"linalg.tensorsolve(): expected a square, got {tuple(input.shape)} and {tuple(other.shape)}",
        RuntimeError,
    )
    return reshape(linalg_solve(reshape(input, size, size), reshape(other, -1)), *rest)


def _powers(x: Array, N: int | None, increasing: bool, name: str) -> Array:
    _args.check(N is None or N >= 0, f"{name}(): expected N >= 0, got {N}", RuntimeError)
    count = x.shape[-1] if N is None else N
    if x.dtype == np.bool_ or (_args.is_integral(x.dtype)):
        x = x.astype(_args.long_dtype())
    ones = jnp.ones((*x.shape, 1), x.dtype)
    if not count:
        return ones[..., :0]
    wide = jnp.broadcast_to(x[..., None], (*x.shape, count - 1))
    out = jnp.cumprod(jnp.concatenate([ones, wide], -1), -1)
    return out if increasing else out[..., ::-1]


@op(method=False)
def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of each element as rows, from the highest down unless `increasing`.

    Shape: (L) -> (L, N), N being L by default
    Raises: RuntimeError for other than a vector.
    """
    _args.check(x.ndim == 1, f"vander(): expected a vector, got {x.ndim} dimensions", RuntimeError)
    return _powers(x, N, increasing, "vander")


@op(method=False, function=False)
def linalg_vander(x: Array, *, N: int | None = None) -> Array:
    """The powers of each element along a new last dimension, from 0 up.

    Shape: (*, L) -> (*, L, N), N being L by default
    Raises: RuntimeError for N below 2.
    """
    _args.check(N is None or N > 1, f"linalg.vander(): expected N > 1, got {N}", RuntimeError)
    return _powers(jnp.atleast_1d(x), N, True, "linalg.vander")
