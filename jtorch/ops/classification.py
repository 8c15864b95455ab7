"""Losses over classes: cross entropy and negative log-likelihood, and the margins between class scores.

Class targets out of range raise where values are at hand; in compiled code they make the loss NaN. Targets may have any
integer dtype, where torch takes int64 and uint8 only.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import require_float, wide
from jtorch.ops._matrices import same_dtype
from jtorch.ops._op import Array, Scalar, op
from jtorch.ops._products import weighed
from jtorch.ops.loss import broadcast, legacy_reduction, reduced

# cross entropy


def _check_classes(name: str, target: Array, count: int, ignore_index: int) -> None:
    values = np.asarray(target)
    if not values.size or (values.min() >= 0 and values.max() < count):  # as a rule, and every step asks
        return
    bad = values[(values != ignore_index) & ((values < 0) | (values >= count))]
    _args.check(not bad.size, f"{name}(): expected targets from 0 to {count - 1}, got {bad[:1]}", IndexError)


def _class_dim(input: Array) -> int:
    return 0 if input.ndim == 1 else 1


def _fit_target(name: str, input: Array, target: Array) -> Array:
    """The class indices in the shape of the input without its classes."""
    _args.check(input.ndim > 0, f"{name}(): expected at least one dimension, got a scalar")
    expected = input.shape[:1] + input.shape[2:] if input.ndim > 1 else ()
    if not expected and target.shape == (1,):
        target = target.reshape(())
    if input.ndim > 1 and target.ndim:
        message = f"{name}(): expected a target batch of {input.shape[0]}, got {target.shape[0]}"
        _args.check(target.shape[0] == input.shape[0], message)
    integral = _args.is_integral(target.dtype) and target.dtype != np.bool_
    _args.check(integral, f"{name}(): expected integer targets, got {target.dtype}", RuntimeError)
    _args.check(
        target.shape == expected, f"{name}(): expected target of shape {expected}, got {target.shape}", RuntimeError
    )
    return target


def _fit_weight(name: str, input: Array, weight: Array | None, same_dtype: bool = True) -> Array | None:
    """The class weights, wide."""
    if weight is None:
        return None
    same = not same_dtype or weight.dtype == input.dtype
    _args.check(same, f"{name}(): expected a weight of dtype {input.dtype}, got {weight.dtype}", RuntimeError)
    count = input.shape[_class_dim(input)]
    message = f"{name}(): expected a weight for each of {count} classes, got shape {weight.shape}"
    _args.check(weight.shape == (count,), message, RuntimeError)
    return wide(weight)


def _pick(scores: Array, target: Array, ignore_index: int) -> tuple[Array, Array, Array]:
    """The score of each target, with which targets count and indices that are safe to use.

    The score is NaN for an index out of range. A gather, since a one-hot mask would cost a pass over all the scores.
    """
    dim = _class_dim(scores)
    count = scores.shape[dim]
    counted = target != ignore_index
    inside = (target >= 0) & (target < count)
    index = jnp.where(inside, target, 0)
    found = jnp.take_along_axis(scores, jnp.expand_dims(index, dim), axis=dim, mode="promise_in_bounds")
    return jnp.where(inside, jnp.squeeze(found, dim), jnp.nan), counted, index


def _likelihood(picked: Array, counted: Array, index: Array, weight: Array | None, reduction: str, name: str) -> Array:
    """The negative log-likelihood from log-probabilities of the targets; the mean is weighted and over what counts."""
    weights = (
        counted.astype(picked.dtype) if weight is None else jnp.where(counted, weight[index], 0).astype(picked.dtype)
    )
    loss = -weights * jnp.where(counted, picked, 0)
    if reduction == "mean":
        return jnp.sum(loss) / jnp.sum(weights)
    return _args.reduce_loss(loss, reduction, name)


def _check_nll(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    if input.ndim and _args.is_integral(target.dtype):
        _check_classes("nll_loss", target, input.shape[_class_dim(input)], ignore_index)


@op(method=False, function=False, validate=_check_nll)
def nll_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """Minus the log-probabilities `input` of the classes `target`, reduced.

    Args:
        weight: one factor a class; the mean is then the weighted one.
        ignore_index: a target that does not count.
    Shape: (N, C, *), (N, *) -> (), or (N, *) without reduction; or (C), () -> ()
    Raises:
        IndexError: a target is out of range; in compiled code the loss is NaN instead.
        ValueError: the batches differ in size.
        RuntimeError: the shapes do not fit otherwise.
    """
    target = _fit_target("nll_loss", input, target)
    require_float("nll_loss", input)
    picked, counted, index = _pick(wide(input), target, ignore_index)
    weight = _fit_weight("nll_loss", input, weight)
    reduction = legacy_reduction(size_average, reduce, reduction)
    return _likelihood(picked, counted, index, weight, reduction, "nll_loss").astype(input.dtype)


def _log_normalizer(x: Array, dim: int) -> tuple[Array, Array]:
    """The scores less their maximum, and the logarithm of the sum of their exponentials."""
    shifted = x - jax.lax.stop_gradient(jnp.max(x, axis=dim, keepdims=True)) if x.size else x
    return shifted, jnp.log(jnp.sum(jnp.exp(shifted), axis=dim))


def _spread(weight: Array, input: Array) -> Array:
    """Class weights laid along the class dimension of the input."""
    return weight.reshape(weight.shape + (1,) * max(input.ndim - 2, 0))


def _cross_entropy_of_classes(
    input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, smoothing: float
) -> Array:
    target = _fit_target("cross_entropy", input, target)
    dim = _class_dim(input)
    count = input.shape[dim]
    shifted, log_sum = _log_normalizer(wide(input), dim)
    picked, counted, index = _pick(shifted, target, ignore_index)
    loss = _likelihood(picked - log_sum, counted, index, weight, reduction, "cross_entropy")
    if smoothing == 0:
        return loss
    if weight is None:
        total = count * log_sum - jnp.sum(shifted, dim)
        weights = counted
    else:
        total = jnp.sum((jnp.expand_dims(log_sum, dim) - shifted) * _spread(weight, input), dim)
        weights = jnp.where(counted, weight[index], 0)
    even = jnp.where(counted, total, 0)
    even = (
        jnp.sum(even) / jnp.sum(weights) if reduction == "mean" else _args.reduce_loss(even, reduction, "cross_entropy")
    )
    return (1 - smoothing) * loss + even * (smoothing / count)


def _cross_entropy_of_probabilities(
    input: Array, target: Array, weight: Array | None, reduction: str, smoothing: float
) -> Array:
    dim = _class_dim(input)
    count = input.shape[dim]
    probability = wide(target)
    if smoothing > 0:
        probability = probability * (1 - smoothing) + smoothing / count
    if weight is not None:
        probability = probability * _spread(weight, input)
    shifted, log_sum = _log_normalizer(wide(input), dim)
    loss = jnp.sum((jnp.expand_dims(log_sum, dim) - shifted) * probability, dim)
    return reduced("cross_entropy", loss, reduction)


def _check_cross_entropy(
    input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0
):
    if input.ndim and input.shape != target.shape and _args.is_integral(target.dtype):
        _check_classes("cross_entropy", target, input.shape[_class_dim(input)], ignore_index)


@op(method=False, function=False, validate=_check_cross_entropy)
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """The cross entropy of `softmax(input)` and targets, given as class indices or as probabilities, reduced.

    Args:
        weight: one factor a class; with class indices the mean is then the weighted one.
        ignore_index: a target that does not count.
        label_smoothing: the part of each target that is spread evenly over the classes.
    Shape: (N, C, *), (N, *) or (N, C, *) -> (), or (N, *) without reduction; or (C), () or (C) -> ()
    Raises:
        IndexError: a class index is out of range; in compiled code the loss is NaN instead.
        ValueError: the batches differ in size.
        RuntimeError: the shapes do not fit otherwise, or targets of the input's shape are integers.
    """
    require_float("cross_entropy", input)
    reduction = legacy_reduction(size_average, reduce, reduction)
    allowed = label_smoothing <= 1
    _args.check(allowed, f"cross_entropy(): expected label_smoothing from 0 to 1, got {label_smoothing}", RuntimeError)
    if input.shape != target.shape:
        weight = _fit_weight("cross_entropy", input, weight)
        loss = _cross_entropy_of_classes(input, target, weight, ignore_index, reduction, max(label_smoothing, 0))
        return loss.astype(input.dtype)
    floats = _args.is_float(target.dtype)
    _args.check(floats, f"cross_entropy(): expected float class probabilities, got {target.dtype}", RuntimeError)
    message = "cross_entropy(): expected no ignore_index for class probabilities, got {}"
    _args.check(ignore_index < 0, message.format(ignore_index), RuntimeError)
    weight = _fit_weight("cross_entropy", input, weight, same_dtype=False)
    dtype = _args.promote_types(input.dtype, target.dtype)
    return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing).astype(dtype)


def _check_linear_cross_entropy(
    input, linear_weight, target, linear_bias=None, weight=None, reduction="mean", ignore_index=None,
    label_smoothing=0.0, options=None,
):  # fmt: skip
    if _args.is_integral(target.dtype):
        index = -100 if ignore_index is None else ignore_index
        _check_classes("linear_cross_entropy", target, linear_weight.shape[0], index)


def _linear_shapes(input: Array, linear_weight: Array, linear_bias: Array | None) -> None:
    name = "linear_cross_entropy(): expected"
    _args.check(input.ndim in (1, 2), f"{name} input of 1 or 2 dimensions, got {input.ndim}", RuntimeError)
    wide_enough = linear_weight.ndim >= 2
    _args.check(wide_enough, f"{name} linear_weight of 2 or more dimensions, got {linear_weight.ndim}", RuntimeError)
    sizes = input.shape[-1], linear_weight.shape[-1]
    _args.check(sizes[0] == sizes[1], f"{name} one number of features, got {sizes[0]} and {sizes[1]}", RuntimeError)
    shape = linear_weight.shape[:-1]
    fits = linear_bias is None or linear_bias.shape == shape
    _args.check(fits, f"{name} linear_bias of shape {shape}, got {getattr(linear_bias, 'shape', None)}", RuntimeError)
    batched = input.ndim == 2 or linear_weight.ndim == 2
    _args.check(
        batched, f"{name} batched input for linear_weight of shape {linear_weight.shape}, got none", RuntimeError
    )


@op(method=False, function=False, validate=_check_linear_cross_entropy)
def linear_cross_entropy(
    input: Array,
    linear_weight: Array,
    target: Array,
    *,
    linear_bias: Array | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
) -> Array:
    """The cross entropy of a linear layer's output: `cross_entropy(input @ linear_weight.T + linear_bias, target)`.

    Args:
        options: accepted; XLA decides how the work is split.
    Shape: (N, F), (C, *, F), (N, *) or (N, C, *) -> (), or (N, *) without reduction
    Raises:
        IndexError: a class index is out of range.
        RuntimeError: the shapes do not fit, or ignore_index is given for class probabilities.
    """
    _linear_shapes(input, linear_weight, linear_bias)
    same_dtype("linear_cross_entropy", input, linear_weight, linear_bias)
    require_float("linear_cross_entropy", input)
    flat = linear_weight.reshape(-1, linear_weight.shape[-1])
    dtype = input.dtype
    # 16-bit logits would cost more accuracy than the rest of the computation
    logits = weighed(wide(input), wide(flat), 1, _args.precision())
    if linear_bias is not None:
        logits = logits + wide(linear_bias.reshape(-1))
    logits = logits.reshape(*input.shape[:-1], *linear_weight.shape[:-1])
    given = ignore_index is not None
    message = f"linear_cross_entropy(): expected no ignore_index for class probabilities, got {ignore_index}"
    _args.check(not (given and target.shape == logits.shape), message, RuntimeError)
    index = ignore_index if given else -100
    if weight is not None and _args.is_integral(target.dtype):
        _fit_weight("linear_cross_entropy", logits.astype(dtype), weight)
    weight = None if weight is None else wide(weight)
    loss = cross_entropy.body(logits, target, weight, None, index, None, reduction, label_smoothing)
    return loss.astype(dtype if _args.is_integral(target.dtype) else _args.promote_types(dtype, target.dtype))


# margins

_REDUCTIONS = ("none", "mean", "sum")


def _rows(name: str, input: Array, target: Array, reduction: str) -> int:
    """The number of classes of scores (C) or (N, C), once the arguments are found sound."""
    _args.check(reduction in _REDUCTIONS, f"{name}(): expected reduction {_REDUCTIONS}, got {reduction!r}")
    _args.check(
        _args.is_integral(target.dtype), f"{name}(): expected integer targets, got {target.dtype}", RuntimeError
    )
    require_float(name, input)
    fits = input.ndim in (0, 1, 2) and (input.ndim == 0 or input.shape[-1] > 0)
    _args.check(fits, f"{name}(): expected scores (C) or (N, C), got shape {input.shape}", RuntimeError)
    return input.shape[-1] if input.ndim else 1


def _check_multi_margin(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    sound = p in (1, 2) and getattr(weight, "ndim", 1) == 1 and reduction in _REDUCTIONS
    values, count = np.asarray(target), input.shape[-1] if input.ndim else 1
    inside = not sound or np.all((values >= 0) & (values < count))
    _args.check(inside, f"multi_margin_loss(): expected targets from 0 to {count - 1}, got others", RuntimeError)


@op(method=False, function=False, validate=_check_multi_margin)
def multi_margin_loss(
    input: Array,
    target: Array,
    p: int | float = 1,
    margin: Scalar = 1.0,
    weight: Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The mean over the other classes j of `max(0, margin - input[target] + input[j]) ** p`, reduced.

    Shape: (N, C), (N) -> (), or (N) without reduction; or (C), () -> ()
    Raises:
        RuntimeError: a target is out of range, or the shapes do not fit.
        ValueError: p is neither 1 nor 2.
    """
    name = "multi_margin_loss"
    _args.check(p in (1, 2), f"{name}(): expected p 1 or 2, got {p}")
    ranks = 1 if weight is None else weight.ndim
    _args.check(ranks == 1, f"{name}(): expected weight of one dimension, got {ranks}")
    count = _rows(name, input, target, reduction)
    sized = weight is None or weight.shape == (count,)
    _args.check(sized, f"{name}(): expected {count} weights, got others", RuntimeError)
    weight = _fit_weight(name, jnp.atleast_1d(input), weight)
    scores = wide(input).reshape(-1, count)
    fits = target.ndim <= 1 and target.size == scores.shape[0]
    _args.check(fits, f"{name}(): expected {scores.shape[0]} targets, got shape {target.shape}", RuntimeError)
    index = target.reshape(-1, 1)
    distance = margin - jnp.take_along_axis(scores, index, axis=1) + scores
    others = jnp.arange(count) != index
    loss = jnp.where(others & (distance > 0), distance**p, 0)
    if weight is not None:
        loss = loss * weight[index]
    loss = jnp.sum(loss, 1) / count
    loss = loss if input.ndim == 2 or target.ndim == 1 else loss[0]
    return reduced(name, loss, reduction, size_average, reduce).astype(input.dtype)


def _check_multilabel_margin(input, target, size_average=None, reduce=None, reduction="mean"):
    values, count = np.asarray(target), input.shape[-1] if input.ndim else 1
    inside = reduction not in _REDUCTIONS or np.all((values >= -1) & (values < count))
    _args.check(inside, f"multilabel_margin_loss(): expected targets from -1 to {count - 1}, got others", RuntimeError)


@op(method=False, function=False, validate=_check_multilabel_margin)
def multilabel_margin_loss(
    input: Array,
    target: Array,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The sum over targets y and other classes j of `max(0, 1 - input[y] + input[j])`, divided by C, reduced.

    Args:
        target: class indices; in each row they end before the first -1.
    Shape: (N, C), (N, C) -> (), or (N) without reduction; or (C), (C) -> ()
    Raises:
        RuntimeError: a target is out of range, or the shapes differ.
    """
    name = "multilabel_margin_loss"
    count = _rows(name, input, target, reduction)
    same = target.shape == input.shape
    _args.check(same, f"{name}(): expected target of shape {input.shape}, got {target.shape}", RuntimeError)
    scores, labels = wide(input).reshape(-1, count), target.reshape(-1, count)
    valid = jnp.cumprod(labels >= 0, axis=1).astype(bool)
    labels = jnp.where(valid, labels, 0)
    is_label = jnp.any((labels[:, :, None] == jnp.arange(count)) & valid[:, :, None], axis=1)
    distance = 1 - jnp.take_along_axis(scores, labels, axis=1)[:, :, None] + scores[:, None, :]
    counted = valid[:, :, None] & ~is_label[:, None, :] & (distance > 0)
    loss = jnp.sum(jnp.where(counted, distance, 0), (1, 2)) / count
    loss = loss if input.ndim == 2 else loss[0]
    return reduced(name, loss, reduction, size_average, reduce).astype(input.dtype)


@op(method=False, function=False, promote="same")
def multilabel_soft_margin_loss(
    input: Array,
    target: Array,
    weight: Array | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The binary cross entropy of `sigmoid(input)` and targets 0 or 1, as a mean over the classes, reduced.

    Shape: (N, C), (N, C) -> (), or (N) without reduction
    """
    name = "multilabel_soft_margin_loss"
    broadcast(name, *(x for x in (input, target, weight) if x is not None))
    x, t = wide(input), wide(target)
    loss = t * jax.nn.softplus(-x) + (1 - t) * jax.nn.softplus(x)
    if weight is not None:
        loss = loss * wide(weight)
    loss = jnp.sum(loss, input.ndim - 1) / input.shape[-1]
    return reduced(name, loss, reduction, size_average, reduce).astype(input.dtype)
