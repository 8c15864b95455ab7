"""How the arguments of a call are taken: under their names, in hashable form, and by whom they are handled."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax

_HASHABLE = frozenset((bool, int, float, str, type(None)))
UNSEEN = object()
handlers: dict[type, Callable | None] = {}
"""The method `__jtorch_op__` of each type that was met, or None: read with the default UNSEEN, for speed."""

_SPELLINGS = {
    "axis": "dim",
    "axes": "dims",
    "keepdims": "keepdim",
    "x": "input",
    "a": "input",
    "x1": "input",
    "x2": "other",
}


def handler_of(kind: type) -> Callable | None:
    """The method by which a type takes part in ops, if it has one."""
    if kind not in handlers:
        handlers[kind] = getattr(kind, "__jtorch_op__", None)
    return handlers[kind]


def respell(signature: inspect.Signature, kwargs: dict) -> dict:
    """NumPy's names for arguments, which torch takes too, turned into torch's."""
    known = signature.parameters
    return {(_SPELLINGS[k] if k not in known and _SPELLINGS.get(k) in known else k): v for k, v in kwargs.items()}


def define(name: str, text: str, names: dict) -> Callable:
    """A function from the text of its parameter list and body. Real parameters make calls fast and TypeErrors plain."""
    exec(f"def {name}{text}", names)
    return names[name]


def static_text(name: str, parameter: inspect.Parameter, parts: tuple) -> str:
    """The expression that makes a static argument hashable."""
    if "dtype" in parts:
        return f"{name} if {name} is None else _dtype({name})"
    simple = parts and all(x in _HASHABLE or dataclasses.is_dataclass(x) for x in parts)
    return name if simple and parameter.kind is not parameter.VAR_POSITIONAL else f"_freeze({name})"


def freeze(value: Any) -> Any:
    """A static argument as a hashable value: lists become tuples, and things that act as an index become ints."""
    kind = type(value)
    if kind in _HASHABLE:
        return value
    if isinstance(value, tuple | list):
        return tuple(freeze(x) for x in value)
    if handler_of(kind) is not None or isinstance(value, jax.Array):
        return value.item()
    return value
