"""Elements in order: sorting, and the k greatest or smallest. NaN counts as greater than every number."""

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._elementwise import require
from jtorch.ops._op import Array, derived, op
from jtorch.ops._reducing import along, iota, pick, shaped
from jtorch.ops._results import result_of
from jtorch.ops.extrema import Extremes


@result_of("sort")
class Sorted(Extremes):
    """The values in order, and their indices."""


@result_of("topk")
class TopK(Extremes):
    """The k greatest or smallest values, and their indices."""


@result_of("kthvalue")
class KthValue(Extremes):
    """The k-th smallest values, and their indices."""


def _require_order(name: str, x: Array) -> None:
    _args.check(not _args.is_complex(x.dtype), f"{name}(): expected real numbers, got {x.dtype}", RuntimeError)


def _key(x: Array) -> Array:
    """int32 numbers in the order of the elements: all zeros equal, NaN greater than every number."""
    if not _args.is_float(x.dtype):
        return x.astype(jnp.int32)
    x = x.astype(jnp.float32)
    x = jnp.where(jnp.isnan(x), jnp.nan, jnp.where(x == 0, 0, x))
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _packed_order(key: Array, axis: int) -> Array:
    """The order of int32 keys, found by sorting one array of key and index together: on CPU 5 times faster than two."""
    with jax.enable_x64(True):
        high = jax.lax.shift_left(key.astype(jnp.int64), jnp.int64(32))
        pairs = jax.lax.sort(high | iota(key, axis).astype(jnp.int64), dimension=axis, is_stable=False)
        return (pairs & jnp.int64(0xFFFFFFFF)).astype(jnp.int32)


def _is_packable(x: Array) -> bool:
    return jax.default_backend() == "cpu" and x.dtype.itemsize <= 4 and x.dtype != jnp.uint32


def order(x: Array, axis: int, descending: bool = False) -> Array:
    """The int32 indices that sort along an axis; equal elements keep their order."""
    x = jax.lax.stop_gradient(x)
    if _is_packable(x):
        key = _key(x)
        return _packed_order(~key if descending else key, axis)
    if descending:  # turned round before and after, so that equal elements keep their order
        return x.shape[axis] - 1 - jnp.flip(order(jnp.flip(x, axis), axis), axis)
    return jax.lax.sort((x, iota(x, axis)), dimension=axis, num_keys=1)[1]


def ordered(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    """The array sorted along an axis, and the int32 index of each element; equal elements keep their order."""
    index = order(x, axis, descending)
    return jnp.take_along_axis(x, index, axis, mode="promise_in_bounds"), index


@op(method=False, function=False)
def sort_stably(input: Array, dim: int, descending: bool) -> Sorted:
    """The array sorted along a dimension, and the index of each element; equal elements keep their order.

    Shape: (*) -> (*), (*)
    Raises: RuntimeError for complex numbers.
    """
    _require_order("sort", input)
    x, axis = along(input, dim, "sort", filled=False)
    values, index = ordered(x, axis, descending)
    return Sorted(values.reshape(input.shape), index.astype(_args.long_dtype()).reshape(input.shape))


@derived
def sort(input, dim=-1, descending=False, stable=False):
    """The array sorted along a dimension, and the index of each element, as a named tuple (values, indices).

    NaN counts as the greatest. Equal elements keep their order, whatever `stable` says.

    Shape: (*) -> (*), (*)
    Raises: RuntimeError for complex numbers.
    """
    return sort_stably(input, dim, descending)


@derived
def argsort(input, dim=-1, descending=False, stable=False):
    """The indices that sort the array along a dimension; equal elements keep their order.

    Shape: (*) -> (*)
    Raises: RuntimeError for complex numbers.
    """
    return sort_stably(input, dim, descending).indices


@derived
def msort(input):
    """The array sorted along its first dimension.

    Shape: (*) -> (*)
    """
    return sort_stably(input, 0, False).values


def _greatest(x: Array, k: int, axis: int, largest: bool) -> Array:
    """The indices of the k greatest or smallest elements along an axis, in order."""
    key = jnp.moveaxis(jax.lax.stop_gradient(x), axis, -1)
    if key.dtype == jnp.bool_:
        key = key.astype(jnp.int8)
    if _args.is_float(key.dtype):
        key = jnp.where(jnp.isnan(key), jnp.nan, jnp.where(key == 0, 0, key))  # top_k heeds the signs of NaN and 0
    if not largest:
        key = -key if _args.is_float(key.dtype) else ~key
    return jnp.moveaxis(jax.lax.top_k(key, k)[1], -1, axis)


@op
def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> TopK:
    """The k greatest elements along a dimension, or smallest, in order, and their indices, as a named tuple.

    Shape: (*, L, *) -> (*, k, *), (*, k, *)
    Raises: RuntimeError where k is out of range, or for complex numbers.
    """
    _require_order("topk", input)
    x, axis = along(input, dim, "topk", filled=False)
    _args.check(0 <= k <= x.shape[axis], f"topk(): expected k in 0 .. {x.shape[axis]}, got {k}", RuntimeError)
    index = _greatest(x, k, axis, largest)
    values = jnp.take_along_axis(x, index, axis, mode="promise_in_bounds")
    shape = values.shape if input.ndim else () if k else (0,)
    return TopK(values.reshape(shape), index.astype(_args.long_dtype()).reshape(shape))


@op
def kthvalue(input: Array, k: int, dim: int = -1, keepdim: bool = False) -> KthValue:
    """The k-th smallest element along a dimension, counted from 1, and its index, as a named tuple (values, indices).

    Shape: (*) -> (* without dim), (* without dim)
    Raises: RuntimeError where k is out of range; IndexError where the dimension is empty.
    """
    require("kthvalue", input.dtype, "if")
    x, axis = along(input, dim, "kthvalue")
    _args.check(1 <= k <= x.shape[axis], f"kthvalue(): expected k in 1 .. {x.shape[axis]}, got {k}", RuntimeError)
    index = jax.lax.slice_in_dim(order(x, axis), k - 1, k, axis=axis)
    found = (pick(x, index, axis), index.astype(_args.long_dtype()))
    return KthValue(*(shaped(each, axis, keepdim, input.ndim) for each in found))
