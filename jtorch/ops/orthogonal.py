"""Orthonormal factors: QR, and products of Householder reflections as LAPACK keeps them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._matrices import matrices, precision_for, same_dtype, transposed
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of


@result_of("linalg_qr")
class LinalgQR(NamedTuple):
    """The factors of `A = Q @ R`."""

    Q: Array
    R: Array


@result_of("qr")
class QR(NamedTuple):
    """The factors of `input = Q @ R`."""

    Q: Array
    R: Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _qr_alone(A: Array, mode: str) -> Any:
    """The factors in the modes that have no gradient."""
    if mode == "r":
        return jnp.zeros((0,), A.dtype), jnp.linalg.qr(A, "r")
    return tuple(jnp.linalg.qr(A, mode))


def _no_gradient(mode: str, *_: Any) -> Any:
    _args.fail(f"linalg.qr(): expected mode 'reduced' where gradients are wanted, got {mode!r}", RuntimeError)


_qr_alone.defvjp(lambda A, mode: (_qr_alone(A, mode), None), _no_gradient)


@op(method=False, function=False)
def linalg_qr(A: Array, mode: str = "reduced") -> LinalgQR:
    """The factors of `A = Q @ R`: orthonormal columns and upper triangular. With mode 'r', Q is empty.

    Shape: (*, M, N) -> (*, M, K), (*, K, N) for K = min(M, N), or M with mode 'complete'
    Raises: RuntimeError for another mode, and from gradients with mode 'r', or with 'complete' for M > N.
    """
    matrices("qr", A, square=False)
    known = mode in ("reduced", "complete", "r")
    _args.check(known, f"linalg.qr(): expected mode 'reduced', 'complete' or 'r', got {mode!r}", RuntimeError)
    alone = mode == "r" or (mode == "complete" and A.shape[-2] > A.shape[-1])
    factors: Any = _qr_alone(A, mode) if alone else jnp.linalg.qr(A, mode)
    return LinalgQR(*factors)


@derived
def qr(input: Any, some: bool = True) -> QR:
    """The factors of `input = Q @ R`.

    Shape: (*, M, N) -> (*, M, K), (*, K, N) for K = min(M, N), or M without `some`
    """
    return QR(*linalg_qr(input, "reduced" if some else "complete"))


@result_of("geqrf")
class Geqrf(NamedTuple):
    """A QR factorization as LAPACK has it: R above the diagonal, the vectors of reflections below, and their factors."""

    a: Array
    tau: Array


@op(differentiable=False)
def geqrf(input: Array) -> Geqrf:
    """The factors of `input = Q @ R` before Q is formed, to be given to `orgqr`.

    Shape: (*, M, N) -> (*, M, N), (*, min(M, N))
    """
    matrices("geqrf", input, square=False)
    packed, tau = jnp.linalg.qr(input, "raw")
    return Geqrf(jnp.swapaxes(packed, -1, -2), tau)


def _reflected(input: Array, tau: Array, C: Array, adjoint: bool) -> Array:
    """`H1 @ H2 @ ... @ C`, or with the adjoint of the product, the reflections being `1 - tau * v @ v.mH`."""
    count = tau.shape[-1]
    vectors = jnp.tril(input, -1)[..., :count] + jnp.eye(input.shape[-2], count, dtype=input.dtype)

    def reflect(C, step):
        v, scale = step
        along = jnp.einsum("...m,...mn->...n", jnp.conj(v), C, precision=precision_for(input.dtype))
        return C - scale[..., None, None] * v[..., :, None] * along[..., None, :], None

    steps = (jnp.moveaxis(vectors, -1, 0), jnp.moveaxis(jnp.conj(tau) if adjoint else tau, -1, 0))
    return jax.lax.scan(reflect, C, steps, reverse=not adjoint)[0]


@op(method=False, function=False)
def linalg_householder_product(input: Array, tau: Array) -> Array:
    """The first columns of a product of Householder reflections, whose vectors are below the diagonal.

    Shape: (*, M, N), (*, K) -> (*, M, N)
    """
    matrices("householder_product", input, square=False)
    rows, columns = input.shape[-2:]
    fits = rows >= columns >= tau.shape[-1] and tau.shape[:-1] == input.shape[:-2]
    _args.check(
        fits, f"linalg.householder_product(): expected M >= N >= K, got {input.shape} and {tau.shape}", RuntimeError
    )
    start = jnp.broadcast_to(jnp.eye(rows, columns, dtype=input.dtype), input.shape)
    return _reflected(input, tau, start, False)


@op
def orgqr(input: Array, tau: Array) -> Array:
    """The first columns of a product of Householder reflections, whose vectors are below the diagonal.

    Shape: (*, M, N), (*, K) -> (*, M, N)
    """
    return linalg_householder_product.body(input, tau)


@op
def ormqr(input: Array, tau: Array, other: Array, left: bool = True, transpose: bool = False) -> Array:
    """A matrix times a product of Householder reflections: `Q @ other` or `other @ Q`, Q or its adjoint.

    Shape: (*, M, K), (*, min(M, K)), (*, M, N) -> (*, M, N); without `left` (*, N, M) -> (*, N, M)
    Raises: RuntimeError where the sizes do not match.
    """
    for x in (input, other):
        _args.check(x.ndim >= 2, f"ormqr(): expected at least 2 dimensions, got {x.ndim}", RuntimeError)
    size, rows = other.shape[-2 if left else -1], input.shape[-2]
    count = min(size, input.shape[-1])
    fits = size == rows and tau.shape == (*input.shape[:-2], count) and other.shape[:-2] == input.shape[:-2]
    shapes = f"{input.shape}, {tau.shape} and {other.shape}"
    _args.check(fits, f"ormqr(): expected matrices that match and {count} factors, got {shapes}", RuntimeError)
    matrices("ormqr", input, square=False)
    same_dtype("ormqr", input, tau, other)
    if left:
        return _reflected(input, tau, other, transpose)
    return transposed(_reflected(input, tau, transposed(other), not transpose))
