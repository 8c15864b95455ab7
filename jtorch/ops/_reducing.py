"""What reductions share: which axes are meant, refusals of dtypes and empty dimensions, and picking by an index."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._op import Array


def along(x: Array, dim: int, name: str, filled: bool = True) -> tuple[Array, int]:
    """The array with at least one dimension, and the axis that `dim` means in it.

    Raises: IndexError where there is no such dimension, or it is empty and must be `filled`.
    """
    axis = _args.dim(dim, x.ndim, name)
    x = jnp.atleast_1d(x)
    if filled:
        _args.check(
            x.shape[axis] > 0, f"{name}(): expected dimension {dim} to have elements, got {x.shape}", IndexError
        )
    return x, axis


def iota(x: Array, axis: int) -> Array:
    """The index along an axis of each element, as int32."""
    return jax.lax.broadcasted_iota(jnp.int32, x.shape, axis)


def shaped(x: Array, axis: int, keepdim: bool, ndim: int) -> Array:
    """A result whose reduced axis has size 1, without it unless `keepdim`; a scalar for a scalar input."""
    return x.reshape(()) if not ndim else x if keepdim else jnp.squeeze(x, axis)


def pick(x: Array, index: Array, axis: int) -> Array:
    """The elements at `index` (of size 1 along the axis), in a form that is fast to differentiate."""
    if not _args.is_inexact(x.dtype):
        return jnp.take_along_axis(x, index, axis, mode="promise_in_bounds")
    return jnp.sum(jnp.where(iota(x, axis) == index, x, 0), axis, keepdims=True)


def thin(shape: Sequence, axes: Sequence[int]) -> tuple[int, ...]:
    """The dimensions of size 1 other than `axes`. XLA's sums on CPUs take several times longer beside them."""
    return tuple(i for i, n in enumerate(shape) if i not in axes and n == 1) if _args.fixed(shape) else ()


def accumulating_dtype(x: Array, dtype: Any) -> Any:
    """The dtype of a sum: the one asked for, else int64 for integers and the input's own for others."""
    if dtype is not None:
        return dtype
    return _args.long_dtype() if _args.is_integral(x.dtype) else x.dtype


def axes_of(dim: int | Sequence[int] | None, ndim: int, name: str) -> tuple[int, ...]:
    """The axes that `dim` means, all for None and an empty sequence."""
    axes = _args.axes(dim, ndim, name)
    return tuple(range(ndim)) if axes is None else axes


@jax.custom_jvp
def shared(value: Array, x: Array, there: Array) -> Array:
    """A value that was chosen from all of `x`, whose gradient goes in equal parts to the places where it is `there`."""
    return value


@shared.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    value, _, there = primals
    return value, jnp.sum(jnp.where(there, tangents[1], 0)) / jnp.sum(there, dtype=value.dtype)


def same(x: Array, value: Array) -> Array:
    """Where the elements equal a value, NaN being equal to itself."""
    return (x == value) | (jnp.isnan(x) & jnp.isnan(value))
