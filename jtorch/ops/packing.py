"""Sequences of unequal lengths: padded to one array, or packed time by time without padding.

A packed batch holds the first elements of all sequences, then the second ones of those that have one, and so on, longest
sequence first. Where each element lies is worked out here on the host, since it decides shapes.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, op


@op(method=False, function=False)
def take_rows(input: Array, index: Array, fill: Scalar | None = None, lead: int = 1) -> Array:
    """The elements of the first `lead` dimensions, counted as one, at these places, and `fill` where a place is -1.

    Shape: (*, F), places of any shape (*I) -> (*I, F)
    Args:
        fill: None: every place is there.
    """
    flat = input.reshape(-1, *input.shape[lead:])
    rows = flat.at[index].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    if fill is None:
        return rows
    there = (index >= 0).reshape(index.shape + (1,) * (rows.ndim - index.ndim))
    return jnp.where(there, rows, jnp.asarray(fill).astype(rows.dtype))


@op(method=False, function=False, eager=True)
def pad_sequence(
    sequences: Sequence[Array], batch_first: bool = False, padding_value: Scalar = 0.0, padding_side: str = "right"
) -> Array:
    """Sequences beside each other, filled up to the length of the longest.

    Arrays with values are put together on the host: batches differ in their lengths, and each combination would be a
    program of its own.

    Shape: N times (L, *) -> (T, N, *), or (N, T, *) if `batch_first`
    Args:
        padding_side: "right" or "left".
    Raises:
        RuntimeError: there are no sequences, they have no length, or their other sizes differ.
    """
    _args.check(len(sequences) > 0, "received an empty list of sequences", RuntimeError)
    sided = padding_side in ("right", "left")
    _args.check(sided, f"Expected padding_side to be one of left or right, but got {padding_side}.", RuntimeError)
    first = sequences[0]
    shapes = [tuple(x.shape) for x in sequences]
    same = first.ndim > 0 and all(len(s) == first.ndim and s[1:] == shapes[0][1:] for s in shapes)
    message = f"pad_sequence(): expected sequences (L, *) that differ in length only, got shapes {shapes}"
    _args.check(same, message, RuntimeError)
    longest = max(s[0] for s in shapes)
    lib = jnp if any(isinstance(x, Tracer) for x in jax.tree.leaves((sequences, padding_value))) else np

    def padded(x: Array) -> Array:
        missing = (longest - x.shape[0], 0) if padding_side == "left" else (0, longest - x.shape[0])
        x = lib.asarray(x).astype(first.dtype)
        fill = lib.asarray(padding_value).astype(first.dtype)
        return lib.pad(x, [missing, *[(0, 0)] * (x.ndim - 1)], constant_values=fill)

    return lib.stack([padded(x) for x in sequences], 0 if batch_first else 1)  # type: ignore[return-value]


def batch_sizes_of(lengths: np.ndarray) -> np.ndarray:
    """How many sequences have an element at each time."""
    return (np.arange(lengths.max())[:, None] < lengths).sum(1)


def lengths_of(batch_sizes: Sequence[int] | np.ndarray) -> np.ndarray:
    """The lengths, longest first, of sequences of which so many have an element at each time.

    Raises:
        RuntimeError: the numbers are none, negative or grow.
    """
    sizes = np.asarray(batch_sizes)
    valid = sizes.ndim == 1 and sizes.size > 0 and sizes[-1] > 0 and bool((np.diff(sizes) <= 0).all())
    _args.check(valid, f"expected batch_sizes that never grow and stay above 0, got {sizes.tolist()}", RuntimeError)
    return (sizes[:, None] > np.arange(sizes[0])).sum(0)


def packed_places(lengths: np.ndarray, total_length: int | None = None) -> np.ndarray:
    """Where each element of a padded batch lies in the packed one, -1 where there is none.

    Shape: (N) lengths, longest first -> (T, N)
    """
    present = np.arange(lengths[0] if total_length is None else total_length)[:, None] < lengths
    return np.where(present, present.cumsum().reshape(present.shape) - 1, -1).astype(np.int32)


def padded_places(lengths: np.ndarray, order: np.ndarray, time_step: int, sequence_step: int) -> np.ndarray:
    """Where each element of a packed batch lies in the padded one, counted along times and sequences.

    Shape: (N) lengths, longest first -> (sum of lengths)
    Args:
        order: the place in the padded batch of each sequence.
        time_step, sequence_step: how far apart neighbours lie in the padded batch.
    """
    time, sequence = np.nonzero(np.arange(lengths[0])[:, None] < lengths)
    return (time * time_step + order[sequence] * sequence_step).astype(np.int32)
