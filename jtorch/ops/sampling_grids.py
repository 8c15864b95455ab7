"""Images read at any places: `grid_sample`, and `affine_grid`, which makes the places of an affine map."""

import functools
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._filters import cubic_weights
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, derived, op


class _Tap(NamedTuple):
    """One element that a place is read from, in one dimension: where, with what weight, and whether it is inside."""

    at: Array
    weight: Array | None
    inside: Array | None


def _clipped(x: Array, size: int) -> Array:
    """Inside the image; the gradient at the border is 0."""
    return jnp.where(x <= 0, 0, jnp.where(x >= size - 1, size - 1, x))


def _reflected(x: Array, size: int, align_corners: bool) -> Array:
    """Thrown back at the borders as often as it takes."""
    low, span = (0.0, float(size - 1)) if align_corners else (-0.5, float(size))
    if span == 0:
        return jnp.zeros_like(x)
    away = jnp.where(x < low, low - x, x - low)
    turns = jax.lax.stop_gradient(jnp.floor(away / span))
    rest = away - turns * span
    return jnp.where(turns % 2 == 0, rest + low, span - rest + low)


def _bounded(x: Array, size: int, padding_mode: str, align_corners: bool) -> Array:
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(x, size, align_corners)
    return _clipped(x, size)


def _tap(place: Array, weight: Array | None, size: int, padding_mode: str) -> _Tap:
    """The tap at a whole place, which padding other than zeros has already brought inside."""
    inside = (place >= 0) & (place < size) if padding_mode == "zeros" else None
    return _Tap(jnp.clip(jnp.nan_to_num(place), 0, size - 1).astype(jnp.int32), weight, inside)


def _taps(coordinate: Array, size: int, mode: str, padding_mode: str, align_corners: bool) -> list[_Tap]:
    """What the places with this coordinate, from -1 to 1, are read from."""
    coordinate = jnp.nan_to_num(coordinate, nan=-1.0, posinf=1e9, neginf=-1e9)
    x = (coordinate + 1) / 2 * (size - 1) if align_corners else ((coordinate + 1) * size - 1) / 2
    if mode == "bicubic":
        start = jax.lax.stop_gradient(jnp.floor(x))
        places = [_bounded(start + k, size, padding_mode, align_corners) for k in (-1, 0, 1, 2)]
        return [_tap(p, w, size, padding_mode) for p, w in zip(places, cubic_weights(x - start), strict=True)]
    x = _bounded(x, size, padding_mode, align_corners)
    if mode == "nearest":
        return [_tap(jax.lax.stop_gradient(jnp.round(x)), None, size, padding_mode)]
    start = jax.lax.stop_gradient(jnp.floor(x))
    share = x - start
    after = start + 1 if padding_mode == "zeros" else jnp.minimum(start + 1, size - 1)
    return [_tap(start, 1 - share, size, padding_mode), _tap(after, share, size, padding_mode)]


def _read(rows: Array, first: Array, taps: Sequence[_Tap], size: Sequence[int]) -> Array:
    """The elements at one tap in each dimension, times their weights; `first` is where each image starts in `rows`."""
    at = jnp.asarray(0, jnp.int32)
    for tap, n in zip(taps, size, strict=True):
        at = at * n + tap.at
    found = rows.at[first + at].get(mode="promise_in_bounds")
    for tap in taps:
        found = found if tap.inside is None else jnp.where(tap.inside[..., None], found, 0)
    weights = [tap.weight for tap in taps if tap.weight is not None]
    return found * functools.reduce(jnp.multiply, weights)[..., None] if weights else found


def _check_grid(input: Array, grid: Array, mode: str, padding_mode: str) -> None:
    nd = input.ndim - 2
    for value, known, what in (
        (mode, ("bilinear", "nearest", "bicubic"), "mode"),
        (padding_mode, ("zeros", "border", "reflection"), "padding_mode"),
    ):
        text = f"nn.functional.grid_sample(): expected {what} to be one of {', '.join(known)}, got {value!r}"
        _args.check(value in known, text)
    found = f"got input {list(input.shape)} and grid {list(grid.shape)}"
    fits = nd in (2, 3) and grid.ndim == input.ndim and grid.shape[-1] == nd and grid.shape[:1] == input.shape[:1]
    text = f"grid_sampler(): expected a 4D or 5D input and a grid of the same batch size with a place each, {found}"
    _args.check(fits, text, RuntimeError)
    text = f"grid_sampler(): expected input to have non-empty spatial dimensions, {found}"
    _args.check(0 not in input.shape[2:], text, RuntimeError)
    _args.check(
        nd == 2 or mode != "bicubic", f"grid_sampler(): expected 4D input for mode bicubic, {found}", RuntimeError
    )
    text = f"grid_sampler(): expected input and grid of one dtype, got {input.dtype} and {grid.dtype}"
    _args.check(input.dtype == grid.dtype, text, RuntimeError)
    text = f"grid_sampler(): expected a float dtype, got {input.dtype}"
    _args.check(_args.is_float(input.dtype), text, NotImplementedError)


@op(method=False, function=False)
def _grid_sample(input: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool) -> Array:
    """The input read at the places of the grid, see grid_sample."""
    _check_grid(input, grid, mode, padding_mode)
    size, places = input.shape[2:], wide(grid)
    taps = [
        _taps(places[..., len(size) - 1 - d], n, mode, padding_mode, align_corners) for d, n in enumerate(size)
    ]  # the grid says x first
    rows = wide(jnp.moveaxis(input, 1, -1).reshape(-1, input.shape[1]))
    first = np.arange(input.shape[0], dtype=np.int32) * math.prod(size)
    first = jnp.asarray(first.reshape(-1, *(1,) * len(size)))
    total: Any = sum(_read(rows, first, each, size) for each in itertools.product(*taps))
    return jnp.moveaxis(total, -1, 1).astype(input.dtype)


_CHANGED = (
    "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
    "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details."
)


@derived(method=False, function=False)
def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """The input read at the places of the grid, between its elements too.

    Shape: (N, C, H, W), (N, H', W', 2) -> (N, C, H', W'), and so in three dimensions
    Args:
        grid: the places, x before y before z, from -1 to 1 across the image; NaN is read as -1.
        mode: bilinear (in three dimensions trilinear), nearest, or bicubic (in two dimensions only).
        padding_mode: what is outside: zeros, the border, or the mirrored image (reflection).
        align_corners: -1 and 1 are the centres of the outermost elements rather than their outer edges; None means
            False, with a warning.
    Raises:
        ValueError: an unknown mode.
        RuntimeError: shapes or dtypes that do not belong together.
    Differs: places that are NaN or infinite give values, where torch on the CPU gives NaN or ends the process.
    """
    if align_corners is None:
        warnings.warn(_CHANGED, UserWarning, stacklevel=3)
    return _grid_sample(input, grid, mode, padding_mode, bool(align_corners))


def _steps(size: int, align_corners: bool, dtype: Any) -> np.ndarray:
    """Where the elements of a dimension lie, from -1 to 1; every step of it in the dtype, as in torch."""
    steps = np.linspace(-1, 1, size).astype(dtype) if size > 1 else np.zeros(1, dtype)
    if align_corners:
        return steps
    exact = steps if dtype == np.float64 else steps.astype(np.float32)
    return (exact * exact.dtype.type((size - 1) / size)).astype(dtype)


@op(method=False, function=False)
def _affine_grid(theta: Array, size: Sequence[int], align_corners: bool) -> Array:
    """The grid of an affine map, see affine_grid."""
    text = f"Expected theta to have floating point type, but got {theta.dtype}"
    _args.check(_args.is_float(theta.dtype), text)
    nd = len(size) - 2
    text = f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {size}."
    _args.check(nd in (2, 3), text, NotImplementedError)
    text = f"Expected a batch of {nd}D affine matrices of shape Nx{nd}x{nd + 1} for size {size}. Got {theta.shape}."
    _args.check(theta.ndim == 3 and theta.shape[1:] == (nd, nd + 1), text)
    _args.check(min(size) > 0, f"Expected non-zero, positive output size. Got {size}")
    text = f"affine_grid(): expected a matrix for each of {size[0]} images, got {theta.shape[0]}"
    _args.check(theta.shape[0] == size[0], text, RuntimeError)
    maps, total = wide(theta), 0
    for d in range(nd):  # the grid says x first
        steps = wide(jnp.asarray(_steps(size[-1 - d], align_corners, theta.dtype)))
        steps = steps.reshape(*(-1 if k == nd - 1 - d else 1 for k in range(nd)), 1)
        total = total + steps * maps[:, :, d].reshape(-1, *(1,) * nd, nd)
    return (total + maps[:, :, nd].reshape(-1, *(1,) * nd, nd)).astype(theta.dtype)


@derived(method=False, function=False)
def affine_grid(theta, size, align_corners=None):
    """The places that `grid_sample` reads to transform images of a size by affine maps.

    Shape: (N, 2, 3) -> (N, H, W, 2) for a size of (N, C, H, W), (N, 3, 4) -> (N, D, H, W, 3) for (N, C, D, H, W)
    Args:
        align_corners: as for `grid_sample`; None means False, with a warning.
    Raises:
        ValueError: matrices that are no floats or do not suit the size.
        NotImplementedError: a size of other than four or five numbers.
    """
    if align_corners is None:
        warnings.warn(_CHANGED, UserWarning, stacklevel=3)
    return _affine_grid(theta, size, bool(align_corners))
