"""Running sums, products and extremes along a dimension, differences, and integrals by trapezoids."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._elementwise import computing_dtype, require
from jtorch.ops._op import Array, DType, Scalar, op
from jtorch.ops._reducing import accumulating_dtype, along, iota
from jtorch.ops._results import result_of
from jtorch.ops.arithmetic import mul, true_divide
from jtorch.ops.extrema import Extremes
from jtorch.ops.powers import logaddexp
from jtorch.ops.reduction import sum

_ROWS, _ROW = 2048, 16  # how many rows are added up one by one at most, and of how many elements at least


def _running(name: str, input: Array, dim: int, dtype: DType | None, function: Callable) -> Array:
    dtype = accumulating_dtype(input, dtype)
    x, axis = along(input, dim, name, filled=False)
    return function(_args.cast(x, dtype).astype(computing_dtype(dtype)), axis).astype(dtype).reshape(input.shape)


def _cumsum_on_cpu(x: Array, axis: int) -> Array:
    """`jnp.cumsum`, which is slow there: row by row, or by halves where the rows are many or small."""
    if x.shape[axis] > _ROWS or x.size < _ROW * x.shape[axis]:
        return jax.lax.associative_scan(jnp.add, x, axis=axis)
    rows = jnp.moveaxis(x, axis, 0)
    _, sums = jax.lax.scan(lambda total, row: (total + row,) * 2, jnp.zeros(rows.shape[1:], x.dtype), rows)
    return jnp.moveaxis(sums, 0, axis)


@op(inplace=True)
def cumsum(input: Array, dim: int, *, dtype: DType | None = None) -> Array:
    """The sum of all elements up to each one along a dimension. Integers are summed in int64.

    Shape: (*) -> (*)
    """
    return _running(
        "cumsum", input, dim, dtype, _cumsum_on_cpu if on_cpu() and _args.fixed(input.shape) else jnp.cumsum
    )


@op(inplace=True)
def cumprod(input: Array, dim: int, *, dtype: DType | None = None) -> Array:
    """The product of all elements up to each one along a dimension. Integers are multiplied in int64.

    Shape: (*) -> (*)
    """
    return _running("cumprod", input, dim, dtype, jnp.cumprod)


def _logcumsumexp(x: Array, axis: int) -> Array:
    if _args.is_complex(x.dtype):
        return jax.lax.associative_scan(logaddexp.body, x, axis=axis)
    return jax.lax.cumlogsumexp(x, axis=axis)


@op
def logcumsumexp(input: Array, dim: int) -> Array:
    """`log(cumsum(exp(input)))` along a dimension, without overflow.

    Shape: (*) -> (*)
    Raises: NotImplementedError for integers.
    """
    allowed = _args.is_inexact(input.dtype)
    _args.check(allowed, f"logcumsumexp(): expected a float or complex dtype, got {input.dtype}", NotImplementedError)
    return _running("logcumsumexp", input, dim, None, _logcumsumexp)


def _running_extreme(name: str, input: Array, dim: int, function: Callable) -> tuple[Array, Array]:
    """The extremes so far, and the last index of each: that of the last element so far that equals the extreme."""
    require(name, input.dtype, "bif")
    x, axis = along(input, dim, name, filled=False)
    order = x.astype(jnp.int8) if x.dtype == jnp.bool_ else jax.lax.stop_gradient(x)
    best = function(order, axis=axis)
    there = (order == best) | jnp.isnan(order)
    index = jax.lax.cummax(jnp.where(there, iota(x, axis), 0), axis=axis)
    values = (
        jnp.take_along_axis(x, index, axis, mode="promise_in_bounds")
        if _args.is_float(x.dtype)
        else best.astype(x.dtype)
    )
    return values.reshape(input.shape), index.astype(_args.long_dtype()).reshape(input.shape)


@result_of("cummax")
class CumMax(Extremes):
    """The greatest values so far, and their indices."""


@result_of("cummin")
class CumMin(Extremes):
    """The smallest values so far, and their indices."""


@op
def cummax(input: Array, dim: int) -> CumMax:
    """The greatest element up to each one along a dimension, and its index, the last of equal ones.

    Shape: (*) -> (*), (*)
    """
    return CumMax(*_running_extreme("cummax", input, dim, jax.lax.cummax))


@op
def cummin(input: Array, dim: int) -> CumMin:
    """The smallest element up to each one along a dimension, and its index, the last of equal ones.

    Shape: (*) -> (*), (*)
    """
    return CumMin(*_running_extreme("cummin", input, dim, jax.lax.cummin))


# differences and integrals


@op
def diff(input: Array, n: int = 1, dim: int = -1, prepend: Array | None = None, append: Array | None = None) -> Array:
    """The n-th differences of neighbours along a dimension; of bools whether they differ.

    Shape: (*, L, *) -> (*, L - n, *)
    Raises: RuntimeError for scalars, n < 0, or what does not fit the input on either side.
    """
    _args.check(input.ndim > 0, "diff(): expected at least one dimension, got a scalar", RuntimeError)
    _args.check(n >= 0, f"diff(): expected n of 0 or more, got {n}", RuntimeError)
    axis = _args.dim(dim, input.ndim, "diff")
    if n == 0:
        return input
    parts = [x for x in (prepend, input, append) if x is not None]
    for part in parts:
        fits = part.ndim == input.ndim and all(
            a == b for i, (a, b) in enumerate(zip(part.shape, input.shape, strict=True)) if i != axis
        )
        _args.check(fits, f"diff(): expected what fits shape {input.shape}, got {part.shape}", RuntimeError)
    x = jnp.concatenate(_args.promote(*parts), axis) if len(parts) > 1 else input
    return jnp.diff(x, min(n, x.shape[axis]), axis)


def _widths(name: str, y: Array, x: Array, axis: int) -> Array:
    """The distances between the places `x` of the values `y`, in a shape that broadcasts with the pairs of values."""
    if x.ndim == 1:
        fits = x.shape[0] == y.shape[axis]
        _args.check(fits, f"{name}(): expected {y.shape[axis]} places, got {x.shape[0]}", RuntimeError)
        return jnp.diff(x).reshape(-1, *[1] * (y.ndim - axis - 1))
    return jnp.diff(x.reshape(*[1] * (y.ndim - x.ndim), *x.shape), axis=axis)


def _twice_areas(name: str, y: Array, x: Array | None, dx: Scalar | None, axis: int) -> Array:
    """The areas of the trapezoids between neighbours, times two; with `dx` of those of width 1."""
    _args.check(x is None or dx is None, f"{name}(): expected x or dx, got both", TypeError)
    _args.check(y.dtype != jnp.bool_, f"{name}(): expected numbers, got bools", RuntimeError)
    n = y.shape[axis]
    pairs = jax.lax.slice_in_dim(y, 0, max(n - 1, 0), axis=axis) + jax.lax.slice_in_dim(y, min(n, 1), n, axis=axis)
    if x is not None and n:
        return mul.body(pairs, _widths(name, y, x, axis))
    return pairs


def _half(areas: Array, dx: Scalar | None) -> Array:
    return true_divide.body(areas if dx is None else mul.body(areas, dx), 2)


@op(method=False, alias="trapz")
def trapezoid(y: Array, x: Array | None = None, *, dx: Scalar | None = None, dim: int = -1) -> Array:
    """The integral along a dimension by trapezoids between values `y` at places `x`, or `dx` (1) apart.

    Shape: (*, L, *), (L) or (*, L, *) -> (* without dim)
    Raises: RuntimeError where x does not fit; TypeError for both x and dx.
    """
    axis = _args.dim(dim, y.ndim, "trapezoid")
    twice = _twice_areas("trapezoid", y, x, dx, axis)
    if x is not None or y.shape[axis] == 0:
        return _half(sum.body(twice, axis), dx)
    first, last = jnp.take(y, 0, axis), jnp.take(y, -1, axis)
    inner = sum.body(y, axis) - _half(first + last, None)  # as torch adds bytes up: in a wider dtype, but for the ends
    return inner if dx is None else mul.body(inner, dx)


@op(method=False)
def cumulative_trapezoid(y: Array, x: Array | None = None, *, dx: Scalar | None = None, dim: int = -1) -> Array:
    """The integrals from the first value up to each other one, by trapezoids, as trapezoid().

    Shape: (*, L, *), (L) or (*, L, *) -> (*, L - 1, *)
    Raises: RuntimeError where x does not fit; TypeError for both x and dx.
    """
    axis = _args.dim(dim, y.ndim, "cumulative_trapezoid")
    return _half(cumsum.body(_twice_areas("cumulative_trapezoid", y, x, dx, axis), axis), dx)
