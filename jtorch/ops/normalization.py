"""Normalization: arrays brought to mean 0 and variance 1 over some of their dimensions, or to norm 1.

Mean and variance come from one pass over differences from a first guess of the mean. The guess is the mean of a part of
the data, which bounds what cancellation can cost: with a part of 1/16, at most four bits, whatever the data.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._elementwise import require_wide
from jtorch.ops._floating import require_float, wide
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops._reducing import thin
from jtorch.ops.norms import vector_norm


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """Of wide floats: the guess, differences from it, their mean, and the (biased) variance; reduced dimensions stay."""
    part = max(1, x.shape[axes[0]] // 16)
    some = jax.lax.slice_in_dim(x, 0, part, axis=axes[0])
    guess = jax.lax.stop_gradient(jnp.mean(some, axes, keepdims=True))
    difference = x - guess
    mean = jnp.mean(difference, axes, keepdims=True)
    variance = jnp.mean(difference * difference, axes, keepdims=True) - mean * mean
    return guess, difference, mean, jnp.where(variance < 0, 0, variance)


def _scaled(
    difference: Array, mean: Array, variance: Array, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    """`(difference - mean) / sqrt(variance + eps) * weight + bias`, as one multiplication and one addition."""
    scale = jax.lax.rsqrt(variance + eps)
    if weight is not None:
        scale = scale * wide(weight)
    offset = -mean * scale
    return difference * scale + (offset if bias is None else offset + wide(bias))


def _per_channel(x: Array | None, ndim: int) -> Array | None:
    """An array of one number a channel, laid along dimension 1."""
    return None if x is None else x.reshape(1, -1, *[1] * (ndim - 2))


def _check_dtypes(name: str, input: Array, **arrays: Array | None) -> None:
    """Raise torch's RuntimeError unless every array that is given has the input's dtype, or float32 beside a 16-bit one."""
    for what, array in arrays.items():
        fits = array is None or array.dtype in (input.dtype, wide(input).dtype)
        given = getattr(array, "dtype", None)
        _args.check(fits, f"{name}(): expected {what} of dtype {input.dtype}, got {given}", RuntimeError)


def _check_channels(name: str, input: Array, **arrays: Array | None) -> None:
    """Raise unless every array that is given has one number a channel, of a dtype that suits the input."""
    _check_dtypes(name, input, **arrays)
    channels = input.shape[1]
    for what, array in arrays.items():
        given = (channels,) if array is None else array.shape
        message = f"{name}(): expected {what} of {channels} elements, got shape {given}"
        _args.check(given == (channels,), message, RuntimeError)


def _renew(running: Array | None, new: Array, momentum: Scalar) -> Array:
    """A running statistic after one more batch, outside the gradient."""
    new = jax.lax.stop_gradient(new.reshape(-1))
    if running is None:
        return new
    running = jax.lax.stop_gradient(running)
    return (wide(running) * (1 - momentum) + new * momentum).astype(running.dtype)


# over the batch


@op(method=False, function=False)
def _batch_norm_training(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    momentum: Scalar,
    eps: float,
) -> tuple[Array, Array, Array]:
    """The input normalized by its own statistics, and the running statistics that follow from them."""
    require_float("batch_norm", input)
    channels = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("batch_norm", input, **channels)
    if input.size == 0:
        empty = jnp.zeros(input.shape[1], wide(input).dtype)
        return input, *(empty if r is None else r for r in (running_mean, running_var))
    x = wide(input)
    axes = (0, *range(2, input.ndim))
    guess, difference, mean, variance = _moments(x, axes)
    affine = (_per_channel(a, input.ndim) for a in (weight, bias))
    out = _scaled(difference, mean, variance, *affine, eps).astype(input.dtype)
    count = input.size // input.shape[1]
    unbiased = variance * (count / max(count - 1, 1))
    return out, _renew(running_mean, guess + mean, momentum), _renew(running_var, unbiased, momentum)


@op(method=False, function=False)
def _batch_norm_evaluation(
    input: Array, running_mean: Array, running_var: Array, weight: Array | None, bias: Array | None, eps: float
) -> Array:
    """The input normalized by running statistics."""
    require_float("batch_norm", input)
    _check_channels("batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    mean, var, weight, bias = (_per_channel(a, input.ndim) for a in (running_mean, running_var, weight, bias))
    return _scaled(wide(input) - wide(mean), jnp.zeros_like(wide(mean)), wide(var), weight, bias, eps).astype(
        input.dtype
    )


def _write(running, new) -> None:
    """Put new running statistics into a Tensor."""
    take = getattr(running, "__jtorch_out__", None)
    if take is not None:
        take(new)


def _shape(x) -> tuple[int, ...]:
    return tuple(x.shape)


@derived(method=False, function=False)
def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Each channel brought to mean 0 and variance 1, then times `weight` plus `bias`.

    In training by the statistics of the batch, which are mixed into `running_mean` and `running_var` with the share
    `momentum`; in evaluation by the running statistics.

    Shape: (N, C, *), statistics and parameters (C) -> (N, C, *)
    Raises:
        ValueError: in training, a channel has only one value, or eps <= 0.
        RuntimeError: sizes do not fit, or there are no running statistics in evaluation.
    Differs: running statistics that are plain arrays cannot be written and stay as they are; give Tensors.
    Source: Ioffe & Szegedy, arXiv 1502.03167 (2015).
    """
    shape = _shape(input)
    if shape == (0,):
        return input
    _args.check(len(shape) > 1, f"batch_norm(): expected 2 or more dimensions, got {len(shape)}", IndexError)
    if not training:
        _args.check(eps >= 0, f"batch_norm(): expected eps of 0 or more, got {eps}")
        for name, running in (("running_mean", running_mean), ("running_var", running_var)):
            _args.check(running is not None, f"batch_norm(): expected {name} in evaluation, got None", RuntimeError)
        return _batch_norm_evaluation(input, running_mean, running_var, weight, bias, eps)
    many = shape[0] * math.prod(shape[2:]) != 1
    _args.check(
        many, f"batch_norm(): expected more than 1 value per channel when training, got input size {list(shape)}"
    )
    _args.check(eps > 0, f"batch_norm(): expected eps > 0 when training, got {eps}")
    out, mean, var = _batch_norm_training(input, running_mean, running_var, weight, bias, momentum, eps)
    _write(running_mean, mean)
    _write(running_var, var)
    return out


# over each sample


@op(method=False, function=False)
def _instance_norm(
    input: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None,
    bias: Array | None,
    momentum: Scalar,
    eps: float,
) -> tuple[Array, Array, Array]:
    """The input normalized by the statistics of each sample, and the running statistics that follow from them."""
    require_float("instance_norm", input)
    channels = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels("instance_norm", input, **channels)
    guess, difference, mean, variance = _moments(wide(input), tuple(range(2, input.ndim)))
    affine = (_per_channel(a, input.ndim) for a in (weight, bias))
    out = _scaled(difference, mean, variance, *affine, eps).astype(input.dtype)
    count = math.prod(input.shape[2:])
    unbiased = variance * (count / max(count - 1, 1))
    means, variances = jnp.mean(guess + mean, 0), jnp.mean(unbiased, 0)
    return out, _renew(running_mean, means, momentum), _renew(running_var, variances, momentum)


@derived(method=False, function=False)
def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Each channel of each sample brought to mean 0 and variance 1, then times `weight` plus `bias`.

    By the sample's own statistics, whose means over the batch are mixed into `running_mean` and `running_var` if these
    are given; with `use_input_stats=False` by the running statistics.

    Shape: (N, C, *), statistics and parameters (C) -> (N, C, *)
    Raises:
        ValueError: a channel has only one value.
        RuntimeError: sizes do not fit, or there are no running statistics where they are needed.
    Differs: running statistics that are plain arrays cannot be written and stay as they are; give Tensors.
    Source: Ulyanov et al., arXiv 1607.08022 (2016).
    """
    both = (running_mean is None) == (running_var is None)
    _args.check(both, "instance_norm(): expected running_mean and running_var, or neither, got one of them")
    if not use_input_stats:
        given = running_mean is not None and running_var is not None
        message = "instance_norm(): expected running_mean and running_var without input statistics, got None"
        _args.check(given, message, RuntimeError)
        return _batch_norm_evaluation(input, running_mean, running_var, weight, bias, eps)
    shape = _shape(input)
    many = math.prod(shape[2:]) != 1
    _args.check(
        many, f"instance_norm(): expected more than 1 spatial element when training, got input size {list(shape)}"
    )
    out, mean, var = _instance_norm(input, running_mean, running_var, weight, bias, momentum, eps)
    _write(running_mean, mean)
    _write(running_var, var)
    return out


@op(method=False)
def group_norm(
    input: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5
) -> Array:
    """Each group of channels of each sample brought to mean 0 and variance 1, then times `weight` plus `bias`.

    Shape: (N, C, *), parameters (C) -> (N, C, *)
    Raises:
        RuntimeError: the channels do not divide into the groups, or sizes do not fit.
        ValueError: a group has only one value in all.
    Source: Wu & He, arXiv 1803.08494 (2018).
    """
    _args.check(input.ndim >= 2, f"group_norm(): expected at least 2 dimensions, got {input.ndim}", RuntimeError)
    channels = input.shape[1]
    _args.check(num_groups > 0, f"group_norm(): expected num_groups > 0, got {num_groups}", RuntimeError)
    divides = channels % num_groups == 0
    message = f"group_norm(): expected channels divisible by num_groups, got {channels} and {num_groups}"
    _args.check(divides, message, RuntimeError)
    _check_channels("group_norm", input, weight=weight, bias=bias)
    values = input.shape[0] * channels // num_groups * math.prod(input.shape[2:])
    message = f"group_norm(): expected more than 1 value per channel when training, got input size {list(input.shape)}"
    _args.check(values != 1, message)
    require_float("group_norm", input)
    if input.size == 0:
        return input
    parts = [
        n for n in (num_groups, channels // num_groups) if n != 1
    ]  # XLA's sums are slow beside dimensions of size 1
    grouped = wide(input).reshape(input.shape[0], *parts, -1)
    _, difference, mean, variance = _moments(grouped, tuple(range(1 + (num_groups != 1), grouped.ndim)))
    affine = (None if a is None else a.reshape(1, *parts, 1) for a in (weight, bias))
    return _scaled(difference, mean, variance, *affine, eps).reshape(input.shape).astype(input.dtype)


def _trailing(name: str, input: Array, normalized_shape: Sequence[int], **arrays: Array | None) -> tuple[int, ...]:
    """The dimensions that `normalized_shape` stands for, once everything is found to fit."""
    is_sequence = isinstance(normalized_shape, Sequence)
    _args.check(
        is_sequence, f"{name}(): expected normalized_shape to be a tuple of ints, got {normalized_shape}", TypeError
    )
    shape = tuple(normalized_shape)
    _args.check(len(shape) > 0, f"{name}(): expected normalized_shape of at least one element, got none", RuntimeError)
    for what, array in arrays.items():
        fits = array is None or array.shape == shape
        message = f"{name}(): expected {what} of shape {shape}, got {getattr(array, 'shape', None)}"
        _args.check(fits, message, RuntimeError)
    fits = input.shape[-len(shape) :] == shape
    _args.check(fits, f"{name}(): expected input of shape (*, {shape}), got {input.shape}", RuntimeError)
    return tuple(range(input.ndim - len(shape), input.ndim))


@op(method=False)
def layer_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """The trailing dimensions brought to mean 0 and variance 1, then times `weight` plus `bias`.

    Shape: (*, normalized_shape), parameters normalized_shape -> (*, normalized_shape)
    Raises:
        RuntimeError: sizes do not fit.
    Source: Ba et al., arXiv 1607.06450 (2016).
    """
    axes = _trailing("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    require_float("layer_norm", input)
    _check_dtypes("layer_norm", input, weight=weight, bias=bias)
    if input.size == 0:
        return input
    ones = thin(input.shape, axes)
    x, axes = jnp.squeeze(wide(input), ones), [axis - len(ones) for axis in axes]
    difference = x - jnp.mean(x, axes, keepdims=True)
    out = difference * jax.lax.rsqrt(jnp.mean(difference * difference, axes, keepdims=True) + eps)
    out = out if weight is None else out * wide(weight)
    out = out if bias is None else out + wide(bias)
    return jnp.expand_dims(out, ones).astype(input.dtype)


@op(method=False)
def rms_norm(
    input: Array, normalized_shape: Sequence[int], weight: Array | None = None, eps: float | None = None
) -> Array:
    """The trailing dimensions divided by the root of the mean of their squares, then times `weight`.

    Args:
        eps: added to the mean; None means the machine epsilon of the dtype that is computed in.
    Shape: (*, normalized_shape), weight normalized_shape -> (*, normalized_shape)
    Raises:
        RuntimeError: sizes do not fit.
    Source: Zhang & Sennrich, arXiv 1910.07467 (2019).
    """
    axes = _trailing("rms_norm", input, normalized_shape, weight=weight)
    require_float("rms_norm", input, complex_too=True)
    ones = thin(input.shape, axes)
    x, axes = jnp.squeeze(wide(input), ones), [axis - len(ones) for axis in axes]
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    square = jnp.mean(x * x, axes, keepdims=True)
    out = x * jax.lax.rsqrt(square + eps)
    out = out if weight is None else out * wide(weight)
    return jnp.expand_dims(out, ones).astype(input.dtype)


@op(method=False, function=False)
def local_response_norm(input: Array, size: int, alpha: Scalar = 1e-4, beta: Scalar = 0.75, k: Scalar = 1.0) -> Array:
    """The input divided by `(k + alpha * mean of squares over size neighbouring channels) ** beta`.

    Channels beyond the first and the last count as 0. Of integers the mean is rounded down.

    Shape: (N, C, *) -> (N, C, *)
    Raises:
        ValueError: fewer than 3 dimensions.
        RuntimeError: size < 1.
    Source: Krizhevsky et al., NIPS (2012).
    """
    _args.check(input.ndim >= 3, f"local_response_norm(): expected 3 or more dimensions, got {input.ndim}")
    if input.size == 0:
        return input
    _args.check(size > 0, f"local_response_norm(): expected size > 0, got {size}", RuntimeError)
    require_wide("local_response_norm", input.dtype)
    x = wide(input)
    dtype = x.dtype if _args.is_float(x.dtype) else _args.default_float()
    alpha, beta, k = (_args.scalar("local_response_norm", number, dtype) for number in (alpha, beta, k))
    total = _over_neighbours(x * x, size // 2, (size - 1) // 2)
    if _args.is_integral(x.dtype):
        input, mean = input.astype(_args.default_float()), (total // size).astype(_args.default_float())
        return input / (mean * alpha + k) ** beta
    return (x / (total / size * alpha + k) ** beta).astype(input.dtype)


def _over_neighbours(x: Array, before: int, after: int) -> Array:
    """The sum over so many channels before and after each, dimension 1 holding the channels."""
    channels = x.shape[1]
    padded = jnp.pad(x, [(before, after) if i == 1 else (0, 0) for i in range(x.ndim)])
    return sum(jax.lax.slice_in_dim(padded, i, i + channels, axis=1) for i in range(before + after + 1))


@op(method=False, function=False)
def cross_map_lrn2d(input: Array, size: int, alpha: Scalar = 1e-4, beta: Scalar = 0.75, k: Scalar = 1.0) -> Array:
    """What nn.CrossMapLRN2d computes: local_response_norm with torch's older windows.

    They reach `(size - 1) // 2` channels to both sides, and all that do not begin at the first channel hold it as well.

    Shape: (N, C, H, W) -> (N, C, H, W)
    Raises:
        ValueError: not 4 dimensions.
    Differs: the gradient is that of the values; torch's leaves out that the first channel is in every window.
    """
    _args.check(input.ndim == 4, f"CrossMapLRN2d(): expected 4 dimensions, got {input.ndim}")
    reach = (size - 1) // 2
    x = wide(input)
    squares = x * x
    later = (jnp.arange(input.shape[1]) > reach)[:, None, None]
    total = _over_neighbours(squares, reach, reach) + jnp.where(later, squares[:, :1], 0)
    return (x * (total * (alpha / size) + k) ** -beta).astype(input.dtype)


@op(method=False, function=False)
def normalize(input: Array, p: float = 2.0, dim: int | Sequence[int] | None = 1, eps: float = 1e-12) -> Array:
    """The input divided by its p-norm along `dim`, or by `eps` where the norm is smaller.

    Shape: (*) -> (*)
    Raises:
        IndexError: no such dimension.
        RuntimeError: the input holds integers.
    """
    floats = _args.is_inexact(input.dtype)
    _args.check(floats, f"normalize(): expected a float dtype, got {input.dtype}", RuntimeError)
    x = wide(input)
    norm = vector_norm(x, p, _args.axes(dim, input.ndim, "normalize"), True)
    return (x / jnp.where(norm < eps, eps, norm)).astype(input.dtype)
