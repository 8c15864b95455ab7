"""Rows of a table looked up in bags and reduced bag by bag: embedding_bag."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops.embedding import looked_up, renormed_in_place
from jtorch.ops.gathering import check_range


def _check_bags(input: Array, weight: Array, offsets: Array | None = None, *rest, **more) -> None:
    check_range("embedding_bag", input, weight.shape[0], 0, RuntimeError)
    if offsets is not None and offsets.size:
        starts = np.asarray(offsets)
        _args.check(starts[0] == 0, f"embedding_bag(): expected offsets from 0 on, got {starts[0]}", RuntimeError)
        last = f"embedding_bag(): expected offsets of at most {input.shape[0]}, got {starts[-1]}"
        _args.check(starts[-1] <= input.shape[0], last, RuntimeError)


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


def _require_settings(
    input: Array, weight: Array, scale_grad_by_freq: bool, mode: str, sparse: bool, per_sample_weights: Array | None,
    padding_idx: int | None,
) -> None:  # fmt: skip
    """Raise for arguments that do not go together."""
    name = "embedding_bag(): expected"
    _args.check(mode in ("sum", "mean", "max"), f"{name} mode 'sum', 'mean' or 'max', got {mode!r}")
    whole = input.dtype in (np.int64, np.int32)
    _args.check(whole, f"{name} an input of dtype int64 or int32, got {input.dtype}", RuntimeError)
    plain = mode != "max" or not (scale_grad_by_freq or sparse)
    _args.check(plain, f"{name} neither scale_grad_by_freq nor sparse in mode 'max', got one")
    rows = weight.shape[0]
    inside = padding_idx is None or -rows <= padding_idx < rows
    _args.check(inside, f"{name} padding_idx from {-rows} to {rows - 1}, got {padding_idx}", RuntimeError)
    if per_sample_weights is not None:
        _args.check(mode == "sum", f"{name} mode 'sum' with weights, got {mode!r}", NotImplementedError)
        shape = per_sample_weights.shape
        _args.check(shape == input.shape, f"{name} per_sample_weights of shape {input.shape}, got {shape}")
        dtype = per_sample_weights.dtype
        _args.check(dtype == weight.dtype, f"{name} weights of dtype {weight.dtype}, got {dtype}", RuntimeError)


@op(method=False, function=False, validate=_check_bags)
def _embedding_bag(
    input: Array, weight: Array, offsets: Array | None, max_norm: float | None, norm_type: float,
    scale_grad_by_freq: bool, mode: str, sparse: bool, per_sample_weights: Array | None, include_last_offset: bool,
    padding_idx: int | None,
) -> Array:  # fmt: skip
    """What `embedding_bag` gives for a table that is not written."""
    _require_settings(input, weight, scale_grad_by_freq, mode, sparse, per_sample_weights, padding_idx)
    bag, count = _bags(input, offsets, include_last_offset)
    flat = input.reshape(-1)
    kept = jnp.ones(flat.shape, bool) if padding_idx is None else flat != padding_idx % weight.shape[0]
    rows = looked_up(flat, weight, max_norm, norm_type, scale_grad_by_freq)
    if not count or not flat.size:
        return jnp.zeros((count, weight.shape[1]), weight.dtype)
    if mode == "max":
        return _largest(rows, bag, kept, count)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1)[:, None]
    total = jax.ops.segment_sum(jnp.where(kept[:, None], rows, 0), bag, count)
    if mode == "sum":
        return total
    size = jax.ops.segment_sum(kept.astype(weight.dtype), bag, count)
    return total / jnp.maximum(size, 1)[:, None]


@derived(method=False, function=False)
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """The sum, mean or max of the rows of `weight` that the integers of each bag name; 0 for an empty bag.

    Rows of a two-dimensional input are bags; in a vector, bags begin at the offsets. Elements equal to `padding_idx`
    take no part. With `max_norm`, rows of a larger norm are first scaled down to it in the table.

    Shape: (B, N) or (N) with offsets (B), (V, E) -> (B, E)
    Raises: ValueError for arguments that do not go together; RuntimeError for an integer or an offset out of range.
    Differs: as `embedding` does. With `scale_grad_by_freq` each gradient is divided by how often its own integer comes
        up; torch's CPU kernel takes another integer's count where some come up more than once.
    """
    if max_norm is not None and renormed_in_place(input, weight, max_norm, norm_type):
        max_norm = None
    return _embedding_bag(
        input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights,
        include_last_offset, padding_idx,
    )  # fmt: skip
