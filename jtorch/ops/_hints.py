"""What the annotations of an op's arguments say of them."""

import types
import typing
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

NUMBERS = frozenset((bool, int, float, complex))
_NO_ARRAYS = NUMBERS | {str, list, tuple, dict}


def flat_hint(hint: Any) -> tuple:
    """Everything an annotation mentions, outermost first."""
    inner = tuple(x for arg in typing.get_args(hint) for x in flat_hint(arg))
    return (hint, *inner) if not isinstance(hint, list) else inner


def refused_types(hints: dict[str, Any]) -> dict[str, frozenset]:
    """The types that arguments must not have: an `Array` is no number, and of several `Array | Scalar` not all are."""
    arrays, operands = {}, {}
    for name, hint in hints.items():
        either = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        if jax.Array in either and "scalar" in flat_hint(hint):
            operands[name] = NUMBERS
        elif jax.Array in either:
            arrays[name] = _NO_ARRAYS if type(None) in either else _NO_ARRAYS | {type(None)}
    return arrays or operands


def suits(value: Any, hint: Any) -> bool:
    """Whether a static argument is of an annotated type, by torch's rules.

    A bool is no int, an int is a float, and one int stands for a sequence of one. 0 and 1 are bools, as in those of
    torch's functions that are written in Python.

    Annotations that torch's own parser would not know, such as those of functions, suit everything.
    """
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return any(suits(value, each) for each in typing.get_args(hint))
    if is_sequence(hint):
        (element,) = typing.get_args(hint) or (Any,)
        one = element is int and suits(value, int)
        return one or (isinstance(value, tuple) and all(suits(x, element) for x in value))
    if hint is int:
        return hasattr(value, "__index__") and not isinstance(value, bool | np.bool_)
    if hint is float:
        return isinstance(value, float | int | np.number)
    if hint is bool:
        return isinstance(value, bool | np.bool_ | int)
    return not isinstance(hint, type) or hint in (Any, object) or isinstance(value, hint)


def told(hint: Any) -> str:
    """An annotation as torch's messages put it: `int or tuple of ints`."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(told(each) for each in typing.get_args(hint) if each is not type(None))
    if is_sequence(hint):
        return f"tuple of {' '.join(map(told, typing.get_args(hint)))}s"
    return getattr(hint, "__name__", str(hint))


def is_sequence(hint: Any) -> bool:
    """Whether an annotation is of a sequence."""
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Sequence)
