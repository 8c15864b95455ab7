"""Sums, products, means, variances and norms over some or all dimensions, and all and any.

Extremes and their indices are in `extrema`, running sums in `cumulative`, medians and counts in `statistics`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jtorch.ops import _args, norms
from jtorch.ops._elementwise import computing_dtype, elementwise
from jtorch.ops._op import Array, DType, derived, op
from jtorch.ops._reducing import accumulating_dtype, axes_of

# sums and products


@op
def sum(
    input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Array:
    """The sum over some dimensions, None and () meaning all. Integers are summed in int64.

    Shape: (*) -> (* without dim)
    """
    dtype = accumulating_dtype(input, dtype)
    return jnp.sum(_args.cast(input, dtype), axes_of(dim, input.ndim, "sum"), keepdims=keepdim).astype(dtype)


def _check_mean(name: str, input: Array, dtype: DType | None) -> None:
    given = input.dtype if dtype is None else dtype
    what = f"{name}(): expected a float or complex dtype, got {given}"
    _args.check(_args.is_inexact(given), f"{what}; give dtype=", RuntimeError)


@op
def mean(
    input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Array:
    """The mean over some dimensions, None and () meaning all; NaN of nothing.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for integers without a float dtype.
    """
    _check_mean("mean", input, dtype)
    dtype = input.dtype if dtype is None else dtype
    x = _args.cast(input, dtype).astype(computing_dtype(dtype))
    return jnp.mean(x, axes_of(dim, input.ndim, "mean"), keepdims=keepdim).astype(dtype)


def _zero_for_nan(x: Array) -> Array:
    return jnp.where(jnp.isnan(x), 0, x)


@op
def nansum(
    input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Array:
    """The sum of the elements that are not NaN.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for complex numbers.
    """
    real = not _args.is_complex(input.dtype)
    _args.check(real, f"nansum(): expected real numbers, got {input.dtype}", RuntimeError)
    return sum.body(_zero_for_nan(input), dim, keepdim, dtype=dtype)


@op
def nanmean(
    input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Array:
    """The mean of the elements that are not NaN; NaN where there are none.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for integers.
    """
    _check_mean("nanmean", input, None)
    count = sum.body(~jnp.isnan(input), dim, keepdim)
    total = sum.body(_zero_for_nan(input), dim, keepdim, dtype=dtype)
    return (total / count.astype(total.dtype)).astype(total.dtype)


@op
def prod(input: Array, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Array:
    """The product over one dimension or all. Integers are multiplied in int64.

    Shape: (*) -> (* without dim)
    """
    dtype = accumulating_dtype(input, dtype)
    x = _args.cast(input, dtype).astype(computing_dtype(dtype))
    return jnp.prod(x, axes_of(dim, input.ndim, "prod"), keepdims=keepdim and dim is not None).astype(dtype)


@op
def count_nonzero(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """How many elements are not 0, over some dimensions, None and () meaning all.

    Shape: (*) -> (* without dim)
    """
    return sum.body(input != 0, dim)


def _truth(name: str, input: Array, dim: int | Sequence[int] | None, keepdim: bool, reduce) -> Array:
    axes = () if dim is not None and dim == () else axes_of(dim, input.ndim, name)  # () means none here
    found = reduce(input != 0, axes, keepdims=keepdim)
    return found.astype(input.dtype) if input.dtype == jnp.uint8 else found


@op(differentiable=False)
def all(input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Array:
    """Whether all elements over some dimensions are not 0, None meaning all; uint8 for uint8.

    Shape: (*) -> (* without dim)
    """
    return _truth("all", input, dim, keepdim, jnp.all)


@op(differentiable=False)
def any(input: Array, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Array:
    """Whether any element over some dimensions is not 0, None meaning all; uint8 for uint8.

    Shape: (*) -> (* without dim)
    """
    return _truth("any", input, dim, keepdim, jnp.any)


@op
def logsumexp(input: Array, dim: int | Sequence[int], keepdim: bool = False) -> Array:
    """`log(sum(exp(input)))` over some dimensions, without overflow.

    Shape: (*) -> (* without dim)
    """
    return _logsumexp(input, axes_of(dim, input.ndim, "logsumexp"), keepdim)


@elementwise(to_float=True)
def _logsumexp(input: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
    return jax.nn.logsumexp(input, axes, keepdims=keepdim)


# variances


def _variance(x: Array, axes: tuple[int, ...], correction: float, keepdim: bool) -> tuple[Array, Array]:
    """The variance and the mean, in the dtype that is computed with."""
    x = x.astype(computing_dtype(x.dtype))
    mean = jnp.mean(x, axes, keepdims=True)
    off = x - mean
    square = off.real**2 + off.imag**2 if _args.is_complex(x.dtype) else off * off
    count = math.prod(x.shape[a] for a in axes)
    variance = jnp.sum(square, axes, keepdims=keepdim) / max(count - correction, 0)
    return variance, mean if keepdim else jnp.squeeze(mean, axes)


@op(method=False, function=False)
def moments(
    input: Array, dim: int | Sequence[int] | None, correction: int | float, keepdim: bool, root: bool
) -> tuple[Array, Array]:
    """The variance, or its `root` the standard deviation, and the mean, over some dimensions.

    The gradient of the standard deviation is 0 where it is 0.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: RuntimeError for integers.
    """
    name = "std" if root else "var"
    float_given = _args.is_inexact(input.dtype)
    _args.check(float_given, f"{name}(): expected a float or complex dtype, got {input.dtype}", RuntimeError)
    spread, mean = _variance(input, axes_of(dim, input.ndim, name), correction, keepdim)
    if root:
        constant = spread == 0
        spread = jnp.where(constant, 0, jnp.sqrt(jnp.where(constant, 1, spread)))
    return spread.astype(input.real.dtype), mean.astype(input.dtype)


def _moments(input, dim, unbiased, keepdim, correction, root):
    """torch's overloads: (input, unbiased) beside (input, dim, unbiased, keepdim), and correction in place of unbiased."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return moments(input, dim, correction, keepdim, root)


@derived
def var(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The variance over some dimensions, None and () meaning all: the sum of squares divided by N - correction.

    Shape: (*) -> (* without dim)
    Args: correction: 1 where None, or as `unbiased` says.
    Raises: RuntimeError for integers.
    """
    return _moments(input, dim, unbiased, keepdim, correction, False)[0]


@derived
def std(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The standard deviation, the root of var(). Its gradient is 0 where it is 0.

    Shape: (*) -> (* without dim)
    Args: correction: 1 where None, or as `unbiased` says.
    Raises: RuntimeError for integers.
    """
    return _moments(input, dim, unbiased, keepdim, correction, True)[0]


@derived(method=False)
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The variance, as by var(), and the mean.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: RuntimeError for integers.
    """
    return _moments(input, dim, unbiased, keepdim, correction, False)


@derived(method=False)
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """The standard deviation, as by std(), and the mean.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: RuntimeError for integers.
    """
    return _moments(input, dim, unbiased, keepdim, correction, True)


# norms


@op
def norm(
    input: Array,
    p: int | float | str | None = "fro",
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Array:
    """The vector norm of order p over some dimensions, None and () meaning all; "fro" is order 2, "nuc" that of matrices.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for integers, or other names of norms.
    """
    if p == "nuc":
        pair = tuple(range(input.ndim)) if dim is None else dim
        return norms.linalg_matrix_norm.body(input, "nuc", pair, keepdim, dtype=dtype)
    known = p is None or p == "fro" or not isinstance(p, str)
    _args.check(known, f"norm(): expected p to be a number, 'fro' or 'nuc', got {p!r}", RuntimeError)
    order = 2 if p is None or p == "fro" else p
    return norms.linalg_vector_norm.body(input, order, dim, keepdim, dtype=dtype)


@op
def dist(input: Array, other: Array, p: int | float = 2) -> Array:
    """The norm of order p of `input - other`.

    Shape: (*), (*) -> (), broadcast
    Raises: RuntimeError for integers, and for bools beside floats.
    """
    numbers = jnp.bool_ not in (input.dtype, other.dtype)
    _args.check(numbers, "dist(): expected numbers, got bools", RuntimeError)
    return _distance(input, other, p)


@elementwise("fc", error=RuntimeError)
def _distance(input: Array, other: Array, p: float) -> Array:
    return norms.linalg_vector_norm.body(input - other, p)
