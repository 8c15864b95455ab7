"""Distinct values, and where values stand among others: unique, searchsorted, bucketize, isin."""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, derived, op
from jtorch.ops.subscript import concrete

# distinct values


def _numbers(name: str, x: Array) -> np.ndarray:
    """The known values as numbers that NumPy can sort."""
    allowed = not _args.is_complex(x.dtype)
    _args.check(allowed, f"{name}(): expected real numbers, got {x.dtype}", NotImplementedError)
    values = concrete(x, name)
    return values.astype(np.float32) if _args.is_float(x.dtype) and x.dtype.itemsize < 4 else values


def _slices(name: str, values: np.ndarray, dim: int) -> tuple[np.ndarray, int]:
    """The slices along a dimension as rows, and the axis."""
    axis = _args.dim(dim, values.ndim, name)
    values = np.atleast_1d(values)
    filled = all(n for i, n in enumerate(values.shape) if i != axis)
    _args.check(
        filled or values.shape[axis] == 0, f"{name}(): expected elements, got shape {values.shape}", RuntimeError
    )
    return np.moveaxis(values, axis, 0), axis


def _found(input: Array, values: np.ndarray, inverse: np.ndarray, counts: np.ndarray) -> tuple[Array, Array, Array]:
    long = _args.long_dtype()
    return jnp.asarray(values, input.dtype), jnp.asarray(inverse, long), jnp.asarray(counts, long)


@op(method=False, function=False, differentiable=False, eager=True)
def distinct(input: Array, dim: int | None) -> tuple[Array, Array, Array]:
    """The distinct elements in order, the place of each element among them, and how often each of them comes.

    Shape: (*) -> (U), (*), (U)
    Raises: RuntimeError where the values are not known; NotImplementedError for complex numbers.
    """
    values = _numbers("unique", input)
    if dim is None:
        found, inverse, counts = np.unique(values, return_inverse=True, return_counts=True, equal_nan=False)
        return _found(input, found, inverse.reshape(input.shape), counts)
    rows, axis = _slices("unique", values, dim)
    if not rows.shape[0]:
        return _found(input, values, np.zeros(0), np.zeros(0))
    found, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True, axis=0)
    return _found(input, np.moveaxis(found, 0, axis), inverse.reshape(-1), counts)


@op(method=False, function=False, differentiable=False, eager=True)
def distinct_runs(input: Array, dim: int | None) -> tuple[Array, Array, Array]:
    """The first element of each run of equal ones, the run of each element, and the lengths of the runs.

    Shape: (*) -> (U), (*), (U)
    Raises: RuntimeError where the values are not known; NotImplementedError for complex numbers.
    """
    values = _numbers("unique_consecutive", input)
    rows, axis = (values.reshape(-1), 0) if dim is None else _slices("unique_consecutive", values, dim)
    new = np.ones(rows.shape[0], bool)
    new[1:] = (rows[1:] != rows[:-1]).any(axis=tuple(range(1, rows.ndim)))
    starts = np.flatnonzero(new)
    inverse = np.cumsum(new) - 1
    counts = np.diff(np.append(starts, rows.shape[0]))
    found = np.moveaxis(rows[starts], 0, axis)
    return _found(input, found, inverse.reshape(input.shape) if dim is None else inverse, counts)


def _chosen(found: tuple, inverse: bool, counts: bool):
    """The values, and what else is asked for."""
    more = [x for x, wanted in zip(found[1:], (inverse, counts), strict=True) if wanted]
    return (found[0], *more) if more else found[0]


@derived
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements, or slices along a dimension, always in order; with each one's place, and their counts.

    Shape: (*) -> (U), and (*), (U) where asked for
    Raises: RuntimeError under a trace; NotImplementedError for complex numbers.
    """
    return _chosen(distinct(input, dim), return_inverse, return_counts)


@derived
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of each run of equal elements, or slices along a dimension; with each one's run, and their lengths.

    Shape: (*) -> (U), and (*), (U) where asked for
    Raises: RuntimeError under a trace; NotImplementedError for complex numbers.
    """
    return _chosen(distinct_runs(input, dim), return_inverse, return_counts)


# places among others


def _check_sorter(sorted_sequence: Array, sorter: Array) -> None:
    fits = sorter.shape == sorted_sequence.shape and sorter.dtype == _args.long_dtype()
    text = (
        f"searchsorted(): expected an int64 sorter of shape {sorted_sequence.shape}, got {sorter.dtype} {sorter.shape}"
    )
    _args.check(fits, text, RuntimeError)


def _places(sequence: Array, values: Array, side: str) -> Array:
    sequence, values = _args.promote(sequence, values)
    if not (sequence.size and values.size):
        return jnp.zeros(values.shape, int)
    if sequence.ndim == 1:
        return jnp.searchsorted(sequence, values, side)
    rows = sequence.reshape(-1, sequence.shape[-1]), values.reshape(-1, values.shape[-1])
    return jax.vmap(lambda s, v: jnp.searchsorted(s, v, side))(*rows).reshape(values.shape)


def _check_places(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    if sorter is not None and sorter.size:
        values = np.asarray(sorter)
        inside = values.min() >= 0 and values.max() < sorted_sequence.shape[-1]
        _args.check(inside, "searchsorted(): expected a sorter with indices in range, got others", RuntimeError)


@op(method=False, differentiable=False, validate=_check_places)
def searchsorted(
    sorted_sequence: Array,
    input: Array | Scalar,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Array | None = None,
) -> Array:
    """Where each value would have to be inserted to keep the sequence in order: before equal ones, or after (`right`).

    Shape: (L), (*) -> (*); (*, L), (*, V) -> (*, V)
    Args: sorter: the indices that sort a sequence which is not in order.
    Raises: RuntimeError where the shapes do not fit, `side` contradicts `right`, or is neither "left" nor "right".
    """
    shape, given = sorted_sequence.shape, jnp.shape(input)
    known = side in (None, "left", "right")
    _args.check(known, f"searchsorted(): expected side 'left' or 'right', got {side!r}", RuntimeError)
    _args.check(not (right and side == "left"), "searchsorted(): expected one side, got right and 'left'", RuntimeError)
    fits = len(shape) == 1 or (len(shape) > 1 and len(shape) == len(given) and shape[:-1] == given[:-1])
    _args.check(
        fits, f"searchsorted(): expected one sequence, or one for each row of {given}, got {shape}", RuntimeError
    )
    if sorter is not None:
        _check_sorter(sorted_sequence, sorter)
        sorted_sequence = jnp.take_along_axis(sorted_sequence, sorter, -1)
    found = _places(sorted_sequence, jnp.asarray(input), "right" if right or side == "right" else "left")
    return found.astype(jnp.int32 if out_int32 else _args.long_dtype())


@op(method=False, differentiable=False)
def bucketize(input: Array | Scalar, boundaries: Array, *, out_int32: bool = False, right: bool = False) -> Array:
    """The number of the bucket that each value lies in: how many boundaries are below it, or not above it (`right`).

    Shape: (*), (B) -> (*)
    Raises: RuntimeError for boundaries of several dimensions.
    """
    one = boundaries.ndim == 1
    _args.check(one, f"bucketize(): expected boundaries of one dimension, got {boundaries.ndim}", RuntimeError)
    return searchsorted.body(boundaries, input, out_int32=out_int32, right=right)


@op(method=False, differentiable=False)
def isin(
    elements: Array | Scalar, test_elements: Array | Scalar, *, assume_unique: bool = False, invert: bool = False
) -> Array:
    """Whether each element is among the test elements, or is not (`invert`).

    Shape: (*), (*) -> (*) of the elements
    """
    elements, tests = _args.promote(elements, test_elements)
    return jnp.isin(elements, tests, assume_unique=assume_unique, invert=invert)
