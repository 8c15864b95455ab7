"""Parametrizations that are ready to use: orthogonal matrices, weight normalization, spectral normalization."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.autograd.grad_mode import no_grad
from jtorch.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from jtorch.nn.module import Module
from jtorch.nn.utils.parametrize import register_parametrization
from jtorch.ops import _args
from jtorch.ops.comparison import allclose, where
from jtorch.ops.joining import cat
from jtorch.ops.linalg import linalg_solve
from jtorch.ops.normalization import normalize
from jtorch.ops.norms import _weight_norm, norm_except_dim
from jtorch.ops.orthogonal import geqrf, linalg_householder_product
from jtorch.ops.products import mv, vdot
from jtorch.ops.spectra import matrix_exp


def _tensor_named(module: Module, name: str) -> Tensor:
    found = getattr(module, name, None)
    if not isinstance(found, Tensor):
        _args.fail(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return found


# orthogonal


def _eye(size: int, like: Any) -> Any:
    return _creation.eye(size, dtype=like.dtype, device=like.device)


def _skew(lower: Any) -> Any:
    """The skew-Hermitian matrix with this lower triangle; what is missing of a square is zero."""
    rows, columns = lower.shape[-2:]
    lower = lower.tril()
    if rows != columns:
        lower = cat([lower, lower.new_zeros((*lower.shape[:-1], rows - columns))], -1)
    return lower - lower.mH


def _exponential(X: Any) -> Any:
    return matrix_exp(_skew(X))[..., : X.shape[-1]]


def _cayley(X: Any) -> Any:
    half = _skew(X) * 0.5
    eye = _eye(X.shape[-2], X)
    return linalg_solve(eye - half, eye + half)[..., : X.shape[-1]]


def _householder(X: Any) -> Any:
    A = X.tril(-1)
    tau = 2.0 / (1.0 + (A * A).sum(-2))
    signs = X.detach().diagonal(dim1=-2, dim2=-1).trunc()
    return linalg_householder_product(A, tau) * signs.unsqueeze(-2)


_MAPS: dict[str, Callable] = {"matrix_exp": _exponential, "cayley": _cayley, "householder": _householder}


def _is_orthogonal(Q: Any) -> bool:
    rows, columns = Q.shape[-2:]
    near = 10.0 * rows * float(jnp.finfo(Q._value().dtype).eps)
    return allclose(Q.mH @ Q, _eye(columns, Q), atol=near)


def _made_orthogonal(A: Any) -> Any:
    packed, tau = geqrf(A)
    return linalg_householder_product(packed, tau) * packed.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, if there are more columns) for any matrix of its shape."""

    base: Tensor

    def __init__(self, weight: Any, orthogonal_map: str, *, use_trivialization: bool = True):
        super().__init__()
        _args.check(
            not (weight.is_complex() and orthogonal_map == "householder"),
            "The householder parametrization does not support complex tensors.",
        )
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.shape[-2] < X.shape[-1]
        Q = _MAPS[self.orthogonal_map](X.mT if wide else X)
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    @no_grad()
    def right_inverse(self, Q: Any) -> Any:
        """The matrix that is mapped to `Q`, or to the orthogonal matrix that is next to it."""
        _args.check(
            Q.shape == self.shape,
            f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.",
        )
        wide = Q.shape[-2] < Q.shape[-1]
        tall = Q.mT if wide else Q
        if hasattr(self, "base"):
            self.base = self._square(tall)
            rows, columns = Q.shape[-2:]
            return (-_creation.eye(rows, columns, dtype=Q.dtype, device=Q.device)).expand(Q.shape).clone()
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        packed, tau = geqrf(tall)
        signs = packed.diagonal(dim1=-2, dim2=-1).sign()
        signs = where(tau == 0, -signs, signs)
        packed.diagonal(dim1=-2, dim2=-1).copy_(signs)
        return packed.mT if wide else packed

    def _square(self, Q: Any) -> Any:
        """A square orthogonal matrix that begins with the columns of `Q`, made orthogonal if they are not."""
        rows, columns = Q.shape[-2:]
        if rows == columns:
            return Q.clone() if _is_orthogonal(Q) else _made_orthogonal(Q)
        more = _creation.randn((*Q.shape[:-2], rows, rows - columns), dtype=Q.dtype, device=Q.device)
        return _made_orthogonal(cat([Q, more], -1))


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """The module with a weight that stays orthogonal: its columns, or its rows if there are fewer, are orthonormal.

    Args:
        orthogonal_map: "matrix_exp", "cayley" or "householder"; None takes the first for square or complex matrices,
            and the last for others.
        use_trivialization: whether the map starts from the matrix at hand, which makes any matrix assignable.

    Raises:
        ValueError: there is no such weight, it is no matrix, or the map is unknown.

    Source: Lezcano-Casado, arXiv 1909.09501 (2019).
    """
    weight = _tensor_named(module, name)
    _args.check(weight.ndim >= 2, f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1] or weight.is_complex()
        orthogonal_map = "matrix_exp" if square else "householder"
    _args.check(
        orthogonal_map in _MAPS,
        f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}',
    )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


# weight norm


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return _weight_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Any) -> tuple:
        """The norms, and the weight itself."""
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """The module with a weight that is learned as its norms (`original0`) and its directions (`original1`).

    It loads what the old `nn.utils.weight_norm` saved, too.

    Args:
        dim: the dimension that has a norm for each of its places; None takes one norm of all.

    Source: Salimans and Kingma, arXiv 1602.07868 (2016).
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
        old = [f"{prefix}{name}_{letter}" for letter in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


# spectral norm


def _as_matrix(weight: Any, dim: int) -> Any:
    """The weight as a matrix whose rows are the places of one dimension."""
    return weight.movedim(dim, 0).flatten(1)


def _transposed_dim(module: Module) -> int:
    """The dimension of a module's weight that its outputs are on."""
    return 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0


class _SpectralNorm(Module):
    """A weight divided by its largest singular value, which is estimated by steps of the power method."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        ndim = weight.ndim
        _args.check(
            -ndim <= dim < ndim,
            f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})",
            IndexError,
        )
        _args.check(
            n_power_iterations > 0,
            f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}",
        )
        self.dim, self.eps = dim % ndim, eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = _as_matrix(weight.detach(), self.dim)
            rows, columns = matrix.shape
            self.register_buffer("_u", normalize(matrix.new_empty(rows).normal_(0, 1), dim=0, eps=eps))
            self.register_buffer("_v", normalize(matrix.new_empty(columns).normal_(0, 1), dim=0, eps=eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Any, n_power_iterations: int) -> None:
        u, v = self._u, self._v
        for _ in range(n_power_iterations):
            u = normalize(mv(matrix, v), dim=0, eps=self.eps)
            v = normalize(mv(matrix.mH, u), dim=0, eps=self.eps)
        self._u.copy_(u)  # type: ignore[attr-defined]
        self._v.copy_(v)  # type: ignore[attr-defined]

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = _as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        return weight / vdot(self._u.clone(), mv(matrix, self._v.clone()))  # type: ignore[attr-defined]

    def right_inverse(self, value: Any) -> Any:
        """The value itself, which is taken to be normal already."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """The module with a weight divided by its largest singular value.

    Args:
        n_power_iterations: steps of the power method at each use of the weight in training.
        eps: the least norm to divide by.
        dim: the dimension whose places are the rows of the matrix; None means that of the outputs.

    Raises:
        ValueError: there is no such weight, or no step is to be made.
        IndexError: there is no such dimension.

    Source: Miyato et al., arXiv 1802.05957 (2018).
    """
    weight = _tensor_named(module, name)
    dim = _transposed_dim(module) if dim is None else dim
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
