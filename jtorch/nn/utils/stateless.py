"""A module called with other parameters than its own."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import jax

from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.nn._changes import note
from jtorch.nn.module import Module
from jtorch.nn.parallel import DataParallel
from jtorch.ops._args import check


def _slot(module: Any, path: str) -> tuple[dict, str]:
    """The dictionary that holds a tensor of a dotted name, and its name there."""
    where, _, name = path.rpartition(".")
    for part in where.split(".") if where else ():
        module = getattr(module, part, None)
        check(
            isinstance(module, Module), f"expected a module at {where!r}, got {type(module).__name__}", AttributeError
        )
    own = vars(module)
    for registry in (own["_parameters"], own["_buffers"]):
        if name in registry:
            return registry, name
    check(
        not hasattr(type(module), name),
        f"functional_call(): expected the name of a parameter or buffer, got {path!r}, which is computed",
        RuntimeError,
    )
    return own, name


def _tied(module: Any, given: dict) -> dict:
    """The same values, also under the other names of tensors that have several."""
    names: dict[Any, list[str]] = {}
    for find in (module.named_parameters, module.named_buffers):
        for name, tensor in find(remove_duplicate=False):
            names.setdefault(tensor, []).append(name)
    values = dict(given)
    for same in names.values():
        found = [given[name] for name in same if name in given]
        check(
            all(value is found[0] for value in found),
            f"functional_call got multiple values for keys {sorted(same)}, which are tied. Consider using "
            "tie_weights=False",
        )
        values.update(dict.fromkeys(same, found[0]) if found else {})
    return values


def _check_names(module: Any, values: dict) -> None:
    own = {n for find in (module.named_parameters, module.named_buffers) for n, _ in find(remove_duplicate=False)}
    found = []
    for word, names in (("Unexpected", values.keys() - own), ("Missing", own - values.keys())):
        if names:
            found.append(f"{word} key(s): {', '.join(map(repr, sorted(names)))}.")
    told = "\n\t".join(found)
    check(not found, f"Error(s) in reparametrizing for {module._get_name()}:\n\t{told}", RuntimeError)


def _boxed(value: Any, name: str) -> Any:
    check(
        value is None or isinstance(value, Tensor | jax.Array), f"{name}: {value} is not a tensor or array", TypeError
    )
    return from_array(value) if isinstance(value, jax.Array) else value


@contextlib.contextmanager
def with_values(module: Any, given: dict, tie_weights: bool, strict: bool) -> Iterator[None]:
    """Inside, the module has these tensors; afterwards the dictionary has what became of them."""
    values = _tied(module, given) if tie_weights else given
    if strict:
        _check_names(module, values)
    boxes = {name: _boxed(value, name) for name, value in values.items()}
    slots = {name: _slot(module, name) for name in boxes}
    before = {name: registry.get(own, _slot) for name, (registry, own) in slots.items()}
    if state.session is not None:  # what the program depends on are the tensors that are there otherwise
        for each in module.modules():
            note(each)
    try:
        for name, (registry, own) in slots.items():
            registry[own] = boxes[name]
        yield
    finally:
        for name, (registry, own) in slots.items():
            after = registry.pop(own, None) if before[name] is _slot else registry.get(own)
            if before[name] is not _slot:
                registry[own] = before[name]
            if name in given:
                given[name] = after._value() if isinstance(given[name], jax.Array) and after is not None else after


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The output of the module with other parameters and buffers, by dotted name. Deprecated.

    Those that the call changes, such as running statistics, are in the dictionary afterwards; the module is as it was.

    Args:
        parameters_and_buffers: tensors or arrays; those that are missing are the module's own.
        args: one argument, or a tuple of them.
        tie_weights: whether one name of a shared tensor stands for all of them.
        strict: whether every name must be on both sides.

    Raises:
        RuntimeError: the names do not match and `strict` is set, or the module is a DataParallel.
        ValueError: a shared tensor is given several values.
    """
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future "
        "version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    check(
        not isinstance(module, DataParallel),
        "The stateless API can't be used with nn.DataParallel module",
        RuntimeError,
    )
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with with_values(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))
