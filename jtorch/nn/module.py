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

from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import no_grad
from jtorch.nn import hooks
from jtorch.nn._casting import Casting
from jtorch.nn._graph import HOOKS, REGISTRIES, GraphNode, epoch, start
from jtorch.nn._state import StateDict
from jtorch.nn._tree import Tree
from jtorch.nn.parameter import Buffer, Parameter, as_buffer

mode_epoch = epoch
compiler: list[Callable[[Callable], Callable]] = []
"""`compiler[0](function)` is the compiled function; `compile` puts it here."""


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class _Hidden:
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


class Module(Tree, StateDict, Casting, GraphNode, nnx.Module, pytree=False):
    """The base class of all layers and models.

    Subclass it, call `super().__init__()` first, assign parameters, buffers and other modules as attributes, and define
    `forward`. Call the module, not `forward`, so that hooks run.

    Called with tensors it records gradients as torch does. Called with JAX arrays and no tensor it records nothing and
    returns arrays: that is its use under `jax.jit`, `nnx.jit` and `nnx.grad`. Inside, `forward` sees tensors either way.

    It is an `nnx.Module`: `nnx.split`, `nnx.jit`, `nnx.Optimizer` and the rest take it. `nnx.Module`s and
    `nnx.Variable`s assigned as attributes are plain attributes to torch's side (neither in `parameters()` nor in
    `state_dict()`), and seen by NNX.

    Example:
        >>> import jtorch
        >>> class Double(jtorch.nn.Module):
        ...     def forward(self, x):
        ...         return 2 * x
        >>> Double()(jtorch.ones(2))
        tensor([2., 2.])
    """

    training: bool
    call_super_init = False
    dump_patches = False
    _compiled: Callable | None = None
    sow, perturb, set_attributes, iter_modules, iter_children = map(
        _Hidden, ("sow", "perturb", "set_attributes", "iter_modules", "iter_children")
    )

    def __init_subclass__(cls, **flags: Any):
        flags["pytree"] = False  # a strict pytree refuses lists of modules, and attributes that were None before
        super().__init_subclass__(**flags)

    def __init__(self, *args: Any, **kwargs: Any):
        if not self.call_super_init and kwargs:
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
        if not self.call_super_init and args:
            raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given")
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
        if state.session is not None:
            state.session.called(self)
        if _inside.call:
            return self._call_impl(*args, **kwargs)
        _inside.call = True
        try:
            call = self._compiled or self._call_impl
            if _only_arrays((args, kwargs)):
                with no_grad():
                    return _unboxed(call(*_boxed(args), **_boxed(kwargs)))
            return call(*args, **kwargs)
        finally:
            _inside.call = False

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
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
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        self._check_writable(name, value)
        own = vars(self)
        for kind, (base, register, expected, what) in _KINDS.items():
            members = own.get(kind)
            if isinstance(value, base):
                if members is None:
                    raise AttributeError(f"cannot assign {what} before Module.__init__() call")
                if kind == "_buffers" or not (members is own.get("_modules") and isinstance(value, Tensor)):
                    pass
        raise NotImplementedError

    def __delattr__(self, name: str) -> None:
        own = vars(self)
