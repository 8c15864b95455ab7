"""Histograms of points over bins whose edges are given or worked out. Those of one array over equal bins only, `histc`,
and counts of whole numbers are in `statistics`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops._results import result_of
from jtorch.ops.shape import dtype_of, reshape


@result_of("histogram")
class Histogram(NamedTuple):
    """How many elements, or what weight of them, each bin has; and the edges of the bins."""

    hist: Array
    bin_edges: Array


@result_of("histogramdd")
class HistogramDD(NamedTuple):
    """How many points, or what weight of them, each bin has; and the edges of the bins along each dimension."""

    hist: Array
    bin_edges: tuple


@op(method=False, function=False, differentiable=False)
def bin_edges_of(input: Array, bins: Sequence[int], bounds: Sequence[float] | None) -> tuple[Array, ...]:
    """The edges of equal bins along each dimension of points, from the least to the greatest unless bounds are given.

    Shape: (M, N) -> (bins + 1) for each of N
    """
    found = []
    for place, count in enumerate(bins):
        if bounds is not None:
            low, high = (jnp.asarray(x, input.dtype) for x in bounds[2 * place : 2 * place + 2])
        elif input.shape[0]:
            low, high = jnp.min(input[:, place]), jnp.max(input[:, place])
        else:
            low, high = jnp.zeros((), input.dtype), jnp.ones((), input.dtype)
        flat = low == high
        low, high = jnp.where(flat, low - 0.5, low), jnp.where(flat, high + 0.5, high)
        at, step = jnp.arange(count + 1), (high - low) / count
        near_start = at < (count + 1) // 2
        found.append(jnp.where(near_start, low + step * at, high - step * (count - at)).astype(input.dtype))
    return tuple(found)


@op(method=False, function=False, differentiable=False)
def points_binned(input: Array, edges: Sequence[Array], weight: Array | None, density: bool) -> Array:
    """How many of some points each bin between edges has.

    Shape: (M, N), N times (E), (M) -> (E - 1) for each of N
    """
    shape = tuple(e.shape[0] - 1 for e in edges)
    flat, inside = jnp.zeros(input.shape[0], np.int32), jnp.ones(input.shape[0], bool)
    for place, (edge, count) in enumerate(zip(edges, shape, strict=True)):
        x = input[:, place]
        at = jnp.searchsorted(edge, x, side="right") - 1
        at = jnp.where(x == edge[-1], count - 1, at)  # the last bin has its upper edge too
        inside &= (x >= edge[0]) & (x <= edge[-1])
        flat = flat * count + jnp.clip(at, 0, max(count - 1, 0))
    each = jnp.ones((), input.dtype) if weight is None else weight
    total = jnp.zeros(int(np.prod(shape)), input.dtype).at[flat].add(jnp.where(inside, each, 0), mode="drop")
    hist = total.reshape(shape)
    if density:
        hist = hist / jnp.sum(hist)
        for axis, edge in enumerate(edges):
            hist = hist / jnp.diff(edge).reshape([-1 if axis == i else 1 for i in range(len(edges))])
    return hist


def _require_range(name: str, low: Any, high: Any) -> None:
    """Raise unless the limits of a histogram are finite and in order, as far as they are known."""
    try:
        low, high = float(low), float(high)
    except jax.errors.ConcretizationTypeError:
        return
    _args.check(
        np.isfinite(low) and np.isfinite(high), f"{name}(): expected a finite range, got {low} .. {high}", RuntimeError
    )
    _args.check(low <= high, f"{name}(): expected a range that ascends, got {low} .. {high}", RuntimeError)


def _histogram(name: str, points: Any, bins: tuple, bounds: Any, weight: Any, density: bool) -> tuple[Any, tuple]:
    """The histogram of points and its edges, from counts of bins or from their edges."""
    dtype = dtype_of(points)
    floats = dtype in (np.float32, np.float64)
    _args.check(floats, f"{name}(): expected float32 or float64, got {dtype}", NotImplementedError)
    if weight is not None:
        fits = dtype_of(weight) == dtype
        _args.check(fits, f"{name}(): expected weights of {dtype}, got {dtype_of(weight)}", RuntimeError)
        weight = reshape(weight, -1)
        fits = weight.shape[0] == points.shape[0]
        _args.check(fits, f"{name}(): expected {points.shape[0]} weights, got {weight.shape[0]}", RuntimeError)
    if all(isinstance(n, int) for n in bins):
        _args.check(min(bins) > 0, f"{name}(): expected one bin or more, got {bins}", RuntimeError)
        if bounds is not None:
            fits = len(bounds) == 2 * len(bins)
            _args.check(fits, f"{name}(): expected {2 * len(bins)} limits, got {tuple(bounds)}", RuntimeError)
        edges = bin_edges_of(points, bins, None if bounds is None else tuple(bounds))
        given = [(e[0], e[-1]) for e in edges] if bounds is None else zip(bounds[::2], bounds[1::2], strict=True)
        for low, high in given:
            _require_range(name, low, high)
    else:
        _args.check(bounds is None, f"{name}(): expected no range beside edges, got {bounds}", TypeError)
        edges = bins
    return points_binned(points, edges, weight, density), tuple(edges)


@derived
def histogram(input, bins, *, range=None, weight=None, density=False):
    """How many elements lie in each bin, or what their weights sum to; and the edges of the bins.

    Shape: (*) -> (bins), (bins + 1)
    Args:
        bins: their number, or their edges in ascending order. The last bin has its upper edge too.
        range: the lowest and the highest edge, by default the least and the greatest element.
        density: divides by the sum and by the width of each bin.
    Raises:
        RuntimeError: weights that do not fit, no bins, or a range that is not finite.
        NotImplementedError: other dtypes than float32 and float64.
    """
    hist, edges = _histogram("histogram", reshape(input, -1, 1), (bins,), range, weight, density)
    return Histogram(hist, edges[0])


@derived(method=False)
def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """How many points, the rows of the last dimension, lie in each bin; and the edges of the bins along each dimension.

    Shape: (*, N) -> (bins of each dimension), N times (bins + 1)
    Args:
        bins: their number, one for each dimension or one for all, or their edges.
        range: the lowest and the highest edge of each dimension, one after the other.
        density: divides by the sum and by the volume of each bin.
    Raises:
        RuntimeError: bins or weights that do not fit, no bins, or a range that is not finite.
        NotImplementedError: other dtypes than float32 and float64.
    """
    many = input.ndim >= 2
    _args.check(many, f"histogramdd(): expected two dimensions or more, got {input.ndim}", RuntimeError)
    count = input.shape[-1]
    bins = (bins,) * count if isinstance(bins, int) else tuple(bins)
    _args.check(
        len(bins) == count, f"histogramdd(): expected bins for {count} dimensions, got {len(bins)}", RuntimeError
    )
    return HistogramDD(*_histogram("histogramdd", reshape(input, -1, count), bins, range, weight, density))
