"""Reading by an index array: gather, index_select, take, take_along_dim. Writing by one is `scattering`.

Compiled code cannot raise: there an index out of range reads NaN (or the extreme integer), never a neighbour.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, op


def require_index(name: str, index: Array) -> None:
    """Raise unless the dtype is one that torch indexes with.

    Raises: RuntimeError for other dtypes than int64 and int32.
    """
    fits = index.dtype in (np.int64, np.int32)
    _args.check(fits, f"{name}(): expected an index of dtype int64 or int32, got {index.dtype}", RuntimeError)


def check_range(
    name: str, index: Any, size: int, dim: int, error: type[Exception] = IndexError, wraps: bool = False
) -> None:
    """Raise unless every index is below `size`, and not negative unless it `wraps`; for known values only."""
    values = np.asarray(index)
    if values.size:
        low, high = int(values.min()), int(values.max())
        bad = high if high >= size else low
        _args.check(
            high < size and low >= (-size if wraps else 0),
            f"{name}(): index {bad} is out of bounds for dimension {dim} with size {size}",
            error,
        )


def place_dtype(count: int) -> np.dtype:
    """The dtype for positions in so many elements.

    Raises: RuntimeError where int32 is too narrow and x64 is off.
    """
    wide = count >= 2**31
    _args.check(
        not wide or _args.long_dtype() == np.int64,
        f"index: expected fewer than 2**31 elements, got {count}; turn on jax_enable_x64 for more",
        RuntimeError,
    )
    return np.dtype(np.int64 if wide else np.int32)


def flat_places(index: Array, shape: tuple[int, ...], dim: int) -> Array:
    """Where in the flattened array of this shape the elements lie that `index` names along `dim`.

    Indices out of range are sent past the end, where JAX reads NaN and writes nothing.
    """
    count = math.prod(shape)
    dtype = place_dtype(count)
    places = jnp.zeros(index.shape, dtype)
    for axis in range(len(shape)):
        step = math.prod(shape[axis + 1 :])
        along = index.astype(dtype) if axis == dim else jax.lax.broadcasted_iota(dtype, index.shape, axis)
        places = places + along * step
    return jnp.where((index >= 0) & (index < shape[dim]), places, count)


def lined_up(name: str, input: Array, dim: int, index: Array) -> tuple[int, tuple[int, ...], Array]:
    """The dimension, the input's shape and the index, checked as torch does; scalars are given one dimension."""
    at = _args.dim(dim, input.ndim, name)
    shape, index = input.shape or (1,), jnp.atleast_1d(index)
    if index.size:
        require_index(name, index)
        _args.check(
            index.ndim == len(shape),
            f"{name}(): expected an index with as many dimensions as the input, {len(shape)}, got {index.shape}",
            RuntimeError,
        )
        inside = all(n <= m for i, (n, m) in enumerate(zip(index.shape, shape, strict=True)) if i != at)
        _args.check(
            inside,
            f"{name}(): expected an index no larger than the input {shape} but in dimension {at}, got {index.shape}",
            RuntimeError,
        )
    return at, shape, index


def _check_gather(input: Array, dim: int, index: Array, sparse_grad: bool) -> None:
    at = _args.dim(dim, input.ndim, "gather")
    check_range("gather", index, input.shape[at] if input.ndim else 1, at, RuntimeError)


@op(exact_out=True, validate=_check_gather)
def gather(input: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    """The elements that the index names along one dimension: out[i][j] = input[index[i][j]][j] for dim 0.

    Shape: (*), (I*) -> (I*), I no larger than the input in other dimensions than `dim`
    Raises: RuntimeError for an index out of range, of another dtype than int64 or int32, or too large.
    """
    at, shape, lined = lined_up("gather", input, dim, index)
    if not lined.size:
        return jnp.zeros(index.shape, input.dtype)
    return _taken(input.reshape(-1), flat_places(lined, shape, at)).reshape(index.shape)


@jax.custom_jvp
def _taken(flat: Array, places: Array) -> Array:
    """The elements at some places. Their gradient, which adds up where a place comes up again, does so in float32."""
    return flat.at[places].get(mode="fill")


@_taken.defjvp
def _taken_tangent(primals: tuple, tangents: tuple) -> tuple:
    return _taken(*primals), wide(tangents[0]).at[primals[1]].get(mode="fill").astype(tangents[0].dtype)


def _check_index_select(input: Array, dim: int, index: Array) -> None:
    at = _args.dim(dim, input.ndim, "index_select")
    check_range("index_select", index, input.shape[at] if input.ndim else 1, at)


@op(validate=_check_index_select)
def index_select(input: Array, dim: int, index: Array) -> Array:
    """The slices of a dimension that a vector of indices names.

    Shape: (A*, L, B*), (I) -> (A*, I, B*)
    Raises: IndexError for an index out of range or with more than one dimension; RuntimeError for its dtype.
    """
    _args.check(index.ndim <= 1, f"index_select(): expected a vector as index, got {index.shape}", IndexError)
    require_index("index_select", index)
    at = _args.dim(dim, input.ndim, "index_select")
    lined = jnp.atleast_1d(input)
    out = lined.at[(slice(None),) * at + (jnp.atleast_1d(index),)].get(mode="fill", wrap_negative_indices=False)
    return out.reshape(()) if not input.ndim else out


def _check_take(input: Array, index: Array) -> None:
    check_range("take", index, input.size, 0, wraps=True)


@op(validate=_check_take)
def take(input: Array, index: Array) -> Array:
    """The elements at places in the flattened input; negative places count from the end.

    Shape: (*), (I*) -> (I*)
    Raises: IndexError for a place out of range.
    """
    place_dtype(input.size)
    _args.check(
        index.dtype in (_args.long_dtype(), np.int64),
        f"take(): expected an int64 index, got {index.dtype}",
        RuntimeError,
    )
    return input.reshape(-1).at[index].get(mode="fill")


def _check_take_along(input: Array, indices: Array, dim: int | None = None) -> None:
    if dim is None:
        check_range("take_along_dim", indices, input.size, 0, RuntimeError)


@op(validate=_check_take_along)
def take_along_dim(input: Array, indices: Array, dim: int | None = None) -> Array:
    """The elements that the indices name along a dimension, the other dimensions broadcast.

    Without `dim` those of the flattened input.

    Shape: (A*, L, B*), (A*, I, B*) -> (A*, I, B*)
    Raises: RuntimeError where the dtype is not int64, the dimensions differ in number, or there is nothing to take; without
        `dim` also for a place out of range, negative ones being out.
    """
    require_index("take_along_dim", indices)
    if dim is None:
        return take_along_dim.body(input.reshape(-1), indices.reshape(-1), 0)
    same = input.ndim == indices.ndim
    _args.check(
        same, f"take_along_dim(): expected indices of {input.ndim} dimensions, got {indices.ndim}", RuntimeError
    )
    at = _args.dim(dim, input.ndim, "take_along_dim")
    lead = [max(m, n) if min(m, n) else 0 for m, n in zip(input.shape, indices.shape, strict=True)]
    shape = [n if i != at else input.shape[at] for i, n in enumerate(lead)]
    wanted = [n if i != at else indices.shape[at] for i, n in enumerate(lead)]
    filled = input.shape[at] > 0 or 0 in wanted
    _args.check(filled, f"take_along_dim(): expected dimension {dim} to have elements, got {input.shape}", RuntimeError)
    places = jnp.broadcast_to(indices % input.shape[at], wanted)  # torch takes any index modulo the size
    return gather.body(jnp.broadcast_to(input, shape), at, places)


def _check_unravel(indices: Array, shape: Sequence[int]) -> None:
    check_range("unravel_index", indices, math.prod(shape if isinstance(shape, tuple) else (shape,)), 0, ValueError)


@op(method=False, differentiable=False, validate=_check_unravel)
def unravel_index(indices: Array, shape: int | Sequence[int]) -> tuple[Array, ...]:
    """The coordinates in an array of this shape of places in it flattened, a vector for each dimension.

    Shape: (*) -> (*), once for each dimension of the shape
    Raises: TypeError for other dtypes than integers; ValueError for a place out of range or a negative size.
    """
    integers = _args.is_integral(indices.dtype) and indices.dtype != np.bool_
    _args.check(integers, f"unravel_index(): expected integer indices, got {indices.dtype}", TypeError)
    sizes = (shape,) if isinstance(shape, int) else shape
    _args.check(all(n >= 0 for n in sizes), f"unravel_index(): expected sizes of 0 or more, got {sizes}", ValueError)
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    indices = indices.astype(_args.long_dtype())
    return tuple(indices // max(step, 1) % max(n, 1) for step, n in zip(steps, sizes, strict=True))
