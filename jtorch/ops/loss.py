"""Losses that compare two arrays element by element: regression, binary classification, likelihoods.

Losses over classes are with classification, those over distances and rankings with ranking. What all losses share is at
the top: torch's deprecated reduction arguments, the reduction itself and the check of shapes.
"""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import require
from jtorch.ops._floating import require_float, wide
from jtorch.ops._op import Array, Scalar, op

_REAL = "bif"  # the kinds of dtypes that have an order


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that the deprecated arguments ask for, with torch's warning; `reduction` where both are None."""
    if size_average is None and reduce is None:
        return reduction
    mean = "mean" if size_average is None or size_average else "sum"
    chosen = mean if reduce is None or reduce else "none"
    message = f"size_average and reduce args will be deprecated, please use reduction='{chosen}' instead."
    warnings.warn(message, stacklevel=3)
    return chosen


def reduced(
    name: str, loss: Array, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> Array:
    """The losses of the elements as one loss, in the way that a loss function's arguments say."""
    return _args.reduce_loss(loss, legacy_reduction(size_average, reduce, reduction), name)


def broadcast(name: str, *arrays: Array) -> tuple[int, ...]:
    """The common shape of the arrays.

    Raises:
        RuntimeError: there is none.
    """
    shapes = [x.shape for x in arrays]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        return _args.fail(f"{name}(): expected shapes that broadcast, got {shapes}", RuntimeError)


def at_least(x: Array, low: float) -> Array:
    """`x` where not below `low`; the gradient at the bound itself is 1, as that of clamp_min.

    Raises:
        NotImplementedError: these are complex numbers, which have no order.
    """
    require("clamp", x.dtype, _REAL)
    return jnp.where(x < low, low, x)


# regression


def _same_size(name: str, input: Array, target: Array) -> None:
    broadcast(name, input, target)
    if input.shape != target.shape:
        warnings.warn(
            f"Using a target size (torch.Size({list(target.shape)})) that is different to the input size "
            f"(torch.Size({list(input.shape)})). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=2,
        )


def _check_factors(name: str, input: Array, *factors: Array) -> None:
    """Raise unless these, all real, broadcast to the input's shape."""
    fits = broadcast(name, input, *factors) == input.shape
    shapes = ", ".join(str(x.shape) for x in factors)
    _args.check(fits, f"{name}(): expected what broadcasts to {input.shape}, got {shapes}", RuntimeError)
    for x in factors:
        require(name, x.dtype, _REAL, RuntimeError)


def _weighted(name: str, loss: Array, weight: Array | None, reduction: str) -> Array:
    """The loss reduced; with a weight for each element, the mean is the weighted one."""
    if weight is None:
        return _args.reduce_loss(loss, reduction, name)
    total = _args.reduce_loss(_scaled(name, loss, weight), "sum" if reduction == "mean" else reduction, name)
    return total / jnp.sum(wide(weight)) if reduction == "mean" else total


def _scaled(name: str, loss: Array, weight: Array) -> Array:
    message = f"{name}(): expected weight of shape {loss.shape}, got {weight.shape}"
    _args.check(weight.shape == loss.shape, message)
    return loss * wide(weight)


def _size(x: Array) -> Array:
    """The absolute value, with gradient 0 at 0."""
    if not _args.is_complex(x.dtype):
        return x * jnp.sign(x)
    zero = x == 0
    return jnp.where(zero, 0, jnp.abs(jnp.where(zero, 1, x)))


@op(method=False, function=False, promote="same")
def l1_loss(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """The absolute differences, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    """
    _same_size("l1_loss", input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    _args.check(input.dtype != jnp.bool_, "l1_loss(): expected numbers, got bool", RuntimeError)
    if reduction == "mean":
        floats = _args.is_inexact(input.dtype)
        _args.check(floats, f"l1_loss(): expected a float dtype for the mean, got {input.dtype}", RuntimeError)
    loss = _size(wide(input) - wide(target))
    return _weighted("l1_loss", loss, weight, reduction).astype(jnp.real(input).dtype)


@op(method=False, function=False, promote="same")
def mse_loss(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Array | None = None,
) -> Array:
    """The squared differences, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    """
    _same_size("mse_loss", input, target)
    require_float("mse_loss", input)
    loss = jnp.square(wide(input) - wide(target))
    return _weighted("mse_loss", loss, weight, legacy_reduction(size_average, reduce, reduction)).astype(input.dtype)


def _check_smooth_l1(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    _args.check(beta >= 0, f"smooth_l1_loss(): expected beta >= 0, got {beta}", RuntimeError)


@op(method=False, function=False, validate=_check_smooth_l1)
def smooth_l1_loss(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: Scalar = 1.0,
) -> Array:
    """`d**2 / (2 * beta)` for differences d smaller than beta and `|d| - beta / 2` for others, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    Raises:
        RuntimeError: beta < 0.
    """
    _same_size("smooth_l1_loss", input, target)
    input, target = _args.promote(input, target)
    require_float("smooth_l1_loss", input)
    difference = wide(input) - wide(target)
    size = _size(difference)
    near = difference * difference / (2 * jnp.where(beta > 0, beta, 1))
    loss = jnp.where(size < beta, near, size - beta / 2)
    return reduced("smooth_l1_loss", loss, reduction, size_average, reduce).astype(input.dtype)


def _check_huber(input, target, reduction="mean", delta=1.0, weight=None):
    _args.check(delta > 0, f"huber_loss(): expected delta > 0, got {delta}", RuntimeError)


@op(method=False, function=False, validate=_check_huber)
def huber_loss(
    input: Array, target: Array, reduction: str = "mean", delta: Scalar = 1.0, weight: Array | None = None
) -> Array:
    """`d**2 / 2` for differences d up to delta and `delta * (|d| - delta / 2)` for others, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    Raises:
        RuntimeError: delta <= 0, or a complex target.
    Source: Huber, Annals of Mathematical Statistics 35 (1964).
    """
    _same_size("huber_loss", input, target)
    require_float("huber_loss", input)
    require("huber_loss", target.dtype, _REAL, RuntimeError)
    difference = wide(input) - wide(target)
    size = _size(difference)
    loss = jnp.where(size <= delta, difference * difference / 2, delta * (size - delta / 2))
    loss = loss if weight is None else _scaled("huber_loss", loss, weight)
    return reduced("huber_loss", loss, reduction).astype(input.dtype)


# likelihoods


def _plogp(p: Array) -> Array:
    """`p * log(p)`, continued by 0 at 0."""
    zero = p == 0
    return jnp.where(zero, 0, p * jnp.log(jnp.where(zero, 1, p)))


@op(method=False, function=False)
def kl_div(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Array:
    """The Kullback-Leibler divergence of probabilities `target` from log-probabilities `input`, reduced.

    Args:
        reduction: "batchmean", which divides by N, is the divergence; "mean" divides by the number of elements.
        log_target: whether `target` holds logarithms too.
    Shape: (N, *), (N, *) -> (), or (N, *) without reduction
    """
    broadcast("kl_div", input, target)
    floats = _args.is_float(input.dtype) and _args.is_float(target.dtype)
    _args.check(floats, f"kl_div(): expected float dtypes, got {input.dtype} and {target.dtype}", RuntimeError)
    if size_average is None and reduce is None and reduction == "mean":
        message = "reduction: 'mean' divides the total loss by both the batch size and the support size; "
        warnings.warn(message + "'batchmean' divides by the batch size only, which is the divergence", stacklevel=2)
    chosen = legacy_reduction(size_average, reduce, reduction)
    x, t = (wide(a) for a in _args.promote(input, target))
    loss = jnp.exp(t) * (t - x) if log_target else _plogp(t) - t * x
    loss = _args.reduce_loss(loss, "sum" if chosen == "batchmean" else chosen, "kl_div")
    if reduction == "batchmean" and input.ndim:
        loss = loss / input.shape[0]
    return loss.astype(_args.promote_types(input.dtype, target.dtype))


@op(method=False, function=False, promote="same")
def poisson_nll_loss(
    input: Array,
    target: Array,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: Scalar = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The negative log-likelihood of counts `target` under Poisson rates, given as logarithms or as such, reduced.

    Args:
        full: add Stirling's approximation of log(target!) for targets above 1.
        eps: keeps the logarithm finite where log_input is False.
    Shape: (*), (*) -> (), or (*) without reduction
    """
    broadcast("poisson_nll_loss", input, target)
    x, t = wide(input), wide(target)
    loss = jnp.exp(x) - t * x if log_input else x - t * jnp.log(x + eps)
    if full:
        loss += jnp.where(t > 1, t * jnp.log(t) - t + jnp.log(2 * jnp.pi * t) / 2, 0)
    return reduced("poisson_nll_loss", loss, reduction, size_average, reduce).astype(input.dtype)


def _check_variance(input, target, var, full=False, eps=1e-6, reduction="mean"):
    positive = np.all(np.asarray(var) >= 0)
    _args.check(positive, "gaussian_nll_loss(): expected variances >= 0, got a negative one")


def _variance(input: Array, var: Array) -> Array:
    """The variances, ready to broadcast against the input."""
    if var.shape == input.shape or var.aval.weak_type:
        return var
    if var.shape == input.shape[:-1]:
        return var[..., None]
    differing = [v for i, v in zip(input.shape, var.shape, strict=False) if i != v]
    fits = var.ndim == input.ndim and sum(differing) == 1
    _args.check(fits, f"gaussian_nll_loss(): expected var of a shape that fits {input.shape}, got {var.shape}")
    return var


@op(method=False, function=False, validate=_check_variance)
def gaussian_nll_loss(
    input: Array, target: Array, var: Scalar, full: bool = False, eps: Scalar = 1e-6, reduction: str = "mean"
) -> Array:
    """The negative log-likelihood of `target` under normal distributions of mean `input` and variance `var`, reduced.

    Args:
        full: add the constant term.
        eps: the least variance; smaller ones count as this, but keep their gradient.
    Shape: (N, *, D), (N, *, D), (N, *, D) or (N, *, 1) or (N, *) or a number -> (), or (N, *, D) without reduction
    Raises:
        ValueError: a variance is negative, or var has another shape.
    """
    broadcast("gaussian_nll_loss", input, target)
    dtype = _args.result_type(input, target, var)
    dtype = dtype if _args.is_inexact(dtype) else _args.default_float()
    x, t, v = wide(input), wide(target), wide(_variance(input, var))
    v = jnp.where(v < eps, eps + (v - jax.lax.stop_gradient(v)), v)  # as in torch, the bound does not stop the gradient
    loss = (jnp.log(v) + jnp.square(x - t) / v) / 2 + (math.log(2 * math.pi) / 2 if full else 0)
    return reduced("gaussian_nll_loss", loss, reduction).astype(dtype)


# two classes


@jax.custom_jvp
def _bce(x: Array, t: Array) -> Array:
    """Cross entropy of probabilities, its logarithms held at -100 or above."""
    return -t * jnp.maximum(jnp.log(x), -100) - (1 - t) * jnp.maximum(jnp.log1p(-x), -100)


@_bce.defjvp
def _bce_jvp(primals, tangents):
    """torch's gradient, which is not that of the bounded logarithms: its denominator is held at 1e-12 or above."""
    (x, t), (dx, dt) = primals, tangents
    slope = (x - t) / jnp.maximum(x * (1 - x), 1e-12)
    return _bce(x, t), dx * slope + dt * (jnp.log1p(-x) - jnp.log(x))


def _check_bce(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    if input.shape != target.shape:
        return  # the op itself says so
    for name, values in (("input", input), ("target", target)):
        values = np.asarray(values)
        inside = np.all((values >= 0) & (values <= 1))
        message = f"binary_cross_entropy(): expected all elements of {name} between 0 and 1, got others"
        _args.check(inside, message, RuntimeError)


@op(method=False, function=False, validate=_check_bce)
def binary_cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The cross entropy of probabilities `input` and probabilities `target`, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    Raises:
        RuntimeError: an element is outside the range from 0 to 1, or the dtypes differ.
        ValueError: the shapes differ.
    """
    same = input.shape == target.shape
    message = "binary_cross_entropy(): expected input and target of one {}, got {} and {}"
    _args.check(same, message.format("shape", input.shape, target.shape))
    same = input.dtype == target.dtype
    _args.check(same, message.format("dtype", input.dtype, target.dtype), RuntimeError)
    require_float("binary_cross_entropy", input)
    loss = _bce(wide(input), wide(target))
    if weight is not None:
        _check_factors("binary_cross_entropy", input, weight)
        loss = loss * wide(weight)
    return reduced("binary_cross_entropy", loss, reduction, size_average, reduce).astype(input.dtype)


@op(method=False, function=False)
def binary_cross_entropy_with_logits(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """The cross entropy of `sigmoid(input)` and probabilities `target`, reduced, without overflow.

    Args:
        pos_weight: factors for the positive part, broadcast against the target.
    Shape: (*), (*) -> (), or (*) without reduction; in the dtype of the target
    Raises:
        ValueError: the shapes differ.
        RuntimeError: the target is of integers or bools, or weights are complex or have more elements than the input.
    """
    name = "binary_cross_entropy_with_logits"
    same = input.shape == target.shape
    _args.check(same, f"{name}(): expected target of shape {input.shape}, got {target.shape}")
    require_float(name, input)
    floats = f"{name}(): expected a target of a float dtype, got {target.dtype}"
    _args.check(_args.is_float(target.dtype), floats, RuntimeError)
    x, t = wide(input), wide(target)
    _check_factors(name, input, *(a for a in (weight, pos_weight) if a is not None))
    positive = 1.0 if pos_weight is None else 1 + (wide(pos_weight) - 1) * t
    loss = (1 - t) * x + positive * jax.nn.softplus(-x)
    if weight is not None:
        loss = loss * wide(weight)
    return reduced(name, loss, reduction, size_average, reduce).astype(target.dtype)


@op(method=False, function=False)
def soft_margin_loss(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """`log(1 + exp(-target * input))` for targets 1 and -1, reduced, without overflow.

    Shape: (*), targets that broadcast to it -> (), or (*) without reduction
    Raises:
        RuntimeError: the targets have more elements than the input, or these are no floats.
    """
    _check_factors("soft_margin_loss", input, target)
    require("soft_margin_loss", input.dtype, "f", RuntimeError)
    loss = jax.nn.softplus(-(wide(target) * wide(input)))
    return reduced("soft_margin_loss", loss, reduction, size_average, reduce).astype(input.dtype)
