"""Draws in the shape and dtype of an array, of which nothing else counts. torch has them in place only, as `uniform_`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import require
from jtorch.ops._floating import require_float
from jtorch.ops._op import Array, Key, Scalar, op
from jtorch.ops.sampling import evenly, integers
from jtorch.ops.shape import expand


def _check_uniform(input, start=0.0, to=1.0, key=None):
    _args.check(start <= to, f"uniform_(): expected from <= to, got {start} and {to}", RuntimeError)


@op(method=False, function=False, inplace=True, validate=_check_uniform)
def uniform(input: Array, start: Scalar = 0.0, to: Scalar = 1.0, *, key: Key | None = None) -> Array:
    """Numbers drawn evenly from `start` to `to`, in the shape and dtype of `input`; of both parts of complex numbers.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: start > to.
    Differs: the first bound, `from` in torch, is named `start`, since `from` is a word of Python. `uniform_` takes both.
    """
    require("uniform_", input.dtype, "fc")
    return evenly(key, input.shape, input.dtype, start, to)


def _check_normal(input, mean=0.0, std=1.0, key=None):
    _args.check(std >= 0, f"normal_(): expected std >= 0, got {std}", RuntimeError)


@op(method=False, function=False, validate=_check_normal)
def normal_like(input: Array, mean: Scalar = 0.0, std: Scalar = 1.0, *, key: Key | None = None) -> Array:
    """Numbers drawn from the normal distribution, in the shape and dtype of `input`. This is `Tensor.normal_`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: std < 0.
    """
    require("normal_", input.dtype, "fc")
    return (jax.random.normal(key, input.shape, input.dtype) * std + mean).astype(input.dtype)


def _check_bernoulli(input, p=0.5, key=None):
    allowed = np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1))
    _args.check(allowed, f"bernoulli_(): expected p in the range from 0 to 1, got {p}", RuntimeError)


@op(method=False, function=False, validate=_check_bernoulli)
def bernoulli_like(input: Array, p: Scalar = 0.5, *, key: Key | None = None) -> Array:
    """1 with probability `p`, 0 otherwise, in the shape and dtype of `input`. This is `Tensor.bernoulli_`.

    Shape: (*), (P*) -> (*); p broadcasts to the input
    Raises:
        RuntimeError: a probability is outside the range from 0 to 1.
    """
    require("bernoulli_", input.dtype, "bif")
    p = jnp.asarray(p)
    require_float("bernoulli_", *([] if p.aval.weak_type else [p]))
    p = jax.lax.stop_gradient(p if _args.is_float(p.dtype) else p.astype(jnp.float32))
    return _args.cast(jax.random.bernoulli(key, expand.body(p, *input.shape)), input.dtype)


def _check_exponential(input, lambd=1.0, key=None):
    _args.check(lambd > 0, f"exponential_(): expected lambd > 0, got {lambd}", RuntimeError)


def _need_real(name: str, input: Array) -> None:
    _args.check(_args.is_float(input.dtype), f"{name}(): expected a float dtype, got {input.dtype}", RuntimeError)


@op(method=False, function=False, inplace=True, validate=_check_exponential)
def exponential(input: Array, lambd: Scalar = 1.0, *, key: Key | None = None) -> Array:
    """Numbers drawn from the exponential distribution of rate `lambd`, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: lambd <= 0.
    """
    _need_real("exponential_", input)
    return (jax.random.exponential(key, input.shape, input.dtype) / lambd).astype(input.dtype)


def _check_cauchy(input, median=0.0, sigma=1.0, key=None):
    _args.check(sigma > 0, f"cauchy_(): expected sigma > 0, got {sigma}", RuntimeError)


@op(method=False, function=False, inplace=True, validate=_check_cauchy)
def cauchy(input: Array, median: Scalar = 0.0, sigma: Scalar = 1.0, *, key: Key | None = None) -> Array:
    """Numbers drawn from the Cauchy distribution, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: sigma <= 0.
    """
    _need_real("cauchy_", input)
    return (median + sigma * jax.random.cauchy(key, input.shape, input.dtype)).astype(input.dtype)


def _check_log_normal(input, mean=1.0, std=2.0, key=None):
    _args.check(std > 0, f"log_normal_(): expected std > 0, got {std}", RuntimeError)


@op(method=False, function=False, inplace=True, validate=_check_log_normal)
def log_normal(input: Array, mean: Scalar = 1.0, std: Scalar = 2.0, *, key: Key | None = None) -> Array:
    """Numbers whose logarithms have the given mean and standard deviation, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: std <= 0.
    """
    require_float("log_normal_", input)
    return jnp.exp(mean + std * jax.random.normal(key, input.shape, input.dtype)).astype(input.dtype)


def _check_geometric(input, p, key=None):
    _args.check(0 < p < 1, f"geometric_(): expected p between 0 and 1, got {p}", RuntimeError)


@op(method=False, function=False, inplace=True, validate=_check_geometric)
def geometric(input: Array, p: Scalar, *, key: Key | None = None) -> Array:
    """How many trials of probability `p` it took to succeed, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: p is outside the range between 0 and 1.
    """
    require("geometric_", input.dtype, "if")
    return jax.random.geometric(key, p, input.shape).astype(input.dtype)


def greatest(dtype: Any) -> int:
    """The greatest whole number of a dtype; of a float dtype, the one up to which it skips none."""
    if dtype == jnp.bool_:
        return 1
    return 2 ** (jnp.finfo(dtype).nmant + 1) if _args.is_float(dtype) else int(jnp.iinfo(dtype).max)


def _bounds(bounds: tuple, dtype: Any) -> tuple[int, int]:
    """The lowest number to draw, and the first that is too high."""
    low, high = (0, *bounds) if len(bounds) == 1 else (bounds or (0, None))
    if high is None and _args.is_float(dtype):  # every whole number up to where the dtype begins to skip some
        high = min(greatest(dtype) + 1, int(jnp.iinfo(_args.long_dtype()).max))
    return low, high


@op(method=False, function=False, inplace=True)
def random(input: Array, *bounds: int | None, key: Key | None = None) -> Array:
    """Whole numbers in the shape and dtype of `input`: `random_()`, `random_(to)`, `random_(from, to)`.

    They go from 0, or `from`, to below `to`, or to the greatest that the dtype holds exactly.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: from >= to, or the dtype does not hold them.
    """
    require("random_", input.dtype, "bif")
    _args.check(len(bounds) <= 2, f"random_(): expected at most two bounds, got {bounds}", TypeError)
    dtype = input.dtype
    low, high = _bounds(bounds, dtype)
    if high is None and dtype != jnp.bool_:  # to the greatest of the dtype, that one included
        _args.check(
            jnp.iinfo(dtype).min <= low, f"random_(): expected 'from' that {dtype} holds, got {low}", RuntimeError
        )
        bits = jax.random.bits(key, input.shape, f"uint{8 * dtype.itemsize}")
        span = int(jnp.iinfo(dtype).max) - low + 1
        drawn = bits if span == 2 ** (8 * dtype.itemsize) else bits % np.asarray(span, bits.dtype)
        return drawn.astype(dtype) + np.asarray(low, dtype)  # wraps around to where it belongs
    high = 2 if high is None else high
    _args.check(low < high, f"random_(): expected 'from' to be less than 'to', got {low} >= {high}", RuntimeError)
    if not _args.is_float(dtype):
        least, most = (0, 1) if dtype == jnp.bool_ else (jnp.iinfo(dtype).min, jnp.iinfo(dtype).max)
        held = least <= low and high - 1 <= most
        _args.check(held, f"random_(): expected bounds that {dtype} holds, got {low} and {high}", RuntimeError)
    return integers(key, input.shape, low, high, dtype)
