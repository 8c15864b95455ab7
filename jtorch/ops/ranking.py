"""Losses over distances and rankings: of two or three embeddings, or of scores that should stand in some order."""

from collections.abc import Callable

import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops.loss import at_least, broadcast, legacy_reduction, reduced


@op(method=False, function=False)
def hinge_embedding_loss(
    input: Array,
    target: Array,
    margin: Scalar = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """The distances `input` where target is 1, and what they fall short of `margin` where it is -1, reduced.

    Shape: (*), (*) -> (), or (*) without reduction
    """
    broadcast("hinge_embedding_loss", input, target)
    reduction = legacy_reduction(size_average, reduce, reduction)
    averaged = reduction != "mean" or _args.is_inexact(input.dtype)
    message = f"hinge_embedding_loss(): expected a float dtype for the mean, got {input.dtype}"
    _args.check(averaged, message, RuntimeError)
    x = wide(input)
    loss = jnp.where(target != 1, at_least(margin - x, 0), 0) + jnp.where(target != -1, x, 0)
    return reduced("hinge_embedding_loss", loss, reduction).astype(input.dtype)


@op(method=False, function=False)
def margin_ranking_loss(
    input1: Array,
    input2: Array,
    target: Array,
    margin: Scalar = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """`max(0, margin - target * (input1 - input2))` for targets 1 (first should rank higher) and -1, reduced.

    Shape: (N), (N), (N) -> (), or (N) without reduction
    Raises:
        RuntimeError: the numbers of dimensions differ.
    """
    same = input1.ndim == input2.ndim == target.ndim
    shapes = f"{input1.shape}, {input2.shape}, {target.shape}"
    _args.check(same, f"margin_ranking_loss(): expected as many dimensions in each, got {shapes}", RuntimeError)
    broadcast("margin_ranking_loss", input1, input2, target)
    one, two = _args.promote(input1, input2)
    _args.check(one.dtype != jnp.bool_, "margin_ranking_loss(): expected numbers, got bool", RuntimeError)
    sign, apart = _args.promote(target, wide(one) - wide(two))
    apart = -sign * apart  # integers wrap around in their own dtypes, as in torch
    dtype = _args.promote_types(one.dtype, target.dtype)
    dtype = dtype if _args.is_inexact(dtype) else _args.default_float()
    loss = at_least(apart.astype(jnp.promote_types(apart.dtype, dtype)) + margin, 0)
    return reduced("margin_ranking_loss", loss, reduction, size_average, reduce).astype(dtype)


@op(method=False, function=False)
def cosine_embedding_loss(
    input1: Array,
    input2: Array,
    target: Array,
    margin: Scalar = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """1 minus the cosine where target is 1, and what the cosine exceeds `margin` by where it is -1, reduced.

    Shape: (N, E), (N, E), (N) -> (), or (N) without reduction; or (E), (E), () -> ()
    Raises:
        RuntimeError: the inputs do not have one dimension more than the target.
    """
    fits = target.ndim in (0, 1) and input1.ndim == input2.ndim == target.ndim + 1
    shapes = f"{input1.shape}, {input2.shape}, {target.shape}"
    expected = "expected inputs (N, E) with target (N), or (E) with ()"
    _args.check(fits, f"cosine_embedding_loss(): {expected}, got {shapes}", RuntimeError)
    broadcast("cosine_embedding_loss", input1, input2, target[..., None])
    dtype = _args.promote_types(input1.dtype, input2.dtype)
    dtype = dtype if _args.is_inexact(dtype) else _args.default_float()
    a, b = wide(input1.astype(dtype)), wide(input2.astype(dtype))
    sizes = (jnp.sum(a * a, -1) + 1e-12) * (jnp.sum(b * b, -1) + 1e-12)
    cosine = jnp.sum(a * b, -1) / jnp.sqrt(sizes)
    loss = jnp.where(target == 1, 1 - cosine, 0) + jnp.where(target == -1, at_least(cosine - margin, 0), 0)
    return reduced("cosine_embedding_loss", loss, reduction, size_average, reduce).astype(dtype)


def _check_triplet(name: str, anchor: Array, positive: Array, negative: Array, margin: float) -> None:
    _args.check(margin > 0, f"{name}(): expected margin > 0, got {margin}")
    same = anchor.ndim == positive.ndim == negative.ndim
    shapes = f"{tuple(anchor.shape)}, {tuple(positive.shape)}, {tuple(negative.shape)}"
    _args.check(same, f"{name}(): expected as many dimensions in each, got {shapes}", RuntimeError)


def _distance(one: Array, two: Array, p: float, eps: float) -> Array:
    """The p-norm of the differences along the last dimension, each moved by eps away from 0."""
    broadcast("triplet_margin_loss", one, two)
    apart = one - two  # integers wrap around in their own dtype, as in torch
    apart = apart if _args.is_inexact(apart.dtype) else apart.astype(_args.default_float())
    size = jnp.abs(apart + eps)
    if p == 2:
        return jnp.sqrt(jnp.sum(size * size, -1))
    if p == 1:
        return jnp.sum(size, -1)
    return jnp.max(size, -1) if p == float("inf") else jnp.sum(size**p, -1) ** (1 / p)


def _triplet(near: Array, far: Array, between: Array | None, margin: Scalar) -> Array:
    return at_least(margin + near - (far if between is None else jnp.minimum(far, between)), 0)


@op(method=False, function=False)
def triplet_margin_loss(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Array:
    """What the anchor is nearer to the negative than `margin` beyond its distance to the positive, reduced.

    Args:
        p: the norm of the distances.
        swap: take the distance of positive and negative where that is the smaller one.
    Shape: (N, E), (N, E), (N, E) -> (), or (N) without reduction; or (E), (E), (E) -> ()
    Raises:
        ValueError: margin <= 0.
        RuntimeError: the numbers of dimensions differ.
    Source: Balntas et al., BMVC (2016).
    """
    _check_triplet("triplet_margin_loss", anchor, positive, negative, margin)
    anchor, positive, negative = _args.promote(anchor, positive, negative)
    _args.check(anchor.dtype != jnp.bool_, "triplet_margin_loss(): expected numbers, got bool", RuntimeError)
    dtype = jnp.finfo(anchor.dtype).dtype if _args.is_inexact(anchor.dtype) else _args.default_float()
    a, b, c = wide(anchor), wide(positive), wide(negative)
    between = _distance(b, c, p, eps) if swap else None
    loss = _triplet(_distance(a, b, p, eps), _distance(a, c, p, eps), between, margin)
    return reduced("triplet_margin_loss", loss, reduction, size_average, reduce).astype(dtype)


@op(method=False, function=False, promote="float")
def _pair_distance(one: Array, two: Array) -> Array:
    """The distance that triplet_margin_with_distance_loss takes by default."""
    return _distance(wide(one), wide(two), 2, 1e-6).astype(one.dtype)


@op(method=False, function=False, promote="same")
def _triplet_loss(near: Array, far: Array, between: Array | None, margin: float, reduction: str) -> Array:
    """The loss from the distances."""
    broadcast("triplet_margin_with_distance_loss", near, far)
    return reduced("triplet_margin_with_distance_loss", _triplet(near, far, between, margin), reduction)


@derived(method=False, function=False)
def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function: Callable | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
):
    """`triplet_margin_loss` for any distance: a function of two arrays or tensors, by default the Euclidean one.

    Shape: (N, *), (N, *), (N, *) -> (), or what the distance gives without reduction
    Raises:
        ValueError: margin <= 0.
        RuntimeError: the numbers of dimensions differ.
    """
    _check_triplet("triplet_margin_with_distance_loss", anchor, positive, negative, margin)
    distance = distance_function or _pair_distance
    between = distance(positive, negative) if swap else None
    return _triplet_loss(distance(anchor, positive), distance(anchor, negative), between, margin, reduction)
