"""Weighted sums of elements along one axis by static tables: what resizing is, and its gradient, which is the same.

Gathers by constant indices are fast on every backend; the scatters that JAX makes of them in a gradient are not. So this
is a primitive of its own, linear, whose transpose is again a table of gathers.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jtorch.ops._backend import kept

Array = jax.Array

_UNROLLED = 8  # taps up to which the sum is written out; longer ones are a loop


class Table:
    """For each output along an axis, the places of the inputs that it is the sum of, and their weights: (outputs, taps).

    `weights` None means ones. Only the first `counts` taps of a row count.
    """

    def __init__(self, size: int, places: np.ndarray, weights: np.ndarray | None = None, counts: Any = None):
        self.size = size
        self.places = places.astype(np.int32)
        self.weights = weights
        self.counts: np.ndarray = np.full(len(places), places.shape[1]) if counts is None else counts

    @property
    def used(self) -> np.ndarray:
        """Which taps count."""
        return np.arange(self.places.shape[1]) < self.counts[:, None]

    @functools.cached_property
    def transposed(self) -> "Table":
        """The table of the gradient: for each input, the outputs that it is part of."""
        used = self.used if self.weights is None else self.used & (self.weights != 0)
        order = np.argsort(self.places[used], kind="stable")
        rows, outputs = self.places[used][order], np.nonzero(used)[0][order]
        counts = np.bincount(rows, minlength=self.size)
        taps = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        places = np.zeros((self.size, max(int(counts.max(initial=0)), 1)), np.int32)
        places[rows, taps] = outputs
        if self.weights is None:
            return Table(len(self.places), places, None, counts)
        weights = np.zeros(places.shape, self.weights.dtype)
        weights[rows, taps] = self.weights[used][order]
        return Table(len(self.places), places, weights, counts)


def _sum(x: Array, *, table: Table, axis: int) -> Array:
    shape = (*x.shape[:axis], len(table.places), *x.shape[axis + 1 :])
    flat = x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))  # faster on a CPU
    return _middle_sum(flat, table).reshape(shape)


def _sum_apart(x: Array, *, table: Table, axis: int) -> Array:
    """The same, computed once and for itself: several axes in one pass would be gathered anew for each tap of the next."""
    return kept(_sum(x, table=table, axis=axis), x.reshape(-1)[0])


def _middle_sum(x: Array, table: Table) -> Array:
    """The sums along the middle of three dimensions."""
    outputs, taps = table.places.shape
    used, full = table.used, int(table.counts.min(initial=taps))

    def term(places, used, weights=None):
        found = x.at[:, places].get(mode="promise_in_bounds")
        found = found if weights is None else found * weights[:, None].astype(x.dtype)
        return found if used is None else jnp.where(used[:, None], found, jnp.zeros((), x.dtype))

    def columns(*arrays):
        return [array.T for array in arrays if array is not None]

    if taps <= _UNROLLED:
        each = enumerate(zip(*columns(table.places, used, table.weights), strict=True))
        return functools.reduce(
            jnp.add, (term(places, used if k >= full else None, *rest) for k, (places, used, *rest) in each)
        )
    empty = jnp.zeros((x.shape[0], outputs, x.shape[2]), x.dtype)
    rows = tuple(map(jnp.asarray, columns(table.places, used, table.weights)))
    return jax.lax.scan(lambda total, row: (total + term(*row), None), empty, rows)[0]


def _abstract(x: Any, *, table: Table, axis: int) -> Any:
    return x.update(shape=(*x.shape[:axis], len(table.places), *x.shape[axis + 1 :]), weak_type=False)


def _transpose(cotangent: Any, x: Any, *, table: Table, axis: int) -> tuple:
    return (_resample.bind(cotangent, table=table.transposed, axis=axis),)


def _batch(values: Any, dims: Any, *, table: Table, axis: int) -> tuple:
    moved = jnp.moveaxis(values[0], dims[0], 0)
    return _resample.bind(moved, table=table, axis=axis + 1), 0


_resample = Primitive("resample")
_resample.def_impl(jax.jit(_sum, static_argnames=("table", "axis")))
_resample.def_abstract_eval(_abstract)
mlir.register_lowering(_resample, mlir.lower_fun(_sum, multiple_results=False))
mlir.register_lowering(_resample, mlir.lower_fun(_sum_apart, multiple_results=False), platform="cpu")
ad.deflinear2(_resample, _transpose)
batching.primitive_batchers[_resample] = _batch


def resampled(input: Array, table: Table, axis: int) -> Array:
    """The input with one axis replaced by the sums that the table says."""
    shape = (*input.shape[:axis], len(table.places), *input.shape[axis + 1 :])
    return _resample.bind(input, table=table, axis=axis) if 0 not in shape else jnp.zeros(shape, input.dtype)
