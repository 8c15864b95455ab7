"""How tensors lend their arrays to a program that replaces them, and take the new ones."""

import sys
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jtorch._capture import state
from jtorch._tensor import Tensor, from_array


def arrays_of(tensors: Sequence[Tensor]) -> list:
    """The arrays of tensors."""
    if state.session is not None:
        return [t._value() for t in tensors]
    return [t._raw_value if t._base is None else t._value() for t in tensors]  # spares a call for each


def _held_once() -> int:
    """What getrefcount says of an array that only its tensor holds, counted the way `donatable` does."""
    tensors = [from_array(np.zeros(1))]
    return max(map(sys.getrefcount, arrays_of(tensors)))


_HELD_ONCE = _held_once()


def donatable(tensors: Sequence[Tensor]) -> list:
    """The arrays of the tensors, a copy of each that something else holds too, since donating deletes it."""
    arrays = arrays_of(tensors)
    counts = list(map(sys.getrefcount, arrays))
    if max(counts, default=0) > _HELD_ONCE:
        return [jnp.array(x, copy=True) if n > _HELD_ONCE else x for x, n in zip(arrays, counts, strict=True)]
    return arrays


def put(tensors: Sequence[Tensor], arrays: Sequence, direct: bool = True) -> None:
    """Give each tensor its new array; `direct` where no trace is running."""
    for tensor, array in zip(tensors, arrays, strict=True):
        if direct and tensor._base is None:
            tensor._raw_value = array
            count = tensor._count
            (tensor._counter() if count is None else count)[0] += 1
        else:
            tensor._rebind(array)
