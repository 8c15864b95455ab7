"""Elements repeated or put in another order: repeat, tile, repeat_interleave, flip, roll, rot90."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._op import Array, derived, op
from jtorch.ops.shape import dtype_of, sizes_of


def _tiled(input: Array, counts: tuple[int, ...], name: str) -> Array:
    _args.check(all(n >= 0 for n in counts), f"{name}(): expected counts of 0 or more, got {counts}", RuntimeError)
    shape = (1,) * (len(counts) - input.ndim) + input.shape
    whole = tuple(n * c for n, c in zip(shape, counts, strict=True))
    pairs = tuple(x for n, c in zip(shape, counts, strict=True) for x in (c, n))
    between = tuple(x for n in shape for x in (1, n))
    return jnp.broadcast_to(input.reshape(between), pairs).reshape(whole)


@op(function=False)
def repeat(input: Array, *counts: int, repeats: Sequence[int] | None = None) -> Array:
    """Copies of the input beside each other, that many times along each dimension; counts align at the last one.

    Shape: (*) -> (*) times the counts
    Raises: RuntimeError for fewer counts than dimensions.
    """
    counts = sizes_of(counts, repeats)
    _args.check(
        len(counts) >= input.ndim,
        f"repeat(): expected at least as many counts as dimensions, {input.ndim}, got {counts}",
        RuntimeError,
    )
    return _tiled(input, counts, "repeat")


@op
def tile(input: Array, *counts: int, dims: Sequence[int] | None = None) -> Array:
    """Copies of the input beside each other, as by `repeat`; missing counts in front are 1.

    Shape: (*) -> (*) times the counts
    """
    counts = sizes_of(counts, dims)
    return _tiled(input, (1,) * (input.ndim - len(counts)) + counts, "tile")


@op(method=False, function=False)
def repeat_each(input: Array, repeats: int, dim: int | None = None) -> Array:
    """Each element along a dimension (None: of the flattened input) that many times in a row.

    Shape: (A*, L, B*) -> (A*, L * repeats, B*)
    Raises: RuntimeError for a negative number.
    """
    _args.check(repeats >= 0, f"repeat_interleave(): expected repeats >= 0, got {repeats}", RuntimeError)
    if dim is None:
        input, dim = input.reshape(-1), 0
    at = _args.dim(dim, input.ndim, "repeat_interleave")
    input = input.reshape(1) if not input.ndim else input
    shape = input.shape
    wide = jnp.broadcast_to(jnp.expand_dims(input, at + 1), (*shape[: at + 1], repeats, *shape[at + 1 :]))
    return wide.reshape(*shape[:at], shape[at] * repeats, *shape[at + 1 :])


@op(method=False, function=False)
def repeat_by(input: Array, repeats: Array, total: int, dim: int | None = None) -> Array:
    """Each element along a dimension (None: of the flattened input) as often in a row as `repeats` says.

    Shape: (A*, L, B*), (L) or (1) -> (A*, total, B*), total being the sum of the repeats
    """
    if dim is None:
        input, dim = input.reshape(-1), 0
    at = _args.dim(dim, input.ndim, "repeat_interleave")
    input = input.reshape(1) if not input.ndim else input
    length = input.shape[at]
    fits = repeats.ndim <= 1 and (repeats.size in (1, length))
    _args.check(fits, f"repeat_interleave(): expected repeats of size 1 or {length}, got {repeats.shape}", RuntimeError)
    return jnp.repeat(input, jnp.broadcast_to(repeats.reshape(-1), length), at, total_repeat_length=total)


@op(method=False, function=False, differentiable=False)
def places_by(repeats: Array, total: int) -> Array:
    """The number of each element as often in a row as `repeats` says.

    Shape: (L) -> (total)
    """
    return jnp.repeat(jnp.arange(repeats.shape[0], dtype=repeats.dtype), repeats, total_repeat_length=total)


def _total(repeats: Any, length: int, given: int | None) -> int:
    """How many elements there will be, which has to be what is given, if anything is.

    On accelerators that is taken as it is: it is given so that nobody has to wait for the repeats.
    """
    if given is not None and not on_cpu():
        return given
    try:
        counts = np.asarray(repeats)
    except (jax.errors.TracerArrayConversionError, RuntimeError) as error:  # of an array, of a tensor
        if given is not None:
            return given
        text = "repeat_interleave(): expected output_size= where repeats is traced, got none"
        raise RuntimeError(text) from error
    _args.check(counts.ndim <= 1, "repeat_interleave(): expected repeats of at most 1 dimension", RuntimeError)
    _args.check((counts >= 0).all(), f"repeat_interleave(): expected repeats >= 0, got {counts}", RuntimeError)
    total = int(counts.sum()) * (length if counts.size == 1 else 1)
    fits = given is None or given == total
    _args.check(fits, f"repeat_interleave(): expected output_size {total}, got {given}", RuntimeError)
    return total


@derived
def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Each element along a dimension (None: of the flattened input) several times in a row.

    With one argument, `repeat_interleave(repeats)`, the numbers of the elements instead of elements.

    Shape: (A*, L, B*) -> (A*, sum of the repeats, B*)
    Raises: RuntimeError for negative repeats or the wrong number of them, or another `output_size` than their sum; or where
        `repeats` is traced and `output_size` is not given, since the shape then depends on values.
    """
    if repeats is None:
        return places_by(input, _total(input, input.shape[0], output_size))
    length = math.prod(input.shape) if dim is None else input.shape[dim] if input.ndim else 1
    if isinstance(repeats, int | np.integer):
        _total(repeats, length, output_size)
        return repeat_each(input, int(repeats), dim)
    repeats = np.asarray(repeats) if isinstance(repeats, tuple | list) else repeats
    _args.check(_args.is_integral(dtype_of(repeats)), "repeat_interleave(): expected integer repeats", RuntimeError)
    return repeat_by(input, repeats, _total(repeats, length, output_size), dim)


@op
def flip(input: Array, *axes: int, dims: Sequence[int] | None = None) -> Array:
    """The elements in reverse order along each of the dimensions.

    Shape: (*) -> (*)
    Raises: RuntimeError where a dimension comes twice.
    """
    found = _args.dims(sizes_of(axes, dims), input.ndim, "flip")
    return jax.lax.rev(input, found) if input.ndim else input


@op
def fliplr(input: Array) -> Array:
    """The columns in reverse order.

    Shape: (M, N, *) -> (M, N, *)
    Raises: RuntimeError for fewer than two dimensions.
    """
    _args.check(input.ndim >= 2, f"fliplr(): expected at least 2 dimensions, got {input.ndim}", RuntimeError)
    return jax.lax.rev(input, (1,))


@op
def flipud(input: Array) -> Array:
    """The rows in reverse order.

    Shape: (M, *) -> (M, *)
    Raises: RuntimeError for a 0-d input.
    """
    _args.check(input.ndim >= 1, "flipud(): expected at least 1 dimension, got 0", RuntimeError)
    return jax.lax.rev(input, (0,))


@op
def roll(input: Array, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Array:
    """The elements moved on by `shifts` places, those past the end coming in at the beginning; without dims flattened.

    Shape: (*) -> (*)
    Raises: RuntimeError where shifts and dims differ in number.
    """
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if dims is None or dims == ():
        _args.check(len(steps) == 1, f"roll(): expected dims for shifts {steps}, got none", RuntimeError)
        return jnp.roll(input, steps[0])
    axes = (dims,) if isinstance(dims, int) else dims
    _args.check(len(axes) == len(steps), f"roll(): expected a shift for each of dims {axes}, got {steps}", RuntimeError)
    _args.check(input.ndim, f"roll(): expected dimensions for dims {axes}, got a 0-d array", IndexError)
    return jnp.roll(input, steps, tuple(_args.dim(d, input.ndim, "roll") for d in axes))


@op
def rot90(input: Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> Array:
    """The input turned by `k` right angles in the plane of two dimensions, from the first towards the second.

    Shape: (*) -> (*), the two exchanged where `k` is odd
    Raises: RuntimeError unless there are two different dimensions.
    """
    _args.check(len(dims) == 2, f"rot90(): expected two dims, got {dims}", RuntimeError)
    _args.check(input.ndim >= 2, f"rot90(): expected at least 2 dimensions, got {input.ndim}", RuntimeError)
    return jnp.rot90(input, k, _args.dims(dims, input.ndim, "rot90"))
