"""A batch out of a list of samples: tensors stacked, numbers made tensors, containers gone into."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jtorch import _creation, _types
from jtorch._methods import is_tensor
from jtorch.ops import joining


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "SUO"


def default_convert(data: Any) -> Any:
    """NumPy arrays and numbers as tensors, also inside containers; everything else as it is."""
    if is_tensor(data):
        return data
    if _is_numbers(data):
        return _creation.as_tensor(data)
    return _inside(default_convert, data)


def _inside(function: Callable, data: Any) -> Any:
    if isinstance(data, Mapping):
        return _as(data, {name: function(value) for name, value in data.items()})
    if isinstance(data, tuple):
        return _named(data, [function(value) for value in data])
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _as(data, [function(value) for value in data])
    return data


def _as(like: Any, value: Any) -> Any:
    """The value in the type of a container, where that can be made from it."""
    try:
        return type(like)(value)
    except TypeError:
        return value


def _named(like: tuple, values: list) -> Any:
    return type(like)(*values) if hasattr(like, "_fields") else values


def default_collate(batch: Sequence) -> Any:
    """A batch of samples: tensors and NumPy arrays stacked, numbers as a tensor, text as a list, containers gone into.

    Raises:
        RuntimeError: tensors or sequences are of different lengths.
        TypeError: the samples are nothing of these.
    """
    first = batch[0]
    if is_tensor(first):
        return joining.stack(tuple(batch))
    if _is_numbers(first):
        arrays = [np.asarray(sample) for sample in batch]
        if any(a.shape != arrays[0].shape for a in arrays):
            sizes = sorted({a.shape for a in arrays})
            raise RuntimeError(f"default_collate(): expected arrays of equal sizes, got {sizes}")
        return _creation.as_tensor(np.stack(arrays))
    if isinstance(first, float):
        return _creation.tensor(batch, dtype=_types.float64)
    if isinstance(first, int):
        return _creation.tensor(batch)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _as(first, {name: default_collate([sample[name] for sample in batch]) for name in first})
    if isinstance(first, Sequence):
        return _transposed(first, batch)
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )


def _transposed(first: Any, batch: Sequence) -> Any:
    if any(len(sample) != len(first) for sample in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = [default_collate(list(column)) for column in zip(*batch, strict=True)]
    return _named(first, columns) if isinstance(first, tuple) else _as(first, columns)
