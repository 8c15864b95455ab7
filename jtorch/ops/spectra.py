"""Decompositions and what is built on them: QR, SVD, eigenvalues, pinv, rank, lstsq, condition, matrix functions.

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
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops.linalg import linalg_inv, linalg_solve, matrices, mirrored, transposed
from jtorch.ops.norms import linalg_norm
from jtorch.ops.products import precision_for
from jtorch.ops.shape import movedim, reshape


class QR(NamedTuple):
    """The factors of `A = Q @ R`."""

    Q: Array
    R: Array


@op(method=False, function=False)
def linalg_qr(A: Array, mode: str = "reduced") -> QR:
    """The factors of `A = Q @ R`: orthonormal columns and upper triangular. With mode 'r', Q is empty.

    Shape: (*, M, N) -> (*, M, K), (*, K, N) for K = min(M, N), or M with mode 'complete'
    Raises: RuntimeError for another mode.
    """
    matrices("qr", A, square=False)
    known = mode in ("reduced", "complete", "r")
    _args.check(known, f"linalg.qr(): expected mode 'reduced', 'complete' or 'r', got {mode!r}", RuntimeError)
    if mode == "r":
        return QR(jnp.zeros((0,), A.dtype), jnp.linalg.qr(A, "r"))
    return QR(*jnp.linalg.qr(A, mode))


@derived
def qr(input: Any, some: bool = True) -> QR:
    """The factors of `input = Q @ R`.

    Shape: (*, M, N) -> (*, M, K), (*, K, N) for K = min(M, N), or M without `some`
    """
    return linalg_qr(input, "reduced" if some else "complete")


@op(method=False, function=False)
def linalg_householder_product(A: Array, tau: Array) -> Array:
    """The first columns of a product of Householder reflections, whose vectors are below the diagonal of A.

    Shape: (*, M, N), (*, K) -> (*, M, N)
    """
    matrices("householder_product", A, square=False)
    rows, columns = A.shape[-2:]
    fits = rows >= columns >= tau.shape[-1] and tau.shape[:-1] == A.shape[:-2]
    _args.check(fits, f"linalg.householder_product(): expected M >= N >= K, got {A.shape} and {tau.shape}", RuntimeError)
    count = tau.shape[-1]
    vectors = jnp.tril(A, -1)[..., :count] + jnp.eye(rows, count, dtype=A.dtype)
    start = jnp.broadcast_to(jnp.eye(rows, columns, dtype=A.dtype), A.shape)

    def reflect(Q, step):
        v, scale = step
        along = jnp.einsum("...m,...mn->...n", jnp.conj(v), Q, precision=precision_for(A.dtype))
        return Q - scale[..., None, None] * v[..., :, None] * along[..., None, :], None

    steps = (jnp.moveaxis(vectors, -1, 0), jnp.moveaxis(tau, -1, 0))
    return jax.lax.scan(reflect, start, steps, reverse=True)[0]


class LinalgSVD(NamedTuple):
    """The factors of `A = U @ diag(S) @ Vh`."""

    U: Array
    S: Array
    Vh: Array


class SVD(NamedTuple):
    """The factors of `A = U @ diag(S) @ V.mH`."""

    U: Array
    S: Array
    V: Array


@op(method=False, function=False)
def linalg_svd(A: Array, full_matrices: bool = True, *, driver: str | None = None) -> LinalgSVD:
    """The factors of `A = U @ diag(S) @ Vh`, the singular values descending.

    Shape: (*, M, N) -> (*, M, M), (*, K), (*, N, N) for K = min(M, N); or (*, M, K), (*, K), (*, K, N)
    """
    matrices("svd", A, square=False)
    U, S, Vh = jnp.linalg.svd(A, full_matrices=False)
    if not full_matrices or A.shape[-1] == A.shape[-2]:
        return LinalgSVD(U, S, Vh)
    rest_U, _, rest_Vh = jnp.linalg.svd(jax.lax.stop_gradient(A))  # the vectors of no singular value have no gradient
    least = S.shape[-1]
    U = jnp.concatenate([U, rest_U[..., least:]], -1)
    return LinalgSVD(U, S, jnp.concatenate([Vh, rest_Vh[..., least:, :]], -2))


@op(method=False, function=False)
def linalg_svdvals(A: Array, *, driver: str | None = None) -> Array:
    """The singular values, descending.

    Shape: (*, M, N) -> (*, min(M, N))
    """
    matrices("svdvals", A, square=False)
    return jnp.linalg.svd(A, compute_uv=False)


@derived
def svd(input: Any, some: bool = True, compute_uv: bool = True) -> SVD:
    """The factors of `input = U @ diag(S) @ V.mH`, the singular values descending.

    Shape: (*, M, N) -> (*, M, K), (*, K), (*, N, K) for K = min(M, N); full U and V without `some`
    """
    if not compute_uv:
        return SVD(*svd_values_only(input))
    U, S, Vh = linalg_svd(input, not some)
    return SVD(U, S, conjugated(Vh))


@op(method=False, function=False)
def svd_values_only(input: Array) -> SVD:
    """The singular values, with zeros in place of the vectors.

    Shape: (*, M, N) -> (*, M, M), (*, K), (*, N, N) for K = min(M, N)
    """
    S = linalg_svdvals.body(input)
    lead, (rows, columns) = input.shape[:-2], input.shape[-2:]
    return SVD(jnp.zeros((*lead, rows, rows), input.dtype), S, jnp.zeros((*lead, columns, columns), input.dtype))


@op(method=False, function=False)
def conjugated(input: Array) -> Array:
    """The last two dimensions exchanged, complex elements conjugated.

    Shape: (*, M, N) -> (*, N, M)
    """
    return transposed(input)


class Eigh(NamedTuple):
    """Eigenvalues, and the eigenvectors as columns."""

    eigenvalues: Array
    eigenvectors: Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _of_triangle(A: Array, lower: bool) -> Array:
    """The Hermitian matrix of which one triangle is read. The gradient goes to all of A, as in torch."""
    return mirrored(A if lower else transposed(A))


@_of_triangle.defjvp
def _of_triangle_tangent(lower, primals, tangents):
    return _of_triangle(primals[0], lower), tangents[0]


def _eigh(name: str, A: Array, UPLO: str) -> Eigh:
    matrices(name, A)
    known = UPLO in ("L", "U", "l", "u")
    _args.check(known, f"linalg.{name}(): expected UPLO 'L' or 'U', got {UPLO!r}", RuntimeError)
    lower = UPLO in "Ll"
    vectors, values = jax.lax.linalg.eigh(_of_triangle(A, lower), lower=lower, symmetrize_input=False)
    return Eigh(values, vectors)


@op(method=False, function=False)
def linalg_eigh(A: Array, UPLO: str = "L") -> Eigh:
    """The eigenvalues of symmetric (Hermitian) matrices, ascending, and their eigenvectors; one triangle is read.

    Shape: (*, N, N) -> (*, N), (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return _eigh("eigh", A, UPLO)


@op(method=False, function=False)
def linalg_eigvalsh(A: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of symmetric (Hermitian) matrices, ascending; one triangle is read.

    Shape: (*, N, N) -> (*, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return _eigh("eigvalsh", A, UPLO).eigenvalues


@op(method=False, function=False)
def linalg_eig(A: Array) -> Eigh:
    """The complex eigenvalues of square matrices, and their eigenvectors.

    Shape: (*, N, N) -> (*, N), (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    Differs: on the CPU only, as in JAX.
    """
    matrices("eig", A)
    return Eigh(*jax.lax.linalg.eig(A, compute_left_eigenvectors=False, enable_eigvec_derivs=True))


@op(method=False, function=False)
def linalg_eigvals(A: Array) -> Array:
    """The complex eigenvalues of square matrices.

    Shape: (*, N, N) -> (*, N)
    Raises: RuntimeError for other than square float matrices.
    Differs: on the CPU only, as in JAX.
    """
    matrices("eigvals", A)
    return jnp.linalg.eigvals(A)


# rank, inverses and least squares by singular values


class Tolerance(NamedTuple):
    """Singular values up to `max(atol, rtol * largest)` count as 0."""

    atol: Array
    rtol: Array

    def counts(self, sizes: Array) -> Array:
        """Which sizes count as not 0."""
        return sizes > jnp.maximum(self.atol, self.rtol * jnp.max(sizes, -1))[..., None]


def _tolerance(A: Array, atol: Any, rtol: Any) -> Tolerance:
    """The tolerances given, or torch's defaults."""
    dtype = A.real.dtype
    if rtol is None:
        usual = jnp.finfo(dtype).eps * max(A.shape[-2:])
        rtol = usual if atol is None else jnp.where(jnp.asarray(atol) > 0, 0, usual)
    return Tolerance(jnp.asarray(0 if atol is None else atol).astype(dtype), jnp.asarray(rtol).astype(dtype))


@op(method=False, function=False, differentiable=False)
def linalg_matrix_rank(
    A: Array, tol: Scalar | None = None, hermitian: bool = False, *, atol: Scalar | None = None, rtol: Scalar | None = None
) -> Array:
    """The number of singular values above `max(atol, rtol * largest)`; `rtol` is by default `eps * max(M, N)`.

    Shape: (*, M, N) -> (*)
    """
    matrices("matrix_rank", A, square=hermitian)
    if not A.size:
        return jnp.zeros(A.shape[:-2], _args.long_dtype())
    if tol is not None:
        atol, rtol = tol, 0.0
    sizes = jnp.abs(_eigh("matrix_rank", A, "L").eigenvalues) if hermitian else jnp.linalg.svd(A, compute_uv=False)
    return jnp.sum(_tolerance(A, atol, rtol).counts(sizes), -1).astype(_args.long_dtype())


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _pinv(A: Array, tolerance: Tolerance, hermitian: bool) -> Array:
    """The pseudoinverse. Its gradient needs no singular vectors."""
    U, S, Vh = jnp.linalg.svd(mirrored(A) if hermitian else A, full_matrices=False)
    kept = tolerance.counts(S)
    scaled = transposed(U) * jnp.where(kept, 1 / jnp.where(kept, S, 1), 0)[..., None].astype(A.dtype)
    return jnp.matmul(transposed(Vh), scaled, precision=precision_for(A.dtype))


@_pinv.defjvp
def _pinv_tangent(hermitian, primals, tangents):
    # Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973): for matrices of constant rank
    A, tolerance = primals
    dA = tangents[0]
    P = _pinv(A, tolerance, hermitian)

    def chain(*factors):
        out = factors[0]
        for x in factors[1:]:
            out = jnp.matmul(out, x, precision=precision_for(A.dtype))
        return out

    PH, dAH = transposed(P), transposed(dA)
    out = -chain(P, dA, P)
    out += chain(P, PH, dAH) - chain(chain(P, PH, dAH, A), P)
    rest = chain(dAH, PH, P)
    return P, out + rest - chain(P, chain(A, rest))


@op(method=False, function=False)
def linalg_pinv(
    A: Array, rcond: Scalar | None = None, hermitian: bool = False, *, atol: Scalar | None = None, rtol: Scalar | None = None
) -> Array:
    """The pseudoinverse; singular values up to `max(atol, rtol * largest)` count as 0.

    Shape: (*, M, N) -> (*, N, M)
    """
    matrices("pinv", A, square=hermitian)
    if not A.size:
        return jnp.zeros((*A.shape[:-2], A.shape[-1], A.shape[-2]), A.dtype)
    return _pinv(A, _tolerance(A, atol, rcond if rtol is None else rtol), hermitian)


@op
def pinverse(input: Array, rcond: Scalar = 1e-15) -> Array:
    """The pseudoinverse; singular values up to `rcond` times the largest count as 0.

    Shape: (*, M, N) -> (*, N, M)
    """
    return linalg_pinv.body(input, rcond)


class Lstsq(NamedTuple):
    """The solution of a least squares problem, the sums of squares left over, the rank, and the singular values."""

    solution: Array
    residuals: Array
    rank: Array
    singular_values: Array


@op(method=False, function=False)
def lstsq_parts(A: Array, B: Array, rcond: float | None, driver: str | None) -> Lstsq:
    """What `linalg_lstsq` gives, with residuals whatever the rank."""
    matrices("lstsq", A, square=False)
    vector = B.ndim == A.ndim - 1
    right = B[..., None] if vector else B
    fits = right.ndim >= 2 and right.shape[-2] == A.shape[-2]
    _args.check(fits, f"linalg.lstsq(): expected B of {A.shape[-2]} rows, got {B.shape}", RuntimeError)
    tolerance = _tolerance(A, None, rcond)
    S = jnp.linalg.svd(jax.lax.stop_gradient(A), compute_uv=False)
    X = jnp.matmul(_pinv(A, tolerance, False), right, precision=precision_for(A.dtype))
    left = right - jnp.matmul(A, X, precision=precision_for(A.dtype))
    residuals = jnp.sum(jnp.abs(left) ** 2, -2)
    rank = jnp.sum(tolerance.counts(S), -1).astype(_args.long_dtype())
    return Lstsq(X[..., 0] if vector else X, residuals, rank, S if driver in ("gelsd", "gelss") else jnp.zeros(0, S.dtype))


def _all_equal(values: Any, wanted: int) -> bool:
    """Whether all values are the wanted one, as far as they are known."""
    try:
        return bool((np.asarray(values) == wanted).all())
    except jax.errors.TracerArrayConversionError:
        return True


@derived(method=False, function=False)
def linalg_lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """The X that makes `|A @ X - B|` least, with what is left, the rank and (drivers gelsd, gelss) the singular values.

    The residuals are there for M > N and a driver other than gelsy (the default), if every matrix has full rank; where
    the rank is traced it is taken for full.

    Shape: (*, M, N), (*, M, K) -> (*, N, K), (*, K), (*), (*, min(M, N))
    Raises: RuntimeError for another driver or where the sizes do not match.
    Differs: the smallest solution also for driver gels, where torch asks for full rank.
    """
    drivers = (None, "gels", "gelsy", "gelsd", "gelss")
    _args.check(driver in drivers, f"linalg.lstsq(): expected driver to be one of {drivers}, got {driver!r}", RuntimeError)
    X, residuals, rank, S = lstsq_parts(A, B, rcond, driver)
    if A.shape[-2] <= A.shape[-1] or driver in (None, "gelsy") or not _all_equal(rank, A.shape[-1]):
        residuals = reshape(residuals, -1)[:0]
    if driver == "gels":
        rank = reshape(rank, -1)[:0]
    return Lstsq(X, residuals, rank, S)


@derived(method=False, function=False)
def linalg_cond(A: Any, p: float | str | None = None) -> Any:
    """The condition number: the norm of order `p` times that of the inverse; None is 2.

    Shape: (*, N, N) -> (*); (*, M, N) for the orders None, 2, -2
    """
    if p in (None, 2, -2):
        return condition_of(A, p == -2)
    inverse = linalg_inv(A)
    axes = (-2, -1)
    return linalg_norm(A, p, axes) * linalg_norm(inverse, p, axes)


@op(method=False, function=False)
def condition_of(A: Array, smallest: bool) -> Array:
    """The largest singular value divided by the smallest, or the other way round.

    Shape: (*, M, N) -> (*)
    """
    S = linalg_svdvals.body(A)
    if not S.shape[-1]:
        return jnp.zeros(A.shape[:-2], S.dtype)
    return S[..., -1] / S[..., 0] if smallest else S[..., 0] / S[..., -1]


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
def linalg_matrix_power(A: Any, n: int) -> Any:
    """A square matrix multiplied with itself; its inverse for a negative `n`.

    Shape: (*, N, N) -> (*, N, N)
    Raises: LinAlgError where an inverse is wanted that is not there; RuntimeError for other than square matrices.
    """
    return matrix_power(A, n)


@op
def matrix_exp(input: Array) -> Array:
    """The exponential of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    matrices("matrix_exp", input)
    if not input.size:
        return input
    flat = input.reshape(-1, *input.shape[-2:])
    return jax.vmap(jax.scipy.linalg.expm)(flat).reshape(input.shape)


@derived(method=False, function=False)
def linalg_matrix_exp(A: Any) -> Any:
    """The exponential of square matrices.

    Shape: (*, N, N) -> (*, N, N)
    Raises: RuntimeError for other than square float matrices.
    """
    return matrix_exp(A)


# systems of several dimensions


def _split_shape(name: str, shape: Sequence[int], at: int) -> tuple[tuple, tuple, int]:
    front, back = tuple(shape[:at]), tuple(shape[at:])
    size = math.prod(front)
    _args.check(size == math.prod(back), f"linalg.{name}(): expected a square when split at {at}, got {shape}", RuntimeError)
    return front, back, size


@derived(method=False, function=False)
def linalg_tensorinv(A: Any, ind: int = 2) -> Any:
    """The inverse of `tensordot(A, ., ind)`.

    Shape: (A*, B*) -> (B*, A*) where A has `ind` dimensions
    Raises: LinAlgError where there is none; RuntimeError where the sizes do not make a square.
    """
    _args.check(ind > 0, f"linalg.tensorinv(): expected ind > 0, got {ind}", RuntimeError)
    front, back, size = _split_shape("tensorinv", A.shape, ind)
    return reshape(linalg_inv(reshape(A, size, size)), *back, *front)


@derived(method=False, function=False)
def linalg_tensorsolve(A: Any, B: Any, dims: Sequence[int] | None = None) -> Any:
    """The X of `tensordot(A, X, X.ndim) = B`.

    Shape: (B*, X*), (B*) -> (X*)
    Raises: LinAlgError where A is singular; RuntimeError where the sizes do not make a square.
    """
    if dims is not None:
        A = movedim(A, tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    rest = tuple(A.shape[B.ndim :])
    size = math.prod(rest)
    fits = size == math.prod(B.shape)
    _args.check(fits, f"linalg.tensorsolve(): expected a square, got {tuple(A.shape)} and {tuple(B.shape)}", RuntimeError)
    return reshape(linalg_solve(reshape(A, size, size), reshape(B, -1)), *rest)


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
