"""Shapes: the same elements seen under other dimensions. Everything here that torch calls a view is one here too.

Joining and splitting arrays is `joining`, repeating and reordering elements `tiling`, and what a subscript means
`indexing`.
"""

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jtorch.ops import _args
from jtorch.ops._op import Array, DType, derived, op


def _size(value: Any) -> int:
    """A size; one that a program leaves open (`jax.export.symbolic_shape`) stays as it is."""
    return value if export.is_symbolic_dim(value) else operator.index(value)


def sizes_of(values: tuple, named: Sequence[int] | None = None) -> tuple[int, ...]:
    """Sizes given as `f(2, 3)`, `f((2, 3))` or by keyword, as a tuple of ints."""
    return tuple(_size(x) for x in (_args.starred(values) if named is None else named))


def dtype_of(value: Any) -> np.dtype:
    """The NumPy dtype of an array or a tensor."""
    return np.dtype(getattr(value.dtype, "dtype", value.dtype))


def _resolved(shape: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    """`shape` with its -1 worked out, so that it holds `count` elements."""
    unknown = [i for i, n in enumerate(shape) if n == -1]
    _args.check(len(unknown) <= 1, f"{name}(): expected at most one -1 in the shape, got {shape}", RuntimeError)
    _args.check(all(n >= -1 for n in shape), f"{name}(): expected sizes of -1 or more, got {shape}", RuntimeError)
    known = math.prod(n for n in shape if n != -1)
    message = f"{name}(): expected a shape of {count} elements, got {shape}"
    if not unknown:
        _args.check(known == count, message, RuntimeError)
        return shape
    _args.check(known > 0 and count % known == 0, message, RuntimeError)
    return tuple(count // known if n == -1 else n for n in shape)


@op(view=True)
def reshape(input: Array, *sizes: int, shape: Sequence[int] | None = None) -> Array:
    """The elements in row-major order under a new shape; one size may be -1 and is worked out.

    Shape: (*) -> sizes
    Raises: RuntimeError where the number of elements differs.
    Differs: always a view, where torch copies if the strides force it to.
    """
    return input.reshape(_resolved(sizes_of(sizes, shape), input.size, "reshape"))


@op(method=False, function=False)
def view_dtype(input: Array, dtype: DType) -> Array:
    """The bytes of each element read as another dtype; the last dimension shrinks or grows with the element size.

    Shape: (*, L) -> (*, L * old bytes / new bytes)
    Raises: RuntimeError where the bytes of the last dimension do not divide into elements.
    """
    old, new = input.dtype.itemsize, dtype.itemsize
    if old < new:
        ratio, last = new // old, input.shape[-1] if input.ndim else 0
        _args.check(
            last > 0 and last % ratio == 0,
            f"view(): expected the last dimension to be divisible by {ratio} for {dtype}, got {input.shape}",
            RuntimeError,
        )
        input = input.reshape(*input.shape[:-1], last // ratio, ratio)
    _args.check(input.ndim or old == new, f"view(): expected dimensions for {dtype}, got a 0-d array", RuntimeError)
    out = _bitcast(input, dtype)
    return out.reshape(*input.shape[:-1], -1) if old > new else out


def _bitcast(input: Array, dtype: np.dtype) -> Array:
    """`lax.bitcast_convert_type`, which knows neither bool nor complex."""
    if input.dtype == np.bool_:
        input = input.astype(np.uint8)
    if dtype == np.bool_:
        return jax.lax.bitcast_convert_type(input, np.uint8) != 0
    if _args.is_complex(dtype):
        part = np.dtype(f"f{dtype.itemsize // 2}")
        parts = jax.lax.bitcast_convert_type(input, part)
        return jax.lax.complex(parts[..., 0], parts[..., 1])
    if _args.is_complex(input.dtype):
        input = jnp.stack([input.real, input.imag], axis=-1)
        if input.dtype.itemsize * 2 == dtype.itemsize:
            return jax.lax.bitcast_convert_type(input, dtype)
        return jax.lax.bitcast_convert_type(input, dtype).reshape(*input.shape[:-1], -1)
    return jax.lax.bitcast_convert_type(input, dtype)


def _names_dtype(value: Any) -> bool:
    return not isinstance(value, int | np.integer | tuple | list) and not hasattr(value, "shape")


@derived(function=False)
def view(input: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Any:
    """The elements under a new shape (`view(2, -1)`), or their bytes under another dtype (`view(torch.int32)`).

    Shape: (*) -> sizes
    Raises: RuntimeError where the elements do not fit.
    Differs: a view under another dtype is a copy.
    """
    if dtype is None and len(sizes) == 1 and _names_dtype(sizes[0]):
        (dtype,) = sizes
    if dtype is None:
        return reshape(input, *sizes) if size is None else reshape(input, *sizes, shape=size)
    same = _args.to_dtype(dtype) == dtype_of(input)
    return reshape(input, tuple(input.shape)) if same else view_dtype(input, dtype)


@derived(function=False)
def view_as(input: Any, other: Any) -> Any:
    """The elements of `input` under the shape of `other`.

    Shape: (*), (O*) -> (O*)
    """
    return reshape(input, tuple(other.shape))


@derived(function=False)
def reshape_as(input: Any, other: Any) -> Any:
    """The elements of `input` under the shape of `other`.

    Shape: (*), (O*) -> (O*)
    """
    return reshape(input, tuple(other.shape))


@op(view=True)
def ravel(input: Array) -> Array:
    """The elements in one dimension.

    Shape: (*) -> (numel)
    """
    return input.reshape(-1)


@derived
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from `start_dim` to `end_dim`, both included, made one; a scalar becomes one element.

    Shape: (A*, B*, C*) -> (A*, prod(B), C*)
    Raises: RuntimeError where `start_dim` comes after `end_dim`.
    """
    first, last = (_args.dim(d, input.ndim, "flatten") for d in (start_dim, end_dim))
    _args.check(first <= last, f"flatten(): expected start_dim <= end_dim, got {start_dim}, {end_dim}", RuntimeError)
    if first == last and input.ndim:
        return input
    shape = tuple(input.shape)
    return reshape(input, *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


@op(view=True)
def unflatten(input: Array, dim: int, sizes: Sequence[int]) -> Array:
    """One dimension spread over several; one of the sizes may be -1.

    Shape: (A*, prod(sizes), C*) -> (A*, *sizes, C*)
    Raises: RuntimeError where the sizes do not multiply to the dimension.
    """
    _args.check(input.ndim, "unflatten(): expected dimensions, got a 0-d array", IndexError)
    _args.check(len(sizes), "unflatten(): expected sizes, got none", RuntimeError)
    at = _args.dim(dim, input.ndim, "unflatten")
    return input.reshape(
        input.shape[:at] + _resolved(tuple(sizes), input.shape[at], "unflatten") + input.shape[at + 1 :]
    )


def _order(dims: tuple[int, ...], ndim: int, name: str) -> tuple[int, ...]:
    _args.check(
        len(dims) == ndim,
        f"{name}(): expected as many dims as the input has dimensions, {ndim}, got {dims}",
        RuntimeError,
    )
    return _args.dims(dims, ndim, name)


@op(view=True)
def permute(input: Array, *order: int, dims: Sequence[int] | None = None) -> Array:
    """The dimensions in the given order.

    Shape: (*) -> (*) reordered
    Raises: RuntimeError where a dimension is missing or comes twice.
    """
    order = sizes_of(order, dims)
    return input.transpose(_order(order, input.ndim, "permute"))


@op(view=True, inplace=True)
def transpose(input: Array, dim0: int, dim1: int) -> Array:
    """Two dimensions exchanged.

    Shape: (*) -> (*) with dim0 and dim1 exchanged
    """
    one, two = _args.dim(dim0, input.ndim, "transpose"), _args.dim(dim1, input.ndim, "transpose")
    return jnp.swapaxes(input, one, two) if input.ndim else input


@op(view=True, inplace=True)
def swapaxes(input: Array, axis0: int, axis1: int) -> Array:
    """Two dimensions exchanged; `transpose` under NumPy's name.

    Shape: (*) -> (*) with axis0 and axis1 exchanged
    """
    return transpose.body(input, axis0, axis1)


@op(view=True, inplace=True)
def swapdims(input: Array, dim0: int, dim1: int) -> Array:
    """Two dimensions exchanged; another name of `transpose`.

    Shape: (*) -> (*) with dim0 and dim1 exchanged
    """
    return transpose.body(input, dim0, dim1)


@op(view=True, inplace=True)
def t(input: Array) -> Array:
    """A matrix transposed; vectors and scalars as they are.

    Shape: (M, N) -> (N, M)
    Raises: RuntimeError for more than two dimensions.
    """
    _args.check(input.ndim <= 2, f"t(): expected at most 2 dimensions, got {input.ndim}", RuntimeError)
    return input.transpose()


@derived
def adjoint(input: Any) -> Any:
    """The last two dimensions exchanged, complex elements conjugated.

    Shape: (*, M, N) -> (*, N, M)
    Raises: RuntimeError for fewer than two dimensions.
    Differs: a copy where the input is complex.
    """
    _args.check(input.ndim >= 2, f"adjoint(): expected at least 2 dimensions, got {input.ndim}", RuntimeError)
    if _args.is_complex(dtype_of(input)):
        return conjugate_transpose(input)
    return transpose(input, -2, -1)


@op(method=False, function=False)
def conjugate_transpose(input: Array) -> Array:
    """The last two dimensions exchanged and the elements conjugated.

    Shape: (*, M, N) -> (*, N, M)
    """
    return jnp.conj(jnp.swapaxes(input, -2, -1))


@op(view=True, alias="moveaxis")
def movedim(input: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """The dimensions `source` moved to the places `destination`, the others in their order around them.

    Shape: (*) -> (*) reordered
    Raises: RuntimeError where the two differ in length or a dimension comes twice.
    """
    one, two = ((x,) if isinstance(x, int) else x for x in (source, destination))
    _args.check(
        len(one) == len(two), f"movedim(): expected as many destinations as sources, got {one} and {two}", RuntimeError
    )
    one, two = _args.dims(one, input.ndim, "movedim"), _args.dims(two, input.ndim, "movedim")
    return jnp.moveaxis(input, one, two) if input.ndim else input


@op(view=True, inplace=True)
def squeeze(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """Dimensions of size 1 taken out: all of them, or those of `dim` that have size 1.

    Shape: (*) -> (*) without them
    """
    dims = _args.dims(dim, input.ndim, "squeeze")
    return jax.lax.squeeze(input, [d for d in dims if d < input.ndim and input.shape[d] == 1])


@op(view=True, inplace=True)
def unsqueeze(input: Array, dim: int) -> Array:
    """A dimension of size 1 put in at `dim`, counted in the result.

    Shape: (A*, B*) -> (A*, 1, B*)
    """
    return jax.lax.expand_dims(input, (_args.dim(dim, input.ndim + 1, "unsqueeze"),))


def _expanded(input: Array, sizes: tuple[int, ...], name: str) -> Array:
    new = len(sizes) - input.ndim
    _args.check(
        new >= 0, f"{name}(): expected at least as many sizes as dimensions, {input.ndim}, got {sizes}", RuntimeError
    )
    old = (-1,) * new + input.shape
    shape = tuple(o if s == -1 else s for s, o in zip(sizes, old, strict=True))
    fits = all(s >= 0 and (o in (1, -1) or s == o) for s, o in zip(shape, old, strict=True))
    _args.check(
        fits,
        f"{name}(): expected sizes that {input.shape} can grow to, got {sizes}; only dimensions of size 1 grow, and -1 "
        "keeps a dimension that is there",
        RuntimeError,
    )
    return jnp.broadcast_to(input, shape)


@op(view=True, function=False)
def expand(input: Array, *sizes: int, size: Sequence[int] | None = None, implicit: bool = False) -> Array:
    """The input seen as larger: dimensions of size 1 repeat, new ones may come in front, -1 keeps a size.

    Shape: (*) -> sizes
    Raises: RuntimeError where a size other than 1 would change.
    """
    return _expanded(input, sizes_of(sizes, size), "expand")


@op(view=True)
def broadcast_to(input: Array, *sizes: int, size: Sequence[int] | None = None) -> Array:
    """The input seen as larger, as by `expand`.

    Shape: (*) -> sizes
    Raises: RuntimeError where a size other than 1 would change.
    """
    return _expanded(input, sizes_of(sizes, size), "broadcast_to")


@derived(function=False)
def expand_as(input: Any, other: Any) -> Any:
    """The input expanded to the shape of `other`.

    Shape: (*), (O*) -> (O*)
    """
    return expand(input, tuple(other.shape))


def broadcast_shapes(*shapes: int | Sequence[int]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to.

    Raises: RuntimeError where they do not.
    """
    whole = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    bad = [s for s in whole if any(n < 0 for n in s)]
    _args.check(not bad, f"broadcast_shapes(): expected sizes of 0 or more, got {bad}", RuntimeError)
    try:
        return np.broadcast_shapes(*whole)
    except ValueError:
        _args.fail(f"broadcast_shapes(): expected shapes that broadcast, got {whole}", RuntimeError)


@derived(method=False)
def broadcast_tensors(*tensors: Any) -> tuple:
    """The inputs expanded to their common shape.

    Shape: (A*), (B*), ... -> (broadcast of all), once for each
    Raises: RuntimeError where they do not broadcast.
    """
    each = _args.starred(tensors)
    shape = broadcast_shapes(*(tuple(x.shape) for x in each))
    return tuple(expand(x, shape) for x in each)


def _atleast(tensors: tuple, grow: Any) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], tuple | list):
        return grow(tensors[0])
    return tuple(grow(x) for x in _args.starred(tensors))


@derived(method=False)
def atleast_1d(*tensors: Any) -> Any:
    """Each input with at least one dimension; one input gives one result, several or a sequence give a tuple.

    Shape: () -> (1), others as they are
    """
    return _atleast(tensors, lambda x: x if x.ndim else unsqueeze(x, 0))


@derived(method=False)
def atleast_2d(*tensors: Any) -> Any:
    """Each input with at least two dimensions, the new ones in front.

    Shape: (L) -> (1, L)
    """
    return _atleast(tensors, lambda x: x if x.ndim > 1 else reshape(x, 1, -1))


@derived(method=False)
def atleast_3d(*tensors: Any) -> Any:
    """Each input with at least three dimensions.

    Shape: (L) -> (1, L, 1); (M, N) -> (M, N, 1)
    """
    return _atleast(tensors, lambda x: x if x.ndim > 2 else unsqueeze(x, -1) if x.ndim == 2 else reshape(x, 1, -1, 1))


@op(view=True, function=False)
def contiguous(input: Array, *, memory_format: Any = None) -> Array:
    """The input: arrays are always contiguous.

    Shape: (*) -> (*)
    """
    return input


@op
def clone(input: Array, *, memory_format: Any = None) -> Array:
    """A copy with memory of its own, through which gradients flow.

    Shape: (*) -> (*)
    """
    return jnp.array(input, copy=True)


@op(function=False)
def sum_to_size(input: Array, *sizes: int, size: Sequence[int] | None = None) -> Array:
    """The sums over the dimensions that broadcasting `sizes` to the shape of the input repeats.

    Shape: (*) -> sizes
    Raises: RuntimeError where `sizes` does not broadcast to the input's shape.
    """
    sizes = sizes_of(sizes, size)
    new = input.ndim - len(sizes)
    fits = new >= 0 and all(m in (1, n) for m, n in zip(sizes, input.shape[new:], strict=True))
    _args.check(fits, f"sum_to_size(): expected sizes that broadcast to {input.shape}, got {sizes}", RuntimeError)
    repeated = tuple(d for d in range(input.ndim) if d < new or (sizes[d - new] == 1 != input.shape[d]))
    if input.ndim and not repeated:  # of no dimensions torch sums over all, which makes integers wide
        return input.reshape(sizes)
    dtype = _args.long_dtype() if _args.is_integral(input.dtype) else input.dtype
    return jnp.sum(input, repeated, dtype=dtype).reshape(sizes)
