"""Dropout in all its forms, and the activations that draw: rrelu and gumbel_softmax.

Each returns its input itself where there is nothing to draw, so that evaluation needs no key.
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32

from jtorch.ops import _args
from jtorch.ops._floating import floating, wide
from jtorch.ops._op import Array, Key, Scalar, derived, op
from jtorch.ops.activation import leaky_relu


def _check_p(p: float) -> None:
    in_range = isinstance(p, jax.Array) or 0.0 <= p <= 1.0
    _args.check(in_range, f"dropout(): expected a probability between 0 and 1, got {p}")


def kept_shape(shape: tuple[int, ...], kept_dims: int | None) -> tuple[int, ...]:
    """The shape of what is drawn: for each element, or once for each position in the first `kept_dims` dimensions."""
    return shape if kept_dims is None else shape[:kept_dims] + (1,) * (len(shape) - kept_dims)


def kept(key: Array, p: Scalar, shape: tuple[int, ...]) -> Array:
    """Which elements stay where each goes with probability `p`: those whose 24 random bits are `p` or more as a fraction."""
    if jax.random.key_impl(key) == "threefry2x32" and _args.fixed(shape):  # `jax.random.bits` takes two words for each
        count = math.prod(shape)
        words = threefry_2x32(jax.random.key_data(key), jax.lax.iota(jnp.uint32, count + count % 2))
        bits = words[:count].reshape(shape)
    else:
        bits = jax.random.bits(key, shape, jnp.uint32)
    return bits >> 8 >= jnp.round(jnp.asarray(p, jnp.float32) * 2**24).astype(jnp.uint32)


def _need_inexact(input: Array) -> None:
    message = f"dropout(): expected a float dtype, got {input.dtype}"
    _args.check(_args.is_inexact(input.dtype), message, RuntimeError)


@op(method=False, function=False)
def _dropout_but(input: Array, kept: Array, p: Scalar, inplace: bool = False) -> Array:
    """The part of the input that is kept, scaled to keep its mean."""
    _need_inexact(input)
    scale = 1 / (1 - jnp.asarray(p, wide(input).dtype))
    return input * jnp.where(kept, scale, 0).astype(input.dtype)


@op(method=False, function=False)
def _dropout(
    input: Array, p: Scalar, kept_dims: int | None = None, inplace: bool = False, *, key: Key | None = None
) -> Array:
    """The part of the input that stays, scaled to keep its mean."""
    return _dropout_but.body(input, kept(key, p, kept_shape(input.shape, kept_dims)), p)


@op(method=False, function=False)
def _alpha_dropout_but(input: Array, kept: Array, p: Scalar, inplace: bool = False) -> Array:
    """The input with what is not kept at SELU's lower limit, scaled and shifted to keep mean and variance."""
    _need_inexact(input)
    limit = 1.7580993408473766
    p = jnp.asarray(p, wide(input).dtype)
    rest = jnp.where(p < 1, 1 - p, 1)
    scale = jnp.where(p < 1, 1 / jnp.sqrt((limit**2 * p + 1) * rest), 0)
    factor = jnp.where(kept, scale, 0).astype(input.dtype)
    shift = jnp.where(kept, limit * scale * p, limit * scale * (p - 1)).astype(input.dtype)
    return input * factor + shift


@op(method=False, function=False)
def _alpha_dropout(
    input: Array, p: Scalar, kept_dims: int | None = None, inplace: bool = False, *, key: Key | None = None
) -> Array:
    """The input with the dropped part at SELU's lower limit, scaled and shifted to keep mean and variance."""
    return _alpha_dropout_but.body(input, kept(key, p, kept_shape(input.shape, kept_dims)), p)


@derived(method=False)
def dropout(input, p=0.5, training=True, inplace=False, *, key=None):
    """`input` with elements set to 0 with probability `p`, the others divided by `1 - p`; `input` itself in evaluation.

    Shape: (*) -> (*)
    Raises:
        ValueError: p is outside the range from 0 to 1.
    Source: Hinton et al., arXiv 1207.0580 (2012).
    """
    _check_p(p)
    return _dropout(input, p, None, inplace, key=key) if training and p != 0 else input


@derived(method=False, function=False)
def dropout1d(input, p=0.5, training=True, inplace=False, *, key=None):
    """`input` with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    Shape: (N, C, L) or (C, L) -> same
    Raises:
        RuntimeError: the input has neither 2 nor 3 dimensions.
        ValueError: p is outside the range from 0 to 1.
    """
    _check_p(p)
    _args.check(input.ndim in (2, 3), f"dropout1d(): expected 2 or 3 dimensions, got {input.ndim}", RuntimeError)
    return _dropout(input, p, input.ndim - 1, inplace, key=key) if training and p != 0 else input


def _feature_dims(name: str, ndim: int) -> int:
    _args.check(ndim >= 2, f"{name}(): expected at least 2 dimensions, got {ndim}", RuntimeError)
    return 2


@derived(method=False, function=False)
def dropout2d(input, p=0.5, training=True, inplace=False, *, key=None):
    """`input` with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    The first two dimensions count as batch and channels.

    Shape: (N, C, H, W) -> (N, C, H, W)
    Raises:
        RuntimeError: the input has fewer than 2 dimensions.
        ValueError: p is outside the range from 0 to 1.
    """
    _check_p(p)
    return (
        _dropout(input, p, _feature_dims("dropout2d", input.ndim), inplace, key=key) if training and p != 0 else input
    )


@derived(method=False, function=False)
def dropout3d(input, p=0.5, training=True, inplace=False, *, key=None):
    """`input` with whole channels set to 0 with probability `p`, the others divided by `1 - p`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> same
    Raises:
        ValueError: p is outside the range from 0 to 1.
    """
    _check_p(p)
    return _dropout(input, p, 2 if input.ndim == 5 else 1, inplace, key=key) if training and p != 0 else input


@derived(method=False)
def alpha_dropout(input, p=0.5, training=False, inplace=False, *, key=None):
    """`input` with elements set to SELU's lower limit with probability `p`, scaled to keep mean and variance.

    Shape: (*) -> (*)
    Raises:
        ValueError: p is outside the range from 0 to 1.
    Source: Klambauer et al., arXiv 1706.02515 (2017).
    """
    _check_p(p)
    return _alpha_dropout(input, p, None, inplace, key=key) if training and p != 0 else input


@derived(method=False)
def feature_alpha_dropout(input, p=0.5, training=False, inplace=False, *, key=None):
    """`alpha_dropout` of whole channels.

    Shape: (N, C, *) -> (N, C, *)
    Raises:
        RuntimeError: the input has fewer than 2 dimensions.
        ValueError: p is outside the range from 0 to 1.
    """
    _check_p(p)
    if not training or p == 0:
        return input
    return _alpha_dropout(input, p, _feature_dims("feature_alpha_dropout", input.ndim), inplace, key=key)


@op(method=False, function=False)
@floating
def _rrelu(input: Array, lower: Scalar, upper: Scalar, inplace: bool = False, *, key: Key | None = None) -> Array:
    """`input` where positive, elsewhere times a slope of its own."""
    slope = jax.random.uniform(key, input.shape, input.dtype, lower, upper)
    return jnp.where(input > 0, input, slope * input)


@derived(method=False)
def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False, *, key=None):
    """`input` where positive, elsewhere times a slope drawn from `lower` to `upper`, or their mean in evaluation.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: lower > upper.
    """
    _args.check(lower <= upper, f"rrelu(): expected lower <= upper, got {lower} and {upper}", RuntimeError)
    if training:
        return _rrelu(input, lower, upper, inplace, key=key)
    return leaky_relu(input, (lower + upper) / 2, inplace)


@derived(method=False)
def rrelu_(input, lower=1.0 / 8, upper=1.0 / 3, training=False, *, key=None):
    """`input` itself, overwritten by `rrelu` of it.

    Shape: (*) -> (*)
    """
    message = "rrelu_(): expected a Tensor, got an array, which cannot be written; use rrelu()"
    _args.check(not isinstance(input, jax.Array), message, TypeError)
    return rrelu(input, lower, upper, training, True, key=key)


@op(method=False, function=False)
def gumbel_softmax(
    logits: Array, tau: Scalar = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, key: Key | None = None
) -> Array:
    """A draw from each categorical distribution, softened so that it has a gradient.

    Args:
        tau: the lower, the closer to a one-hot draw.
        hard: return the one-hot draw, with the gradient of the soft one.
        eps: unused, as in torch.
    Shape: (*) -> (*)
    Source: Jang et al., arXiv 1611.01144 (2016).
    """
    _args.check(
        _args.is_float(logits.dtype), f"gumbel_softmax(): expected a float dtype, got {logits.dtype}", RuntimeError
    )
    dim = _args.dim(dim, logits.ndim, "gumbel_softmax")
    noise = jax.random.gumbel(key, logits.shape, wide(logits).dtype)
    soft = jax.nn.softmax((wide(logits) + noise) / tau, axis=dim).astype(logits.dtype)
    if not hard:
        return soft
    places = jax.lax.broadcasted_iota(jnp.int32, soft.shape, dim)
    drawn = (places == jnp.argmax(soft, axis=dim, keepdims=True)).astype(soft.dtype)
    return drawn - jax.lax.stop_gradient(soft) + soft
