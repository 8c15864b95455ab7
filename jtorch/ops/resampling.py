"""`interpolate` in all its modes, and its deprecated forms `upsample`, `upsample_nearest` and `upsample_bilinear`.

Every mode works on one dimension after the other by a static table of places and weights; the tables are in `_filters`.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args, _filters
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, derived, op
from jtorch.ops._resampled import resampled
from jtorch.ops.averaging import _adaptive_avg

_RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3, "lanczos": 2}
_ANY_RANK = ("nearest", "nearest-exact", "area")
_SMALL = 128  # up to this sum of output sizes torch looks nearest elements of images up in another way


def _output_size(input: Array, size: Any, scale_factor: Any, recompute: bool) -> tuple[tuple, tuple]:
    """The sizes of the result, and the scale factors that places are computed with (None where the sizes say it)."""
    spatial = input.shape[2:]
    given = size if scale_factor is None else scale_factor
    name = "size" if scale_factor is None else "scale_factor"
    _args.check(given is not None, "either size or scale_factor should be defined")
    _args.check(size is None or scale_factor is None, "only one of size or scale_factor should be defined")
    values = given if isinstance(given, tuple) else (given,) * len(spatial)
    text = (
        f"interpolate(): expected {name} of {len(spatial)} numbers for the spatial dimensions {list(spatial)}, "
        f"got {given}; Input and {name} must have the same number of spatial dimensions"
    )
    _args.check(len(values) == len(spatial), text)
    if scale_factor is not None:
        _args.check(all(isinstance(s, int | float) for s in values), f"interpolate(): got {name} {given}", TypeError)
        out = tuple(int(n * s) for n, s in zip(spatial, values, strict=True))
        return out, (None,) * len(out) if recompute else tuple(map(float, values))
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in values)
    _args.check(whole, f"interpolate(): expected size to be of ints, got {given}", TypeError)
    _args.check(not recompute, "recompute_scale_factor is not meaningful with an explicit size.")
    return tuple(map(int, values)), (None,) * len(values)


def _check_mode(input: Array, mode: str, align_corners: bool | None, antialias: bool) -> None:
    nd = input.ndim - 2
    if mode in _ANY_RANK:
        text = (
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
        _args.check(align_corners is None, text)
    _args.check(
        not antialias or (mode in ("bilinear", "bicubic", "lanczos") and nd == 2),
        "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input",
    )
    fits = 1 <= nd <= 3 and (mode in _ANY_RANK or _RANKS.get(mode) == nd)
    text = (
        f"interpolate(): expected 3D, 4D or 5D input and a mode that suits it (nearest | linear | bilinear | bicubic | "
        f"trilinear | lanczos | area | nearest-exact), got {input.ndim}D input and mode {mode!r}"
    )
    _args.check(fits, text, NotImplementedError)
    if mode == "lanczos":
        _args.check(not align_corners, "Lanczos mode does not support align_corners=True")
        _args.check(antialias, "Lanczos mode requires antialias=True")


def _check_sizes(input: Array, out: tuple, mode: str) -> None:
    sizes = f"Input and output sizes should be greater than 0, but got input {input.shape[2:]} output {out}"
    _args.check(min(*input.shape[2:], *out) > 0, f"interpolate(): {sizes}", RuntimeError)
    text = f"interpolate(): expected a non-empty input, got {list(input.shape)}"
    _args.check(input.shape[1] > 0, text, RuntimeError)
    bytes_too = mode.startswith("nearest") or (input.ndim == 4 and mode != "area")
    fits = _args.is_float(input.dtype) or (bytes_too and input.dtype == np.uint8)
    text = (
        f"interpolate(): expected a float dtype{' or uint8' if bytes_too else ''}, got {input.dtype} for mode {mode!r}"
    )
    _args.check(fits, text, NotImplementedError)


def _bytes(input: Array, out: tuple, scales: tuple, mode: str, align: bool, antialias: bool) -> Array:
    """uint8 images resized in whole numbers, rounded after each dimension."""
    result = input.astype(jnp.int32)
    for axis in (3, 2):
        size, wanted = input.shape[axis], out[axis - 2]
        if size != wanted:
            table, bits = _filters.whole(mode, antialias, size, wanted, scales[axis - 2], align)
            result = jnp.clip((resampled(result, table, axis) + (1 << bits >> 1)) >> bits, 0, 255)
    return result.astype(input.dtype)


@op(method=False, function=False)
def interpolate(
    input: Array, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Array:  # fmt: skip
    """The input resized to `size`, or by `scale_factor`.

    Shape: (N, C, *) -> (N, C, *size), with one to three dimensions *
    Args:
        mode: nearest, nearest-exact, area; linear (3D input), bilinear, bicubic, lanczos (4D), trilinear (5D).
        align_corners: the centres of the corner elements stay in place, rather than the outer edges; None means False.
        recompute_scale_factor: compute places from the sizes of input and result rather than from `scale_factor`.
        antialias: widen the filter where the image shrinks (bilinear, bicubic, lanczos).
    Raises:
        ValueError: arguments that exclude one another.
        NotImplementedError: a mode or a dtype that the input cannot have.
        RuntimeError: a size of zero.
    Differs: antialias also takes 16-bit floats. The gradient is always that of the result; torch's belongs to other places
        where a scale factor leaves a size as it is, and for some factors in the nearest modes.
    """
    _check_mode(input, mode, align_corners, antialias)
    recompute = bool(recompute_scale_factor) or (mode == "area" and scale_factor is not None)
    out, scales = _output_size(input, size, scale_factor, recompute)
    if mode == "area":
        _args.check(_args.is_float(input.dtype), f"interpolate(): got {input.dtype} for area", NotImplementedError)
        return _adaptive_avg(input.ndim - 2, input, out)
    _check_sizes(input, out, mode)
    nearest, align = mode.startswith("nearest"), bool(align_corners)
    if input.dtype == np.uint8 and not nearest:
        return _bytes(input, out, scales, mode, align, antialias)
    kind = np.float64 if input.dtype == np.float64 else np.float32
    small = len(out) == 2 and sum(out) <= _SMALL
    result = input if nearest else wide(input)
    for axis in range(input.ndim - 1, 1, -1):
        n, o, scale = input.shape[axis], out[axis - 2], scales[axis - 2]
        if nearest:
            table = _filters.nearest(n, o, scale, mode == "nearest-exact", small, kind)
        else:
            table = _filters.smooth(mode, antialias, n, o, scale, align, kind)
        result = resampled(result, table, axis)
    return result.astype(input.dtype)


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", UserWarning, stacklevel=4
    )


@derived(method=False, function=False)
def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """`interpolate` under its old name.

    Shape: (N, C, *) -> (N, C, *size), with one to three dimensions *
    """
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@derived(method=False, function=False)
def upsample_nearest(input, size=None, scale_factor=None):
    """`interpolate` by the nearest element, under its old name.

    Shape: (N, C, *) -> (N, C, *size), with one to three dimensions *
    """
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


@derived(method=False, function=False)
def upsample_bilinear(input, size=None, scale_factor=None):
    """`interpolate` in mode bilinear with the corners in place, under its old name.

    Shape: (N, C, H, W) -> (N, C, *size)
    """
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
