"""Average pooling, its adaptive form, and the power-average of lp_pool, in one to three dimensions."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import require_wide
from jtorch.ops._floating import require_float
from jtorch.ops._op import Array, derived, op, registry
from jtorch.ops._windows import Windows, windows
from jtorch.ops.pooling import _adaptive_size, adaptive_bounds

_FEW = 9  # places in a window up to which slices are added one by one


def _wide(input: Array) -> Array:
    """16-bit floats are added up in float32."""
    return input.astype(jnp.float32) if input.dtype.itemsize == 2 and _args.is_float(input.dtype) else input


def _sums(input: Array, w: Windows) -> Array:
    padded = w.padded(input, 0)
    if math.prod(w.kernel) <= _FEW:
        total = None
        for place in w.places():
            element = w.at(padded, place)
            total = element if total is None else total + element
        assert total is not None
        return total
    lead = (1,) * (input.ndim - len(w.size))
    zero = np.zeros((), padded.dtype)[()]
    summed = jax.lax.reduce_window(padded, zero, jax.lax.add, (*lead, *w.kernel), (*lead, *w.stride), "VALID")
    return summed[(..., *(slice(n) for n in w.out))]


def _avg_pool(
    nd: int,
    input: Array,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    include: bool,
    divisor: int | None,
) -> Array:
    name = f"avg_pool{nd}d"
    _args.check(divisor != 0, f"{name}(): expected a divisor other than zero, got {divisor}", RuntimeError)
    require_wide(name, input.dtype)
    w = windows(name, input, nd, kernel_size, stride, padding, 1, ceil_mode)
    sums = _sums(_wide(input), w)
    if divisor is not None:
        return _divided(sums, divisor, input.dtype)
    counts = w.counts(include)
    return _divided(sums, counts if counts.min() != counts.max() else int(counts.flat[0]), input.dtype)


def _divided(sums: Array, counts: Any, dtype: Any) -> Array:
    if not _args.is_inexact(dtype):
        return jax.lax.div(sums, jnp.broadcast_to(jnp.asarray(counts, dtype), sums.shape))
    return (sums / jnp.asarray(counts, sums.dtype)).astype(dtype)


@op(method=False)
def avg_pool1d(
    input: Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0, ceil_mode: bool = False, count_include_pad: bool = True,
) -> Array:  # fmt: skip
    """The mean of each window.

    Shape: (N, C, L) or (C, L) -> the same with output sizes
    Raises: RuntimeError where the windows do not fit the input.
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@op(method=False, function=False)
def avg_pool2d(
    input: Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window, or its sum divided by `divisor_override`.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes
    Raises: RuntimeError where the windows do not fit the input.
    """
    return _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@op(method=False, function=False)
def avg_pool3d(
    input: Array, kernel_size: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window, or its sum divided by `divisor_override`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes
    Raises: RuntimeError where the windows do not fit the input.
    """
    return _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


def _adaptive_avg(nd: int, input: Array, output_size: Any) -> Array:
    name = f"adaptive_avg_pool{nd}d"
    require_float(name, input, complex_too=True)
    out = _adaptive_size(name, input, output_size, nd)
    result, first = _wide(input), input.ndim - nd
    for axis, (size, count) in enumerate(zip(input.shape[first:], out, strict=True), first):
        if count and size % count == 0:
            shape = (*result.shape[:axis], count, size // count, *result.shape[axis + 1 :])
            result = result.reshape(shape).mean(axis + 1)
        else:
            weights = jnp.asarray(_shares(size, count), result.dtype)
            moved = jnp.tensordot(result, weights, ((axis,), (0,)), precision=_args.precision())
            result = jnp.moveaxis(moved, -1, axis)
    return result.astype(input.dtype)


def _shares(size: int, out: int) -> np.ndarray:
    """The weight that each element has in each window's mean: (size, out)."""
    start, stop = adaptive_bounds(size, out)
    at = np.arange(size)[:, None]
    inside = (at >= start) & (at < stop)
    return inside / np.maximum(inside.sum(0), 1)


@op(method=False)
def adaptive_avg_pool1d(input: Array, output_size: Any) -> Array:
    """The mean of each of `output_size` windows that cover the input.

    Shape: (N, C, L) or (C, L) -> the same with L = output_size
    """
    return _adaptive_avg(1, input, output_size)


@op(method=False, function=False)
def adaptive_avg_pool2d(input: Array, output_size: Any) -> Array:
    """The mean of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, H, W) or (C, H, W) -> the same with (H, W) = output_size
    """
    return _adaptive_avg(2, input, output_size)


@op(method=False, function=False)
def adaptive_avg_pool3d(input: Array, output_size: Any) -> Array:
    """The mean of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with (D, H, W) = output_size
    """
    return _adaptive_avg(3, input, output_size)


def _lp_pool(
    nd: int, average: Callable, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Any:
    kernel = _args.ntuple(kernel_size, nd, f"lp_pool{nd}d", "kernel_size")
    stride = stride if stride != () else None
    if isinstance(norm_type, float) and math.isinf(norm_type):  # the largest, or the least
        largest, toward = registry[f"max_pool{nd}d"], registry["neg"] if norm_type < 0 else lambda x: x
        return toward(largest(toward(registry["abs"](input)), kernel, stride, 0, 1, ceil_mode))
    out = average(registry["pow"](input, norm_type), kernel, stride, 0, ceil_mode)
    signed = registry["mul"](registry["sign"](out), registry["relu"](registry["abs"](out)))
    return registry["pow"](registry["mul"](signed, math.prod(kernel)), 1.0 / norm_type)


@derived(method=False, function=False)
def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The `norm_type`-th root of the sum of that power over each window; of infinity, the largest absolute value.

    Shape: (N, C, L) or (C, L) -> the same with output sizes
    """
    return _lp_pool(1, avg_pool1d, input, norm_type, kernel_size, stride, ceil_mode)


@derived(method=False, function=False)
def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The `norm_type`-th root of the sum of that power over each window; of infinity, the largest absolute value.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes
    """
    return _lp_pool(2, avg_pool2d, input, norm_type, kernel_size, stride, ceil_mode)


@derived(method=False, function=False)
def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """The `norm_type`-th root of the sum of that power over each window; of infinity, the largest absolute value.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes
    """
    return _lp_pool(3, avg_pool3d, input, norm_type, kernel_size, stride, ceil_mode)
