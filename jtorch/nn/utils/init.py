"""How modules are made: without initial values, and with the arguments that say where."""

import inspect
from typing import Any

from jtorch import random
from jtorch.nn.module import Module
from jtorch.ops._args import check


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """A module of this class whose parameters and buffers are zero, with no random numbers drawn for them.

    Args:
        args, kwargs: the constructor's, `device` among them.
    Raises:
        RuntimeError: the class is no Module, or its constructor takes no `device`.
    """
    known = isinstance(module_cls, type) and issubclass(module_cls, Module)
    check(known, f"Expected a Module; got {module_cls}", RuntimeError)
    placed = "device" in inspect.signature(module_cls.__init__).parameters
    check(placed, "Module must support a 'device' arg to skip initialization", RuntimeError)
    device = kwargs.pop("device", "cpu")
    with random.fork_rng():
        return module_cls(*args, device=device, **kwargs).to_empty(device=device)


_PLACES = ("device", "dtype", "memory_format")


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments for functions such as `empty`, from those of a constructor.

    Args:
        kwargs: `device`, `dtype` and `memory_format`, or a dictionary of them as `factory_kwargs`.
    Raises:
        TypeError: there are others, or one comes twice.
    """
    given = {} if kwargs is None else dict(kwargs)
    found = dict(given.pop("factory_kwargs", {}))
    unknown = given.keys() - set(_PLACES)
    check(not unknown, f"unexpected kwargs {unknown}", TypeError)
    for name, value in given.items():
        check(name not in found, f"{name} specified twice, in **kwargs and in factory_kwargs", TypeError)
        found[name] = value
    return found
