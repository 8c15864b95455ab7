"""Rows of a table looked up in bags and reduced bag by bag: embedding_bag."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, op
from jtorch.ops.embedding import looked_up
from jtorch.ops.gathering import check_range


def _check_bags(input: Array, weight: Array, offsets: Array | None = None, *rest, **more) -> None:
    check_range("embedding_bag", input, weight.shape[0], 0, RuntimeError)
    if offsets is not None and offsets.size:
        starts = np.asarray(offsets)
        _args.check(starts[0] == 0, f"embedding_bag(): expected offsets from 0 on, got {starts[0]}", ValueError)
        last = f"embedding_bag(): expected offsets of at most {input.shape[0]}, got {starts[-1]}"
        _args.check(starts[-1] <= input.shape[0], last, ValueError)


def _bags(input: Array, offsets: Any, include_last_offset: bool) -> tuple[Array, int]:
    """The bag of each element, and the number of bags."""
    if input.ndim == 2:
        _args.check(offsets is None, "embedding_bag(): expected no offsets for an input of two dimensions", ValueError)
        return jnp.repeat(jnp.arange(input.shape[0]), input.shape[1]), input.shape[0]
    _args.check(input.ndim == 1, f"embedding_bag(): expected 1 or 2 dimensions, got {input.ndim}", ValueError)
    fits = offsets is not None and offsets.ndim == 1
    _args.check(fits, "embedding_bag(): expected a vector of offsets for an input of one dimension", ValueError)
    assert offsets is not None
    places = jnp.arange(input.shape[0], dtype=offsets.dtype)
    count = offsets.shape[0] - 1 if include_last_offset else offsets.shape[0]
    return jnp.searchsorted(offsets[:count], places, side="right") - 1, count


def _largest(rows: Array, bag: Array, kept: Array, count: int) -> Array:
    """The largest of each feature in each bag, 0 in an empty one; the gradient goes to its first occurrence."""
    lowest = jnp.where(kept[:, None], jax.lax.stop_gradient(rows), -jnp.inf)
    most = jax.ops.segment_max(lowest, bag, count)
    place = jnp.where((lowest == most[bag]) & kept[:, None], jnp.arange(rows.shape[0])[:, None], rows.shape[0])
    first = jax.ops.segment_min(place, bag, count)
    found = jnp.take_along_axis(rows, jnp.minimum(first, rows.shape[0] - 1), axis=0)
    return jnp.where(jnp.isneginf(most), 0, found)


@op(method=False, function=False, validate=_check_bags)
def embedding_bag(
    input: Array, weight: Array, offsets: Array | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Array | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
) -> Array:  # fmt: skip
    """The sum, mean or max of the rows of `weight` that the integers of each bag name; 0 for an empty bag.

    Rows of a two-dimensional input are bags; in a vector, bags begin at the offsets. Elements equal to `padding_idx`
    take no part.

    Shape: (B, N) or (N) with offsets (B), (V, E) -> (B, E)
    Raises: ValueError for offsets that do not fit or another mode; RuntimeError for an integer out of range.
    Differs: as `embedding` does.
    """
    known = mode in ("sum", "mean", "max")
    _args.check(known, f"embedding_bag(): expected mode 'sum', 'mean' or 'max', got {mode!r}", ValueError)
    bag, count = _bags(input, offsets, include_last_offset)
    flat = input.reshape(-1)
    kept = jnp.ones(flat.shape, bool) if padding_idx is None else flat != padding_idx % weight.shape[0]
    rows = looked_up(flat, weight, max_norm, norm_type, scale_grad_by_freq)
    if not count or not flat.size:
        return jnp.zeros((count, weight.shape[1]), weight.dtype)
    if mode == "max":
        return _largest(rows, bag, kept, count)
    if per_sample_weights is not None:
        _args.check(
            mode == "sum", f"embedding_bag(): expected mode 'sum' with weights, got {mode!r}", NotImplementedError
        )
        rows = rows * per_sample_weights.reshape(-1)[:, None]
    total = jax.ops.segment_sum(jnp.where(kept[:, None], rows, 0), bag, count)
    if mode == "sum":
        return total
    size = jax.ops.segment_sum(kept.astype(weight.dtype), bag, count)
    return total / jnp.maximum(size, 1)[:, None]
