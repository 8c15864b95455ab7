"""What a subscript means: `encode` turns any torch index into a static description and a few arrays.

The `Spec` is hashable and part of the key of the compiled program. It has two steps: the basic one takes integers,
slices and new dimensions and gives a view; the advanced one then takes index arrays and masks. That order is torch's,
and differs from NumPy's where integers stand beside arrays: in torch they never move a dimension. The ops that read and
write by it are in `indexing`.
"""

import dataclasses
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jtorch.ops import _args
from jtorch.ops.shape import dtype_of


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """The static part of an index.

    `basic` has an entry for each dimension of the input (those at the end may be missing) and each new one: `("all",)`,
    `("new",)`, `("at", place)`, `("cut", start, length, step)`. A place or start of None is traced, and the next array
    holds it. `advanced` has an entry for each dimension that the basic step leaves: `"all"`, `"index"` or `"mask"`. The
    last two take the next array each, and a mask stands for as many dimensions as it has.
    """

    basic: tuple = ()
    advanced: tuple = ()
    counted: bool = False  # whether a mask decided the lengths of the index arrays

    @property
    def is_view(self) -> bool:
        """Whether reading by it gives a view: there are no index arrays and no masks."""
        return not self.advanced


def joint_shape(arrays: Sequence[Any]) -> tuple[int, ...]:
    """What index arrays broadcast to."""
    shapes = [tuple(x.shape) for x in arrays]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        _args.fail(f"index: expected index tensors that broadcast together, got shapes {shapes}", IndexError)


def _truth(flag: bool) -> np.ndarray:
    return np.zeros(1 if flag else 0, np.int32)


def concrete(mask: Any, name: str = "index") -> np.ndarray:
    """The values of a mask.

    Raises: RuntimeError where they are not known, under a trace.
    """
    try:
        return np.asarray(mask)
    except jax.errors.TracerArrayConversionError as error:
        text = (
            f"{name}: expected a mask with known values, got a traced one, so that the shape of the result is unknown; "
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
        self.counted = False

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
        if cut == slice(None):  # of any size, even one that a program leaves open
            return self.keep(1)
        size = self.shape[self.dim]
        step = 1 if cut.step is None else operator.index(cut.step)
        if step <= 0:
            _args.fail(f"slice: expected a step greater than zero, got {step}; use flip to reverse", ValueError)
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
        self.counted = True
        self.advanced += ["index"] * rank
        self.arrays += [x.astype(np.int32) for x in np.nonzero(concrete(mask))]

    def done(self) -> tuple[Spec, tuple]:
        basic, advanced = self.basic, self.advanced
        while basic and basic[-1] == ("all",):
            basic.pop()
        if not self.arrays:
            return Spec(tuple(basic)), tuple(self.places)
        joint_shape(self.arrays)
        while advanced[-1] == "all":
            advanced.pop()
        return Spec(tuple(basic), tuple(advanced), self.counted), (*self.places, *self.arrays)


def _wrapped(place: int, size: int, dim: int) -> int:
    if not -size <= place < size:
        _args.fail(f"index {place} is out of bounds for dimension {dim} with size {size}", IndexError)
    return place + size if place < 0 else place


def _stands_apart(item: Any) -> bool:
    apart = isinstance(item, list | tuple | range | slice | type(None) | type(...)) or hasattr(item, "shape")
    return apart and not isinstance(item, np.generic)


def _items(index: Any) -> tuple:
    """The entries of an index. Some lists are tuples, by an old rule that torch still follows."""
    if isinstance(index, tuple):
        return index
    if isinstance(index, list) and len(index) < 32 and any(_stands_apart(x) for x in index):
        text = "index: expected a tuple for several dimensions, got a list; x[list] is read as x[tuple(list)] here"
        warnings.warn(text, UserWarning, stacklevel=4)
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
    dtype = dtype_of(item)
    known = dtype.kind in "b" or dtype in (np.int64, np.int32, np.uint8)
    _args.check(known, f"index: expected a tensor of dtype int64, int32, uint8 or bool, got {dtype}", IndexError)
    return item


def _spans(entry: Any) -> int:
    """How many dimensions of the input an entry takes."""
    kind = type(entry)
    if kind is int or kind is slice:
        return 1
    if entry is None or entry is Ellipsis or kind is bool:
        return 0
    return len(entry.shape) if _is_mask(entry) else 1


def _is_mask(entry: Any) -> bool:
    if isinstance(entry, int | slice):
        return False
    return dtype_of(entry) in (np.bool_, np.uint8)


_BASIC = frozenset((int, slice, type(None), type(...)))
_ROW = Spec((("at", None),))
"""The spec of a lone integer, the commonest index: without it `x[0]` takes four microseconds more."""


def encode(index: Any, shape: Sequence[int], static_ints: bool = False, writing: bool = False) -> tuple[Spec, tuple]:
    """An index for an input of this shape as `(spec, arrays)`, for `slice_view`, `gather_index` and `setitem`.

    Integers and the starts of slices are traced, so that a loop over `x[i]` compiles once; with `static_ints` they
    are part of the spec, which is better inside compiled code. Arrays and tensors in the index stay as they are. Masks
    become the places where they are True, except a lone mask when `writing`.

    Raises: IndexError for places outside, too many entries, or entries of no use as an index; ValueError for a slice
        step below 1; RuntimeError for reading by a mask whose values are not known.
    """
    shape = tuple(shape)
    if type(index) is int and shape and not static_ints:
        return _ROW, (_wrapped(index, shape[0], 0),)
    made = _Encoder(shape, static_ints, writing)
    entries = index if type(index) is tuple else (index,)
    basic = _BASIC.issuperset(map(type, entries))  # then there is nothing in the entries to look into
    if not basic:
        entries = [_entry(x) for x in _items(index)]
    spans = sum(_spans(x) for x in entries)
    _check_count(spans, len(shape))
    alone = not basic and sum(map(_is_advanced, entries)) == 1
    rest = len(shape) - spans
    for entry in entries:
        if entry is Ellipsis:
            made.keep(rest)
            rest = 0
        else:
            _take(made, entry, alone)
    return made.done()


def _is_advanced(entry: Any) -> bool:
    return isinstance(entry, bool) or (hasattr(entry, "shape") and (entry.shape != () or _is_mask(entry)))


def _check_count(taken: int, ndim: int) -> None:
    if taken > ndim:
        zero = "index: expected `...`, None or a mask for a 0-d tensor, got an index; use item() for its number"
        many = f"index: expected at most {ndim} indices, got {taken}; too many indices"
        _args.fail(many if ndim else zero, IndexError)


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
            made.truth(bool(concrete(entry)))
        else:
            made.mask(entry, alone)
    elif tuple(entry.shape) == ():
        made.scalar(entry)
    else:
        made.index(entry)
