"""Approximations of large matrices by few singular values, which start from random vectors.

Source: Halko, Martinsson and Tropp, SIAM Review 53 (2011), algorithm 5.1.
"""

from typing import Any

from jtorch._creation import randn
from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.ops.arithmetic import sub
from jtorch.ops.orthogonal import linalg_qr
from jtorch.ops.products import matmul
from jtorch.ops.reduction import mean
from jtorch.ops.shape import adjoint, broadcast_to
from jtorch.ops.spectra import linalg_svd


def _basis(A: Any, q: int, niter: int) -> Any:
    """Orthonormal columns that span nearly what the columns of A do."""
    Q = linalg_qr(matmul(A, randn(A.shape[-1], q, dtype=A.dtype, device=A.device))).Q
    for _ in range(niter):
        Q = linalg_qr(matmul(adjoint(A), Q)).Q
        Q = linalg_qr(matmul(A, Q)).Q
    return Q


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The first q singular values of A, or of `A - M`, and their vectors: U, S and V, nearly.

    Shape: (*, M, N) -> (*, M, q), (*, q), (*, N, q)
    Args:
        niter: how often A is applied back and forth to come nearer.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        A = sub(A, broadcast_to(M, tuple(A.shape)))
    wide = A.shape[-2] < A.shape[-1]
    A = adjoint(A) if wide else A
    Q = _basis(A, q, niter)
    U, S, Vh = linalg_svd(matmul(adjoint(Q), A), full_matrices=False)
    U, V = matmul(Q, U), adjoint(Vh)
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """The first q principal components of the rows of A, nearly: `svd_lowrank` of A with the mean of its rows taken off.

    Shape: (*, M, N) -> (*, M, q), (*, q), (*, N, q)
    Args:
        q: at most 6 by default.
    Raises:
        ValueError: q is negative or greater than a size of the matrix, or niter negative.
    """
    least = min(A.shape[-2:])
    q = min(6, least) if q is None else q
    _args.check(0 <= q <= least, f"pca_lowrank(): expected q from 0 to {least}, got {q}")
    _args.check(niter >= 0, f"pca_lowrank(): expected niter of 0 or more, got {niter}")
    return svd_lowrank(sub(A, mean(A, -2, True)) if center else A, q, niter)
