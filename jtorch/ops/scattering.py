"""Writing by an index array: scatter and its reductions, index_add, index_copy, index_fill, put, select_scatter.

Out of place, as everything here. Where indices coincide in a plain write one value stays, and each gets the gradient of
the place, as in torch. Compiled code cannot raise: there an index out of range writes nothing.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Fitting, op
from jtorch.ops.gathering import check_range, flat_places, lined_up, place_dtype, require_index
from jtorch.ops.indexing import add_at, overwrite, setitem
from jtorch.ops.parts import strided_places
from jtorch.ops.subscript import encode

_FLAT = ("index",)


def _check_along(name: str):
    def check(input: Array, dim: int, index: Array, *rest: Any, **more: Any) -> None:
        at = _args.dim(dim, input.ndim, name)
        check_range(name, index, input.shape[at] if input.ndim else 1, at, RuntimeError)

    return check


def _source(name: str, input: Array, index: Array, src: Array, at: int) -> Array:
    """The part of `src` that the index covers, flattened."""
    src = jnp.atleast_1d(src)
    same = src.dtype == input.dtype
    _args.check(same, f"{name}(): expected src of dtype {input.dtype}, got {src.dtype}", RuntimeError)
    fits = src.ndim == index.ndim and all(n <= m for n, m in zip(index.shape, src.shape, strict=True))
    _args.check(fits, f"{name}(): expected src to cover the index {index.shape}, got {src.shape}", RuntimeError)
    return src[tuple(slice(n) for n in index.shape)].reshape(-1)


def _targets(name: str, input: Array, dim: int, index: Array, src: Array) -> tuple[Array, Array, Array]:
    """The flattened input, where in it to write, and what."""
    at, shape, index = lined_up(name, input, dim, index)
    places = flat_places(index, shape, at).reshape(-1)
    if src.ndim == 0 and (src.aval.weak_type or src.dtype == jnp.bool_):  # a Python number
        return input.reshape(-1), places, jnp.broadcast_to(_args.cast(src, input.dtype), places.shape)
    return input.reshape(-1), places, _source(name, input, index, src, at)


@jax.custom_jvp
def _multiply_at(input: Array, places: Array, src: Array) -> Array:
    """`input` with each element of `src` multiplied in at its place."""
    place = input.at[places]
    return place.min(src) if input.dtype == np.bool_ else place.multiply(src)


@_multiply_at.defjvp
def _multiply_at_tangent(primals, tangents):
    input, places, src = primals
    # the product of all factors of a place but one: that of the factors that are not 0, unless another one is 0
    zeros = (input == 0).astype(np.int32).at[places].add((src == 0).astype(np.int32))
    rest = _multiply_at(jnp.where(input == 0, 1, input), places, jnp.where(src == 0, 1, src))

    def others(factor, zeros, rest):
        alone = jnp.where(zeros == 0, rest / jnp.where(factor == 0, 1, factor), 0)
        return jnp.where(factor == 0, jnp.where(zeros == 1, rest, 0), alone)

    at = {"mode": "fill", "fill_value": 0}
    of_src = tangents[2] * others(src, zeros.at[places].get(**at), rest.at[places].get(**at))
    tangent = tangents[0] * others(input, zeros, rest)
    return _multiply_at(input, places, src), tangent.at[places].add(of_src)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _extreme_at(input: Array, places: Array, src: Array, largest: bool) -> Array:
    """`input` with the larger (or smaller) of itself and the elements of `src` at each place."""
    at = input.at[places]
    return at.max(src) if largest else at.min(src)


@_extreme_at.defjvp
def _extreme_at_tangent(largest, primals, tangents):
    input, places, src = primals
    out = _extreme_at(input, places, src, largest)
    own, theirs = out == input, src == out.at[places].get(mode="fill")
    count = own.astype(out.dtype).at[places].add(theirs.astype(out.dtype))
    tangent = jnp.where(own, tangents[0], 0).at[places].add(jnp.where(theirs, tangents[2], 0))
    return out, tangent / jnp.maximum(count, 1)


def _check_scatter(input, dim, index, src=None, *, value=None, reduce=None):
    _check_along("scatter")(input, dim, index)


@op(inplace=True, validate=_check_scatter)
def scatter(
    input: Array, dim: int, index: Array, src: Array | Fitting | None = None, *, value: Fitting | None = None,
    reduce: str | None = None,
) -> Array:  # fmt: skip
    """A copy of the input with `src`, an array or a number, at the places that the index names along a dimension.

    out[index[i][j]][j] = src[i][j] for dim 0; with reduce "add" or "multiply" combined with what is there.

    Shape: (*), (I*), (S*) -> (*), I no larger than S, nor than the input in other dimensions than `dim`
    Raises: RuntimeError for an index out of range or too large, or a `src` of another dtype.
    """
    _args.check(
        reduce in (None, "add", "multiply"),
        f"scatter(): expected reduce 'add' or 'multiply', got {reduce!r}",
        RuntimeError,
    )
    given = src if value is None else value
    _args.check(given is not None, "scatter(): expected src or value, got neither", TypeError)
    if not index.size:
        return input
    flat, places, src = _targets("scatter", input, dim, index, given)
    if reduce == "add":
        out = add_at(flat, places, src)
    elif reduce == "multiply":
        out = _multiply_at(flat, places, src)
    else:
        out = overwrite(flat, src, (places,), _FLAT)
    return out.reshape(input.shape)


@op(inplace=True, validate=_check_along("scatter_add"))
def scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """The input with `src` added at the places that the index names along a dimension.

    Shape: (*), (I*), (S*) -> (*), I no larger than S, nor than the input in other dimensions than `dim`
    Raises: RuntimeError for an index out of range or too large, or a `src` of another dtype.
    """
    if not index.size:
        return input
    flat, places, src = _targets("scatter_add", input, dim, index, src)
    return add_at(flat, places, src).reshape(input.shape)


def _neutral(reduce: str, dtype: Any) -> Any:
    """What a reduction starts from where the input takes no part."""
    if reduce in ("sum", "mean", "prod"):
        return 1 if reduce == "prod" else 0
    lowest = reduce == "amax"
    if dtype == np.bool_:
        return not lowest
    if _args.is_integral(dtype):
        return jnp.iinfo(dtype).min if lowest else jnp.iinfo(dtype).max
    return -jnp.inf if lowest else jnp.inf


def _reduced(flat: Array, places: Array, src: Array, reduce: str, include_self: bool) -> Array:
    start = flat
    if not include_self:
        start = overwrite(flat, jnp.full(src.shape, _neutral(reduce, flat.dtype), flat.dtype), (places,), _FLAT)
    if reduce == "prod":
        return _multiply_at(start, places, src)
    if reduce in ("amax", "amin"):
        return _extreme_at(start, places, src, reduce == "amax")
    total = add_at(start, places, src)
    if reduce == "sum":
        return total
    _args.check(flat.dtype != np.bool_, "reduce: expected numbers for a mean, got bools", NotImplementedError)
    count = jnp.ones(flat.shape, np.int32)
    if not include_self:
        count = count.at[places].set(0)
    count = jnp.maximum(count.at[places].add(1), 1).astype(flat.dtype)
    return total // count if _args.is_integral(flat.dtype) else total / count


_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


@op(inplace=True, validate=_check_along("scatter_reduce"))
def scatter_reduce(
    input: Array, dim: int, index: Array, src: Array, reduce: str, *, include_self: bool = True
) -> Array:
    """The input with the elements of `src` reduced into the places that the index names along a dimension.

    `reduce` is sum, prod, mean, amax or amin; without `include_self` what was at those places takes no part.

    Shape: (*), (I*), (S*) -> (*), I no larger than S, nor than the input in other dimensions than `dim`
    Raises: RuntimeError for an index out of range or too large, a `src` of another dtype, or another reduction.
    """
    _args.check(
        reduce in _REDUCTIONS,
        f"scatter_reduce(): expected reduce to be one of {_REDUCTIONS}, got {reduce!r}",
        RuntimeError,
    )
    if not index.size:
        return input
    flat, places, src = _targets("scatter_reduce", input, dim, index, src)
    return _reduced(flat, places, src, reduce, include_self).reshape(input.shape)


# whole slices


def _slices(name: str, input: Array, dim: int, index: Array, source: Array) -> tuple[Array, Array, Array, int]:
    """Input, index and source with at least one dimension, and the dimension; checked as torch does."""
    require_index(name, index)
    _args.check(index.ndim <= 1, f"{name}(): expected a vector as index, got {index.shape}", IndexError)
    _args.check(
        source.dtype == input.dtype,
        f"{name}(): expected a source of dtype {input.dtype}, got {source.dtype}",
        RuntimeError,
    )
    at = _args.dim(dim, input.ndim, name)
    input, index, source = jnp.atleast_1d(input), jnp.atleast_1d(index), jnp.atleast_1d(source)
    if source.ndim < input.ndim and index.size == 1:
        source = jnp.expand_dims(source, at) if source.shape != (1,) else source.reshape((1,) * input.ndim)
    shape = (*input.shape[:at], index.shape[0], *input.shape[at + 1 :])
    _args.check(
        source.shape == shape,
        f"{name}(): expected a source of shape {shape}, got {source.shape}",
        IndexError if name == "index_copy" and source.ndim != input.ndim else RuntimeError,
    )
    return input, jnp.where(index < 0, input.shape[at], index), source, at


@op(inplace=True, validate=_check_along("index_add"))
def index_add(input: Array, dim: int, index: Array, source: Array, *, alpha: Fitting = 1) -> Array:
    """The input with the slices of `alpha * source` added to those of a dimension that a vector of indices names.

    Shape: (A*, L, B*), (I), (A*, I, B*) -> (A*, L, B*)
    Raises: RuntimeError for an index out of range, or a source of another dtype or shape.
    """
    lined, index, source, at = _slices("index_add", input, dim, index, source)
    added = source if isinstance(alpha, int) and alpha == 1 else source * _args.cast(alpha, source.dtype)
    return add_at(lined, (slice(None),) * at + (index,), added).reshape(input.shape)


def _check_index_copy(input: Array, dim: int, index: Array, source: Array) -> None:
    at = _args.dim(dim, input.ndim, "index_copy")
    check_range("index_copy", index, input.shape[at] if input.ndim else 1, at)


@op(inplace=True, validate=_check_index_copy)
def index_copy(input: Array, dim: int, index: Array, source: Array) -> Array:
    """A copy of the input with the slices of `source` in place of those that a vector of indices names.

    Shape: (A*, L, B*), (I), (A*, I, B*) -> (A*, L, B*)
    Raises: IndexError for an index out of range; RuntimeError for a source of another dtype or shape.
    """
    lined, index, source, at = _slices("index_copy", input, dim, index, source)
    return overwrite(lined, source, (index,), ("all",) * at + _FLAT).reshape(input.shape)


def _check_index_fill(input: Array, dim: int, index: Array, value: Any) -> None:
    at = _args.dim(dim, input.ndim, "index_fill")
    check_range("index_fill", index, input.shape[at] if input.ndim else 1, at, wraps=True)


@op(inplace=True, validate=_check_index_fill)
def index_fill(input: Array, dim: int, index: Array, value: Fitting) -> Array:
    """A copy of the input with one value in the slices that a vector of indices names.

    Shape: (A*, L, B*), (I), () -> (A*, L, B*)
    Raises: IndexError for an index out of range; RuntimeError for a value with dimensions.
    """
    require_index("index_fill", index)
    _args.check(index.ndim <= 1, f"index_fill(): expected a vector as index, got {index.shape}", IndexError)
    _args.check(jnp.ndim(value) == 0, "index_fill(): expected a number or a 0-d array as value", RuntimeError)
    at = _args.dim(dim, input.ndim, "index_fill")
    lined, index = jnp.atleast_1d(input), jnp.atleast_1d(index)
    filled = jnp.zeros(lined.shape[at], bool).at[index].set(True)
    filled = filled.reshape((-1,) + (1,) * (lined.ndim - at - 1))
    return jnp.where(filled, _args.scalar("index_fill", value, input.dtype), lined).reshape(input.shape)


@op(inplace=True, validate=_check_along("index_reduce"))
def index_reduce(
    input: Array, dim: int, index: Array, source: Array, reduce: str, *, include_self: bool = True
) -> Array:
    """The input with the slices of `source` reduced into those of a dimension that a vector of indices names.

    `reduce` is prod, mean, amax or amin; without `include_self` what was in those slices takes no part.

    Shape: (A*, L, B*), (I), (A*, I, B*) -> (A*, L, B*)
    Raises: RuntimeError for an index out of range, or a source of another dtype or shape.
    """
    known = reduce in _REDUCTIONS[1:]
    _args.check(known, f"index_reduce(): expected reduce to be one of {_REDUCTIONS[1:]}, got {reduce!r}", RuntimeError)
    lined, index, source, at = _slices("index_reduce", input, dim, index, source)
    wide = jnp.broadcast_to(index.reshape((-1,) + (1,) * (lined.ndim - at - 1)), source.shape)
    places = flat_places(wide, lined.shape, at).reshape(-1)
    return _reduced(lined.reshape(-1), places, source.reshape(-1), reduce, include_self).reshape(input.shape)


def _check_put(input: Array, index: Array, source: Array, accumulate: bool) -> None:
    check_range("put", index, input.size, 0, wraps=True)


@op(inplace=True, validate=_check_put)
def put(input: Array, index: Array, source: Array, accumulate: bool = False) -> Array:
    """A copy of the input with `source` at places of the flattened input, or added there.

    Shape: (*), (I*), (I*) -> (*)
    Raises: IndexError for a place out of range; RuntimeError for a source of another dtype or number of elements.
    """
    same = source.dtype == input.dtype
    _args.check(same, f"put(): expected a source of dtype {input.dtype}, got {source.dtype}", RuntimeError)
    fits = source.size == index.size
    _args.check(fits, f"put(): expected as many elements as indices, {index.size}, got {source.size}", IndexError)
    place_dtype(input.size)
    flat, places, source = input.reshape(-1), index.reshape(-1), source.reshape(-1)
    out = add_at(flat, places, source) if accumulate else overwrite(flat, source, (places,), _FLAT)
    return out.reshape(input.shape)


def _embedded(name: str, input: Array, src: Array, index: tuple) -> Array:
    spec, arrays = encode(index, input.shape, static_ints=True)
    shape = jax.eval_shape(lambda x: x[index], input).shape
    _args.check(src.shape == shape, f"{name}(): expected src of shape {shape}, got {src.shape}", RuntimeError)
    return setitem.body(input, src, arrays, spec)


@op
def select_scatter(input: Array, src: Array, dim: int, index: int) -> Array:
    """A copy of the input with `src` as the slice at one place of a dimension.

    Shape: (A*, L, B*), (A*, B*) -> (A*, L, B*)
    Raises: IndexError for a place outside; RuntimeError where `src` has another shape.
    """
    return _embedded(
        "select_scatter", input, src, (slice(None),) * _args.dim(dim, input.ndim, "select_scatter") + (index,)
    )


@op
def slice_scatter(
    input: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    """A copy of the input with `src` in the places `start:end:step` of a dimension.

    Shape: (A*, L, B*), (A*, number of places, B*) -> (A*, L, B*)
    Raises: RuntimeError where `src` has another shape.
    """
    at = _args.dim(dim, input.ndim, "slice_scatter")
    return _embedded("slice_scatter", input, src, (slice(None),) * at + (slice(start, end, step),))


@op
def as_strided_scatter(
    input: Array, src: Array, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Array:
    """A copy of the input with `src` at the places that `as_strided` would read.

    Shape: (*), size -> (*)
    Raises: RuntimeError where a place lies outside or `src` has another shape.
    Differs: the input gets no gradient at the places written; torch's gives it one there and none elsewhere.
    """
    shape = tuple(size)
    _args.check(
        src.shape == shape, f"as_strided_scatter(): expected src of shape {shape}, got {src.shape}", RuntimeError
    )
    places = strided_places("as_strided_scatter", input.size, size, stride, storage_offset)
    return overwrite(input.reshape(-1), _args.cast(src, input.dtype), (places,), _FLAT).reshape(input.shape)
