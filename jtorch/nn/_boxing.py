"""Arrays among the arguments of a module turned into tensors, and tensors among its outputs into arrays."""

import copy
from collections.abc import Callable
from typing import Any

import jax

from jtorch._tensor import Tensor, from_array

NOTHING, ARRAYS, TENSORS = range(3)


def contents(value: Any) -> int:
    """Whether there are tensors in nested sequences and dictionaries, or else arrays."""
    if isinstance(value, Tensor):
        return TENSORS
    if isinstance(value, jax.Array):
        return ARRAYS
    found = NOTHING
    for inner in value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else ():
        found = max(found, contents(inner))
        if found == TENSORS:
            break
    return found


def boxed(value: Any) -> Any:
    """The same with every array as a tensor, random keys excepted."""
    if isinstance(value, jax.Array):
        return value if jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended) else from_array(value)  # type: ignore
    return rebuilt(boxed, value)


def unboxed(value: Any) -> Any:
    """The same with every tensor as its array, inside any pytree."""
    if isinstance(value, Tensor):
        return value._value()
    if isinstance(value, tuple | list | dict):
        return rebuilt(unboxed, value)
    is_tensor = lambda x: isinstance(x, Tensor)  # noqa: E731
    return jax.tree.map(lambda x: x._value() if is_tensor(x) else x, value, is_leaf=is_tensor)


def rebuilt(change: Callable, value: Any) -> Any:
    """The same tuple, list or dictionary with every element changed; anything else as it is."""
    if isinstance(value, tuple | list):
        inner = [change(x) for x in value]
        return type(value)._make(inner) if hasattr(value, "_make") else type(value)(inner)  # type: ignore[union-attr]
    if isinstance(value, dict):
        made = copy.copy(value)  # keeps the order and the kind
        made.update((name, change(x)) for name, x in value.items())
        return made
    return value
