"""Hooks of modules: how they are registered and run around a call, and the ones that every module shares.

The dictionaries of a module's own hooks belong to the module. Hooks on the gradient of one tensor are in the tape.
"""

import functools
import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import Function
from jtorch.nn._graph import epoch

_numbers = itertools.count()


class RemovableHandle:
    """What registering a hook returns: `remove()` takes the hook away again, and so does leaving a `with` block."""

    def __init__(self, hooks: dict, *, extra_dict: Any = None):
        self.id = next(_numbers)
        self.hooks = hooks
        self.extra: Sequence = (
            () if extra_dict is None else extra_dict if isinstance(extra_dict, list) else (extra_dict,)
        )

    def remove(self) -> None:
        """Take the hook away."""
        for hooks in (self.hooks, *self.extra):
            hooks.pop(self.id, None)
        epoch[0] += 1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def register(hooks: dict, hook: Any, prepend: bool = False, **marks: dict) -> RemovableHandle:
    """Add a hook to a dictionary of them, in front if `prepend`, and its number to each of the dictionaries `marks`."""
    handle = RemovableHandle(hooks, extra_dict=list(marks.values()))
    hooks[handle.id] = hook
    epoch[0] += 1
    if prepend:
        hooks.move_to_end(handle.id, last=False)  # type: ignore[attr-defined]
    for mark in marks.values():
        mark[handle.id] = True
    return handle


class _Shared:
    """The hooks that every module has."""

    def __init__(self):
        self._forward_pre_hooks: OrderedDict = OrderedDict()
        self._forward_hooks: OrderedDict = OrderedDict()
        self._forward_hooks_with_kwargs: OrderedDict = OrderedDict()
        self._forward_hooks_always_called: OrderedDict = OrderedDict()
        self._forward_pre_hooks_with_kwargs: OrderedDict = OrderedDict()
        self._backward_pre_hooks: OrderedDict = OrderedDict()
        self._backward_hooks: OrderedDict = OrderedDict()
        self._parameters: OrderedDict = OrderedDict()
        self._buffers: OrderedDict = OrderedDict()
        self._modules: OrderedDict = OrderedDict()

    def any(self) -> bool:
        """Whether a call of any module has to look for hooks here."""
        return bool(self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks)


shared = _Shared()


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, args)` before the forward of every module."""
    return register(shared._forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after the forward of every module."""
    return register_forward(shared, hook, False, with_kwargs, always_call)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, grad_output)` before the gradients of every module are computed."""
    return register(shared._backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` when the gradients for the inputs of any module are there."""
    return register(shared._backward_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, parameter)` when a module registers a parameter; what it returns takes its place."""
    return register(shared._parameters, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, buffer)` when a module registers a buffer; what it returns takes its place."""
    return register(shared._buffers, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call `hook(module, name, child)` when a module registers a child; what it returns takes its place."""
    return register(shared._modules, hook)


def register_forward(
    owner: Any, hook: Callable, prepend: bool, with_kwargs: bool, always_call: bool
) -> RemovableHandle:
    """Add a forward hook to a module, or to those that are shared."""
    marks = {}
    if with_kwargs:
        marks["with_kwargs"] = owner._forward_hooks_with_kwargs
    if always_call:
        marks["always_call"] = owner._forward_hooks_always_called
    return register(owner._forward_hooks, hook, prepend, **marks)


def replaced(hooks: dict, module: Any, name: str, value: Any) -> Any:
    """What the registration hooks make of a value that is about to be registered."""
    for hook in tuple(hooks.values()):
        output = hook(module, name, value)
        value = value if output is None else output
    return value


# of one module


class Deriving:
    """A forward pre-hook by which its module has an attribute that is computed anew whenever it is read.

    So the attribute never holds a tensor of a trace that is over. What a user assigns to it lasts until the next call.
    """

    derives: Any
    """The name of the attribute."""

    def derived(self, module: Any) -> Any:
        """The value of the attribute. To be overridden."""
        raise NotImplementedError

    def __call__(self, module: Any, inputs: Any) -> None:
        if self.derives in module._parameters:
            raise TypeError(f"cannot assign a computed tensor as parameter '{self.derives}' (remove the parameter)")
        if vars(module).pop(self.derives, None) is not None:
            epoch[0] += 1


def take_hook(hooks: dict, key: Any) -> Any:
    """Take a hook out of a dictionary of them."""
    epoch[0] += 1
    return hooks.pop(key)


class Hooking:
    """The part of Module that registers hooks around its call."""

    _forward_hooks: OrderedDict
    _forward_hooks_with_kwargs: OrderedDict
    _forward_hooks_always_called: OrderedDict
    _forward_pre_hooks: OrderedDict
    _forward_pre_hooks_with_kwargs: OrderedDict
    _backward_hooks: OrderedDict
    _backward_pre_hooks: OrderedDict

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; what it returns takes the place of the arguments.

        Args:
            prepend: before the hooks that are there.
            with_kwargs: call `hook(module, args, kwargs)`, which returns None or both.
        """
        marks = {"with_kwargs": self._forward_pre_hooks_with_kwargs} if with_kwargs else {}
        return register(self._forward_pre_hooks, hook, prepend, **marks)

    def register_forward_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; what it returns takes the place of the output.

        Args:
            prepend: before the hooks that are there.
            with_kwargs: call `hook(module, args, kwargs, output)`.
            always_call: also when `forward` raises, with None for the output.
        """
        return register_forward(self, hook, prepend, with_kwargs, always_call)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` before the gradients are computed; what it returns replaces its argument."""
        return register(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when the gradients for the inputs have been computed; what it
        returns replaces them."""
        return register(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """As `register_full_backward_hook`.

        Differs: torch's old hook sees the gradients of the last operation only, which is never what is wanted.
        """
        return self.register_full_backward_hook(hook)


# the call


def call(module: Any, args: tuple, kwargs: dict) -> Any:
    """The module's forward with every hook around it: the shared ones first, then its own."""
    result, done = None, set()
    try:
        args, kwargs = _before(module, args, kwargs)
        gradients = _gradient_hooks(module)
        if gradients is not None:
            args = gradients.enter(args)
        result = module.forward(*args, **kwargs)
        for owner in (shared, module):
            for key, hook in tuple(owner._forward_hooks.items()):
                done.add(key)
                result = _run_forward_hook(owner, key, hook, module, args, kwargs, result)
        return result if gradients is None else gradients.leave(result)
    except Exception:
        _after_failure(module, args, kwargs, result, done)
        raise


def _before(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    for owner in (shared, module):
        for key, hook in tuple(owner._forward_pre_hooks.items()):
            if key not in owner._forward_pre_hooks_with_kwargs:
                output = hook(module, args)
                if output is not None:
                    args = output if isinstance(output, tuple) else (output,)
                continue
            output = hook(module, args, kwargs)
            if output is not None:
                if not (isinstance(output, tuple) and len(output) == 2):
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {output}."
                    )
                args, kwargs = output
    return args, kwargs


def _run_forward_hook(owner, key, hook, module, args, kwargs, result) -> Any:
    more = (kwargs,) if key in owner._forward_hooks_with_kwargs else ()
    output = hook(module, args, *more, result)
    return result if output is None else output


def _after_failure(module, args, kwargs, result, done: set) -> None:
    """Run the hooks that want to be called always and were not; what goes wrong there becomes a warning."""
    for owner in (shared, module):
        for key in tuple(owner._forward_hooks_always_called):
            if key in done or key not in owner._forward_hooks:
                continue
            try:
                result = _run_forward_hook(owner, key, owner._forward_hooks[key], module, args, kwargs, result)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was silenced as another "
                    f"error was raised in forward: {error}",
                    stacklevel=4,
                )


# gradients


class _Gate(Function):
    """Passes tensors through, and their gradients through a function."""

    @staticmethod
    def forward(ctx, through, *tensors):
        ctx.through = through
        return tensors

    @staticmethod
    def backward(ctx, *gradients):
        return None, *ctx.through(gradients)


def _gradient_hooks(module: Any) -> "_GradientHooks | None":
    before = [*shared._backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
    after = [*shared._backward_hooks.values(), *module._backward_hooks.values()]
    return _GradientHooks(module, before, after) if before or after else None


class _GradientHooks:
    """The backward hooks around one call: gates at the inputs and at the outputs that the gradients go through."""

    def __init__(self, module: Any, before: list[Callable], after: list[Callable]):
        self.module = module
        self.before = before
        self.after = after
        self.grad_outputs: tuple | None = None

    def enter(self, args: tuple) -> tuple:
        """The arguments, those that want gradients having gone through a gate."""
        self.inputs = args
        self.inputs_at, out = _pass(args, self._with_inputs)
        return out

    def leave(self, result: Any) -> Any:
        """The outputs, having gone through a gate."""
        values = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(x, Tensor) for x in values):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=4,
            )
            return result
        self.count = len(values)
        self.outputs_at, out = _pass(values, self._with_outputs)
        self.arrived: set[int] = set()
        for i in self.outputs_at:
            out[i].register_hook(functools.partial(self._note, i))
        return out if isinstance(result, tuple) else out[0]

    def _note(self, place: int, gradient: Any) -> None:
        self.arrived.add(place)

    def _with_outputs(self, gradients: Sequence) -> Sequence:
        full = _spread(gradients, self.outputs_at, [None] * self.count)
        full = tuple(g if i in self.arrived else None for i, g in enumerate(full))
        self.arrived.clear()
        for hook in self.before:
            full = _checked(hook(self.module, full), full, "Backward pre hook", "grad_output")
        self.grad_outputs = full
        if self.after and not self.inputs_at:
            self._without_inputs()
        return [full[i] for i in self.outputs_at]

    def _without_inputs(self) -> None:
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
            "require gradients.",
            stacklevel=2,
        )
        for hook in self.after:
            output = hook(self.module, (None,) * len(self.inputs), self.grad_outputs)
            if output is not None and any(x is not None for x in output):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )

    def _with_inputs(self, gradients: Sequence) -> Sequence:
        if self.grad_outputs is None:
            return gradients
        full = _spread(gradients, self.inputs_at, [_zeros_like(x) for x in self.inputs])
        for hook in self.after:
            full = _checked(hook(self.module, full, self.grad_outputs), full, "Backward hook", "grad_input")
        return [full[i] for i in self.inputs_at]


def _pass(values: tuple, through: Callable) -> tuple[list[int], tuple]:
    """Send the tensors that want gradients through a gate: (their places, all values)."""
    at = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad] if state.grad else []
    passed = _Gate.apply(through, *(values[i] for i in at)) if at else ()
    return at, _spread(passed, at, list(values))


def _zeros_like(value: Any) -> Tensor | None:
    return from_array(jnp.zeros_like(value._value())) if isinstance(value, Tensor) else None


def _spread(values: Sequence, at: list[int], blank: list) -> tuple:
    for i, value in zip(at, values, strict=True):
        blank[i] = value
    return tuple(blank)


def _checked(output: Any, before: tuple, who: str, what: str) -> tuple:
    if output is None:
        return before
    if len(output) != len(before):
        raise RuntimeError(f"{who} returned an invalid number of {what}, got {len(output)}, but expected {len(before)}")
    return tuple(output)
