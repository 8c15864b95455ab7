"""The old weight normalization, by a hook. New code takes that of `parametrizations`."""

import warnings
from typing import Any

from jtorch.nn.hooks import Deriving, take_hook
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check
from jtorch.ops.norms import _weight_norm, norm_except_dim


class WeightNorm(Deriving):
    """The hook of `weight_norm`: it gives its module a weight made of `<name>_g` and `<name>_v`."""

    name: str
    dim: int

    def __init__(self, name: str, dim: int | None):
        self.name = name
        self.dim = -1 if dim is None else dim

    @property
    def derives(self) -> str:
        return self.name

    def compute_weight(self, module: Module) -> Any:
        """The directions with the norms."""
        return _weight_norm(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

    derived = compute_weight

    @staticmethod
    def apply(module: Module, name: str, dim: int | None) -> "WeightNorm":
        """Put the hook on a module and its parameter in two parts."""
        warnings.warn(
            "`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.",
            FutureWarning,
            stacklevel=3,
        )
        for hook in module._forward_pre_hooks.values():
            check(
                not (isinstance(hook, WeightNorm) and hook.name == name),
                f"Cannot register two weight_norm hooks on the same parameter {name}",
                RuntimeError,
            )
        made = WeightNorm(name, dim)
        weight = getattr(module, name)
        norms = norm_except_dim(weight.detach(), 2, made.dim)
        delattr(module, name)
        module.register_parameter(f"{name}_g", Parameter(norms))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
        module.register_forward_pre_hook(made)
        return made

    def remove(self, module: Module) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module)
        vars(module).pop(self.name, None)
        delattr(module, f"{self.name}_g")
        delattr(module, f"{self.name}_v")
        module._put("_parameters", self.name, Parameter(weight.detach()))


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """The module with a weight that is learned as its norms (`<name>_g`) and its directions (`<name>_v`). Deprecated.

    Args:
        dim: the dimension that has a norm for each of its places; None takes one norm of all.

    Raises:
        RuntimeError: the weight has such a norm already.

    Differs: the weight is computed anew whenever it is read, so it is never stale; torch computes it at each call.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """The module with its weight as a parameter again.

    Raises:
        ValueError: it has no such norm.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            take_hook(module._forward_pre_hooks, key)
            hook.remove(module)
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
