"""Draws from distributions, as pure functions of a key: arrays of a given size, or of the shape of another array.

`key=None` asks the random module for one. Layers that draw (dropout, rrelu, gumbel_softmax) are with dropout, and draws
that torch has in place only in fills.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import require
from jtorch.ops._floating import require_float
from jtorch.ops._op import Array, DType, Key, Scalar, derived, op

# arrays of a given size


def _sizes(name: str, size: tuple) -> tuple[int, ...]:
    size = _args.starred(size)
    _args.check(min(size, default=0) >= 0, f"{name}(): expected sizes >= 0, got {list(size)}", RuntimeError)
    return size


def _float_dtype(name: str, dtype: np.dtype | None) -> np.dtype:
    dtype = dtype or _args.default_float()
    _args.check(_args.is_inexact(dtype), f"{name}(): expected a float dtype, got {dtype}", NotImplementedError)
    return dtype


def evenly(key: Array, shape: tuple[int, ...], dtype: np.dtype, low: Scalar = 0.0, high: Scalar = 1.0) -> Array:
    """Numbers between two bounds; of complex numbers both parts."""
    real = jnp.finfo(dtype).dtype
    low, high = (jnp.asarray(x).astype(real) for x in (low, high))
    if real == dtype:
        return jax.random.uniform(key, shape, real, low, high)
    return jax.lax.complex(*jax.random.uniform(key, (2, *shape), real, low, high))


@op(method=False, differentiable=False)
def rand(*size: int, dtype: DType | None = None, key: Key | None = None) -> Array:
    """Numbers drawn evenly from 0 (included) to 1 (excluded).

    Shape: size
    """
    return evenly(key, _sizes("rand", size), _float_dtype("rand", dtype))


@op(method=False, differentiable=False)
def randn(*size: int, dtype: DType | None = None, key: Key | None = None) -> Array:
    """Numbers drawn from the normal distribution of mean 0 and variance 1.

    Shape: size
    """
    return jax.random.normal(key, _sizes("randn", size), _float_dtype("randn", dtype))


def integers(key: Array, size: tuple, low: Scalar, high: Scalar, dtype: np.dtype) -> Array:
    """Whole numbers from `low` up to but without `high`, of any dtype."""
    kind = dtype if jnp.issubdtype(dtype, jnp.integer) else _args.long_dtype()
    return jax.random.randint(key, size, low, high, kind).astype(dtype)


def _check_randint(low, high, size, dtype=None, key=None):
    _args.check(low < high, f"randint(): expected low < high, got {low} and {high}", RuntimeError)


@op(method=False, function=False, differentiable=False, validate=_check_randint)
def _randint(
    low: Scalar, high: Scalar, size: Sequence[int], *, dtype: DType | None = None, key: Key | None = None
) -> Array:
    """Whole numbers, see randint."""
    return integers(key, _sizes("randint", tuple(size)), low, high, dtype or _args.long_dtype())


@derived(method=False)
def randint(*args, low=0, high=None, size=None, dtype=None, key=None, generator=None):
    """Whole numbers drawn evenly from `low` (included) to `high` (excluded): `randint([low,] high, size)`.

    Shape: size
    Raises:
        RuntimeError: low >= high.
    """
    numbers = [x for x in args if not isinstance(x, tuple | list)]
    sizes = [x for x in args if isinstance(x, tuple | list)] + ([] if size is None else [size])
    _args.check(len(sizes) == 1, f"randint(): expected one size, got {args}", TypeError)
    numbers += [] if high is None else [high]
    _args.check(len(numbers) in (1, 2), f"randint(): expected [low,] high and size, got {args}", TypeError)
    return _randint(*([low, *numbers][-2:]), sizes[0], dtype=dtype, key=key, generator=generator)


@op(method=False, differentiable=False)
def randperm(n: int, *, dtype: DType | None = None, key: Key | None = None) -> Array:
    """The numbers from 0 to n-1 in random order.

    Shape: (n)
    Raises:
        RuntimeError: n is negative.
    """
    _args.check(n >= 0, f"randperm(): expected n >= 0, got {n}", RuntimeError)
    return jax.random.permutation(key, n).astype(dtype or _args.long_dtype())


# arrays like another


@op(method=False, differentiable=False)
def rand_like(input: Array, *, dtype: DType | None = None, key: Key | None = None) -> Array:
    """Numbers drawn evenly from 0 to 1, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    """
    return evenly(key, input.shape, _float_dtype("rand_like", dtype or input.dtype))


@op(method=False, differentiable=False)
def randn_like(input: Array, *, dtype: DType | None = None, key: Key | None = None) -> Array:
    """Numbers drawn from the standard normal distribution, in the shape and dtype of `input`.

    Shape: (*) -> (*)
    """
    return jax.random.normal(key, input.shape, _float_dtype("randn_like", dtype or input.dtype))


def _check_randint_like(input, low, high=None, dtype=None, key=None):
    low, high = (0, low) if high is None else (low, high)
    _args.check(low < high, f"randint_like(): expected low < high, got {low} and {high}", RuntimeError)


@op(method=False, differentiable=False, validate=_check_randint_like)
def randint_like(
    input: Array, low: Scalar = 0, high: Scalar | None = None, *, dtype: DType | None = None, key: Key | None = None
) -> Array:
    """Whole numbers from `low` to below `high`, in the shape and dtype of `input`: `randint_like(input, [low,] high)`.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: low >= high.
    """
    low, high = (0, low) if high is None else (low, high)
    return integers(key, input.shape, low, high, dtype or input.dtype)


# distributions whose parameters are arrays


@op(method=False, function=False)
def drawn_by(input: Array, drawn: Array) -> Array:
    """What was drawn, by a distribution that `input` says, whose gradient is 0.

    Shape: (*), (D*) -> (D*)
    """
    return drawn


def _check_std(mean, std=1.0, size=None, dtype=None, key=None):
    _args.check(np.all(np.asarray(std) >= 0), f"normal(): expected std >= 0, got {std}", RuntimeError)


@op(method=False, validate=_check_std)
def normal(
    mean: Scalar,
    std: Scalar = 1.0,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    key: Key | None = None,
) -> Array:
    """Numbers drawn from normal distributions of the given means and standard deviations. Their gradient is 0.

    Shape: (*), (*) -> (*), the two broadcast; or size, where both are numbers
    Raises:
        RuntimeError: a standard deviation is negative.
        TypeError: both are numbers, and there is no size; or there are arrays and a size.
    """
    mean, std = (jax.lax.stop_gradient(jnp.asarray(x)) for x in (mean, std))
    given = [x for x in (mean, std) if not x.aval.weak_type]
    sized = (size is None) == bool(given)
    _args.check(sized, f"normal(): expected arrays, or two numbers and a size, got the size {size}", TypeError)
    if given:
        require_float("normal", *given)
        size, dtype = jnp.broadcast_shapes(mean.shape, std.shape), dtype or given[0].dtype
    dtype = _float_dtype("normal", dtype)
    return jax.random.normal(key, tuple(size), dtype) * std.astype(dtype) + mean.astype(dtype)


def _check_bernoulli(input, p=None, key=None):
    given = np.asarray(input if p is None else p, np.float64)
    allowed = np.all((given >= 0) & (given <= 1))
    _args.check(allowed, f"bernoulli(): expected p in the range from 0 to 1, got {given}", RuntimeError)


@op(validate=_check_bernoulli)
def bernoulli(input: Array, p: Scalar | None = None, *, key: Key | None = None) -> Array:
    """1 with the probability that `input` holds, 0 otherwise; with `p`, `input` gives the shape only. Its gradient is 0.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: a probability is outside the range from 0 to 1.
    """
    if p is None:
        require_float("bernoulli", input)
    require("bernoulli", input.dtype, "bif")
    probability = jax.lax.stop_gradient(input) if p is None else jnp.asarray(p, jnp.float32)
    return _args.cast(jax.random.bernoulli(key, probability, input.shape), input.dtype)


def _check_poisson(input, key=None):
    lowest = np.min(np.asarray(input, np.float64), initial=0)
    _args.check(lowest >= 0, f"poisson(): expected rates >= 0, got {lowest}", RuntimeError)


@op(method=False, validate=_check_poisson)
def poisson(input: Array, *, key: Key | None = None) -> Array:
    """Counts drawn from Poisson distributions whose rates `input` holds. Their gradient is 0.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: a rate is negative.
    """
    require_float("poisson", input)
    rates = jax.lax.stop_gradient(input).astype(jnp.float32)
    return jax.random.poisson(key, rates, input.shape).astype(input.dtype)


def _check_multinomial(input, num_samples, replacement=False, key=None):
    weights = np.atleast_2d(np.asarray(input, np.float64))
    valid = np.all(np.isfinite(weights)) and np.all(weights >= 0)
    _args.check(
        valid, "multinomial(): expected finite weights >= 0, got an invalid multinomial distribution", RuntimeError
    )
    needed = 1 if replacement else num_samples
    found = np.min(np.count_nonzero(weights, axis=1), initial=needed)
    _args.check(
        found >= needed,
        f"multinomial(): expected {needed} weights above 0, got {found}; invalid multinomial distribution",
        RuntimeError,
    )


@op(differentiable=False, exact_out=True, validate=_check_multinomial)
def multinomial(input: Array, num_samples: int, replacement: bool = False, *, key: Key | None = None) -> Array:
    """Places drawn from each row with the probabilities that its weights stand for.

    Shape: (C) -> (S) or (N, C) -> (N, S)
    Raises:
        RuntimeError: a weight is negative or not finite, or too few of them are above 0.
    """
    weighted = _args.is_float(input.dtype)
    _args.check(weighted, f"multinomial(): expected a float dtype, got {input.dtype}", RuntimeError)
    _args.check(input.ndim in (1, 2), f"multinomial(): expected 1 or 2 dimensions, got {input.ndim}", RuntimeError)
    choices = input.shape[-1]
    _args.check(choices <= 2**24, f"multinomial(): expected at most 2**24 weights, got {choices}", RuntimeError)
    _args.check(num_samples > 0, f"multinomial(): expected num_samples > 0, got {num_samples}", RuntimeError)
    enough = replacement or num_samples <= choices
    _args.check(enough, f"multinomial(): expected num_samples <= {choices}, got {num_samples}", RuntimeError)
    weights = input.astype(jnp.promote_types(input.dtype, jnp.float32))
    if replacement:
        total = jnp.cumsum(weights, axis=-1)
        drawn = jax.random.uniform(key, (*input.shape[:-1], num_samples), weights.dtype) * total[..., -1:]
        below = jnp.minimum(drawn, jnp.nextafter(total[..., -1:], 0 * total[..., -1:]))
        search = jnp.vectorize(lambda t, x: jnp.searchsorted(t, x, side="right"), signature="(c),(s)->(s)")
        return search(total, below).astype(_args.long_dtype())
    order = jnp.log(weights) + jax.random.gumbel(key, input.shape, weights.dtype)
    return jax.lax.top_k(order, num_samples)[1].astype(_args.long_dtype())
