"""Diagonals and triangles: reading them, building matrices of them, and writing onto them."""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Fitting, op


def _plane(ndim: int, dim1: int, dim2: int, name: str) -> tuple[int, int]:
    one, two = _args.dim(dim1, ndim, name), _args.dim(dim2, ndim, name)
    _args.check(one != two, f"{name}(): expected two different dimensions, got {dim1} and {dim2}", RuntimeError)
    return one, two


def _strip(input: Array, offset: int) -> Array:
    """The diagonal of the last two dimensions, by strides: element i of it lies `columns + 1` after the one before."""
    rows, columns = input.shape[-2:]
    row, column = max(-offset, 0), max(offset, 0)
    length = max(min(rows - row, columns - column), 0)
    lead = input.shape[:-2]
    if not length:
        return jnp.zeros((*lead, 0), input.dtype)
    flat = input.reshape(*lead, rows * columns)
    start = row * columns + column
    stop = start + (length - 1) * (columns + 1) + 1
    return jax.lax.slice_in_dim(flat, start, stop, columns + 1, axis=-1)


@op(view=True)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """A diagonal of two dimensions, as a new last dimension; `offset` above 0 counts upwards of the main one.

    Shape: (*, M, N) -> (*, min(M, N)) for offset 0
    Raises: RuntimeError where the two dimensions are one.
    """
    one, two = _plane(input.ndim, dim1, dim2, "diagonal")
    return _strip(jnp.moveaxis(input, (one, two), (-2, -1)), offset)


@op(view=True, method=False, function=False)
def linalg_diagonal(A: Array, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """A diagonal of the last two dimensions, as by `diagonal`.

    Shape: (*, M, N) -> (*, min(M, N)) for offset 0
    """
    return diagonal.body(A, offset, dim1, dim2)


def _along_diagonal(values: Array, offset: int) -> Array:
    """A square matrix with the last dimension of `values` on one diagonal."""
    length = values.shape[-1]
    size = length + abs(offset)
    row, column = max(-offset, 0), max(offset, 0)
    # a row of [v, 0 ... 0] of size + 1 places for each value puts each one below and right of the one before
    wide = jnp.pad(values[..., None], [(0, 0)] * values.ndim + [(0, size)])
    flat = wide.reshape(*values.shape[:-1], length * (size + 1))
    lead = [(0, 0, 0)] * (values.ndim - 1)
    start = row * size + column
    flat = jax.lax.pad(flat, jnp.zeros((), values.dtype), [*lead, (start, size * size - start - flat.shape[-1], 0)])
    return flat.reshape(*values.shape[:-1], size, size)


@op
def diag_embed(input: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """Matrices with the last dimension of the input on a diagonal and zeros elsewhere.

    Shape: (*, N) -> (*, N + |offset|, N + |offset|)
    Raises: RuntimeError where the two dimensions are one.
    """
    one, two = _plane(input.ndim + 1, dim1, dim2, "diag_embed")
    return jnp.moveaxis(_along_diagonal(jnp.atleast_1d(input), offset), (-2, -1), (one, two))


@op
def diag(input: Array, diagonal: int = 0) -> Array:
    """The matrix with a vector on its diagonal, or a copy of the diagonal of a matrix.

    Shape: (N) -> (N + |diagonal|, N + |diagonal|); (M, N) -> (min(M, N))
    Raises: RuntimeError for other inputs.
    """
    _args.check(
        input.ndim in (1, 2), f"diag(): expected a vector or a matrix, got {input.ndim} dimensions", RuntimeError
    )
    return _along_diagonal(input, diagonal) if input.ndim == 1 else _strip(input, diagonal)


@op
def diagflat(input: Array, offset: int = 0) -> Array:
    """The matrix with the flattened input on a diagonal.

    Shape: (*) -> (numel + |offset|, numel + |offset|)
    """
    return _along_diagonal(input.reshape(-1), offset)


def _triangle(input: Array, diagonal: int, lower: bool, name: str) -> Array:
    _args.check(input.ndim >= 2, f"{name}(): expected at least 2 dimensions, got {input.ndim}", RuntimeError)
    shape = input.shape[-2:]
    row, column = (jax.lax.broadcasted_iota(np.int32, shape, i) for i in (0, 1))
    diagonal = max(-(2**31), min(diagonal, 2**31 - 1))
    kept = column - row <= diagonal if lower else column - row >= diagonal
    return jnp.where(kept, input, jnp.zeros((), input.dtype))


@op(inplace=True)
def tril(input: Array, diagonal: int = 0) -> Array:
    """The elements on and below a diagonal, zeros above.

    Shape: (*, M, N) -> (*, M, N)
    Raises: RuntimeError for fewer than two dimensions.
    """
    return _triangle(input, diagonal, True, "tril")


@op(inplace=True)
def triu(input: Array, diagonal: int = 0) -> Array:
    """The elements on and above a diagonal, zeros below.

    Shape: (*, M, N) -> (*, M, N)
    Raises: RuntimeError for fewer than two dimensions.
    """
    return _triangle(input, diagonal, False, "triu")


def _on_diagonal(input: Array, offset: int) -> Array:
    """Where the diagonal of the last two dimensions lies."""
    row, column = (jax.lax.broadcasted_iota(np.int32, input.shape[-2:], i) for i in (0, 1))
    return column - row == offset


@op
def diagonal_scatter(input: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """A copy of the input with `src` on a diagonal.

    Shape: (*, M, N), (*, min(M, N)) -> (*, M, N) for offset 0
    Raises: RuntimeError where `src` has another shape than the diagonal.
    """
    one, two = _plane(input.ndim, dim1, dim2, "diagonal_scatter")
    moved = jnp.moveaxis(input, (one, two), (-2, -1))
    shape = _strip(moved, offset).shape
    _args.check(src.shape == shape, f"diagonal_scatter(): expected src of shape {shape}, got {src.shape}", RuntimeError)
    full = _along_diagonal(_args.cast(src, input.dtype), offset)
    grow = [(0, n - m, 0) for n, m in zip(moved.shape[-2:], full.shape[-2:], strict=True)]  # below 0 crops
    full = jax.lax.pad(full, jnp.zeros((), full.dtype), [(0, 0, 0)] * (full.ndim - 2) + grow)
    return jnp.moveaxis(jnp.where(_on_diagonal(moved, offset), full, moved), (-2, -1), (one, two))


@op(method=False, function=False, inplace=True)
def fill_diagonal(input: Array, fill_value: Fitting, wrap: bool = False) -> Array:
    """A copy of the input with one value on the main diagonal of all its dimensions.

    Shape: (M, N) or (N, N, N, ...) -> the same; `wrap` starts again below the square part of a tall matrix
    Raises: RuntimeError for a vector, or for unequal sizes of more than two dimensions.
    """
    _args.check(input.ndim >= 2, "fill_diagonal_(): expected at least 2 dimensions", RuntimeError)
    even = input.ndim == 2 or len(set(input.shape)) == 1
    _args.check(even, f"fill_diagonal_(): expected equal sizes, got {input.shape}", RuntimeError)
    places = [jax.lax.broadcasted_iota(np.int32, input.shape, i) for i in range(input.ndim)]
    if wrap and input.ndim == 2 and input.shape[0] > input.shape[1]:
        places[0] = places[0] % (input.shape[1] + 1)
    on = jnp.ones(input.shape, bool)
    for place in places[1:]:
        on &= place == places[0]
    return jnp.where(on, _args.cast(fill_value, input.dtype), input)
