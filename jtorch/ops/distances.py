"""Distances and similarities of vectors: cdist, pdist, pairwise_distance, cosine_similarity."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array, op
from jtorch.ops.norms import vector_norm

_MANY = 25  # rows from which torch takes distances from a matrix product


def _by_product(x1: Array, x2: Array) -> Array:
    """Euclidean distances from `|a|^2 + |b|^2 - 2ab`, with gradient 0 where they are 0."""
    both = jnp.matmul(x1, jnp.swapaxes(x2, -2, -1), precision=precision_for(x1.dtype))
    square = jnp.sum(x1 * x1, -1)[..., :, None] + jnp.sum(x2 * x2, -1)[..., None, :] - 2 * both
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)


_MODES = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")


@op(method=False)
def cdist(
    x1: Array, x2: Array, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary"
) -> Array:
    """The distance of order `p` of each row of `x1` from each row of `x2`.

    Shape: (*, P, M), (*, R, M) -> (*, P, R)
    Raises: RuntimeError for integers, fewer than two dimensions, or rows of different length.
    """
    mode = _MODES[compute_mode] if isinstance(compute_mode, int) else compute_mode or _MODES[0]
    _args.check(mode in _MODES, f"cdist(): expected compute_mode to be one of {_MODES}, got {compute_mode!r}")
    floats = all(_args.is_float(x.dtype) for x in (x1, x2))
    _args.check(floats, f"cdist(): expected float arrays, got {x1.dtype} and {x2.dtype}", RuntimeError)
    _args.check(x1.dtype == x2.dtype, f"cdist(): expected one dtype, got {x1.dtype} and {x2.dtype}", RuntimeError)
    fits = x1.ndim >= 2 and x2.ndim >= 2 and x1.shape[-1] == x2.shape[-1]
    _args.check(fits, f"cdist(): expected rows of one length, got {x1.shape} and {x2.shape}", RuntimeError)
    _args.check(p >= 0, f"cdist(): expected p >= 0, got {p}", RuntimeError)
    many = x1.shape[-2] > _MANY or x2.shape[-2] > _MANY
    if p == 2 and (mode == _MODES[1] or (mode == _MODES[0] and many)):
        return _by_product(x1, x2)
    return vector_norm(x1[..., :, None, :] - x2[..., None, :, :], float(p), (-1,), False)


@op(method=False)
def pdist(input: Array, p: float = 2.0) -> Array:
    """The distance of order `p` of each pair of rows, in order.

    Shape: (N, M) -> (N * (N - 1) / 2)
    Raises: RuntimeError for other than a float matrix or a negative order.
    """
    _args.check(input.ndim == 2, f"pdist(): expected a matrix, got {input.ndim} dimensions", RuntimeError)
    _args.check(_args.is_float(input.dtype), f"pdist(): expected a float array, got {input.dtype}", RuntimeError)
    _args.check(p >= 0, f"pdist(): expected p >= 0, got {p}", RuntimeError)
    one, two = np.triu_indices(input.shape[0], 1)
    return vector_norm(input[one] - input[two], float(p), (-1,), False)


@op(method=False)
def pairwise_distance(x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Array:
    """The norm of order `p` of `x1 - x2 + eps` along the last dimension.

    Shape: (*, D), (*, D) -> (*)
    """
    x1, x2 = _args.promote(x1, x2)
    apart = x1 - x2
    apart = (apart if _args.is_inexact(apart.dtype) else apart.astype(_args.default_float())) + eps
    axes = (apart.ndim - 1,) if apart.ndim else ()
    return vector_norm(apart, math.inf if p == math.inf else float(p), axes, keepdim)


@op(method=False)
def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Array:
    """`x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))` along a dimension.

    Shape: (A*, D, B*), (A*, D, B*) -> (A*, B*)
    Raises: RuntimeError for integers.
    """
    x1, x2 = _args.promote(x1, x2)
    _args.check(_args.is_float(x1.dtype), f"cosine_similarity(): expected float arrays, got {x1.dtype}", RuntimeError)
    dtype = x1.dtype
    x1, x2 = jnp.broadcast_arrays(wide(x1), wide(x2))
    at = _args.dim(dim, x1.ndim, "cosine_similarity")
    axes = (at,) if x1.ndim else ()

    def unit(x):
        norm = vector_norm(x, 2.0, axes, True)
        return x / (norm + jax.lax.stop_gradient(jnp.maximum(norm, eps) - norm))  # the bound has no gradient in torch

    return jnp.sum(unit(x1) * unit(x2), axis=axes).astype(dtype)
