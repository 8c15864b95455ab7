"""The type stub of Tensor, `_tensor.pyi`, written from the class as it is once its methods are attached.

`python -m jtorch._stubs` writes it, `python -m jtorch._stubs --check` fails if it is stale.
"""

import inspect
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jtorch import _methods, _tensor
from jtorch._conversion import Conversion
from jtorch._tensor import Tensor
from jtorch.ops._op import Derived, Op

_HEAD = '''"""Types of Tensor and of the functions beside it. Written by `python -m jtorch._stubs`; do not edit."""

# fmt: off
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jtorch import _types
'''
_ITERATED = "    def __iter__(self) -> Iterator[Tensor]: ..."
_PLAIN = {bool: "bool", int: "int", float: "float", str: "str", type(None): "None", Any: "Any", complex: "complex"}


def _hint(hint: Any) -> str:
    """An annotation of an op as a Tensor user sees it: arrays are tensors."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is jax.Array:
        return "Tensor"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _hint(args[0]) if "scalar" in args else "Any"
    if origin in (types.UnionType, typing.Union):
        return " | ".join(dict.fromkeys(_hint(a) for a in args))
    if origin is Sequence:
        return f"Sequence[{_hint(args[0])}]"
    if origin is tuple:
        return "tuple[" + ", ".join("..." if a is ... else _hint(a) for a in args) + "]"
    return "Any"


def _parameter(p: inspect.Parameter, hints: dict) -> str:
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    default = "" if p.default is p.empty else " = ..."
    return f"{star}{p.name}: {_hint(hints.get(p.name, Any))}{default}"


def _signature(function: Any, hints: dict) -> str:
    """The parameters after self, as text."""
    texts: list[str] = []
    starred = False
    for p in list(inspect.signature(function).parameters.values())[1:]:
        if p.kind is p.KEYWORD_ONLY and not starred:
            texts.append("*")
        starred = starred or p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        texts.append(_parameter(p, hints))
    return ", ".join(["self", *texts])


def _op_line(name: str, op: Any) -> str:
    hints = typing.get_type_hints(op.body, include_extras=True) if isinstance(op, Op) else {}
    returned = _hint(hints["return"]) if "return" in hints else "Any"
    return f"    def {name}({_signature(op, hints)}) -> {returned}: ..."


def _line(name: str, value: Any) -> str | None:
    if isinstance(value, Op | Derived):
        return _op_line(name, value)
    if isinstance(value, property):
        setter = f"\n    @{name}.setter\n    def {name}(self, value: Any) -> None: ..." if value.fset else ""
        returned = "Any"
        return f"    @property\n    def {name}(self) -> {returned}: ..." + setter
    if isinstance(value, staticmethod):
        return f"    @staticmethod\n    def {name}(*args: Any, **kwargs: Any) -> Any: ..."
    if not callable(value):
        return f"    {name}: Any"
    if name == "__iter__":
        return _ITERATED
    if name in ("__eq__", "__ne__"):
        return f"    def {name}(self, other: object) -> Tensor: ...  # type: ignore[override]"
    returned = {"__bool__": "bool", "__float__": "float", "__int__": "int", "__index__": "int", "__len__": "int",
                "__hash__": "int", "__repr__": "str", "__format__": "str", "__contains__": "bool", "__init__": "None",
                "__complex__": "complex"}.get(name)  # fmt: skip
    if returned is None:
        returned = "Tensor" if name.endswith("_") or name.startswith(("__r", "__i")) or name in _SAME else "Any"
    return f"    def {name}({_signature(value, {})}) -> {returned}: ..."


_SAME = {"to", "detach", "clone", "cpu", "cuda", "float", "double", "half", "long", "int", "bool", "type_as"}
_SKIPPED = {"__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__annotations__", "__match_args__",
            "__static_attributes__", "__firstlineno__"}  # fmt: skip


def stub_text() -> str:
    """The text of the stub."""
    assert _methods.attach  # the import is what gives Tensor its methods
    lines = [_HEAD, "class Tensor:"]
    members = dict(vars(Conversion)) | dict(vars(Tensor)) | dict.fromkeys(Tensor.__annotations__)
    for name in sorted(members):
        if name not in _SKIPPED:
            line = _line(name, members[name])
            lines += [line] if line else []
    lines.append("")
    for name, value in sorted(vars(_tensor).items()):
        if inspect.isfunction(value) and value.__module__ == _tensor.__name__ and not name.startswith("__"):
            lines.append(f"def {name}(*args: Any, **kwargs: Any) -> Any: ...")
    return "\n".join(lines) + "\n"


def main(check: bool) -> int:
    """Write the stub, or say whether it is fresh: the exit status."""
    path = Path(_tensor.__file__).with_suffix(".pyi")
    text = stub_text()
    if check:
        fresh = path.exists() and path.read_text() == text
        print("the stub is fresh" if fresh else f"{path.name} is stale: run python -m jtorch._stubs")
        return 0 if fresh else 1
    path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
