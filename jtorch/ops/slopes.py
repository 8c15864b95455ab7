"""Estimates of a function's slopes from its values on a grid: `gradient`."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import computing_dtype
from jtorch.ops._op import Array, derived, op
from jtorch.ops.shape import dtype_of


def _slopes(f: Array, steps: Array, edge_order: int) -> Array:
    """The slopes along the first axis, from differences of second order inside."""
    d1, d2 = steps[:-1], steps[1:]
    inner = (f[2:] * d1**2 - f[:-2] * d2**2 + f[1:-1] * (d2**2 - d1**2)) / (d1 * d2 * (d1 + d2))
    if edge_order == 1:
        first, last = (f[1:2] - f[:1]) / steps[:1], (f[-1:] - f[-2:-1]) / steps[-1:]
    else:
        first, last = _edge(f[:3], steps[:2]), _edge(f[:-4:-1], -steps[:-3:-1])
    return jnp.concatenate([first, inner, last])


def _edge(f: Array, steps: Array) -> Array:
    """The slope at the first of three points, from the parabola through them."""
    (d1, d2), whole = steps, steps[0] + steps[1]
    return (f[1:2] * whole / (d1 * d2)) - f[:1] * (d1 + whole) / (d1 * whole) - f[2:3] * d1 / (d2 * whole)


@op(method=False, function=False)
def slopes_along(input: Array, spacing: Sequence[Array], dims: Sequence[int], edge_order: int) -> tuple[Array, ...]:
    """The slopes along each of the dimensions, for a distance or the coordinates of the points along it.

    Shape: (*) and () or (L) for each dimension -> (*) for each
    """
    dtype = input.dtype if _args.is_inexact(input.dtype) else _args.default_float()
    f, found = input.astype(computing_dtype(dtype)), []
    for place, at in zip(dims, spacing, strict=True):
        real = f.real.dtype
        steps = jnp.diff(jnp.asarray(at)) if jnp.ndim(at) else jnp.full(f.shape[place] - 1, at)
        steps = steps.astype(real).reshape(-1, *(1,) * (f.ndim - 1))
        found.append(jnp.moveaxis(_slopes(jnp.moveaxis(f, place, 0), steps, edge_order), 0, place).astype(dtype))
    return tuple(found)


def _spacings(spacing, count: int, alone: bool) -> tuple:
    """What is known of the points along each dimension."""
    if spacing is None:
        return (1.0,) * count
    if not isinstance(spacing, tuple | list):
        return (spacing,) * count
    fits = len(spacing) == count
    _args.check(fits, f"gradient(): expected spacing for {count} dimensions, got {len(spacing)}", RuntimeError)
    return tuple(spacing)


@derived(method=False)
def gradient(input, *, spacing=None, dim=None, edge_order=1):
    """The slopes of a function along each dimension, from its values on a grid: one result a dimension.

    Shape: (*) -> (*) for each dimension
    Args:
        spacing: the distance of the points, one for all dimensions or one each, or their coordinates; 1 by default.
        edge_order: 1 or 2, how exact the slopes at the two ends are.
    Raises:
        RuntimeError: too few points, spacing that does not fit, another edge_order, or dtype uint8 or bool.
        IndexError: there is no such dimension.
    """
    dtype = dtype_of(input)
    fits = dtype not in (np.uint8, np.bool_)
    _args.check(fits, f"gradient(): expected another dtype than {dtype}", RuntimeError)
    _args.check(edge_order in (1, 2), f"gradient(): expected edge_order 1 or 2, got {edge_order}", RuntimeError)
    dims = _args.dims(None if dim is None else dim, input.ndim, "gradient")
    spacing = _spacings(spacing, len(dims), dim is None)
    least = edge_order + 1
    for place, at in zip(dims, spacing, strict=True):
        points = input.shape[place] if input.ndim else 1
        _args.check(points >= least, f"gradient(): expected {least} points or more, got {points}", RuntimeError)
        fits = not getattr(at, "ndim", 0) or tuple(at.shape) == (points,)
        _args.check(fits, f"gradient(): expected coordinates of {points} points, got {at}", RuntimeError)
    return slopes_along(input, spacing, dims, edge_order)
