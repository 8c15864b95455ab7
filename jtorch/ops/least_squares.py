"""What singular values decide: rank, pseudoinverse, least squares."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import LinAlgError, finite, matrices, mirrored, precision_for, transposed
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops._results import result_of
from jtorch.ops.shape import reshape


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


def _check_rank(input, tol=None, hermitian=False, *, atol=None, rtol=None):
    if not hermitian:
        finite(input)


@op(method=False, function=False, differentiable=False, validate=_check_rank)
def linalg_matrix_rank(
    input: Array,
    tol: Scalar | None = None,
    hermitian: bool = False,
    *,
    atol: Scalar | None = None,
    rtol: Scalar | None = None,
) -> Array:
    """The number of singular values above `max(atol, rtol * largest)`; `rtol` is by default `eps * max(M, N)`.

    Shape: (*, M, N) -> (*)
    """
    matrices("matrix_rank", input, square=hermitian)
    if not input.size:
        return jnp.zeros(input.shape[:-2], _args.long_dtype())
    if tol is not None:
        atol, rtol = tol, 0.0
    sizes = jnp.abs(jnp.linalg.eigvalsh(mirrored(input))) if hermitian else jnp.linalg.svd(input, compute_uv=False)
    return jnp.sum(_tolerance(input, atol, rtol).counts(sizes), -1).astype(_args.long_dtype())


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


def _check_finite(input, rcond=None, hermitian=False, *, atol=None, rtol=None):
    if not hermitian:
        finite(input)


@op(method=False, function=False, validate=_check_finite)
def linalg_pinv(
    input: Array,
    rcond: Scalar | None = None,
    hermitian: bool = False,
    *,
    atol: Scalar | None = None,
    rtol: Scalar | None = None,
) -> Array:
    """The pseudoinverse; singular values up to `max(atol, rtol * largest)` count as 0.

    Shape: (*, M, N) -> (*, N, M)
    """
    matrices("pinv", input, square=hermitian)
    if not input.size:
        return jnp.zeros((*input.shape[:-2], input.shape[-1], input.shape[-2]), input.dtype)
    return _pinv(input, _tolerance(input, atol, rcond if rtol is None else rtol), hermitian)


@op(validate=finite)
def pinverse(input: Array, rcond: Scalar = 1e-15) -> Array:
    """The pseudoinverse; singular values up to `rcond` times the largest count as 0.

    Shape: (*, M, N) -> (*, N, M)
    """
    return linalg_pinv.body(input, rcond)


@result_of("linalg_lstsq")
class Lstsq(NamedTuple):
    """The solution of a least squares problem, the sums of squares left over, the rank, and the singular values."""

    solution: Array
    residuals: Array
    rank: Array
    singular_values: Array


@op(method=False, function=False, validate=finite)
def lstsq_parts(A: Array, B: Array, rcond: float | None, driver: str | None) -> Lstsq:
    """What `linalg_lstsq` gives, with residuals whatever the rank.

    Shape: (*, M, N), (*, M, K) -> (*, N, K), (*, K), (*), (*, min(M, N))
    """
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
    return Lstsq(
        X[..., 0] if vector else X, residuals, rank, S if driver in ("gelsd", "gelss") else jnp.zeros(0, S.dtype)
    )


def _all_equal(values: Any, wanted: int) -> bool:
    """Whether all values are the wanted one, as far as they are known."""
    try:
        return bool((np.asarray(values) == wanted).all())
    except jax.errors.TracerArrayConversionError:
        return True


@derived(method=False, function=False)
def linalg_lstsq(input: Any, b: Any, rcond: float | None = None, *, driver: str | None = None) -> Lstsq:
    """The X that makes `|input @ X - b|` least, with what is left, the rank, and with gelsd, gelss the singular values.

    The residuals are there for M > N and a driver other than gelsy (the default), if every matrix has full rank; where
    the rank is traced it is taken for full.

    Shape: (*, M, N), (*, M, K) -> (*, N, K), (*, K), (*), (*, min(M, N))
    Raises: RuntimeError for another driver or where the sizes do not match; LinAlgError with driver gels, where the rank
        is less than full.
    """
    drivers = (None, "gels", "gelsy", "gelsd", "gelss")
    _args.check(
        driver in drivers, f"linalg.lstsq(): expected driver to be one of {drivers}, got {driver!r}", RuntimeError
    )
    X, residuals, rank, S = lstsq_parts(input, b, rcond, driver)
    if input.shape[-2] <= input.shape[-1] or driver in (None, "gelsy") or not _all_equal(rank, input.shape[-1]):
        residuals = reshape(residuals, -1)[:0]
    if driver == "gels":
        full = _all_equal(rank, min(input.shape[-2:]))
        _args.check(full, "linalg.lstsq(): expected full rank with driver gels, got less", LinAlgError)
        rank = reshape(rank, -1)[:0]
    return Lstsq(X, residuals, rank, _constant(S))


@op(method=False, function=False, differentiable=False)
def _constant(input: Array) -> Array:
    """The array, without a gradient.

    Shape: (*) -> (*)
    """
    return input
