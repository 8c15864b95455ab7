"""`state_dict` and `load_state_dict` of modules: the part of Module that turns it into named tensors and back.

Writing and reading files is in `serialization`.
"""

import functools
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch._tensor import Tensor, from_array
from jtorch._types import Size
from jtorch.nn import hooks
from jtorch.nn._graph import epoch
from jtorch.nn.parameter import Parameter, is_lazy

_EXTRA = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: the keys that had no value and the values that had no place."""

    __slots__ = ()

    def __repr__(self):
        return (
            "<All keys matched successfully>" if not (self.missing_keys or self.unexpected_keys) else super().__repr__()
        )

    __str__ = __repr__


def _as_array(value: Any) -> Any:
    """The array of a tensor of any library, copied where another could write to it; None if it is no tensor."""
    if isinstance(value, Tensor):
        return value._value()
    if isinstance(value, jax.Array):
        return value
    if isinstance(value, np.ndarray):
        return jnp.array(value, copy=True)
    if not hasattr(value, "__array__") or not hasattr(value, "shape"):
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return jnp.array(np.asarray(value), copy=True)
    except TypeError:  # NumPy lacks bfloat16; float32 holds it exactly
        return jnp.array(np.asarray(value.float()), copy=True)


class _Undo:
    """Everything that loading changes in a module and those below it, to be put back if it fails."""

    def __init__(self, module: Any):
        self.slots = [(d, dict(d)) for m in module.modules() for d in (m._parameters, m._buffers)]
        tensors = (t for _, d in self.slots for t in d.values() if t is not None)
        self.tensors = [(t, type(t), t._snapshot(), t.requires_grad) for t in tensors]
        self.extra: list[tuple[Callable, Any]] = []

    def run(self) -> None:
        """Put it back."""
        for slots, before in self.slots:
            slots.clear()
            slots.update(before)
        for tensor, kind, before, requires_grad in self.tensors:
            tensor.__class__ = kind
            tensor._restore(before)
            if tensor._node is None:
                tensor._requires_grad = requires_grad
        for put, extra in self.extra:
            put(extra)
        epoch[0] += 1


class _Load:
    """One `load_state_dict`: what was found wrong so far, and the way back."""

    def __init__(self, module: Any, metadata: Any, assign: bool):
        self.metadata = metadata
        self.assign = assign
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []
        self.undo = _Undo(module)

    def run(self, module: Any, values: dict, prefix: str) -> None:
        """Load one module and those below it."""
        local = {} if self.metadata is None else self.metadata.get(prefix[:-1], {})
        if self.assign:
            local["assign_to_params_buffers"] = True
        if f"{prefix}{_EXTRA}" in values and type(module).set_extra_state is not StateDict.set_extra_state:
            self.undo.extra.append((module.set_extra_state, module.get_extra_state()))
        module._load_from_state_dict(values, prefix, local, True, self.missing, self.unexpected, self.errors)
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                self.run(child, {k: v for k, v in values.items() if k.startswith(below)}, below)
        keys = _IncompatibleKeys(self.missing, self.unexpected)
        for hook in tuple(module._load_state_dict_post_hooks.values()):
            if hook(module, keys) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, "
                    "if incompatible_keys need to be modified, it should be done inplace."
                )

    def problems(self, strict: bool) -> list[str]:
        """What to complain about."""
        found = list(self.errors)
        for word, keys in (("Unexpected", self.unexpected), ("Missing", self.missing)):
            if strict and keys:
                quoted = ", ".join(f'"{key}"' for key in keys)
                found.insert(0, f"{word} key(s) in state_dict: {quoted}. ")
        return found


class StateDict:
    """The part of Module that is about `state_dict`."""

    _version: int = 1
    """The version of what a class saves; `_load_from_state_dict` finds the saved one in its `local_metadata`."""

    _parameters: dict
    _buffers: dict
    _modules: dict

    # out

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Every parameter and persistent buffer by its dotted name, with the attribute `_metadata` of versions.

        The values see later updates of the module, as in torch, but have no graph.

        Args:
            destination: the dictionary to fill.
            prefix: what to put before each name.
            keep_vars: give the parameters themselves.
        """
        if args:
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and not prefix else prefix
            keep_vars = args[2] if len(args) > 2 and not keep_vars else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local
        for hook in tuple(self._state_dict_pre_hooks.values()):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook, wants_result in tuple(self._state_dict_hooks.values()):
            output = hook(self, destination, prefix, local)
            if not wants_result and output is not None:
                raise RuntimeError("state_dict post-hook must return None")
            destination = destination if output is None else output
        return destination

    def _own_state(self) -> Iterator[tuple[str, Any]]:
        yield from ((name, p) for name, p in self._parameters.items() if p is not None)
        skipped = self._non_persistent_buffers_set
        yield from ((name, b) for name, b in self._buffers.items() if b is not None and name not in skipped)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put this module's own state, without its children's, into `destination`. To be overridden."""
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if type(self).get_extra_state is not StateDict.get_extra_state:
            destination[prefix + _EXTRA] = self.get_extra_state()

    def get_extra_state(self) -> Any:
        """What `state_dict` is to hold beside tensors. To be overridden together with `set_extra_state`."""
        raise RuntimeError("get_extra_state(): expected a module that overrides it, got one that does not")

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` gave. To be overridden."""
        raise RuntimeError("set_extra_state(): expected a module that overrides it, got one that does not")

    # in

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy values into the parameters and buffers of those names.

        Values may be tensors, JAX or NumPy arrays, or tensors of PyTorch.

        Args:
            strict: whether every name must be on both sides.
            assign: take the values as the new parameters and buffers, with their dtypes, rather than copy into the old.

        Raises:
            TypeError: `state_dict` is no mapping.
            RuntimeError: shapes differ, or names do and `strict` is set.

        Differs: if it raises, the module is as it was; torch has copied some of the values.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        load = _Load(self, getattr(state_dict, "_metadata", None), assign)
        values: Any = OrderedDict(state_dict)
        if load.metadata is not None:
            values._metadata = load.metadata
        try:
            load.run(self, values, "")
            problems = load.problems(strict)
            if problems:
                shown = "\n\t".join(problems)
                raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{shown}")
        except BaseException:
            load.undo.run()
            raise
        return _IncompatibleKeys(load.missing, load.unexpected)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        """Load this module's own state, without its children's, and note what is wrong. To be overridden.

        `state_dict` may be changed; `missing_keys`, `unexpected_keys` and `error_msgs` are added to.
        """
        for hook in tuple(self._load_state_dict_pre_hooks.values()):
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = dict(self._own_state())
        for name, tensor in own.items():
            key = prefix + name
            if key in state_dict:
                problem = self._load_one(
                    name, key, tensor, state_dict[key], "assign_to_params_buffers" in local_metadata
                )
                if problem:
                    error_msgs.append(problem)
            elif strict:
                missing_keys.append(key)
        self._load_extra(state_dict, prefix + _EXTRA, strict, missing_keys, unexpected_keys)
        if strict:
            unexpected_keys += self._unexpected(state_dict, prefix, own)

    def _load_extra(self, state_dict, key, strict, missing_keys, unexpected_keys) -> None:
        if type(self).set_extra_state is not StateDict.set_extra_state:
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing_keys.append(key)
        elif strict and key in state_dict:
            unexpected_keys.append(key)

    def _unexpected(self, state_dict: Mapping, prefix: str, own: dict) -> Iterator[str]:
        """The keys under the prefix that belong neither to this module nor to a child."""
        for key in state_dict:
            if key.startswith(prefix) and key != prefix + _EXTRA:
                name, dot, _ = key[len(prefix) :].partition(".")
                if name not in (self._modules if dot else own):
                    yield key

    def _load_one(self, name: str, key: str, tensor: Any, value: Any, assign: bool) -> str | None:
        """Load one tensor, or say what is wrong."""
        if is_lazy(tensor) and is_lazy(value):
            return None
        array = _as_array(value) if not is_lazy(value) else value.shape
        if array is None:
            return (
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object from checkpoint '
                f"but received {type(value)}"
            )
        if not tensor.shape and array.shape == (1,):  # a number, as torch 0.3 saved it
            array = array[0]
        if tuple(array.shape) != tuple(tensor.shape):
            return (
                f"size mismatch for {key}: copying a param with shape {Size(array.shape)} from checkpoint, the "
                f"shape in current model is {tensor.shape}."
            )
        if assign:
            setattr(self, name, self._to_assign(tensor, value, array))
        else:
            old = tensor._value()
            tensor._rebind(_placed(array.astype(old.dtype), old))
        return None

    def _to_assign(self, tensor: Any, value: Any, array: Any) -> Any:
        if not isinstance(tensor, Parameter):
            return value if isinstance(value, Tensor) else from_array(array)
        if isinstance(value, Parameter):
            return value.requires_grad_(tensor.requires_grad)
        return Parameter(value if isinstance(value, Tensor) else array, tensor.requires_grad)

    # hooks

    def register_state_dict_pre_hook(self, hook: Callable) -> hooks.RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict`."""
        return hooks.register(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable) -> hooks.RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` after `state_dict`; it may change the dictionary."""
        return hooks.register(self._state_dict_hooks, (hook, False))

    def _register_state_dict_hook(self, hook: Callable) -> hooks.RemovableHandle:
        return hooks.register(self._state_dict_hooks, (hook, True))

    def register_load_state_dict_pre_hook(self, hook: Callable) -> hooks.RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        before `load_state_dict`; it may change the dictionary."""
        return self._register_load_state_dict_pre_hook(hook, True)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> hooks.RemovableHandle:
        return hooks.register(self._load_state_dict_pre_hooks, functools.partial(hook, self) if with_module else hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> hooks.RemovableHandle:
        """Call `hook(module, incompatible_keys)` after `load_state_dict`; it may change the keys."""
        return hooks.register(self._load_state_dict_post_hooks, hook)


def _placed(array: Any, like: Any) -> Any:
    """The array where another is: on its device, in its sharding."""
    if isinstance(array, jax.core.Tracer) or isinstance(like, jax.core.Tracer) or array.sharding == like.sharding:
        return array
    return jax.device_put(array, like.sharding)
