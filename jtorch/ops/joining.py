"""Joining arrays and taking them apart: cat, stack, their relatives, split, chunk, unbind."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops.parts import narrow
from jtorch.ops.shape import expand, reshape


def _joinable(tensors: tuple, name: str) -> tuple:
    error = ValueError if name == "cat" else RuntimeError
    _args.check(len(tensors) > 0, f"{name}(): expected a non-empty sequence of tensors", error)
    _args.check(all(x is not None for x in tensors), f"{name}(): expected tensors, got None among them", TypeError)
    return _args.promote(*tensors)


def _joined(tensors: Sequence[Array], dim: int, name: str) -> Array:
    _args.check(all(x.ndim for x in tensors), f"{name}(): expected no 0-d arrays; use stack for them", RuntimeError)
    whole = [x for x in tensors if x.shape != (0,)]  # torch skips these whatever the other shapes are
    if not whole:
        _args.dim(dim, 1, name)
        return tensors[0]
    first = whole[0]
    at = _args.dim(dim, first.ndim, name)
    same = all(
        x.ndim == first.ndim
        and all(m == n for i, (m, n) in enumerate(zip(x.shape, first.shape, strict=True)) if i != at)
        for x in whole
    )
    shapes = [x.shape for x in whole]
    _args.check(same, f"{name}(): expected equal sizes except in dimension {at}, got {shapes}", RuntimeError)
    return jax.lax.concatenate(whole, at)


@op(method=False, alias=("concat", "concatenate"))
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """The inputs one after another along a dimension that they have.

    Shape: (A*, L1, B*), (A*, L2, B*), ... -> (A*, L1 + L2 + ..., B*)
    Raises: RuntimeError where another size differs.
    """
    return _joined(_joinable(tensors, "cat"), dim, "cat")


@op(method=False)
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    """The inputs, all of one shape, beside each other along a new dimension.

    Shape: N times (A*, B*) -> (A*, N, B*)
    Raises: RuntimeError where the shapes differ.
    """
    tensors = _joinable(tensors, "stack")
    shapes = [x.shape for x in tensors]
    _args.check(len(set(shapes)) == 1, f"stack(): expected equal shapes, got {shapes}", RuntimeError)
    return jnp.stack(tensors, _args.dim(dim, tensors[0].ndim + 1, "stack"))


@op(method=False)
def hstack(tensors: Sequence[Array]) -> Array:
    """The inputs joined along their second dimension, or along the first where they have one.

    Shape: (M, L1), (M, L2) -> (M, L1 + L2); (L1), (L2) -> (L1 + L2)
    Raises: RuntimeError where another size differs.
    """
    tensors = [jnp.atleast_1d(x) for x in _joinable(tensors, "hstack")]
    return _joined(tensors, 0 if tensors[0].ndim == 1 else 1, "hstack")


@op(method=False, alias="row_stack")
def vstack(tensors: Sequence[Array]) -> Array:
    """The inputs joined along their first dimension; vectors are rows.

    Shape: (L1, N), (L2, N) -> (L1 + L2, N); (N), (N) -> (2, N)
    Raises: RuntimeError where another size differs.
    """
    return _joined([jnp.atleast_2d(x) for x in _joinable(tensors, "vstack")], 0, "vstack")


@op(method=False)
def dstack(tensors: Sequence[Array]) -> Array:
    """The inputs joined along their third dimension.

    Shape: (M, N), (M, N) -> (M, N, 2); (N), (N) -> (1, N, 2)
    Raises: RuntimeError where another size differs.
    """
    return _joined([jnp.atleast_3d(x) for x in _joinable(tensors, "dstack")], 2, "dstack")


@op(method=False)
def column_stack(tensors: Sequence[Array]) -> Array:
    """The inputs joined along their second dimension; vectors are columns.

    Shape: (M), (M, L) -> (M, 1 + L)
    Raises: RuntimeError where another size differs.
    """
    return _joined(
        [x if x.ndim > 1 else x.reshape(-1, 1) for x in _joinable(tensors, "column_stack")], 1, "column_stack"
    )


@op(method=False)
def block_diag(*tensors: Array) -> Array:
    """A matrix with the inputs along its diagonal and zeros elsewhere; vectors and scalars are rows.

    Shape: (M1, N1), (M2, N2), ... -> (M1 + M2 + ..., N1 + N2 + ...)
    Raises: RuntimeError for more than two dimensions.
    """
    if not tensors:
        return jnp.zeros((1, 0), _args.default_float())
    _args.check(all(x.ndim <= 2 for x in tensors), "block_diag(): expected at most 2 dimensions", RuntimeError)
    blocks = [jnp.atleast_2d(x) for x in _args.promote(*tensors)]
    width = sum(x.shape[1] for x in blocks)
    rows, at = [], 0
    for x in blocks:
        rows.append(jnp.pad(x, ((0, 0), (at, width - at - x.shape[1]))))
        at += x.shape[1]
    return jax.lax.concatenate(rows, 0)


@derived(method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple:
    """The coordinates of a grid: each vector expanded over the dimensions of the others.

    Shape: (L1), (L2), ... -> (L1, L2, ...), once for each; with indexing "xy" the first two are exchanged
    Raises: RuntimeError for inputs with more than one dimension, or of several dtypes.
    Differs: indexing None means "ij" without a warning.
    """
    each = _args.starred(tensors)
    known = indexing in (None, "ij", "xy")
    _args.check(known, f"meshgrid(): expected indexing 'ij' or 'xy', got {indexing!r}", RuntimeError)
    _args.check(len(each) > 0, "meshgrid(): expected a non-empty sequence of tensors", RuntimeError)
    _args.check(all(x.ndim <= 1 for x in each), "meshgrid(): expected scalars or vectors", RuntimeError)
    _args.check(len({str(x.dtype) for x in each}) == 1, "meshgrid(): expected tensors of one dtype", RuntimeError)
    places = list(range(len(each)))
    if indexing == "xy" and len(each) > 1:
        places[:2] = 1, 0
    lengths = [x.shape[0] if x.ndim else 1 for x in each]
    shape = tuple(lengths[i] for i in places)
    lined = (reshape(x, *(-1 if i == at else 1 for i in places)) for at, x in enumerate(each))
    return tuple(expand(x, shape) for x in lined)


@derived(method=False)
def cartesian_prod(*tensors: Any) -> Any:
    """Every choice of one element from each vector, as rows in order; one vector is returned as it is.

    Shape: (L1), (L2), ... -> (L1 * L2 * ..., number of inputs)
    Raises: RuntimeError for inputs that are not vectors.
    """
    each = _args.starred(tensors)
    _args.check(all(x.ndim == 1 for x in each), "cartesian_prod(): expected vectors", RuntimeError)
    if len(each) == 1:
        return each[0]
    return stack([reshape(x, -1) for x in meshgrid(*each)], 1)


@op(method=False)
def combinations(input: Array, r: int = 2, with_replacement: bool = False) -> Array:
    """Every choice of `r` elements of a vector, as rows in order.

    Shape: (L) -> (number of choices, r)
    Raises: RuntimeError for an input that is not a vector, or a negative `r`.
    """
    _args.check(input.ndim == 1, f"combinations(): expected a vector, got {input.ndim} dimensions", RuntimeError)
    _args.check(r >= 0, f"combinations(): expected r >= 0, got {r}", RuntimeError)
    if r == 0:
        return jnp.zeros((0,), input.dtype)
    length = input.shape[0]
    grid = np.indices((length,) * r).reshape(r, -1)
    before, after = grid[:-1], grid[1:]
    ordered = (before <= after) if with_replacement else (before < after)
    return input[grid[:, ordered.all(axis=0)].T]


# taking apart


def _parts(input: Array, lengths: Sequence[int], dim: int) -> tuple:
    ends = np.cumsum(lengths).tolist()
    return tuple(jax.lax.slice_in_dim(input, e - n, e, axis=dim) for n, e in zip(lengths, ends, strict=True))


def _splittable(input: Any, dim: int, name: str) -> int:
    _args.check(input.ndim, f"{name}(): expected at least one dimension, got a 0-d array", RuntimeError)
    return _args.dim(dim, input.ndim, name)


@op(view=True, alias="unsafe_split_with_sizes")
def split_with_sizes(input: Array, split_sizes: Sequence[int], dim: int = 0) -> tuple[Array, ...]:
    """Consecutive parts of a dimension, of the given sizes.

    Shape: (A*, L, B*) -> (A*, each size, B*)
    Raises: RuntimeError where the sizes do not add up to the dimension.
    """
    at = _splittable(input, dim, "split_with_sizes")
    length, sizes = input.shape[at], tuple(operator.index(n) for n in split_sizes)
    fits = sum(sizes) == length and all(n >= 0 for n in sizes)
    _args.check(fits, f"split_with_sizes(): expected sizes that add up to {length}, got {sizes}", RuntimeError)
    return _parts(input, sizes, at)


@op(view=True, method=False, function=False)
def split_evenly(input: Array, split_size: int, dim: int = 0) -> tuple[Array, ...]:
    """Consecutive parts of a dimension, of one size except that the last may be smaller.

    Shape: (A*, L, B*) -> (A*, split_size, B*), ceil(L / split_size) times
    Raises: RuntimeError for a negative size, or 0 where the dimension is not empty.
    """
    at = _splittable(input, dim, "split")
    length = input.shape[at]
    _args.check(
        split_size > 0 or split_size == length == 0, f"split(): expected a size above 0, got {split_size}", RuntimeError
    )
    if not length:
        return (input,)
    return _parts(input, [min(split_size, length - i) for i in range(0, length, split_size)], at)


@derived(alias="unsafe_split")
def split(tensor: Any, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None) -> tuple:
    """Consecutive parts of a dimension: of one size, or of the sizes in a sequence.

    Shape: (A*, L, B*) -> (A*, each size, B*)
    Raises: RuntimeError where the sizes do not fit.
    """
    size = split_size_or_sections if split_size is None else split_size
    if isinstance(size, tuple | list):
        return split_with_sizes(tensor, size, dim)
    return split_evenly(tensor, operator.index(size), dim)


@op(view=True, alias="unsafe_chunk")
def chunk(input: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    """At most `chunks` consecutive parts of a dimension, all but the last of one size.

    Shape: (A*, L, B*) -> (A*, ceil(L / chunks), B*)
    Raises: RuntimeError for fewer than one chunk.
    """
    at = _splittable(input, dim, "chunk")
    _args.check(chunks > 0, f"chunk(): expected a number of chunks above 0, got {chunks}", RuntimeError)
    length = input.shape[at]
    if not length:
        return (input,) * chunks
    return split_evenly.body(input, -(-length // chunks), at)


def _section_ends(where: Any, length: int) -> list[tuple[int, int]]:
    """Start and length of each part, from a number of parts or the places to cut at."""
    if hasattr(where, "shape"):
        where = np.asarray(where).tolist()
    if isinstance(where, int | np.integer):
        _args.check(where > 0, f"tensor_split(): expected a number of sections above 0, got {where}", RuntimeError)
        small, more = divmod(length, where)
        cuts = [i * small + min(i, more) for i in range(1, where)]
    else:
        cuts = [operator.index(x) for x in where]
    ranges = [range(length)[a:b] for a, b in zip([0, *cuts], [*cuts, length], strict=True)]
    return [(min(r.start, length), len(r)) for r in ranges]


@derived
def tensor_split(
    input: Any, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None
) -> tuple:
    """Parts of a dimension: a number of them as equal as can be, or cut at the given places.

    Shape: (A*, L, B*) -> (A*, each part, B*)
    Raises: RuntimeError for a 0-d input or fewer than one section.
    """
    where = next((x for x in (indices_or_sections, indices, sections) if x is not None), None)
    at = _splittable(input, dim, "tensor_split")
    return tuple(narrow(input, at, start, length) for start, length in _section_ends(where, input.shape[at]))


def _split_along(input: Any, where: Any, dim: int, least: int, name: str) -> tuple:
    _args.check(input.ndim >= least, f"{name}(): expected at least {least} dimensions, got {input.ndim}", RuntimeError)
    if isinstance(where, int):
        length = input.shape[dim]
        even = where > 0 and length % where == 0
        _args.check(
            even, f"{name}(): expected a divisor of dimension {dim} of size {length}, got {where}", RuntimeError
        )
    return tensor_split(input, where, dim)


@derived
def hsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Parts of the second dimension, or of the first where there is only one.

    Shape: (M, L, *) -> (M, each part, *)
    Raises: RuntimeError where the sections do not divide the dimension.
    """
    return _split_along(input, indices_or_sections, 1 if input.ndim > 1 else 0, 1, "hsplit")


@derived
def vsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Parts of the first dimension of an input with two or more.

    Shape: (L, N, *) -> (each part, N, *)
    Raises: RuntimeError where the sections do not divide the dimension.
    """
    return _split_along(input, indices_or_sections, 0, 2, "vsplit")


@derived
def dsplit(input: Any, indices_or_sections: Any) -> tuple:
    """Parts of the third dimension.

    Shape: (M, N, L, *) -> (M, N, each part, *)
    Raises: RuntimeError where the sections do not divide the dimension.
    """
    return _split_along(input, indices_or_sections, 2, 3, "dsplit")


@op(view=True)
def unbind(input: Array, dim: int = 0) -> tuple[Array, ...]:
    """Every slice of a dimension, without it.

    Shape: (A*, L, B*) -> (A*, B*), L times
    """
    _args.check(input.ndim, "unbind(): expected dimensions, got a 0-d array", IndexError)
    at = _args.dim(dim, input.ndim, "unbind")
    return tuple(jax.lax.index_in_dim(input, i, at, keepdims=False) for i in range(input.shape[at]))
