"""The base of all optimizers: parameter groups, state, both as dictionaries of torch's layout, and the hooks.

What an algorithm computes is not here, nor how its step is compiled: see `_algorithm`. A class that is written the way
torch's documentation shows, with a `step` that loops over `param_groups`, derives from `Optimizer` directly.
"""

import copy
import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch._capture import state as running
from jtorch._tensor import Tensor, from_array
from jtorch.autograd.tape import Handle
from jtorch.ops import _args

_HOOKS = ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")

_every_pre_hook: OrderedDict[int, Callable] = OrderedDict()
_every_post_hook: OrderedDict[int, Callable] = OrderedDict()


class _Required:
    def __repr__(self):
        return "<required parameter>"


required = _Required()
"""The default of a setting that every group has to give."""


def register_optimizer_step_pre_hook(hook: Callable) -> Handle:
    """Call `hook(optimizer, args, kwargs)` before the step of every optimizer; it may return new (args, kwargs)."""
    return Handle(_every_pre_hook, hook)


def register_optimizer_step_post_hook(hook: Callable) -> Handle:
    """Call `hook(optimizer, args, kwargs)` after the step of every optimizer."""
    return Handle(_every_post_hook, hook)


def _hooked(step: Callable) -> Callable:
    """A class's `step` with the hooks around it. A step that calls the one it overrides runs them once."""

    @functools.wraps(step)
    def call(self, *args, **kwargs):
        if self.__dict__.get("_stepping"):
            return step(self, *args, **kwargs)
        for hook in (*_every_pre_hook.values(), *self._optimizer_step_pre_hooks.values()):
            changed = hook(self, (self, *args), kwargs)
            if changed is not None:
                is_pair = isinstance(changed, tuple) and len(changed) == 2
                message = f"{step} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                _args.check(is_pair, message, RuntimeError)
                (self, *args), kwargs = changed
        if "_opt_called" in self.__dict__:  # a schedule wants to know
            self._opt_called = True
        self._stepping = True
        try:
            result = self._guarded(step, args, kwargs)
        finally:
            del self._stepping
        for hook in (*self._optimizer_step_post_hooks.values(), *_every_post_hook.values()):
            hook(self, (self, *args), kwargs)
        return result

    return call


class Optimizer:
    """Groups of parameters with their settings, and the state that an algorithm keeps for each parameter.

    A subclass defines `step`.

    Args:
        params: tensors, (name, tensor) pairs, or dictionaries with "params" and the settings of a group.
        defaults: the settings of groups that do not give their own.

    Attributes:
        param_groups: one dictionary for each group; a scheduler or the user may change the settings at any time.
        state: for each parameter its dictionary of state.

    Raises:
        TypeError: something among `params` is no tensor.
        ValueError: there are no parameters, one is not a leaf, or one is in two groups.
    """

    def __init__(self, params: Iterable, defaults: dict[str, Any]):
        self.defaults = defaults
        self._make_hooks()
        if isinstance(params, Tensor):
            expected = "params argument given to the optimizer should be an iterable of Tensors or dicts"
            _args.fail(f"{expected}, but got {_typename(params)}", TypeError)
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        _args.check(groups, "optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def step(self, closure: Callable | None = None) -> Any:
        """Update the parameters from their gradients. `closure` computes the loss anew; its value is returned."""
        raise NotImplementedError

    def _guarded(self, step: Callable, args: Any, kwargs: dict) -> Any:
        """Run a step that is written with tensor ops. Under `compile`, refuse what the program could not repeat."""
        if running.session is None:
            return step(self, *args, **kwargs)
        running.session.guard(self._settings, "a setting of an optimizer")
        before = {k: dict(v) if isinstance(v, dict) else v for k, v in self.state.items()}
        try:
            result = step(self, *args, **kwargs)
            for name in _lost(before, self.state, running.session.saved):
                _args.fail(
                    f"step(): expected state that lives in tensors made outside compile, got {name!r} set inside; run "
                    "one step outside jtorch.compile first, keep counters in tensors, and write state in place",
                    RuntimeError,
                )
        except BaseException:
            self.state.clear()
            self.state.update(before)
            raise
        return result

    def _written(self) -> list[Tensor]:
        """The tensors that a step may write."""
        states = [v for slots in self.state.values() if isinstance(slots, dict) for v in slots.values()]
        return [
            *(p for group in self.param_groups for p in group["params"]),
            *(x for x in states if isinstance(x, Tensor)),
        ]

    def _settings(self) -> list:
        """All settings of all groups, tensors and parameters by their identity."""
        found: list[Any] = []
        for group in self.param_groups:
            found += [(k, id(v) if isinstance(v, Tensor) else v) for k, v in group.items() if k != "params"]
            found += map(id, group["params"])
        return found

    # groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with settings of their own; the defaults fill in the others.

        Raises:
            TypeError: the group is no dictionary, its parameters are a set, or one of them is no tensor.
            ValueError: a parameter is not a leaf or is in another group; a required setting is missing; some groups
                name their parameters and others do not.
        """
        message = f"param_group must be a dict, but got {type(param_group)}"
        _args.check(isinstance(param_group, dict), message, TypeError)
        _take_parameters(param_group)
        for param in param_group["params"]:
            self._check_parameter(param)
        for name, default in self.defaults.items():
            given = default is not required or name in param_group
            message = f"parameter group didn't specify a value of required optimization parameter {name}"
            _args.check(given, message)
            param_group.setdefault(name, default)
        self._check_apart(param_group)
        self.param_groups.append(param_group)

    def _check_parameter(self, param: Any) -> None:
        if not isinstance(param, Tensor):
            raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_typename(param)}")
        if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
            raise ValueError("can't optimize a non-leaf Tensor")

    def _check_apart(self, new: dict[str, Any]) -> None:
        """Check a new group against itself and those that are there."""
        params = set(new["params"])
        if len(params) != len(new["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        named = "param_names" in new
        for group in self.param_groups:
            message = (
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )
            _args.check(named == ("param_names" in group), message)
            message = "some parameters appear in more than one parameter group"
            _args.check(params.isdisjoint(group["params"]), message)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients: to None, or with `set_to_none=False` to zeros in place where there are some."""
        params = [p for group in self.param_groups for p in group["params"]]
        if set_to_none:
            for p in params:
                p.grad = None
            return
        grads = [p.grad for p in params if p.grad is not None]
        for grad in grads:
            if grad.requires_grad:
                grad.requires_grad_(False) if grad.grad_fn is None else grad.detach_()
        for grad, zero in zip(grads, _zeros([g._value() for g in grads]), strict=True):
            grad._rebind(zero)

    # state in and out

    def state_dict(self) -> dict[str, Any]:
        """The state and the settings in torch's layout, with numbers for the parameters. Tensors are not copied."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups: list[dict] = []
        start = 0
        for group in self.param_groups:
            numbers |= {id(p): i for i, p in enumerate(group["params"], start)}
            start += len(group["params"])
            packed = {k: v for k, v in group.items() if k != "params"}
            groups.append(packed | {"params": [numbers[id(p)] for p in group["params"]]})
        packed_state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result: dict[str, Any] = {"state": packed_state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict()` gave, here or in torch: its tensors may be torch's, NumPy's or JAX's.

        State is cast to the dtype of its parameter, but for `step`. If it fails, nothing has changed.

        Raises:
            ValueError: the groups differ in number or size.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = [{k: _own(v) for k, v in group.items()} for group in state_dict["param_groups"]]
        self._check_fits(saved)
        params = {}
        for old, new in zip(saved, self.param_groups, strict=True):
            float_step = bool(old.get("fused") or old.get("capturable"))
            params.update((k, (p, float_step)) for k, p in zip(old["params"], new["params"], strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for k, v in state_dict["state"].items():
            if k in params:
                state[params[k][0]] = _cast(v, *params[k])
            else:
                state[k] = _own(v)
        self._take_over(state, saved)
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _check_fits(self, saved: list[dict]) -> None:
        groups = self.param_groups
        _args.check(len(groups) == len(saved), "loaded state dict has a different number of parameter groups")
        same = all(len(g["params"]) == len(s["params"]) for g, s in zip(groups, saved, strict=True))
        message = "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
        _args.check(same, message)

    def _take_over(self, state: dict, groups: list[dict]) -> None:
        for new, old in zip(groups, self.param_groups, strict=True):
            new["params"] = old["params"]
            if "param_names" in old:
                new.setdefault("param_names", old["param_names"])
        before = self.__dict__.copy()
        try:
            self.__setstate__({"state": state, "param_groups": groups})
        except BaseException:
            self.__dict__ = before
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hooks()
        self.defaults.setdefault("differentiable", False)

    def _add_settings(self, **settings: Any) -> None:
        """Give the groups the settings that they lack, as those from old checkpoints do."""
        for group in self.param_groups:
            for name, value in settings.items():
                group.setdefault(name, value)

    def __repr__(self):
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            shown = (f"    {key}: {group[key]}\n" for key in sorted(group) if key != "params")
            text += f"\nParameter Group {i}\n{''.join(shown)}"
        return text + ")"

    # hooks

    def _make_hooks(self) -> None:
        for name in _HOOKS:
            self.__dict__.setdefault(f"_optimizer_{name}_hooks", OrderedDict())

    def register_step_pre_hook(self, hook: Callable) -> Handle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new (args, kwargs)."""
        return self._register("step_pre", hook)

    def register_step_post_hook(self, hook: Callable) -> Handle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._register("step_post", hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` before `state_dict` is made."""
        return self._register("state_dict_pre", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` on each state_dict made; it may return another."""
        return self._register("state_dict_post", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer, state_dict)` before one is loaded; it may return another."""
        return self._register("load_state_dict_pre", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> Handle:
        """Call `hook(optimizer)` after a state_dict was loaded."""
        return self._register("load_state_dict_post", hook, prepend)

    def _register(self, name: str, hook: Callable, prepend: bool = False) -> Handle:
        hooks = self.__dict__[f"_optimizer_{name}_hooks"]
        handle = Handle(hooks, hook)
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle


_zeros = jax.jit(lambda arrays: [jnp.zeros_like(x) for x in arrays])


def _typename(value: Any) -> str:
    if isinstance(value, Tensor):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _take_parameters(group: dict[str, Any]) -> None:
    """Make a group's parameters a list of what was given, and names, if there are some, a list of their own."""
    params = group["params"]
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            "will change between runs. Please use a list instead."
        )
    params = [params] if isinstance(params, Tensor) else list(params)
    names = [p[0] for p in params if isinstance(p, tuple)]
    group["params"] = [p[1] if isinstance(p, tuple) else p for p in params]
    if names:
        message = "all optimizer params should be with/without names. Some param names are missing"
        _args.check(len(names) == len(params), message)
        group["param_names"] = names


def _lost(before: dict, after: dict, known: dict) -> Iterable[str]:
    """The names of state entries that one run of a traced step has made or replaced by something of the trace.

    `known` are the tensors, by id, that have a value outside it.
    """
    for key, entries in after.items():
        old = before.get(key, {})
        for name, value in entries.items() if isinstance(entries, dict) else ():
            kept = isinstance(value, Tensor) and (
                id(value) in known or not isinstance(value._raw_value, jax.core.Tracer)
            )
            if not kept and (not isinstance(old, dict) or old.get(name, required) is not value):
                yield name


# loading


def _own(value: Any) -> Any:
    """A copy of a loaded value, in which tensors and arrays of any library are Tensors."""
    if isinstance(value, Tensor):
        return from_array(value._value())
    if isinstance(value, jax.Array):
        return from_array(value)
    if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
        return from_array(_foreign(value))
    if isinstance(value, dict):
        return {k: _own(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_own(v) for v in value)
    return copy.deepcopy(value)


def _foreign(value: Any) -> jax.Array:
    """Another library's tensor as an array with memory of its own."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        return jnp.array(np.asarray(value), copy=True)
    except TypeError:  # a dtype that NumPy lacks, such as bfloat16
        return jnp.array(jnp.from_dlpack(value), copy=True)


def _cast(value: Any, param: Tensor, float_step: bool, name: Any = None) -> Any:
    """A loaded value in the dtype and on the device of its parameter."""
    if isinstance(value, dict):
        return {k: _cast(v, param, float_step, k) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_cast(v, param, float_step) for v in value)
    value = _own(value)
    if not isinstance(value, Tensor):
        return value
    array, target = value._value(), param._value()
    if name == "step":
        return from_array(array.astype(jnp.float32)) if float_step else value
    if _args.is_float(target.dtype):
        array = array.astype(target.dtype)
    if array.shape == target.shape and array.devices() != target.devices():
        array = jax.device_put(array, target.sharding)
    return from_array(array)
