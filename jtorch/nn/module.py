"""Module: the base of every layer and model, a `torch.nn.Module` that is a Flax NNX module as well.

Here are attributes and their registration, the call, and the repr. Walking is in `_tree`, `state_dict` in `_state`,
conversion in `_casting`, the view that NNX has in `_graph`, and hooks in `hooks`.
"""

import copy
import threading
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jtorch._capture import state, untaped
from jtorch._tensor import Tensor, from_array
from jtorch.nn import hooks
from jtorch.nn._boxing import ARRAYS, boxed, contents, unboxed
from jtorch.nn._casting import Casting
from jtorch.nn._changes import note
from jtorch.nn._graph import REGISTRIES, GraphNode, epoch, start
from jtorch.nn._state import StateDict
from jtorch.nn._tree import Tree
from jtorch.nn.parameter import Buffer, ConstructorSignature, Parameter, as_buffer

mode_epoch = epoch
compiler: list[Callable[[Callable], Callable]] = []
"""`compiler[0](function)` is the compiled function; the module that compiles puts it here."""


# attributes: what they may be, and what is said where they may not


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Tensor) and isinstance(value, Parameter)


def _is_module(value: Any) -> bool:
    return isinstance(value, Module)


def _is_buffer(value: Any) -> Any:
    return isinstance(value, Tensor) and isinstance(value, Buffer) and value._is_buffer


_KINDS = (
    ("_parameters", _is_parameter, "parameters", "parameter", "torch.nn.Parameter or None"),
    ("_modules", _is_module, "module", "child module", "torch.nn.Module or None"),
    ("_buffers", _is_buffer, "buffer", "buffer", "torch.nn.Buffer, torch.Tensor or None"),
)
_BEHIND = ("sow", "perturb", "set_attributes", "iter_modules", "iter_children")


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _Behind:
    """A method that NNX gives every module, out of the way of a parameter, buffer or child of the same name."""

    def __init__(self, name: str):
        self.name = name
        self.method = getattr(nnx.Module, name)

    def __get__(self, instance: Any, owner: Any = None):
        for kind in REGISTRIES if instance is not None else ():
            if self.name in vars(instance).get(kind, ()):
                return vars(instance)[kind][self.name]
        return self.method.__get__(instance, owner)


class _Inside(threading.local):
    call = False  # whether a module's call is running in this thread


_inside = _Inside()


class Module(Tree, StateDict, Casting, hooks.Hooking, GraphNode, nnx.Module, pytree=False):
    """The base of all layers and models.

    Subclass it, call `super().__init__()` first, assign parameters, buffers and other modules as attributes, and define
    `forward`. Call the module rather than `forward`, so that hooks run.

    Called with tensors it records gradients as torch does. Called with JAX arrays and no tensor it records nothing and
    returns arrays: that is its use under `jax.jit`, `nnx.jit` and `nnx.grad`. Its `forward` sees tensors either way.

    It is an `nnx.Module`: `nnx.split`, `nnx.jit`, `nnx.Optimizer` and the rest take it. An `nnx.Module` or an
    `nnx.Variable` assigned as an attribute is a plain attribute on torch's side (it is neither in `parameters()` nor in
    `state_dict()`), and part of the graph on NNX's.

    Example:
        >>> import jtorch
        >>> class Double(jtorch.nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> Double()(jtorch.ones(2))
        tensor([2., 2.])
    """

    training: bool
    __signature__ = ConstructorSignature()
    call_super_init = False
    dump_patches = False
    _compiled: Callable | None = None
    sow, perturb, set_attributes, iter_modules, iter_children = map(_Behind, _BEHIND)  # type: ignore

    def __init_subclass__(cls, **flags: Any):
        flags["pytree"] = False  # a strict pytree refuses lists of modules, and attributes that were None before
        cls.__no_type_check__ = True  # Flax evaluates annotations, in which it looks for what only pytrees have
        try:
            super().__init_subclass__(**flags)
        finally:
            del cls.__no_type_check__

    def __init__(self, *args: Any, **kwargs: Any):
        if not self.call_super_init:
            if kwargs:
                raise TypeError(
                    f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
                )
            if args:
                raise TypeError(
                    f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
                )
        start(self)
        vars(self)["training"] = True
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # the call

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output of the module. To be overridden.

        Raises:
            NotImplementedError: it is not.
        """
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self._compiled or self._call_impl
        if _inside.call:
            return call(*args, **kwargs)
        _inside.call = True
        try:
            if (args and isinstance(args[0], Tensor)) or contents((args, kwargs)) != ARRAYS:
                return call(*args, **kwargs)
            with untaped():
                return unboxed(call(*boxed(args), **boxed(kwargs)))
        finally:
            _inside.call = False

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        if state.session is not None:
            note(self)
        hooked = self._forward_hooks or self._forward_pre_hooks or self._backward_hooks or self._backward_pre_hooks
        if hooked or hooks.shared.any():
            return hooks.call(self, args, kwargs)
        return self.forward(*args, **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the call of this module from now on. See `jtorch.compile`."""
        vars(self)["_compiled"] = compiler[0](self._call_impl)

    # attributes

    def __getattr__(self, name: str) -> Any:
        own = vars(self)
        for kind in REGISTRIES:
            if kind in own and name in own[kind]:
                return own[kind][name]
        for hook in own.get("_forward_pre_hooks", {}).values():
            if isinstance(hook, hooks.Deriving) and hook.derives == name:
                return hook.derived(self)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_writable()
        own = vars(self)
        for kind, accepts, many, one, expected in _KINDS:
            members = own.get(kind)
            if accepts(value):
                if members is None:
                    raise AttributeError(f"cannot assign {many} before Module.__init__() call")
                if kind != "_modules":
                    self._check_name(name, kind, one, owner=type(self) if kind == "_parameters" else self)
                self._forget(name, kind)
                self._put(kind, name, value)
                return
            if members is not None and name in members:
                if value is not None and not (kind == "_buffers" and isinstance(value, Tensor)):
                    raise TypeError(f"cannot assign '{_type_name(value)}' as {one} '{name}' ({expected} expected)")
                self._put(kind, name, value)
                return
        epoch[0] += 1
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._check_writable()
        for kind in REGISTRIES:
            if name in vars(self).get(kind, ()):
                self._forget(name)
                return
        object.__delattr__(self, name)
        epoch[0] += 1

    def _check_writable(self) -> None:
        """Raise where an attribute set inside a JAX trace would be lost; inside `compile` have it set by each call."""
        if state.session is not None:
            note(self)
            return
        began = vars(self).get("_pytree__state")
        if began is not None and not began.trace_state.is_valid():
            self._check_valid_context(lambda: f"Cannot mutate '{type(self).__name__}' from different trace level")

    def _forget(self, name: str, but: str | None = None) -> None:
        """Remove an attribute, whatever it is, unless it is in the registry `but`."""
        own = vars(self)
        for members in (own, *(own[kind] for kind in REGISTRIES if kind != but)):
            members.pop(name, None)
        if but != "_buffers":
            own["_non_persistent_buffers_set"].discard(name)
        epoch[0] += 1

    def _put(self, kind: str, name: str, value: Any, persistent: bool | None = None) -> None:
        """Put a parameter, buffer or child in its registry."""
        if value is not None or kind != "_parameters":
            value = hooks.replaced(getattr(hooks.shared, kind), self, name, value)
        if kind == "_buffers":
            if persistent is None and _is_buffer(value):
                persistent = value.persistent  # type: ignore
            if persistent is not None:
                loose = self._non_persistent_buffers_set
                loose.discard(name) if persistent else loose.add(name)
            value = as_buffer(value)
        if kind != "_modules" and value is not None and value._base is not None:
            value._value()  # most views among parameters are of tensors that nobody else has, and become roots here
        vars(self)[kind][name] = value
        epoch[0] += 1

    def _check_name(self, name: Any, kind: str, word: str, shown: str = "", owner: Any = None) -> None:
        members = vars(self).get(kind)
        if members is None:
            raise AttributeError(f"cannot assign {word} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{word} name should be a string. Got {_type_name(name)}")
        if "." in name:
            raise KeyError(f'{word} name can\'t contain "."{shown}')
        if not name:
            raise KeyError(f'{word} name can\'t be empty string ""')
        if name not in members and name not in _BEHIND and hasattr(owner or self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter. None holds its place among the names.

        Raises:
            TypeError: it is no Parameter.
            KeyError: the name is taken, empty or has a dot.
        """
        self._check_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            kind = _type_name(param)
            raise TypeError(
                f"cannot assign '{kind}' object to parameter '{name}' (torch.nn.Parameter or None required)"
            )
        self._check_writable()
        self._put("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer: a tensor that is state of the module but no parameter. None holds its place among the names.

        Args:
            persistent: whether it belongs to the `state_dict`.

        Raises:
            TypeError: it is no tensor.
            KeyError: the name is taken, empty or has a dot.
        """
        self._check_name(name, "_buffers", "buffer")
        if isinstance(tensor, jax.Array):
            tensor = from_array(tensor)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._check_writable()
        self._put("_buffers", name, tensor, persistent)

    def register_module(self, name: str, module: "Module | None") -> None:
        """Add a child. None holds its place among the names.

        Raises:
            TypeError: it is no Module.
            KeyError: the name is taken, empty or has a dot.
        """
        if module is not None:
            check_module(module)
        self._check_name(name, "_modules", "module", f", got: {name}")
        self._check_writable()
        self._put("_modules", name, module)

    def add_module(self, name: str, module: "Module | None") -> None:
        """Add a child, as `register_module` does."""
        self.register_module(name, module)

    # what it looks like

    def extra_repr(self) -> str:
        """What the repr shows in the parentheses. To be overridden."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self):
        extra = self.extra_repr()
        first = extra.split("\n") if extra else []
        lines = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if len(first) == 1 and not lines:
            return f"{self._get_name()}({first[0]})"
        inner = "".join(f"\n  {line}" for line in first + lines)
        return f"{self._get_name()}({inner}\n)" if inner else f"{self._get_name()}()"

    def __str__(self):
        return repr(self)

    def __dir__(self):
        names = {*dir(type(self)), *vars(self), *(name for kind in REGISTRIES for name in vars(self).get(kind, ()))}
        return sorted(name for name in names if not name[:1].isdigit())

    # copies

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}

    def __setstate__(self, state: dict) -> None:
        start(self)
        vars(self).update(state)

    def __deepcopy__(self, memo: dict) -> "Module":
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return made

    # what NNX's own train() and eval() set, so that a module inside an nnx.Module follows them

    @property
    def use_running_average(self) -> bool:
        """Whether the module is in evaluation, in NNX's words."""
        return not self.training

    @use_running_average.setter
    def use_running_average(self, value: bool) -> None:
        self.training = not value


_NOT_COPIED = frozenset(("_pytree__state", "_pytree__nodes", "_compiled"))


def check_module(value: Any) -> None:
    """Raise torch's TypeError unless the value is a module."""
    if not isinstance(value, Module):
        raise TypeError(f"{_type_name(value)} is not a Module subclass")


def indented(text: str, by: int = 2) -> str:
    """The text with every line but the first moved to the right."""
    return text.replace("\n", "\n" + " " * by)
