"""Norms of vectors and matrices, with gradients that are zero rather than NaN where the norm is zero."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._matrices import finite
from jtorch.ops._op import Array, DType, op


def _abs(x: Array) -> Array:
    """The absolute value, with gradient 0 at 0."""
    if not _args.is_complex(x.dtype):
        return x * jax.lax.stop_gradient(jnp.sign(x))
    square = x.real**2 + x.imag**2
    return jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))


def _root(total: Array, ord: float) -> Array:
    """`total ** (1 / ord)`, with gradient 0 at 0."""
    safe = jnp.where(total == 0, 1, total)
    return jnp.where(total == 0, 0 if ord > 0 else jnp.inf, jnp.sqrt(safe) if ord == 2 else safe ** (1 / ord))


def _powered(x: Array, ord: float) -> Array:
    size = _abs(x)
    if ord == 1:
        return size
    if ord == 2 and not _args.is_complex(x.dtype):
        return x * x
    safe = jnp.where(size == 0, 1, size)
    return jnp.where(size == 0, 0 if ord > 0 else jnp.inf, safe**ord)


def _extreme(size: Array, axes: tuple[int, ...], keepdim: bool, largest: bool) -> Array:
    return (jnp.max if largest else jnp.min)(size, axis=axes, keepdims=keepdim)


def vector_norm(x: Array, ord: float, axes: tuple[int, ...], keepdim: bool) -> Array:
    """The norm over some axes, in the (real) dtype of `x`; 16-bit floats are computed in float32."""
    dtype = x.real.dtype
    if dtype.itemsize < 4:
        x = x.astype(np.float32)
    if ord == 0:
        out = jnp.sum(x != 0, axis=axes, keepdims=keepdim)
    elif math.isinf(ord):
        out = _extreme(_abs(x), axes, keepdim, ord > 0)
    else:
        out = _root(jnp.sum(_powered(x, ord), axis=axes, keepdims=keepdim), ord)
    return out.astype(dtype)


def _prepared(name: str, x: Array, dtype: Any) -> Array:
    what = f"linalg.{name}(): expected a float or complex array, got {x.dtype}"
    _args.check(_args.is_inexact(x.dtype), what, RuntimeError)
    if dtype is None:
        return x
    fits = _args.is_inexact(dtype) and _args.is_complex(dtype) == _args.is_complex(x.dtype)
    _args.check(fits, f"linalg.{name}(): expected a dtype of the kind of {x.dtype}, got {dtype}", RuntimeError)
    narrower = _args.promote_types(x.dtype, dtype) != dtype
    _args.check(
        not narrower, f"linalg.{name}(): expected a dtype no narrower than {x.dtype}, got {dtype}", RuntimeError
    )
    return x.astype(dtype)


def _check_filled(name: str, x: Array, ord: float, axes: tuple[int, ...]) -> None:
    """Raise where an extreme of nothing is asked for."""
    empty = any(x.shape[a] == 0 for a in axes) or (x.size == 0 and not axes and x.ndim)
    bad = empty and (ord < 0 or math.isinf(ord))
    _args.check(not bad, f"linalg.{name}(): expected elements for ord {ord}, got shape {x.shape}", RuntimeError)


@op(method=False, function=False)
def linalg_vector_norm(
    input: Array,
    ord: float = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Array:
    """The norm of vectors along some dimensions, `sum(|x| ** ord) ** (1 / ord)`.

    For inf and -inf the largest and the smallest |x|, for 0 the number of elements that are not zero.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for integers, or the extreme of an empty array.
    """
    input = _prepared("vector_norm", input, dtype)
    axes = _args.dims(None if dim == () else dim, input.ndim, "linalg.vector_norm")
    axes = tuple(a for a in axes if a < input.ndim)
    _check_filled("vector_norm", input, float(ord), axes)
    return vector_norm(input, float(ord), axes, keepdim)


def _matrix_norm(A: Array, ord: float | str, one: int, two: int, keepdim: bool) -> Array:
    dtype = A.real.dtype
    if ord == "fro":
        return vector_norm(A, 2.0, (one, two), keepdim)
    wide = A.astype(np.float32) if dtype.itemsize < 4 else A
    if ord in ("nuc", 2, -2):
        values = jnp.linalg.svd(jnp.moveaxis(wide, (one, two), (-2, -1)), compute_uv=False)
        out = jnp.sum(values, -1) if ord == "nuc" else _extreme(values, (-1,), False, ord == 2)
        out = jnp.expand_dims(out, tuple(sorted((one, two)))) if keepdim else out
        return out.astype(dtype)
    summed, over = (one, two) if abs(ord) == 1 else (two, one)
    sums = jnp.sum(_abs(wide), summed, keepdims=True)
    out = _extreme(sums, (over,), True, ord > 0)
    return (out if keepdim else jnp.squeeze(out, (one, two))).astype(dtype)


def _norm_of_nothing(A: Array, ord: float | str, one: int, two: int, keepdim: bool) -> Array:
    over = {-1: (two,), -2: (one, two), -math.inf: (one,)}.get(ord, ())  # where a smallest one is looked for
    filled = all(A.shape[d] for d in over)
    _args.check(filled, f"linalg.matrix_norm(): expected elements for ord {ord}, got {A.shape}", IndexError)
    return vector_norm(A, 2.0, (one, two), keepdim)


_ORDERS = ("fro", "nuc", math.inf, -math.inf, 1, -1, 2, -2)


def _check_spectral(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    """Singular values want finite numbers."""
    two = np.ndim(A) == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord in (2, -2, "nuc") and two:
        finite(A)


@op(method=False, function=False, validate=_check_spectral)
def linalg_matrix_norm(
    input: Array,
    ord: float | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Array:
    """The norm of matrices: 'fro', 'nuc', or by order: 1, -1 column sums, inf, -inf row sums, 2, -2 singular values.

    Shape: (*, M, N) -> (*)
    Raises: RuntimeError for integers, other orders, or fewer than two dimensions.
    """
    input = _prepared("matrix_norm", input, dtype)
    _args.check(
        input.ndim >= 2, f"linalg.matrix_norm(): expected at least 2 dimensions, got {input.ndim}", RuntimeError
    )
    _args.check(ord in _ORDERS, f"linalg.matrix_norm(): expected ord to be one of {_ORDERS}, got {ord!r}", RuntimeError)
    _args.check(len(dim) == 2, f"linalg.matrix_norm(): expected two dims, got {dim}", RuntimeError)
    one, two = _args.dims(dim, input.ndim, "linalg.matrix_norm")
    if not (input.shape[one] and input.shape[two]):
        return _norm_of_nothing(input, ord, one, two, keepdim)
    return _matrix_norm(input, ord, one, two, keepdim)


def _check_norm(input, ord=None, dim=None, keepdim=False, *, dtype=None):
    _check_spectral(input, ord, dim)


@op(method=False, function=False, validate=_check_norm)
def linalg_norm(
    input: Array,
    ord: float | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Array:
    """The vector norm, or the matrix norm where two dimensions are meant and an order is given.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError where it is not clear which, or as `linalg_vector_norm` and `linalg_matrix_norm`.
    """
    axes = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return linalg_vector_norm.body(input, 2, axes, keepdim, dtype=dtype)
    _args.check(
        axes is not None or input.ndim in (1, 2),
        f"linalg.norm(): expected dim, or 1 or 2 dimensions, where ord is given; got {input.ndim} dimensions",
        RuntimeError,
    )
    _args.check(
        axes is None or len(axes) in (1, 2), f"linalg.norm(): expected one or two dims, got {axes}", RuntimeError
    )
    matrix = input.ndim == 2 if axes is None else len(axes) == 2
    if matrix:
        return linalg_matrix_norm.body(input, ord, (-2, -1) if axes is None else axes, keepdim, dtype=dtype)
    _args.check(
        not isinstance(ord, str), f"linalg.norm(): expected a number as order of vectors, got {ord!r}", RuntimeError
    )
    return linalg_vector_norm.body(input, ord, axes, keepdim, dtype=dtype)


@op(method=False)
def norm_except_dim(v: Array, pow: float = 2, dim: int = 0) -> Array:
    """The norm of order `pow` over all dimensions but one, which are kept as 1; over all of them where `dim` is -1.

    Shape: (*) -> (1, ..., size of dim, ..., 1), or ()
    """
    if dim == -1:
        return vector_norm(v, float(pow), tuple(range(v.ndim)), False)
    kept = _args.dim(dim, v.ndim, "norm_except_dim")
    return vector_norm(v, float(pow), tuple(d for d in range(v.ndim) if d != kept), True)


@op(method=False, function=False)
def _weight_norm(v: Array, g: Array, dim: int = 0) -> Array:
    """`v` scaled to the norms `g` along all dimensions but one.

    Shape: (*), (1, ..., size of dim, ..., 1) -> (*)
    Source: Salimans and Kingma, arXiv 1602.07868 (2016).
    """
    return v * (g / norm_except_dim.body(v, 2, dim))


@op(inplace=True)
def renorm(input: Array, p: float, dim: int, maxnorm: float) -> Array:
    """The input with each slice along a dimension scaled down to norm `maxnorm` of order `p`, where it is above that.

    Shape: (*) -> (*)
    Raises: RuntimeError for less than two dimensions, p that is not above 0, or a negative maxnorm.
    """
    _args.check(input.ndim > 1, f"renorm(): expected two dimensions or more, got {input.ndim}", RuntimeError)
    _args.check(_args.is_inexact(input.dtype), f"renorm(): expected a float dtype, got {input.dtype}", RuntimeError)
    _args.check(p > 0, f"renorm(): expected p above 0, got {p}", RuntimeError)
    _args.check(maxnorm >= 0, f"renorm(): expected maxnorm of 0 or more, got {maxnorm}", RuntimeError)
    x = wide(input)
    norm = norm_except_dim.body(x, p, _args.dim(dim, input.ndim, "renorm"))
    scale = jnp.where(norm > maxnorm, maxnorm / (norm + 1e-7), 1)
    return (x * scale).astype(input.dtype)
