"""Parts of an array as views: select, narrow, windows along a dimension, strides."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, op


def _in_range(name: str, index: Any, size: int, dim: int, error: type[Exception] = IndexError) -> None:
    at = operator.index(index)
    _args.check(
        -size <= at < size, f"{name}(): index {at} is out of bounds for dimension {dim} with size {size}", error
    )


def _check_select(input: Array, dim: int, index: Scalar) -> None:
    _args.check(input.ndim, "select(): expected dimensions, got a 0-d array", IndexError)
    at = _args.dim(dim, input.ndim, "select")
    _in_range("select", index, input.shape[at], at)


@op(view=True, validate=_check_select)
def select(input: Array, dim: int, index: Scalar) -> Array:
    """The slice at one place of a dimension, without that dimension. The place is traced.

    Shape: (A*, L, B*) -> (A*, B*)
    Raises: IndexError for a place outside.
    """
    _args.check(input.ndim, "select(): expected dimensions, got a 0-d array", IndexError)
    return jax.lax.dynamic_index_in_dim(input, index, _args.dim(dim, input.ndim, "select"), keepdims=False)


def _check_narrow(input: Array, dim: int, start: Scalar, length: int) -> None:
    _args.check(input.ndim, "narrow(): expected dimensions, got a 0-d array", RuntimeError)
    at = _args.dim(dim, input.ndim, "narrow")
    _args.check(
        np.ndim(start) == 0 and jnp.issubdtype(jnp.result_type(start), jnp.integer),
        f"narrow(): expected start to be an integer or a 0-d integer array, got {start}",
        RuntimeError,
    )
    size, first = input.shape[at], operator.index(start)
    _args.check(
        -size <= first <= size, f"narrow(): expected start in the range [{-size}, {size}], got {first}", IndexError
    )
    first += size if first < 0 else 0
    _args.check(
        length >= 0 and first + length <= size,
        f"narrow(): expected start + length <= {size} and length >= 0, got start {first}, length {length}",
        RuntimeError,
    )


@op(view=True, validate=_check_narrow)
def narrow(input: Array, dim: int, start: Scalar, length: int) -> Array:
    """`length` places of a dimension from `start` on. The start is traced.

    Shape: (A*, L, B*) -> (A*, length, B*)
    Raises: IndexError or RuntimeError for places outside.
    """
    _args.check(input.ndim, "narrow(): expected dimensions, got a 0-d array", RuntimeError)
    at = _args.dim(dim, input.ndim, "narrow")
    fits = 0 <= length <= input.shape[at]
    _args.check(fits, f"narrow(): expected a length from 0 to {input.shape[at]}, got {length}", RuntimeError)
    return jax.lax.dynamic_slice_in_dim(input, jnp.reshape(start, ()), length, at)


def _check_narrow_copy(input: Array, dim: int, start: Scalar, length: int) -> None:
    known = dim < max(input.ndim, 1)
    _args.check(known, f"narrow_copy(): expected a dimension below {input.ndim}, got {dim}", RuntimeError)
    _check_narrow(input, dim, start, length)


@op(validate=_check_narrow_copy)
def narrow_copy(input: Array, dim: int, start: Scalar, length: int) -> Array:
    """A copy of `length` places of a dimension from `start` on.

    Shape: (A*, L, B*) -> (A*, length, B*)
    Raises: IndexError or RuntimeError for places outside.
    """
    return narrow.body(input, dim, start, length)


@op(view=True, method=False, function=False)
def unfold_dimension(input: Array, dimension: int, size: int, step: int) -> Array:
    """Windows of a dimension, `step` apart, as a new last dimension. This is `Tensor.unfold`; `F.unfold` is im2col.

    Shape: (A*, L, B*) -> (A*, (L - size) // step + 1, B*, size)
    Raises: RuntimeError for a size that does not fit or a step below 1.
    """
    at = _args.dim(dimension, input.ndim, "unfold")
    length = input.shape[at] if input.ndim else 1
    _args.check(0 <= size <= length, f"unfold(): expected a size from 0 to {length}, got {size}", RuntimeError)
    _args.check(step > 0, f"unfold(): expected a step above 0, got {step}", RuntimeError)
    if not input.ndim:
        return input.reshape(1)[:size]
    starts = np.arange((length - size) // step + 1) * step
    if size == step:
        windows = jax.lax.slice_in_dim(input, 0, len(starts) * size, axis=at)
        windows = windows.reshape(*input.shape[:at], len(starts), size, *input.shape[at + 1 :])
    else:
        windows = jnp.take(input, starts[:, None] + np.arange(size), axis=at)
    return jnp.moveaxis(windows, at + 1, -1)


def strided_places(
    name: str, count: int, size: Sequence[int], stride: Sequence[int], storage_offset: int | None
) -> Array:
    """`storage_offset + sum(i * stride)` for each place i of an array of this size.

    Raises: RuntimeError where one is not below `count`.
    """
    offset = storage_offset or 0
    _args.check(len(size) == len(stride), f"{name}(): expected a stride for each size", RuntimeError)
    _args.check(
        all(s >= 0 for s in stride) and offset >= 0,
        f"{name}(): expected strides of 0 or more, got {stride}",
        RuntimeError,
    )
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    inside = 0 in size or last < count
    _args.check(inside, f"{name}(): expected places below {count}, got {last}", RuntimeError)
    places = jnp.full(tuple(size), offset, np.int32)
    for axis, step in enumerate(stride):
        places = places + jax.lax.broadcasted_iota(np.int32, tuple(size), axis) * step
    return places


@op(view=True, inplace=True)
def as_strided(input: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Array:
    """Element `storage_offset + sum(i * stride)` of the flattened input at each place i.

    Shape: (*) -> size
    Raises: RuntimeError where a place lies outside.
    Differs: on a plain array, strides count its elements in row-major order.
    """
    return (
        input.reshape(-1)
        .at[strided_places("as_strided", input.size, size, stride, storage_offset)]
        .get(mode="promise_in_bounds")
    )
