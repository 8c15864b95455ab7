"""TorchScript's marks, which mean nothing here: what is scripted or traced is the function or module as it was written.

Programs are made by `jtorch.compile`; TorchScript files are neither read nor written.
"""

import builtins
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from jtorch._capture import state
from jtorch.nn.module import Module
from jtorch.ops._backend import in_foreign_trace

__all__ = ["Final"]

_Thing = TypeVar("_Thing")


class ScriptModule(Module):
    """A module, for code that derives from it or asks for it; nothing here makes one."""


class ScriptFunction:
    """For code that asks for it; nothing here makes one."""


class TracerWarning(Warning):
    """For code that filters it; nothing here warns so."""


def script(obj: _Thing, *args: Any, **kwargs: Any) -> _Thing:
    """The function, class or module itself."""
    return obj


def trace(func: _Thing, *args: Any, **kwargs: Any) -> _Thing:
    """The function or module itself. Differs: its decisions are taken anew at each call."""
    return func


def trace_module(mod: _Thing, *args: Any, **kwargs: Any) -> _Thing:
    """The module itself. Differs: its decisions are taken anew at each call."""
    return mod


def freeze(mod: Module, *args: Any, **kwargs: Any) -> Module:
    """The module itself.

    Raises:
        RuntimeError: it is in training mode.
    """
    if mod.training:
        raise RuntimeError("freeze(): expected a module in eval mode, got one in training mode; call eval() first")
    return mod


def optimize_for_inference(mod: _Thing, *args: Any, **kwargs: Any) -> _Thing:
    """The module itself."""
    return mod


def export(fn: _Thing) -> _Thing:
    """The method itself."""
    return fn


def unused(fn: _Thing) -> _Thing:
    """The method itself."""
    return fn


def interface(obj: _Thing) -> _Thing:
    """The class itself."""
    return obj


def script_if_tracing(fn: _Thing) -> _Thing:
    """The function itself."""
    return fn


_script_if_tracing = script_if_tracing


def _overload(fn: _Thing) -> _Thing:
    return fn


_overload_method = _overload


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself; `@ignore`, `@ignore(drop=True)`."""
    return drop if callable(drop) else lambda fn: fn


def annotate(the_type: Any, the_value: _Thing) -> _Thing:
    """The value itself."""
    return the_value


Attribute = annotate
"""As torch's outside of a ScriptModule."""


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether the object is of a type, of which the parameters are not looked at: `List[int]` is `list`."""
    kinds = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    return builtins.isinstance(obj, tuple(getattr(kind, "__origin__", kind) for kind in kinds))


def is_scripting() -> bool:
    """False: nothing is scripted."""
    return False


def is_tracing() -> bool:
    """Whether `jtorch.compile` or a transformation of JAX is tracing."""
    return state.session is not None or in_foreign_trace()


def fork(func: Callable, *args: Any, **kwargs: Any) -> Any:
    """What the function returns; JAX computes beside Python anyway."""
    return func(*args, **kwargs)


def wait(future: _Thing) -> _Thing:
    """What `fork` returned."""
    return future


@contextlib.contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """Nothing changes inside."""
    yield


def load(f: Any, *args: Any, **kwargs: Any) -> Any:
    """TorchScript files are programs, and are not read.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("jit.load(): expected nothing, got a TorchScript file; load its state_dict instead")


def save(m: Any, f: Any, *args: Any, **kwargs: Any) -> None:
    """TorchScript files are not written.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "jit.save(): expected nothing, got a module; save its state_dict with jtorch.save instead"
    )
