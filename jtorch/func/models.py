"""Modules as functions of their parameters: `functional_call`, `stack_module_state`."""

from collections.abc import Sequence
from typing import Any

from jtorch.nn.module import Module
from jtorch.nn.utils.stateless import with_values
from jtorch.ops._args import check
from jtorch.ops.joining import stack


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """The output of a module with other parameters and buffers in place of its own.

    Args:
        parameter_and_buffer_dicts: tensors or arrays by dotted name, in one dictionary or several; what is missing is
            the module's own. Buffers that the call changes are in the dictionary afterwards.
        args: one argument, or a tuple of them.
        tie_weights: whether one name of a shared tensor stands for all of them.
        strict: whether every name must be on both sides.

    Raises:
        ValueError: two dictionaries have the same name, or a shared tensor is given several values.
        TypeError: it is no dictionary, nor a sequence of them.
        RuntimeError: the names do not match and `strict` is set.
    """
    given = parameter_and_buffer_dicts
    several = isinstance(given, Sequence)
    dicts = list(given) if several else [given]
    found = [type(d).__name__ for d in dicts if not isinstance(d, dict)]
    check(not found, f"functional_call(): expected dictionaries of tensors by name, got {', '.join(found)}", TypeError)
    values: dict[str, Any] = {}
    for each in dicts:
        twice = sorted(values.keys() & each.keys())
        check(not twice, f"functional_call(): expected each name in one dictionary, got {twice} in several")
        values.update(each)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with with_values(module, values, tie_weights, strict):
        out = module(*args, **(kwargs or {}))
    for each in dicts:
        each.update((name, values[name]) for name in each)
    return out


def stack_module_state(models: Sequence[Module] | Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of several modules of one kind, each name's stacked along a new first dimension.

    The parameters are leaves that require gradients where those of the modules do.

    Raises:
        RuntimeError: there is no module, or they differ in class, or some are in training mode and some are not.
    """
    models = list(models)
    check(len(models) > 0, "stack_module_state: Expected at least one model, got 0.", RuntimeError)
    modes = {model.training for model in models}
    check(
        len(modes) == 1, "stack_module_state(): expected modules of one mode, got training and evaluation", RuntimeError
    )
    kinds = sorted({type(model).__name__ for model in models})
    check(
        len({type(model) for model in models}) == 1,
        f"stack_module_state(): expected modules of one class, got {', '.join(kinds)}",
        RuntimeError,
    )
    parameters = {n: _stacked([dict(m.named_parameters())[n] for m in models]) for n, _ in models[0].named_parameters()}
    buffers = {n: _stacked([dict(m.named_buffers())[n] for m in models]) for n, _ in models[0].named_buffers()}
    return parameters, buffers


def _stacked(tensors: list) -> Any:
    wanting = {x.requires_grad for x in tensors}
    check(
        len(wanting) == 1,
        "stack_module_state(): expected tensors of one name to agree on requires_grad, got both",
        RuntimeError,
    )
    return stack([x.detach() for x in tensors]).requires_grad_(wanting.pop())
