"""Pruning: parameters some of whose elements are held at zero by a mask. The ways to do it are in `_pruning`."""

from collections.abc import Iterable
from typing import Any

from jtorch import _creation
from jtorch.nn.hooks import take_hook
from jtorch.nn.module import Module
from jtorch.nn.utils._pruning import BasePruningMethod as BasePruningMethod
from jtorch.nn.utils._pruning import CustomFromMask as CustomFromMask
from jtorch.nn.utils._pruning import Identity as Identity
from jtorch.nn.utils._pruning import L1Unstructured as L1Unstructured
from jtorch.nn.utils._pruning import LnStructured as LnStructured
from jtorch.nn.utils._pruning import PruningContainer as PruningContainer
from jtorch.nn.utils._pruning import RandomStructured as RandomStructured
from jtorch.nn.utils._pruning import RandomUnstructured as RandomUnstructured
from jtorch.nn.utils.convert_parameters import parameters_to_vector
from jtorch.ops._args import check


def identity(module: Any, name: str) -> Any:
    """The module, its parameter pruned of nothing."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Any, name: str, amount: Any) -> Any:
    """The module, its parameter pruned of elements at random: a number or a fraction of them."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """The module, its parameter pruned of the elements that are smallest in absolute value, or in the scores'."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Any, name: str, amount: Any, dim: int) -> Any:
    """The module, its parameter pruned of slices along a dimension at random: a number or a fraction of them."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Any, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None) -> Any:
    """The module, its parameter pruned of the slices along a dimension whose norm of order `n` is smallest."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Any, name: str, mask: Any) -> Any:
    """The module, its parameter pruned by a mask."""
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(parameters: Any, pruning_method: type, importance_scores: Any = None, **kwargs: Any) -> None:
    """Prune several parameters as if they were one.

    Args:
        parameters: pairs of a module and the name of its parameter.
        pruning_method: a class of the unstructured kind; `kwargs` are the arguments of its constructor.
        importance_scores: what to judge by, for some of the pairs.

    Raises:
        TypeError: one of the arguments is of another kind.
    """
    check(isinstance(parameters, Iterable), "global_unstructured(): parameters is not an Iterable", TypeError)
    scores = {} if importance_scores is None else importance_scores
    check(isinstance(scores, dict), "global_unstructured(): importance_scores must be of type dict", TypeError)
    pairs = list(parameters)
    tensors = [getattr(module, name) for module, name in pairs]
    masks = [getattr(m, f"{n}_mask", _creation.ones_like(t)) for (m, n), t in zip(pairs, tensors, strict=True)]
    container, method = PruningContainer(), pruning_method(**kwargs)
    container._tensor_name = method._tensor_name = "temp"
    check(
        method.PRUNING_TYPE == "unstructured",
        f'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method {pruning_method} of type '
        f"{method.PRUNING_TYPE}",
        TypeError,
    )
    container.add_pruning_method(method)
    judged = parameters_to_vector([scores.get(pair, t) for pair, t in zip(pairs, tensors, strict=True)])
    mask = container.compute_mask(judged.detach(), parameters_to_vector(masks))
    place = 0
    for (module, name), tensor in zip(pairs, tensors, strict=True):
        custom_from_mask(module, name, mask=mask[place : place + tensor.numel()].view(tensor.shape))
        place += tensor.numel()


def remove(module: Any, name: str) -> Any:
    """The module, its parameter having the pruned values for good.

    Raises:
        ValueError: it is not pruned.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            take_hook(module._forward_pre_hooks, key)
            hook.remove(module)
            return module
    raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one below it, is pruned."""
    return any(isinstance(h, BasePruningMethod) for m in module.modules() for h in m._forward_pre_hooks.values())
