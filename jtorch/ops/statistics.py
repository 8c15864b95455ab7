"""Medians, modes and quantiles, and counts of values: histc and bincount."""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops._reducing import along, iota, pick, same, shaped, shared
from jtorch.ops._results import result_of
from jtorch.ops.extrema import Extremes
from jtorch.ops.sorting import order, ordered
from jtorch.ops.subscript import concrete

# medians and modes


def _require_numbers(name: str, x: Array) -> None:
    allowed = x.dtype != jnp.bool_ and not _args.is_complex(x.dtype)
    _args.check(allowed, f"{name}(): expected real numbers, got {x.dtype}", NotImplementedError)


def _middle(x: Array, axis: int, ignore_nan: bool) -> Array:
    """The index of the median, the lower one of two; of the first NaN if there is one, unless these are ignored."""
    x = jax.lax.stop_gradient(x)
    places, n = order(x, axis), x.shape[axis]
    known = n - jnp.sum(jnp.isnan(x), axis, keepdims=True, dtype=jnp.int32)
    place = jnp.maximum(known - 1, 0) // 2
    if not ignore_nan:
        place = jnp.where(known < n, known, place)
    return jnp.sum(jnp.where(iota(x, axis) == place, places, 0), axis, keepdims=True)


@op(method=False, function=False)
def median_of_all(input: Array, ignore_nan: bool) -> Array:
    """The median of all elements, the lower one of two; NaN if one is NaN, unless these are ignored.

    Equal elements share the gradient.

    Shape: (*) -> ()
    """
    _require_numbers("nanmedian" if ignore_nan else "median", input)
    if not input.size:
        return jnp.full((), jnp.nan if _args.is_float(input.dtype) else jnp.iinfo(input.dtype).min, input.dtype)
    x = input.reshape(-1)
    value = jax.lax.stop_gradient(pick(x, _middle(x, 0, ignore_nan), 0))[0]
    return shared(value, x, same(x, value)) if _args.is_float(x.dtype) else value


@result_of("median")
class Median(Extremes):
    """The medians along a dimension, and their indices."""


@result_of("nanmedian")
class NanMedian(Extremes):
    """The medians of what is not NaN along a dimension, and their indices."""


@op(method=False, function=False)
def median_along(input: Array, dim: int, keepdim: bool, ignore_nan: bool) -> Extremes:
    """The medians along a dimension, the lower ones of two, and their indices.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty.
    """
    name = "nanmedian" if ignore_nan else "median"
    _require_numbers(name, input)
    x, axis = along(input, dim, name)
    index = _middle(x, axis, ignore_nan)
    found = (pick(x, index, axis), index.astype(_args.long_dtype()))
    return (NanMedian if ignore_nan else Median)(*(shaped(each, axis, keepdim, input.ndim) for each in found))


@derived
def median(input, dim=None, keepdim=False):
    """The median, the lower one of two, or NaN if an element is; along a dimension those and their indices.

    Equal elements share the gradient of the whole; along a dimension it goes to the one at the index.

    Shape: (*) -> (); (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty.
    """
    return median_of_all(input, False) if dim is None else median_along(input, dim, keepdim, False)


@derived
def nanmedian(input, dim=None, keepdim=False):
    """The median of the elements that are not NaN, as median().

    Shape: (*) -> (); (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty.
    """
    return median_of_all(input, True) if dim is None else median_along(input, dim, keepdim, True)


@result_of("mode")
class Mode(Extremes):
    """The most frequent values along a dimension, and their indices."""


@op
def mode(input: Array, dim: int = -1, keepdim: bool = False) -> Mode:
    """The most frequent value along a dimension, the smallest one of several, and the index where it comes last.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty.
    """
    x, axis = along(input, dim, "mode")
    values, places = ordered(jax.lax.stop_gradient(x), axis)
    place = iota(x, axis)
    new = (values != jnp.roll(values, 1, axis)) | (place == 0)
    in_run = place - jax.lax.cummax(jnp.where(new, place, 0), axis=axis)
    end = jnp.argmax(in_run, axis, keepdims=True)  # the end of the first of the longest runs of equal values
    index = jnp.take_along_axis(places, end, axis, mode="promise_in_bounds")
    found = (pick(x, index, axis), index.astype(_args.long_dtype()))
    return Mode(*(shaped(each, axis, keepdim, input.ndim) for each in found))


# quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _check_quantile(name: str, x: Array, q: Array | Scalar, interpolation: str) -> None:
    floats = x.dtype in (jnp.float32, jnp.float64)
    _args.check(floats, f"{name}(): expected float32 or float64, got {x.dtype}", RuntimeError)
    known = interpolation in _INTERPOLATIONS
    _args.check(known, f"{name}(): expected interpolation among {_INTERPOLATIONS}, got {interpolation!r}", RuntimeError)
    _args.check(
        jnp.ndim(q) <= 1, f"{name}(): expected q as a number or a vector, got shape {jnp.shape(q)}", RuntimeError
    )
    number = not hasattr(q, "dtype") or q.aval.weak_type
    _args.check(number or q.dtype == x.dtype, f"{name}(): expected q of dtype {x.dtype}, got another", RuntimeError)
    _args.check(x.size > 0, f"{name}(): expected elements, got shape {x.shape}", RuntimeError)


def _at_rank(values: Array, rank: Array, interpolation: str) -> Array:
    """The elements at fractional ranks along the first axis."""
    rank = {"lower": jnp.floor, "higher": jnp.ceil, "nearest": jnp.round}.get(interpolation, lambda r: r)(rank)
    below, above = (f(rank).astype(jnp.int32) for f in (jnp.floor, jnp.ceil))
    low, high = (jnp.take_along_axis(values, i, 0, mode="promise_in_bounds") for i in (below, above))
    if interpolation not in ("linear", "midpoint"):
        return low
    weight = 0.5 if interpolation == "midpoint" else rank - below
    return jnp.where(weight < 0.5, low + weight * (high - low), high - (high - low) * (1 - weight))


def _quantile(name, input: Array, q, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool) -> Array:
    _check_quantile(name, input, q, interpolation)
    x, axis = along(input.reshape(-1) if dim is None else input, dim or 0, name)
    x = jnp.moveaxis(x, axis, 0)
    flat = x.reshape(x.shape[0], -1)
    values = ordered(flat, 0)[0]
    known = x.shape[0] - jnp.sum(jnp.isnan(flat), 0, keepdims=True)
    rank = jnp.asarray(q).astype(x.dtype).reshape(-1, 1) * (known - 1 if ignore_nan else x.shape[0] - 1)
    rank = jnp.where((known < x.shape[0]) & (not ignore_nan), x.shape[0] - 1, jnp.maximum(rank, 0))  # NaN sorts last
    out = _at_rank(values, rank.astype(x.dtype), interpolation).reshape(-1, *x.shape[1:])
    kept = (1,) * input.ndim if dim is None else tuple(1 if i == axis else n for i, n in enumerate(input.shape))
    shape = kept if keepdim else x.shape[1:]
    return out.reshape((*jnp.shape(q), *shape))


def _check_probability(input, q, dim=None, keepdim=False, interpolation="linear"):
    inside = bool(np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1)))
    _args.check(inside, f"quantile(): expected q in the range [0, 1], got {q}", RuntimeError)


@op(validate=_check_probability)
def quantile(
    input: Array, q: Array | Scalar, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Array:
    """The values below which the fractions `q` of the elements lie, over one dimension or all; NaN if an element is.

    Shape: (*) -> (Q, * without dim), without Q where q is a number
    Raises: RuntimeError for q outside 0 .. 1, of another dtype, or of several dimensions; for an empty input.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@op(validate=_check_probability)
def nanquantile(
    input: Array, q: Array | Scalar, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Array:
    """The quantiles of the elements that are not NaN, as quantile(); NaN where there are none.

    Shape: (*) -> (Q, * without dim), without Q where q is a number
    Raises: RuntimeError for q outside 0 .. 1, of another dtype, or of several dimensions; for an empty input.
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# counts


def _range(x: Array, min: Array, max: Array) -> tuple[Array, Array]:
    """The limits of a histogram: those of the data where none are given, one wider on each side where these are equal."""
    if x.size:
        whole = min == max
        min, max = jnp.where(whole, jnp.min(x), min), jnp.where(whole, jnp.max(x), max)
    flat = min == max
    return jnp.where(flat, min - 1, min), jnp.where(flat, max + 1, max)


def _check_range(input, bins, min, max):
    _args.check(min <= max, f"histc(): expected min <= max, got {min} and {max}", RuntimeError)
    low, high = (np.asarray(x) for x in _range(input, jnp.asarray(min), jnp.asarray(max)))
    finite = np.isfinite(low) and np.isfinite(high)
    _args.check(finite, f"histc(): expected a finite range, got {low} .. {high}", RuntimeError)


@op(differentiable=False, validate=_check_range)
def histc(input: Array, bins: int = 100, min: Scalar = 0, max: Scalar = 0) -> Array:
    """How many elements lie in each of `bins` bins of equal width from min to max; equal limits mean those of the data.

    Shape: (*) -> (bins)
    Raises: RuntimeError for no bins, min > max, or limits that are not finite; NotImplementedError for integers.
    """
    floats = _args.is_float(input.dtype)
    _args.check(floats, f"histc(): expected a float dtype, got {input.dtype}", NotImplementedError)
    _args.check(bins > 0, f"histc(): expected bins > 0, got {bins}", RuntimeError)
    x = input.reshape(-1)
    low, high = _range(x, jnp.asarray(min).astype(x.dtype), jnp.asarray(max).astype(x.dtype))
    inside = (x >= low) & (x <= high)
    place = jnp.where(inside, (x - low) * bins / (high - low), 0).astype(jnp.int32)
    return jnp.zeros(bins, x.dtype).at[jnp.minimum(place, bins - 1)].add(inside.astype(x.dtype))


@op(differentiable=False, eager=True)
def bincount(input: Array, weights: Array | None = None, minlength: int = 0) -> Array:
    """How often each number from 0 up comes, or the sum of the weights where it does.

    Shape: (N), (N) -> (the greater of minlength and the greatest number + 1)
    Raises: RuntimeError for negative numbers, other shapes, or a negative minlength; NotImplementedError for floats.
    """
    integers = _args.is_integral(input.dtype) and input.dtype != jnp.bool_
    _args.check(integers, f"bincount(): expected integers, got {input.dtype}", NotImplementedError)
    _args.check(minlength >= 0, f"bincount(): expected minlength >= 0, got {minlength}", RuntimeError)
    _args.check(input.ndim == 1, f"bincount(): expected one dimension, got shape {input.shape}", RuntimeError)
    fits = weights is None or weights.shape == input.shape
    _args.check(fits, "bincount(): expected weights of the shape of the input, got others", RuntimeError)
    numbers = concrete(input, "bincount")
    _args.check(
        numbers.min(initial=0) >= 0, "bincount(): expected numbers of 0 or more, got negative ones", RuntimeError
    )
    found = np.bincount(numbers, None if weights is None else concrete(weights, "bincount"), minlength)
    dtype = _args.long_dtype() if weights is None else weights.dtype if weights.dtype == jnp.float32 else np.float64
    return jnp.asarray(found, jax.dtypes.canonicalize_dtype(dtype))
