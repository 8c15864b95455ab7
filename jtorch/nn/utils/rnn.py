"""Batches of sequences of unequal lengths: padded, packed, and taken apart again.

How long the sequences are decides shapes, so `batch_sizes` is a value of the host: inside compiled code it is a constant
of the program. A PackedSequence is a pytree whose leaves are its data and indices; the batch sizes belong to its
structure, so that a function compiled with one is compiled anew for other lengths.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch import _creation, _types
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.ops import packing
from jtorch.ops._args import check, fail, long_dtype
from jtorch.ops.gathering import index_select
from jtorch.ops.sorting import argsort

# numbers of the host


def _known(values: Any, name: str, what: str) -> np.ndarray:
    """The values of a tensor, an array or a sequence of numbers.

    Raises:
        RuntimeError: they are being traced.
    """
    if isinstance(values, Tensor):
        constant = vars(values).get("_constant")
        if constant is not None and constant[0] == values._writes:
            return constant[1]
        values = values.detach()._value()
    if isinstance(values, tuple | list):
        return np.array([int(v) for v in values], np.int64)
    if isinstance(values, Tracer):
        fail(
            f"{name}(): expected {what} whose values are known, since they decide shapes, got a traced tensor; give them "
            "as a tuple of numbers, or pack outside the compiled function",
            RuntimeError,
        )
    return np.asarray(values)


def _is_known(values: Any) -> bool:
    """Whether there are values, which can be read now."""
    raw = values._raw_value if isinstance(values, Tensor) else values
    return values is not None and state.session is None and not isinstance(raw, Tracer)


def _host() -> Any:
    """The device of the host, or None where JAX was told not to have it."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def _constant(values: np.ndarray) -> Tensor:
    """A tensor on the host that remembers its values, so that they are known inside compiled code."""
    values = values.astype(long_dtype())
    if state.session is not None:
        array = jnp.asarray(values)
    else:
        with jax.ensure_compile_time_eval():
            array = jax.device_put(values, _host())
    made = from_array(array)
    made._constant = (made._writes, values)  # type: ignore[attr-defined]
    return made


def _indices(values: np.ndarray, like: Any) -> Any:
    """Indices as what the data are: a tensor where they are one, on its device, or else an array."""
    values = values.astype(long_dtype())
    return _creation.tensor(values, device=like.device) if isinstance(like, Tensor) else jnp.asarray(values)


# the packed batch


class PackedSequence_(NamedTuple):
    """The fields of a PackedSequence."""

    data: Any
    batch_sizes: Any
    sorted_indices: Any = None
    unsorted_indices: Any = None


class PackedSequence(PackedSequence_):
    """A batch of sequences of unequal lengths without padding, made by `pack_padded_sequence` or `pack_sequence`.

    `data` holds the first elements of all sequences, then the second ones of those that have one, and so on. It takes
    the recurrent layers' place for a padded input.

    Shape: data (sum of lengths, *), batch_sizes (longest length), indices (N)
    Args:
        batch_sizes: how many sequences have an element at each time.
        sorted_indices: the places of the sequences before they were sorted by length; None: they were sorted.
        unsorted_indices: the inverse of that.
    Raises:
        ValueError: batch_sizes is not on the CPU.
    """

    def __new__(cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None):
        if batch_sizes is None:
            pair = isinstance(data, tuple | list) and len(data) == 2
            check(pair, "Expected data to be a list or tuple of length 2", AssertionError)
            data, batch_sizes = data
        elif isinstance(batch_sizes, Tensor) and "_constant" not in vars(batch_sizes):
            on_host = batch_sizes.device.type == "cpu"
            check(on_host, "batch_sizes should always be on CPU. Make a PackedSequence with pack_sequence.", ValueError)
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def sizes(self) -> np.ndarray:
        """`batch_sizes` as numbers."""
        return _known(self.batch_sizes, "PackedSequence", "batch_sizes")

    def _with(self, data: Any, change: Any) -> "PackedSequence":
        indices = (None if x is None else change(x) for x in self[2:])
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The batch with its data converted as by `Tensor.to`, and the indices on the same device."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data, lambda x: x.to(data.device))

    def cuda(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The batch on a GPU."""
        return self._with(self.data.cuda(*args, **kwargs), lambda x: x.cuda(*args, **kwargs))

    def cpu(self, *args: Any, **kwargs: Any) -> "PackedSequence":
        """The batch on the CPU."""
        return self.to(device="cpu")

    def pin_memory(self) -> "PackedSequence":
        """The batch in pinned memory."""
        return self._with(self.data.pin_memory(), lambda x: x.pin_memory())

    def is_pinned(self) -> bool:
        """Whether the data are in pinned memory."""
        return self.data.is_pinned()

    @property
    def is_cuda(self) -> bool:
        """Whether the data are on a GPU."""
        return self.data.is_cuda

    def double(self) -> "PackedSequence":
        """The batch as float64."""
        return self.to(dtype=_types.float64)

    def float(self) -> "PackedSequence":
        """The batch as float32."""
        return self.to(dtype=_types.float32)

    def half(self) -> "PackedSequence":
        """The batch as float16."""
        return self.to(dtype=_types.float16)

    def long(self) -> "PackedSequence":
        """The batch as int64."""
        return self.to(dtype=_types.int64)

    def int(self) -> "PackedSequence":
        """The batch as int32."""
        return self.to(dtype=_types.int32)

    def short(self) -> "PackedSequence":
        """The batch as int16."""
        return self.to(dtype=_types.int16)

    def char(self) -> "PackedSequence":
        """The batch as int8."""
        return self.to(dtype=_types.int8)

    def byte(self) -> "PackedSequence":
        """The batch as uint8."""
        return self.to(dtype=_types.uint8)


class _Sizes:
    """The batch sizes as a part of a pytree's structure, equal where the numbers are."""

    def __init__(self, packed: PackedSequence):
        self.numbers = packed.sizes()
        self.key = (isinstance(packed.batch_sizes, Tensor), tuple(self.numbers.tolist()))
        given = packed.batch_sizes
        raw = given._raw_value if isinstance(given, Tensor) else given
        self.given = None if isinstance(raw, Tracer) else given  # a tracer must not outlive its trace

    def field(self) -> Any:
        """What was in `batch_sizes`."""
        return _constant(self.numbers) if self.given is None else self.given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sizes) and self.key == other.key

    def __hash__(self):
        return hash(self.key)


def _flatten(packed: PackedSequence) -> tuple:
    return (packed.data, packed.sorted_indices, packed.unsorted_indices), _Sizes(packed)


def _unflatten(sizes: _Sizes, children: Sequence) -> PackedSequence:
    data, *indices = children
    return PackedSequence._make((data, sizes.field(), *indices))


jax.tree_util.register_pytree_node(PackedSequence, _flatten, _unflatten)


def invert_permutation(permutation: Any) -> Any:
    """The permutation that undoes this one; None for None.

    Shape: (N) -> (N)
    """
    return None if permutation is None else argsort(permutation)


# packing and unpacking

_UNSORTED = (
    "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
    "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement"
)


def _check_lengths(lengths: np.ndarray, time: int, count: int) -> None:
    message = f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.ndim}D"
    check(lengths.ndim == 1, message, RuntimeError)
    message = f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={count})"
    check(len(lengths) == count, message, RuntimeError)
    check(count > 0 and time > 0, "Cannot pack empty tensors.", RuntimeError)
    message = "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
    check((lengths > 0).all(), message, RuntimeError)
    message = f"pack_padded_sequence(): expected lengths of at most {time}, the padded length, got {lengths.max()}"
    check(lengths.max() <= time, message, RuntimeError)


def pack_padded_sequence(
    input: Any, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch packed.

    Shape: (T, N, *), or (N, T, *) if `batch_first`; lengths (N) -> data (sum of lengths, *)
    Args:
        lengths: numbers, or a tensor whose values are known.
        enforce_sorted: whether the sequences must come longest first; if not, they are sorted.
    Raises:
        RuntimeError: a length is below 1 or above T, or the sequences are not sorted as asked.
    Differs: a length above T is an error; torch packs less than it says.
    """
    numbers = _known(lengths, "pack_padded_sequence", "lengths").astype(np.int64)
    check(input.ndim >= 2, f"pack_padded_sequence(): expected 2 dimensions or more, got {input.ndim}", IndexError)
    time, count = (input.shape[1], input.shape[0]) if batch_first else (input.shape[0], input.shape[1])
    _check_lengths(numbers, time, count)
    order = np.arange(count)
    indices = (None, None)
    if enforce_sorted:
        check((np.diff(numbers) <= 0).all(), _UNSORTED, RuntimeError)
    else:
        order = np.argsort(-numbers, kind="stable")
        indices = (_indices(order, input), _indices(np.argsort(order), input))
    steps = (1, time) if batch_first else (count, 1)
    data = packing.take_rows(input, packing.padded_places(numbers[order], order, *steps), None, 2)
    sizes = packing.batch_sizes_of(numbers)
    return PackedSequence(data, _constant(sizes) if isinstance(input, Tensor) else sizes, *indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Any, Any]:
    """(the padded batch, the lengths) of a packed one, its sequences in their first order.

    Shape: data (sum of lengths, *) -> (T, N, *), or (N, T, *) if `batch_first`; lengths (N)
    Args:
        total_length: T; None: the longest length.
    Raises:
        ValueError: a sequence is longer than `total_length`.
    """
    lengths = packing.lengths_of(sequence.sizes())
    longest = int(lengths[0])
    enough = total_length is None or total_length >= longest
    message = "Expected total_length to be at least the length of the longest sequence in input, but got "
    check(enough, message + f"total_length={total_length} and max sequence length being {longest}")
    rows = sequence.data.shape[0]
    message = f"pad_packed_sequence(): expected {lengths.sum()} elements of data by batch_sizes, got {rows}"
    check(rows == lengths.sum(), message, RuntimeError)
    places = packing.packed_places(lengths, total_length)
    unsorted, boxes = sequence.unsorted_indices, isinstance(sequence.data, Tensor)
    order = _known(unsorted, "", "") if _is_known(unsorted) else None
    if order is not None:
        places, lengths = places[:, order], lengths[order]
    padded = packing.take_rows(sequence.data, places.T if batch_first else places, padding_value)
    found = _constant(lengths) if boxes else lengths
    if unsorted is None or order is not None:
        return padded, found
    return index_select(padded, 0 if batch_first else 1, unsorted), index_select(found, 0, unsorted)


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Any:
    """Sequences beside each other, filled up to the length of the longest.

    Shape: N times (L, *) -> (T, N, *), or (N, T, *) if `batch_first`
    Args:
        padding_side: "right" or "left".
    Raises:
        RuntimeError: there are no sequences, they have no length, or their other sizes differ.
    """
    several = isinstance(sequences, Iterable)
    kind = type(sequences)
    message = f"pad_sequence: Expected iterable for input sequences, but got arg of type: {kind}"
    check(several, message, RuntimeError)
    return packing.pad_sequence(tuple(sequences), batch_first, padding_value, padding_side)


def unpad_sequence(padded_sequences: Any, lengths: Any, batch_first: bool = False) -> list:
    """The sequences of a padded batch, each with its own length.

    Shape: (T, N, *), or (N, T, *) if `batch_first`; lengths (N) -> N times (L, *)
    Differs: `padded_sequences` stays as it is; torch transposes it in place unless `batch_first`.
    """
    numbers = _known(lengths, "unpad_sequence", "lengths").tolist()
    count = padded_sequences.shape[0 if batch_first else 1]
    check(len(numbers) == count, f"unpad_sequence(): expected {count} lengths, got {len(numbers)}")
    if batch_first:
        return [padded_sequences[i, :n] for i, n in enumerate(numbers)]
    return [padded_sequences[:n, i] for i, n in enumerate(numbers)]


def pack_sequence(sequences: Any, enforce_sorted: bool = True) -> PackedSequence:
    """Sequences packed into one batch.

    Shape: N times (L, *) -> data (sum of lengths, *)
    Args:
        enforce_sorted: whether they must come longest first; if not, they are sorted.
    Raises:
        RuntimeError: they do not come longest first.
    """
    padded = pad_sequence(sequences)
    return pack_padded_sequence(padded, [x.shape[0] for x in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list:
    """The sequences of a packed batch, in their first order.

    Shape: data (sum of lengths, *) -> N times (L, *)
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
