"""What the annotations of an op's arguments say of them."""

import types
import typing
from collections.abc import Sequence
from typing import Any

import jax

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


def is_sequence(hint: Any) -> bool:
    """Whether an annotation is of a sequence."""
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Sequence)
