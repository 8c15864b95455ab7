"""The ways to prune: classes that compute a mask, and are the hook of a pruned module.

A pruned parameter is `<name>_orig` times the buffer `<name>_mask`; a forward pre-hook gives the product its old name.
The functions that put them on modules are in `prune`.
"""

import abc
import numbers
from collections.abc import Iterator
from typing import Any

from jtorch import _creation
from jtorch.nn.hooks import Deriving, take_hook
from jtorch.nn.module import Module
from jtorch.ops._args import check, fail
from jtorch.ops.reduction import norm


class BasePruningMethod(Deriving, abc.ABC):
    """The base of ways to prune. A subclass has a `PRUNING_TYPE` and defines `compute_mask`.

    The type is "unstructured" (of the elements that are left), "structured" (of the slices along `dim` that are left)
    or "global" (of all elements).

    Differs: the pruned parameter is computed anew whenever it is read, so it is never stale; torch computes it at each
    call.
    """

    _tensor_name: str

    @property
    def derives(self) -> str:
        return self._tensor_name

    def derived(self, module: Module) -> Any:
        return self.apply_mask(module)

    @abc.abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask for a tensor, in which what `default_mask` has pruned stays pruned. To be overridden."""

    def apply_mask(self, module: Module) -> Any:
        """The pruned parameter."""
        mask, original = (getattr(module, f"{self._tensor_name}_{part}") for part in ("mask", "orig"))
        return mask.to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Any:
        """Prune a parameter of a module, further if it is pruned already. Returns the hook.

        Args:
            importance_scores: what to judge by, of the parameter's shape; None means the parameter itself.
        """
        old = [(k, h) for k, h in module._forward_pre_hooks.items() if _prunes(h, name)]
        if len(old) > 1:
            fail(
                f"Avoid adding multiple pruning hooks to the same tensor {name} of module {module}. Use a "
                "PruningContainer.",
                AssertionError,
            )
        tensor = getattr(module, name)
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        for _, before in old:
            method = _joined(before, method)
        scores = tensor if importance_scores is None else importance_scores
        if scores.shape != tensor.shape:
            fail(
                f"importance_scores should have the same shape as parameter {name} of {module}, got {scores.shape} vs "
                f"{tensor.shape}",
                AssertionError,
            )
        default = getattr(module, f"{name}_mask").detach().clone() if old else _creation.ones_like(tensor)
        mask = method.compute_mask(scores.detach(), default_mask=default)
        for key, _ in old:
            take_hook(module._forward_pre_hooks, key)
        if not old:
            delattr(module, name)
            module.register_parameter(f"{name}_orig", tensor)
        module.register_buffer(f"{name}_mask", mask)
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """A tensor pruned, without a module.

        Args:
            default_mask: what is pruned already; None means nothing.
            importance_scores: what to judge by, of the tensor's shape; None means the tensor itself.
        """
        scores = t if importance_scores is None else importance_scores
        check(
            scores.shape == t.shape,
            f"importance_scores should have the same shape as tensor t, got {scores.shape} vs {t.shape}",
            AssertionError,
        )
        default = _creation.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, default_mask=default)

    def remove(self, module: Module) -> None:
        """Make the pruned values those of the parameter, for good."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        vars(module).pop(name, None)
        original = module._parameters[f"{name}_orig"]
        original.data = weight.detach()
        delattr(module, f"{name}_orig")
        delattr(module, f"{name}_mask")
        module._put("_parameters", name, original)


def _prunes(hook: Any, name: str) -> bool:
    return isinstance(hook, BasePruningMethod) and hook._tensor_name == name


def _joined(before: Any, method: Any) -> "PruningContainer":
    """One method that does what was done before, and then another."""
    container = before if isinstance(before, PruningContainer) else PruningContainer(before)
    made = PruningContainer(*container)
    made._tensor_name = container._tensor_name
    made.add_pruning_method(method)
    return made


class PruningContainer(BasePruningMethod):
    """Several ways to prune one parameter, one after another. The mask that it computes is that of the last."""

    def __init__(self, *args: BasePruningMethod):
        self._pruning_methods: tuple = ()
        if args:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        """Add one more.

        Raises:
            TypeError: it is no pruning method.
            ValueError: it prunes another parameter.
        """
        if method is not None:
            check(
                isinstance(method, BasePruningMethod), f"{type(method)} is not a BasePruningMethod subclass", TypeError
            )
            check(
                self._tensor_name == method._tensor_name,
                f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to PruningContainer "
                f"{self}. Found '{method._tensor_name}'",
            )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: Any) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask after the last method, which sees only what the ones before have left."""
        method = self._pruning_methods[-1]
        left = _left(method, t, default_mask)
        mask = default_mask.to(dtype=t.dtype).clone()
        mask[left] = method.compute_mask(t[left], default_mask=default_mask[left]).to(dtype=mask.dtype)
        return mask


def _left(method: Any, t: Any, mask: Any) -> Any:
    """The index of what a method may prune."""
    kind = method.PRUNING_TYPE
    if kind == "unstructured":
        return mask == 1
    whole = [slice(None)] * t.ndim
    if kind == "structured":
        check(
            hasattr(method, "dim"),
            'Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.',
            AttributeError,
        )
        dim = method.dim + t.ndim if method.dim < 0 else method.dim
        check(dim >= 0, f"Index is out of bounds for tensor with dimensions {t.ndim}", IndexError)
        whole[dim] = mask.sum(dim=[d for d in range(t.ndim) if d != dim]) != 0
    else:
        check(kind == "global", f"Unrecognized PRUNING_TYPE {kind}")
    return tuple(whole)


# the ways to prune


def _check_amount(amount: Any) -> None:
    check(isinstance(amount, numbers.Real), f"Invalid type for amount: {amount}. Must be int or float.", TypeError)
    fits = int(amount) >= 0 if isinstance(amount, numbers.Integral) else 0.0 <= float(amount) <= 1.0
    check(fits, f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")


def _count(amount: Any, size: int) -> int:
    """How many of `size` to prune."""
    count = amount if isinstance(amount, numbers.Integral) else round(amount * size)
    check(count <= size, f"amount={count} should be smaller than the number of parameters to prune={size}")
    return int(count)


def _check_slices(t: Any, dim: int) -> None:
    shape = t.shape
    check(
        len(shape) > 1,
        "Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
        f"{shape} with {len(shape)} dims",
    )
    check(dim < len(shape), f"Invalid index {dim} for tensor of size {shape}", IndexError)


def _without(mask: Any, places: Any) -> Any:
    """The mask with the elements at these places of its flat form pruned."""
    made = mask.clone()
    made.view(-1)[places] = 0
    return made


class Identity(BasePruningMethod):
    """Prunes nothing, but makes the parameter and its mask."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask that there is."""
        return default_mask

    @classmethod
    def apply(cls, module: Module, name: str) -> Any:  # type: ignore[override]
        """Put the hook on a module."""
        return super().apply(module, name)


class RandomUnstructured(BasePruningMethod):
    """Prunes elements at random.

    Args:
        amount: how many: a number of them, or a fraction from 0 to 1.

    Raises:
        TypeError, ValueError: it is neither.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: Any):
        _check_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask without that many elements more."""
        count = _count(self.amount, t.numel())
        if not count:
            return default_mask.clone()
        return _without(default_mask, _creation.rand_like(t).view(-1).topk(count).indices)

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any) -> Any:  # type: ignore[override]
        """Prune a parameter of a module."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Prunes the elements that are smallest in absolute value.

    Args:
        amount: how many: a number of them, or a fraction from 0 to 1.

    Raises:
        TypeError, ValueError: it is neither.
    """

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount: Any):
        _check_amount(amount)
        self.amount = amount

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask without that many elements more."""
        count = _count(self.amount, t.numel())
        if not count:
            return default_mask.clone()
        return _without(default_mask, t.abs().view(-1).topk(count, largest=False).indices)

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any, importance_scores: Any = None) -> Any:  # type: ignore
        """Prune a parameter of a module."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


def _with_slices(t: Any, dim: int, kept: Any, default_mask: Any) -> Any:
    """The mask without the slices along a dimension that are not `kept`: their places, or a bool for each."""
    mask = _creation.zeros_like(t)
    index: list = [slice(None)] * t.ndim
    index[dim] = kept
    mask[tuple(index)] = 1
    return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(BasePruningMethod):
    """Prunes slices along a dimension at random.

    Args:
        amount: how many: a number of them, or a fraction from 0 to 1.

    Raises:
        TypeError, ValueError: it is neither.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1):
        _check_amount(amount)
        self.amount, self.dim = amount, dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask without that many slices more."""
        _check_slices(t, self.dim)
        size = t.shape[self.dim]
        count = _count(self.amount, size)
        if not count:
            return default_mask
        draws: Any = _creation.rand(size)
        return _with_slices(t, self.dim, draws > draws.kthvalue(count).values, default_mask)

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any, dim: int = -1) -> Any:  # type: ignore[override]
        """Prune a parameter of a module."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(BasePruningMethod):
    """Prunes the slices along a dimension whose norm is smallest.

    Args:
        amount: how many: a number of them, or a fraction from 0 to 1.
        n: the order of the norm.

    Raises:
        TypeError, ValueError: the amount is neither.
    """

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, n: Any, dim: int = -1):
        _check_amount(amount)
        self.amount, self.n, self.dim = amount, n, dim

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask without that many slices more."""
        _check_slices(t, self.dim)
        size = t.shape[self.dim]
        count = _count(self.amount, size)
        if not count:
            return default_mask
        own = range(t.ndim)[self.dim]
        norms = norm(t, p=self.n, dim=[d for d in range(t.ndim) if d != own])
        return _with_slices(t, self.dim, norms.topk(size - count).indices, default_mask)

    @classmethod
    def apply(cls, module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None) -> Any:  # type: ignore
        """Prune a parameter of a module."""
        return super().apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask that is given."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any):
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The product of both masks."""
        check(
            default_mask.shape == self.mask.shape,
            f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}",
            AssertionError,
        )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module: Module, name: str, mask: Any) -> Any:  # type: ignore[override]
        """Prune a parameter of a module."""
        return super().apply(module, name, mask=mask)
