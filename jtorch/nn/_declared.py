"""Modules declared by their fields, for those whose forward is one function: activations, losses, pooling, padding.

A class of this kind says what it holds, what it computes and what its repr shows; the constructor, the storage of the
arguments and the call come from that. Modules with parameters of their own are written out in full elsewhere.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, ClassVar

from jtorch._tensor import Tensor
from jtorch.nn.module import Module


def _method(name: str, parameters: list[inspect.Parameter], body: str, names: dict[str, Any]) -> Callable:
    """A method from its parameters and the text of its body. Real parameters make calls fast and TypeErrors plain."""
    given, starred = ["self"], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not starred:
            given.append("*")
            starred = True
        names[f"_default_{p.name}"] = p.default
        given.append(p.name if p.default is p.empty else f"{p.name}=_default_{p.name}")
    exec(f"def {name}({', '.join(given)}):\n{body}", names)
    made = names[name]
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    made.__signature__ = inspect.Signature([me, *parameters])
    return made


class functional:
    """The forward of a declared module: a function called with forward's arguments and the module's fields.

    Parameters of `function` that bear the name of a field (or `training`) take their value from the module. Those that
    have no default become the arguments of `forward`, and so do those named in `more`. The rest keep their defaults.
    """

    def __init__(self, function: Callable, *more: str):
        self.function = function
        self.more = more

    def forward_for(self, fields: frozenset[str]) -> Callable:
        """The method for a class with these fields."""
        names: dict[str, Any] = {"_function": self.function}
        own, passed, spelled = [], [], False
        for name, p in inspect.signature(self.function).parameters.items():
            if name in fields or name == "training":
                value = f"self.{name}"
            elif name in self.more or p.default is p.empty:
                value = name
                own.append(p.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD))
            else:
                spelled = True  # from here on by keyword
                continue
            passed.append(f"{name}={value}" if spelled or p.kind is p.KEYWORD_ONLY else value)
        made = _method("forward", own, f"    return _function({', '.join(passed)})", names)
        made.__doc__ = self.function.__doc__
        return made


class Declared(Module):
    """A module whose constructor is made from the annotated fields of its class.

        class Softplus(Declared):
            \"\"\"...\"\"\"

            beta: float = 1.0
            threshold: float = 20.0
            shown = "beta={beta}, threshold={threshold}"
            forward = functional(F.softplus)

    The fields that a class annotates are the parameters of its constructor, in that order and with those defaults: all
    of them, since a class with fields of its own takes none from its base, and one without takes its base's
    constructor. Each is stored as the attribute of its name. As in `dataclasses`, what follows `_: KW_ONLY` is
    keyword-only, and a field annotated `InitVar[...]` is not stored but given to `__post_init__` by keyword. A field
    annotated `Tensor` (or `Tensor | None`) is registered as a buffer.

    `forward` is a `functional`, or an ordinary method. `shown` is the text of `extra_repr`, formatted with the fields.

    Only classes of this package are declared in this way. A user's subclass is an ordinary class: it may annotate what
    it likes and inherits the constructor or writes its own.
    """

    shown: ClassVar[str] = ""
    _fields: ClassVar[dict[str, inspect.Parameter]] = {}
    _init_only: ClassVar[frozenset[str]] = frozenset()
    _buffer_fields: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **flags: Any):
        super().__init_subclass__(**flags)
        if cls.__module__.partition(".")[0] == __name__.partition(".")[0]:
            _read_fields(cls)
            forward = cls.__dict__.get("forward")
            if isinstance(forward, functional):
                cls.forward = forward.forward_for(frozenset(cls._fields) - cls._init_only)
                cls.forward.__qualname__ = f"{cls.__qualname__}.forward"

    def __post_init__(self, **init_only: Any) -> None:
        """What a constructor does beyond storing its arguments; receives those declared `InitVar`."""

    def extra_repr(self) -> str:
        """`shown`, with the fields put in."""
        return self.shown.format_map(
            {name: getattr(self, name) for name in self._fields if name not in self._init_only}
        )


def _read_fields(cls: type[Declared]) -> None:
    """Give `cls` the constructor that its annotations declare, if it has any."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    fields, init_only, buffers = {}, set(), set()
    for name, hint in inspect.get_annotations(cls).items():
        if hint is dataclasses.KW_ONLY:
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        if typing.get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        if isinstance(hint, dataclasses.InitVar):
            init_only.add(name)
            hint = hint.type
        if hint is Tensor or Tensor in typing.get_args(hint):
            buffers.add(name)
        default = cls.__dict__.get(name, inspect.Parameter.empty)
        if name in cls.__dict__:
            delattr(cls, name)  # a default left on the class would hide a buffer of that name
        fields[name] = inspect.Parameter(name, kind, default=default, annotation=hint)
    if fields:
        cls._fields, cls._init_only, cls._buffer_fields = fields, frozenset(init_only), frozenset(buffers)
        cls.__init__ = _constructor(cls)


def _constructor(cls: type[Declared]) -> Callable:
    """An `__init__` that stores its arguments and then runs `__post_init__`."""
    lines = ["_Module.__init__(self)"]
    for name in cls._fields:
        if name in cls._buffer_fields:
            lines.append(f"self.register_buffer({name!r}, {name})")
        elif name not in cls._init_only:
            lines.append(f"self.{name} = {name}")
    lines.append(f"self.__post_init__({', '.join(f'{name}={name}' for name in cls._fields if name in cls._init_only)})")
    made = _method(
        "__init__", list(cls._fields.values()), "".join(f"    {line}\n" for line in lines), {"_Module": Module}
    )
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made
