"""Nested arguments and results taken apart and put together again, dictionaries in the order that they have.

Tuples, named tuples, lists and dictionaries of any kind are nodes; other containers that JAX knows are taken apart by it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax

from jtorch._tensor import Tensor
from jtorch.nn._boxing import rebuilt


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def leaves(value: Any) -> list:
    """What is at the ends, in order. None is an end."""
    if isinstance(value, tuple | list):
        return [leaf for inner in value for leaf in leaves(inner)]
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner)]
    return [value] if value is None else jax.tree.leaves(value, is_leaf=_is_tensor)


def mapped(change: Callable, value: Any) -> Any:
    """The same tree with every end changed."""
    if isinstance(value, tuple | list | dict):
        return rebuilt(lambda inner: mapped(change, inner), value)
    return change(value) if value is None else jax.tree.map(change, value, is_leaf=_is_tensor)


def filled(value: Any, ends: Iterator) -> Any:
    """The same tree with other ends."""
    return mapped(lambda _: next(ends), value)


def form(value: Any) -> Any:
    """What the tree is like without its ends: equal for trees of the same structure."""
    if isinstance(value, tuple | list):
        return (type(value).__name__, *(form(inner) for inner in value))
    if isinstance(value, dict):
        return (type(value).__name__, *((name, form(inner)) for name, inner in value.items()))
    return "*" if value is None else _opaque(jax.tree.structure(value, is_leaf=_is_tensor))


def _opaque(structure: Any) -> Any:
    return "*" if jax.tree_util.treedef_is_leaf(structure) else structure


def holds_tensors(*values: Any) -> bool:
    """Whether a Tensor is at some end."""
    return any(isinstance(leaf, Tensor) for value in values for leaf in leaves(value))


def spread(prefix: Any, value: Any) -> list | None:
    """For each end of a tree what a prefix of the tree says of it; None where they do not fit each other."""
    if isinstance(prefix, tuple | list | dict):
        if type(prefix) is not type(value) or len(prefix) != len(value):
            return None
        if isinstance(prefix, dict):
            if prefix.keys() != value.keys():
                return None
            pairs = [(prefix[name], inner) for name, inner in value.items()]
        else:
            pairs = list(zip(prefix, value, strict=True))
        parts = [spread(p, inner) for p, inner in pairs]
        return None if any(part is None for part in parts) else [x for part in parts for x in part or ()]
    return [prefix for _ in leaves(value)]
