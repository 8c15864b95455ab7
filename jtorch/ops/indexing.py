"""What a subscript means: any torch index as a static description and a few arrays, and the ops that read and write by it.

`encode` turns the text between the brackets into a `Spec` (hashable; part of the key of the compiled program) and the
arrays that go with it. An index is done in two steps. The basic step takes integers, slices and new dimensions and
gives a view; the advanced step then takes index arrays and masks. That order is torch's, and differs from NumPy's where
integers stand beside arrays: in torch they never move a dimension.

Ops that take an index array as an argument (gather, index_select, scatter ...) are in `gathering` and `scattering`.
"""

import dataclasses
import functools
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, derived, op

_MOST = 2**31 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """The static part of an index.

    `basic` has an entry for each dimension of the input (those at the end may be missing) and each new one:
    `("all",)`, `("new",)`, `("at", place)`, `("cut", start, length, step)`. A place or start of None is traced: the next
    array holds it. `advanced` has an entry for each dimension that the basic step leaves: `"all"`, `"index"` or
    `"mask"`; the last two each take the next array, a mask spanning as many dimensions as it has.
    """

    basic: tuple = ()
    advanced: tuple = ()

    @property
    def is_view(self) -> bool:
        """Whether reading by it gives a view: there are no index arrays and no masks."""
        return not self.advanced


def _common_shape(arrays: Sequence[Any]) -> tuple[int, ...]:
    """What index arrays broadcast to."""
    shapes = [tuple(x.shape) for x in arrays]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        _args.fail(f"index: expected index tensors that broadcast together, got shapes {shapes}", IndexError)


def _truth(flag: bool) -> np.ndarray:
    return np.zeros(1 if flag else 0, np.int32)


def _concrete(mask: Any) -> np.ndarray:
    try:
        return np.asarray(mask)
    except jax.errors.TracerArrayConversionError as error:
        text = (
            "index: expected a mask with known values, got a traced one, so that the shape of the result is unknown; "
            "use torch.where or masked_fill, or multiply by the mask"
        )
        raise RuntimeError(text) from error


def _known(values: Any) -> np.ndarray | None:
    """The values of an index where they can be looked at now."""
    try:
        return np.asarray(values)
    except jax.errors.TracerArrayConversionError:
        return None


class _Encoder:
    """One index on its way to a Spec; the methods take its entries in order."""

    def __init__(self, shape: tuple, static_ints: bool, writing: bool):
        self.shape, self.static_ints, self.writing = shape, static_ints, writing
        self.basic: list[tuple] = []
        self.advanced: list[str] = []
        self.places: list[Any] = []
        self.arrays: list[Any] = []
        self.dim = 0  # the next dimension of the input

    def keep(self, count: int) -> None:
        """Dimensions taken whole."""
        self.basic += [("all",)] * count
        self.advanced += ["all"] * count
        self.dim += count

    def new(self) -> None:
        self.basic.append(("new",))
        self.advanced.append("all")

    def integer(self, place: int) -> None:
        place = _wrapped(place, self.shape[self.dim], self.dim)
        if self.static_ints:
            self.basic.append(("at", place))
        else:
            self.basic.append(("at", None))
            self.places.append(place)
        self.dim += 1

    def scalar(self, place: Any) -> None:
        """A 0-d integer array: an integer whose value may be unknown."""
        known = _known(place)
        if known is not None:
            _wrapped(int(known), self.shape[self.dim], self.dim)
        self.basic.append(("at", None))
        self.places.append(place)
        self.dim += 1

    def slice(self, cut: slice) -> None:
        size = self.shape[self.dim]
        step = 1 if cut.step is None else operator.index(cut.step)
        _args.check(step > 0, f"slice: expected a step greater than zero, got {step}; use flip to reverse", ValueError)
        start, stop, _ = cut.indices(size)
        length = max(0, -(-(stop - start) // step))
        if length == size and step == 1:
            return self.keep(1)
        if length == 0:
            start = 0
        if self.static_ints or start == 0:
            self.basic.append(("cut", start, length, step))
        else:
            self.basic.append(("cut", None, length, step))
            self.places.append(start)
        self.advanced.append("all")
        self.dim += 1

    def index(self, array: Any) -> None:
        size = self.shape[self.dim]
        known = _known(array)
        if known is not None and known.size:
            _wrapped(int(known.min()), size, self.dim)
            _wrapped(int(known.max()), size, self.dim)
        self.basic.append(("all",))
        self.advanced.append("index")
        self.arrays.append(array)
        self.dim += 1

    def truth(self, flag: bool) -> None:
        """A bool: a new dimension, whole or empty."""
        self.basic.append(("new",))
        self.advanced.append("index")
        self.arrays.append(_truth(flag))

    def mask(self, mask: Any, alone: bool) -> None:
        """A bool array: kept as a mask where a lone one is written by, else the places where it is True."""
        at, rank = self.dim, len(mask.shape)
        _args.check(
            tuple(mask.shape) == tuple(self.shape[at : at + rank]),
            f"index: expected a mask of shape {tuple(self.shape[at : at + rank])} at dimension {at}, got "
            f"{tuple(mask.shape)}",
            IndexError,
        )
        self.basic += [("all",)] * rank
        self.dim += rank
        if self.writing and alone:
            self.advanced.append("mask")
            self.arrays.append(mask)
            return
        self.advanced += ["index"] * rank
        self.arrays += [x.astype(np.int32) for x in np.nonzero(_concrete(mask))]

    def done(self) -> tuple[Spec, tuple]:
        basic, advanced = self.basic, self.advanced
        while basic and basic[-1] == ("all",):
            basic.pop()
        if not self.arrays:
            return Spec(tuple(basic)), tuple(self.places)
        _common_shape(self.arrays)
        while advanced[-1] == "all":
            advanced.pop()
        return Spec(tuple(basic), tuple(advanced)), (*self.places, *self.arrays)


def _wrapped(place: int, size: int, dim: int) -> int:
    _args.check(-size <= place < size, f"index {place} is out of bounds for dimension {dim} with size {size}", IndexError)
    return place + size if place < 0 else place


def _stands_apart(item: Any) -> bool:
    apart = isinstance(item, list | tuple | range | slice | type(None) | type(...)) or hasattr(item, "shape")
    return apart and not isinstance(item, np.generic)


def _items(index: Any) -> tuple:
    """The entries of an index. Some lists are tuples, by an old rule that torch still follows."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < 32:
        if any(_stands_apart(x) for x in index):
            warnings.warn(
                "index: expected a tuple for several dimensions, got a list; x[list] is read as x[tuple(list)] here",
                UserWarning,
                stacklevel=4,
            )
            return tuple(index)
    return (index,)


def _entry(item: Any) -> Any:
    """An entry as a plain int, bool, slice, None, Ellipsis, or something with a dtype and a shape."""
    kind = type(item)
    if kind is int or kind is slice or item is None or item is Ellipsis or kind is bool:
        return item
    if isinstance(item, np.bool_):
        return bool(item)
    if isinstance(item, int | np.integer) or (kind is np.ndarray and item.ndim == 0 and item.dtype.kind == "i"):
        return int(item)
    if isinstance(item, list | tuple | range):
        item = np.asarray(item)
        item = item.astype(np.int32) if item.size == 0 else item
    shaped = hasattr(item, "shape") and hasattr(item, "dtype")
    _args.check(
        shaped,
        f"index: expected integers, slices, `...`, None, bools, or integer or bool tensors, got {type(item).__name__}",
        IndexError,
    )
    dtype = _args.to_dtype(item.dtype)
    known = dtype.kind in "b" or dtype in (np.int64, np.int32, np.uint8)
    _args.check(known, f"index: expected a tensor of dtype int64, int32, uint8 or bool, got {dtype}", IndexError)
    return item


def _spans(entry: Any) -> int:
    """How many dimensions of the input an entry takes."""
    if entry is None or entry is Ellipsis or isinstance(entry, bool):
        return 0
    return len(entry.shape) if _is_mask(entry) else 1


def _is_mask(entry: Any) -> bool:
    if isinstance(entry, int | slice):
        return False
    return _args.to_dtype(entry.dtype) in (np.bool_, np.uint8)


def encode(index: Any, shape: Sequence[int], static_ints: bool = False, writing: bool = False) -> tuple[Spec, tuple]:
    """An index for an input of this shape as `(spec, arrays)`, for `slice_view`, `gather_index` and `setitem`.

    Integers and the starts of slices are traced, so that a loop over `x[i]` compiles once; with `static_ints` they
    are part of the spec, which is better inside compiled code. Arrays and tensors in the index stay as they are. Masks
    become the places where they are True, except a lone mask when `writing`.

    Raises: IndexError for places outside, too many entries, or entries of no use as an index; ValueError for a slice
        step below 1; RuntimeError for reading by a mask whose values are not known.
    """
    shape = tuple(shape)
    made = _Encoder(shape, static_ints, writing)
    if type(index) is int and shape:
        made.integer(index)
        return made.done()
    entries = [_entry(x) for x in _items(index)]
    spans = [_spans(x) for x in entries]
    _check_count(sum(spans), entries, len(shape))
    advanced = sum(isinstance(x, bool) or (hasattr(x, "shape") and (x.shape != () or _is_mask(x))) for x in entries)
    rest = len(shape) - sum(spans)
    for entry in entries:
        if entry is Ellipsis:
            made.keep(rest)
            rest = 0
        else:
            _take(made, entry, advanced == 1)
    return made.done()


def _check_count(taken: int, entries: list, ndim: int) -> None:
    zero = "index: expected `...`, None or a mask for a 0-d tensor, got an index; use item() for its number"
    _args.check(ndim or not taken, zero, IndexError)
    _args.check(taken <= ndim, f"index: expected at most {ndim} indices, got {taken}; too many indices", IndexError)


def _take(made: _Encoder, entry: Any, alone: bool) -> None:
    if entry is None:
        made.new()
    elif isinstance(entry, bool):
        made.truth(entry)
    elif isinstance(entry, int):
        made.integer(entry)
    elif isinstance(entry, slice):
        made.slice(entry)
    elif _is_mask(entry):
        if tuple(entry.shape) == ():
            made.truth(bool(_concrete(entry)))
        else:
            made.mask(entry, alone)
    elif tuple(entry.shape) == ():
        made.scalar(entry)
    else:
        made.index(entry)


# reading


def _region(shape: tuple, basic: tuple, places: Sequence) -> tuple[list, list, list, tuple]:
    """Starts, lengths and steps for each dimension of the input, and the shape of the result."""
    starts, lengths, steps, result, places = [], [], [], [], list(places)
    for entry in basic:
        if entry[0] == "new":
            result.append(1)
            continue
        if entry[0] == "all":
            start, length, step = 0, shape[len(starts)], 1
        else:
            start, length, step = entry[1:] if entry[0] == "cut" else (entry[1], 1, 1)
        starts.append(places.pop(0) if start is None else start)
        lengths.append(length)
        steps.append(step)
        if entry[0] != "at":
            result.append(length)
    rest = shape[len(starts) :]
    return starts + [0] * len(rest), [*lengths, *rest], steps + [1] * len(rest), (*result, *rest)


def _spanned(lengths: list, steps: list) -> list:
    return [(n - 1) * s + 1 if n else 0 for n, s in zip(lengths, steps, strict=True)]


def _cut_out(input: Array, starts: list, spans: list) -> Array:
    if all(isinstance(s, int) for s in starts):
        return jax.lax.slice(input, starts, [s + n for s, n in zip(starts, spans, strict=True)])
    return jax.lax.dynamic_slice(input, _aligned(starts, input.shape), spans)


def _aligned(starts: list, shape: tuple) -> list:
    """Starts of one dtype, as XLA wants them."""
    dtype = np.int32 if max(shape) <= _MOST else np.int64
    return [jnp.asarray(s).astype(dtype) for s in starts]


@op(view=True, method=False, function=False)
def slice_view(input: Array, arrays: Sequence[Array], spec: Spec) -> Array:
    """`input[index]` for an index of integers, slices and new dimensions, encoded by `encode`.

    Shape: (*) -> as the index says
    """
    starts, lengths, steps, result = _region(input.shape, spec.basic, arrays)
    out = _cut_out(input, starts, _spanned(lengths, steps))
    if max(steps, default=1) > 1:
        out = jax.lax.slice(out, [0] * out.ndim, out.shape, steps)
    return out.reshape(result)


def _halves(arrays: Sequence, spec: Spec) -> tuple[Sequence, Sequence]:
    """The traced places of the basic step, and the arrays of the advanced one."""
    count = sum(e[0] in ("at", "cut") and e[1] is None for e in spec.basic)
    return arrays[:count], arrays[count:]


def subscript(advanced: tuple, arrays: Sequence) -> tuple:
    """The advanced step as a subscript that JAX takes."""
    left = iter(arrays)
    return tuple(slice(None) if kind == "all" else next(left) for kind in advanced)


@op(method=False, function=False)
def gather_index(input: Array, arrays: Sequence[Array], spec: Spec) -> Array:
    """`input[index]` for an index with integer arrays in it, encoded by `encode`: a copy.

    Shape: (*) -> as the index says
    Differs: places outside raise in `encode` where they are known; else they read NaN, or the extreme integer.
    """
    places, indices = _halves(arrays, spec)
    current = slice_view.body(input, places, spec)
    return current.at[subscript(spec.advanced, indices)].get(mode="fill")


@derived(method=False, function=False)
def getitem(input: Any, index: Any) -> Any:
    """`input[index]` by torch's rules.

    Shape: (*) -> as the index says
    Raises: IndexError, ValueError or RuntimeError as `encode` does.
    """
    spec, arrays = encode(index, input.shape)
    return slice_view(input, arrays, spec) if spec.is_view else gather_index(input, arrays, spec)


# writing


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def overwrite(input: Array, value: Array, indices: tuple, advanced: tuple) -> Array:
    """`input` with `value` at the places of the index arrays.

    Where places coincide one of the values stays, and each of them gets the gradient of the place, as in torch.
    """
    return input.at[subscript(advanced, indices)].set(value)


@overwrite.defjvp
def _overwrite_tangent(advanced, primals, tangents):
    input, value, indices = primals
    at = subscript(advanced, indices)
    kept = tangents[0].at[at].set(0, unique_indices=True)  # zero whichever write is last: so unique in effect
    return overwrite(input, value, indices, advanced), kept.at[at].add(tangents[1])


def as_dtype(value: Any, dtype: Any) -> Array:
    """A value to be written, in the dtype of what it is written into.

    Raises: RuntimeError for a complex Python number where that is real.
    """
    value = jnp.asarray(value)
    if _args.is_complex(value.dtype) and not _args.is_complex(dtype):
        _args.check(not value.aval.weak_type, f"index: expected a value for {dtype}, got a complex number", RuntimeError)
        value = value.real
    return value.astype(dtype)


def _fitted(value: Array, shape: tuple) -> Array:
    """A value broadcast to the place it is written to; dimensions of size 1 in front fall away."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    grows = value.ndim <= len(shape) and all(
        m in (1, n) for m, n in zip(value.shape[::-1], shape[::-1], strict=False)
    )
    _args.check(grows, f"index: expected a value that broadcasts to {shape}, got shape {value.shape}", RuntimeError)
    return jnp.broadcast_to(value, shape)


def _result_shape(shape: tuple, advanced: tuple, indices: Sequence) -> tuple:
    """The shape that the advanced step reads: the index dimensions in front, unless they were next to each other."""
    common = _common_shape(indices)
    at = [i for i, kind in enumerate(advanced) if kind == "index"]
    rest = [n for i, n in enumerate(shape) if i not in at]
    first = at[0] if at[-1] - at[0] == len(at) - 1 else 0
    return (*rest[:first], *common, *rest[first:])


def _masked_values(value: Array, shape: tuple, at: int, rank: int) -> tuple[Array, int | None]:
    """A value to go where a mask over `rank` dimensions from `at` on is True, and the axis that counts those places.

    The axis is None where every place takes the same, and the value then broadcasts to `shape`.
    """
    after = len(shape) - at - rank
    while value.ndim > at + 1 + after and value.shape[0] == 1:
        value = value[0]
    if value.ndim <= after:
        return _fitted(value, shape), None
    lead = value.ndim - after - 1
    if value.shape[lead] != 1:
        return value, lead
    return _fitted(value.reshape(*value.shape[:lead], *(1,) * rank, *value.shape[lead + 1 :]), shape), None


def _write_masked(current: Array, mask: Array, at: int, value: Array) -> Array:
    rank, shape = mask.ndim, current.shape
    after = shape[at + rank :]
    value, axis = _masked_values(value, shape, at, rank)
    if axis is not None:
        value = _fitted(value, (*shape[:at], value.shape[axis], *after))
        order = jnp.cumsum(mask.reshape(-1)) - 1  # which value each True place takes
        value = jnp.take(value, order, axis=at, mode="clip").reshape(shape)
    return jnp.where(mask.reshape(mask.shape + (1,) * len(after)), value, current)


def _write_advanced(current: Array, advanced: tuple, indices: Sequence, value: Array, accumulate: bool) -> Array:
    if "mask" in advanced:
        return _write_masked(current, indices[0] != 0, advanced.index("mask"), value)
    value = _fitted(value, _result_shape(current.shape, advanced, indices))
    if accumulate:
        return current.at[subscript(advanced, indices)].add(value)
    return overwrite(current, value, tuple(indices), advanced)


def _paste(input: Array, value: Array, basic: tuple, places: Sequence) -> Array:
    """`input` with the part that the basic step reads replaced."""
    starts, lengths, steps, _ = _region(input.shape, basic, places)
    value = value.reshape(lengths)
    if 0 in lengths or not input.ndim:
        return input if input.ndim else value
    if max(steps) > 1:
        between = [(0, 0, s - 1) for s in steps]
        written = jax.lax.pad(jnp.ones(lengths, bool), False, between)
        spread = jax.lax.pad(value, jnp.zeros((), value.dtype), between)
        value = jnp.where(written, spread, _cut_out(input, starts, _spanned(lengths, steps)))
    return jax.lax.dynamic_update_slice(input, value, _aligned(starts, input.shape))


def _check_setitem(input: Array, value: Any, arrays: Sequence[Array], spec: Spec, accumulate: bool = False) -> None:
    if "mask" not in spec.advanced:
        return
    mask = np.asarray(arrays[-1])
    after = len(_region(input.shape, spec.basic, arrays[:-1])[3]) - spec.advanced.index("mask") - mask.ndim
    shape = np.shape(value)
    length = shape[-1 - after] if len(shape) > after else 1
    count = int(np.count_nonzero(mask))
    _args.check(length in (1, count), f"index: expected {count} values for the mask, got {length}", RuntimeError)


@op(method=False, function=False, validate=_check_setitem)
def setitem(input: Array, value: Array | Scalar, arrays: Sequence[Array], spec: Spec, accumulate: bool = False) -> Array:
    """A copy of the input with `value` at the places of an encoded index (see `encode`, with `writing=True`).

    The value takes the dtype of the input, loses dimensions of size 1 in front, and is broadcast. With `accumulate` it
    is added, once for each time a place comes up.

    Shape: (*), what the index reads -> (*)
    Raises: RuntimeError where the value does not fit.
    """
    places, indices = _halves(arrays, spec)
    value = as_dtype(value, input.dtype)
    if not spec.advanced:
        *_, shape = _region(input.shape, spec.basic, places)
        return _paste(input, _fitted(value, shape), spec.basic, places)
    current = slice_view.body(input, places, spec)
    written = _write_advanced(current, spec.advanced, indices, value, accumulate)
    return _paste(input, written, spec.basic, places)


@derived(inplace=True)
def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """A copy of the input with `values` at the places that index arrays name, or added there.

    Shape: (*), what the index reads -> (*)
    Raises: IndexError for places outside; RuntimeError where values do not fit or have another dtype.
    """
    same = _args.to_dtype(values.dtype) == _args.to_dtype(input.dtype)
    _args.check(same, f"index_put(): expected values of dtype {input.dtype}, got {values.dtype}", RuntimeError)
    spec, arrays = encode(tuple(indices), input.shape, writing=not accumulate)
    return setitem(input, values, arrays, spec, accumulate)
