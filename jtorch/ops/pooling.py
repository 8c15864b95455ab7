"""Max pooling, its adaptive form and its inverse, in one to three dimensions. Averages are in `averaging`.

The largest element is found by comparing strided slices, one for each place of a window, which XLA fuses; its index is
kept, so that a gradient goes to one element, the first, as in torch.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._elementwise import require
from jtorch.ops._op import Array, derived, op
from jtorch.ops._windows import Windows, windows
from jtorch.ops.indexing import overwrite


def _lowest(dtype: Any) -> Any:
    return -jnp.inf if _args.is_inexact(dtype) else jnp.iinfo(dtype).min


def _beats(value: Array, best: Array) -> Array:
    """Whether a value takes the place of the best so far: it is larger, or NaN."""
    return (value > best) | (value != value) if _args.is_inexact(value.dtype) else value > best


def _largest(elements: Sequence[Array]) -> Array:
    best = elements[0]
    for value in elements[1:]:
        best = jnp.where(_beats(value, best), value, best)
    return best


def _largest_at(elements: Sequence[Array], positions: Sequence[np.ndarray], start: np.ndarray, low: Any) -> Array:
    """The position of each largest element, the first among equals."""
    best = jnp.full_like(elements[0], low)
    index = jnp.broadcast_to(jnp.asarray(start), best.shape)
    for value, position in zip(elements, positions, strict=True):
        take = _beats(value, best)
        best, index = jnp.where(take, value, best), jnp.where(take, jnp.asarray(position), index)
    return index


def _taken(input: Array, index: Array, nd: int) -> Array:
    """The elements at flat positions in the last `nd` dimensions."""
    found = jnp.take_along_axis(_lined(input, nd), _lined(index, nd), axis=-1, mode="promise_in_bounds")
    return found.reshape(index.shape)


def _lined(x: Array, nd: int) -> Array:
    """The last `nd` dimensions as one; others may be empty."""
    return x.reshape(*x.shape[:-nd], math.prod(x.shape[-nd:]))


def _pooled(input: Array, nd: int, value: Callable, index: Callable) -> Array:
    """`value(input)`, whose gradient goes to the elements at `index(input)`."""

    @jax.custom_jvp
    def pool(x):
        return value(x)

    @pool.defjvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        return pool(x), _taken(t, index(jax.lax.stop_gradient(x)), nd)

    return pool(input)


def _max_pool(input: Array, w: Windows, return_indices: bool) -> Any:
    nd, low = len(w.size), _lowest(input.dtype)

    def elements(x):
        padded = w.padded(x, low)
        return [w.at(padded, place) for place in w.places()]

    def index(x):
        return _largest_at(elements(x), [w.positions(p) for p in w.places()], w.first_positions(), low)

    if return_indices:
        found = index(jax.lax.stop_gradient(input))
        return _taken(input, found, nd), found.astype(_args.long_dtype())
    if len(list(w.places())) <= 4 and not on_cpu():  # there a few padded sums are as fast
        return _largest(elements(input))
    return _pooled(input, nd, lambda x: _largest(elements(x)), index)


def _adaptive_size(name: str, input: Array, output_size: Any, nd: int) -> tuple[int, ...]:
    text = f"{name}(): expected {nd + 1}D or {nd + 2}D input, got {list(input.shape)}"
    _args.check(input.ndim > nd, text, ValueError)
    _args.check(input.ndim <= nd + 2, text, RuntimeError)
    if output_size is None or isinstance(output_size, int):
        output_size = (output_size,) * nd
    _args.check(len(output_size) == nd, f"{name}(): expected {nd} output sizes, got {output_size}", RuntimeError)
    size = input.shape[-nd:]
    out = tuple(n if o is None else o for n, o in zip(size, output_size, strict=True))
    _args.check(min(out) >= 0, f"{name}(): expected output sizes of 0 or more, got {out}", RuntimeError)
    _args.check(
        0 not in input.shape[-nd - 1 :],
        f"{name}(): expected no dimension of size 0 after the batch, got {list(input.shape)}",
        RuntimeError,
    )
    return out


def adaptive_bounds(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the `out` windows over `size` elements starts and stops."""
    at = np.arange(out)
    return at * size // max(out, 1), -(-(at + 1) * size // max(out, 1))


def _adaptive_max_pool(name: str, input: Array, output_size: Any, nd: int, return_indices: bool) -> Any:
    require(name, input.dtype, "if")
    out = _adaptive_size(name, input, output_size, nd)
    size = input.shape[-nd:]
    if 0 not in out and all(n % o == 0 for n, o in zip(size, out, strict=True)):
        kernel = tuple(n // o for n, o in zip(size, out, strict=True))
        return _max_pool(input, Windows(size, kernel, kernel, (0,) * nd, (1,) * nd, out), return_indices)
    places = _adaptive_places(size, out)

    def index(x):
        flat = _lined(x, nd)
        elements = [flat[..., p.reshape(-1)].reshape(*x.shape[:-nd], *out) for p in places]
        return _largest_at(elements, places, places[0], _lowest(x.dtype))

    found = index(jax.lax.stop_gradient(input))
    values = _taken(input, found, nd)
    return (values, found.astype(_args.long_dtype())) if return_indices else values


def _adaptive_places(size: Sequence[int], out: Sequence[int]) -> list[np.ndarray]:
    """Flat positions for each place of the windows; shorter windows repeat their last element."""
    bounds = [adaptive_bounds(n, o) for n, o in zip(size, out, strict=True)]
    longest = tuple(int((stop - start).max(initial=1)) for start, stop in bounds)
    found = []
    for place in np.ndindex(*longest):
        rows = [np.minimum(start + k, stop - 1) for (start, stop), k in zip(bounds, place, strict=True)]
        found.append(np.ravel_multi_index(np.ix_(*rows), tuple(size)).astype(np.int32))
    return found


def _rank(nd: int, suffix: str) -> str:
    letters = {1: "L", 2: "H, W", 3: "D, H, W"}[nd]
    return f"Shape: (N, C, {letters}) or (C, {letters}) -> the same with {suffix}"


def _declare_max(nd: int) -> tuple[Any, Any]:
    def with_indices(
        input: Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> tuple[Array, Array]:  # fmt: skip
        require(f"max_pool{nd}d", input.dtype, "if")
        w = windows(f"max_pool{nd}d", input, nd, kernel_size, stride, padding, dilation, ceil_mode)
        return _max_pool(input, w, True)

    def plain(
        input: Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Array:  # fmt: skip
        require(f"max_pool{nd}d", input.dtype, "if")
        w = windows(f"max_pool{nd}d", input, nd, kernel_size, stride, padding, dilation, ceil_mode)
        return _max_pool(input, w, return_indices)

    doc = f" (with `return_indices`, its flat place in the input too).\n\n    {_rank(nd, 'output sizes')}"
    doc += "\n    Raises: RuntimeError where the windows do not fit the input."
    return (
        _named(plain, f"max_pool{nd}d", f"The largest element of each window{doc}"),
        _named(with_indices, f"max_pool{nd}d_with_indices", f"The largest element of each window and its place{doc}"),
    )


def _named(function: Callable, name: str, doc: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return op(method=False, function=not name.endswith("indices") and name.startswith("max"))(function)


max_pool1d, max_pool1d_with_indices = _declare_max(1)
max_pool2d, max_pool2d_with_indices = _declare_max(2)
max_pool3d, max_pool3d_with_indices = _declare_max(3)


def _declare_adaptive_max(nd: int) -> tuple[Any, Any]:
    def plain(input: Array, output_size: Any, return_indices: bool = False) -> Array:
        return _adaptive_max_pool(f"adaptive_max_pool{nd}d", input, output_size, nd, return_indices)

    def with_indices(input: Array, output_size: Any, return_indices: bool = False) -> tuple[Array, Array]:
        return _adaptive_max_pool(f"adaptive_max_pool{nd}d", input, output_size, nd, True)

    doc = (
        f"The largest element of each of `output_size` windows that cover the input.\n\n    {_rank(nd, 'output sizes')}"
    )
    return (
        _named(plain, f"adaptive_max_pool{nd}d", doc),
        _named(with_indices, f"adaptive_max_pool{nd}d_with_indices", doc.replace("input.", "input, and its place.")),
    )


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _declare_adaptive_max(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _declare_adaptive_max(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _declare_adaptive_max(3)


# the inverse


def _check_unpool(input, indices, output_size):
    count = int(np.prod(output_size))
    places = np.asarray(indices)
    inside = not places.size or (places.min() >= 0 and places.max() < count)
    _args.check(
        inside,
        f"max_unpool(): expected indices below {count}, got {places.max(initial=0)}; found an invalid max index",
        RuntimeError,
    )


@op(method=False, function=False, validate=_check_unpool)
def _max_unpool(input: Array, indices: Array, output_size: Sequence[int]) -> Array:
    """Zeros of the output size, with the input's elements at the flat places `indices`.

    Shape: (*, S) -> (*, output_size)
    """
    nd = len(output_size)
    lead = input.shape[:-nd]
    flat, places = (x.reshape(-1, int(np.prod(input.shape[-nd:]))) for x in (input, indices))
    empty = jnp.zeros((flat.shape[0], int(np.prod(output_size))), input.dtype)
    rows = jnp.arange(flat.shape[0])[:, None]
    return overwrite(empty, flat, (rows, places), ("index", "index")).reshape(*lead, *output_size)


def _unpooled_size(
    name: str, input: Any, kernel: tuple, stride: tuple, padding: tuple, output_size: Any
) -> tuple[int, ...]:
    nd = len(kernel)
    usual = tuple(
        (n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[-nd:], stride, kernel, padding, strict=True)
    )
    if output_size is None:
        return usual
    found = tuple(output_size)[-nd:] if len(output_size) == nd + 2 else tuple(output_size)
    _args.check(
        len(found) == nd, f"{name}(): expected output_size of {nd} or {nd + 2} numbers, got {tuple(output_size)}"
    )
    for given, expected, s in zip(found, usual, stride, strict=True):
        _args.check(
            abs(given - expected) < s, f"{name}(): expected output_size within a stride of {usual}, got {found}"
        )
    return found


def _unpool(nd: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any) -> Any:
    name = f"max_unpool{nd}d"
    kernel, pad = (_args.ntuple(v, nd, name, w) for v, w in ((kernel_size, "kernel_size"), (padding, "padding")))
    step = kernel if stride is None or stride == () else _args.ntuple(stride, nd, name, "stride")
    fits = input.ndim in (nd + 1, nd + 2)
    _args.check(fits, f"{name}(): expected {nd + 1}D or {nd + 2}D input, got {input.ndim}D", RuntimeError)
    same = tuple(input.shape) == tuple(indices.shape)
    _args.check(
        same,
        f"{name}(): expected indices of the input's shape {tuple(input.shape)}, got {tuple(indices.shape)}",
        RuntimeError,
    )
    return _max_unpool(input, indices, _unpooled_size(name, input, kernel, step, pad, output_size))


@derived(method=False, function=False)
def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of max_pool1d: zeros, with the elements at their places.

    Shape: (N, C, L) or (C, L) -> the same with output sizes
    Raises: RuntimeError for an index outside, ValueError for an output size that cannot be.
    """
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


@derived(method=False, function=False)
def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of max_pool2d: zeros, with the elements at their places.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes
    Raises: RuntimeError for an index outside, ValueError for an output size that cannot be.
    """
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


@derived(method=False, function=False)
def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """The inverse of max_pool3d: zeros, with the elements at their places.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes
    Raises: RuntimeError for an index outside, ValueError for an output size that cannot be.
    """
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
