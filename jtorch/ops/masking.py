"""Masks and what is not zero: masked_fill, masked_scatter, masked_select, nonzero, argwhere."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Fitting, derived, op
from jtorch.ops.indexing import gather_counted
from jtorch.ops.shape import broadcast_shapes, broadcast_to, dtype_of
from jtorch.ops.subscript import concrete, encode


def _require_mask(name: str, mask: Any) -> None:
    dtype = dtype_of(mask)
    _args.check(dtype == np.bool_, f"{name}(): expected a mask of dtype bool, got {dtype}", RuntimeError)


@op(inplace=True)
def masked_fill(input: Array, mask: Array, value: Fitting) -> Array:
    """The value where the mask is True, the input elsewhere.

    Shape: (*), (M*), () -> (broadcast of * and M)
    Raises: RuntimeError for a mask that is not bool or a value with dimensions.
    """
    _require_mask("masked_fill", mask)
    _args.check(jnp.ndim(value) == 0, "masked_fill(): expected a number or a 0-d array as value", RuntimeError)
    given = jnp.asarray(value)  # weakly typed where it was a number, which was looked at
    real = _args.is_complex(input.dtype) or given.aval.weak_type or not _args.is_complex(given.dtype)
    _args.check(real, f"masked_fill(): expected a value for {input.dtype}, got {given.dtype}", RuntimeError)
    broadcast_shapes(input.shape, mask.shape)
    return jnp.where(mask, _args.cast(value, input.dtype), input)


def _check_masked_scatter(input: Array, mask: Array, source: Array) -> None:
    shape = np.broadcast_shapes(np.shape(input), np.shape(mask))
    count = int(np.count_nonzero(np.broadcast_to(np.asarray(mask), shape)))
    enough = np.size(source) >= count
    _args.check(
        enough, f"masked_scatter(): expected a source of {count} elements or more, got {np.size(source)}", RuntimeError
    )


@op(inplace=True, validate=_check_masked_scatter)
def masked_scatter(input: Array, mask: Array, source: Array) -> Array:
    """The elements of the source, in order, where the mask is True; the input elsewhere.

    Shape: (*), (M*), (S*) -> (broadcast of * and M)
    Raises: RuntimeError for a mask that is not bool, or a source of another dtype or with too few elements.
    """
    _require_mask("masked_scatter", mask)
    same = source.dtype == input.dtype
    _args.check(same, f"masked_scatter(): expected a source of dtype {input.dtype}, got {source.dtype}", RuntimeError)
    shape = broadcast_shapes(input.shape, mask.shape)
    if not source.size:
        return jnp.broadcast_to(input, shape)
    mask = jnp.broadcast_to(mask, shape)
    order = jnp.cumsum(mask.reshape(-1)).reshape(shape) - 1
    return jnp.where(mask, source.reshape(-1).at[order].get(mode="clip"), input)


@derived
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask is True, as a vector.

    Shape: (*), (M*) -> (number of True places)
    Raises: RuntimeError for a mask that is not bool, or whose values are not known, under a trace.
    """
    _require_mask("masked_select", mask)
    shape = broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    values = np.broadcast_to(concrete(mask, "masked_select"), shape)
    spec, arrays = encode(values if shape else values.reshape(1), shape or (1,))
    return gather_counted(broadcast_to(input, shape or (1,)), arrays, spec)


@op(differentiable=False, eager=True)
def argwhere(input: Array) -> Array:
    """The indices of each element that is not zero, as rows in order.

    Shape: (*) -> (number of them, ndim)
    Raises: RuntimeError where the values are not known, under a trace.
    """
    return jnp.asarray(np.argwhere(concrete(input, "nonzero")), _args.long_dtype())


@op(method=False, function=False, differentiable=False, eager=True)
def nonzero_vectors(input: Array) -> tuple[Array, ...]:
    """The indices of each element that is not zero, as a vector for each dimension.

    Shape: (*) -> (number of them), ndim times
    Raises: RuntimeError where the values are not known, under a trace.
    """
    places = np.nonzero(np.atleast_1d(concrete(input, "nonzero")))
    return tuple(jnp.asarray(x, _args.long_dtype()) for x in places)


@derived
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of each element that is not zero: as rows in order, or as a tuple of one vector for each dimension.

    Shape: (*) -> (number of them, ndim)
    Raises: RuntimeError where the values are not known, under a trace.
    """
    return nonzero_vectors(input) if as_tuple else argwhere(input)


@op(differentiable=False)
def nonzero_static(input: Array, *, size: int, fill_value: int = -1) -> Array:
    """The indices of the first `size` elements that are not zero, as rows in order, missing ones filled.

    Shape: (*) -> (size, ndim)
    Raises: RuntimeError for a negative size.
    """
    _args.check(size >= 0, f"nonzero_static(): expected size >= 0, got {size}", RuntimeError)
    if not input.size or not input.ndim:
        return jnp.full((size, input.ndim), fill_value, _args.long_dtype())
    return jnp.argwhere(input, size=size, fill_value=fill_value).astype(_args.long_dtype())
