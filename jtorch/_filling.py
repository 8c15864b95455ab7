"""Methods that give a tensor new contents in place: constants, copies, and draws from distributions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jtorch import _creation, _types
from jtorch._calling import assign_checked
from jtorch._capture import state
from jtorch._tensor import Tensor
from jtorch.ops import fills
from jtorch.ops._op import registry

__all__ = [
    "bernoulli_", "cauchy_", "copy_", "exponential_", "fill_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_", "zero_",
]  # fmt: skip


def _is_recorded(tensor: Tensor) -> bool:
    """Whether an overwritten tensor stays in its graph: what it was gets zeros as its gradient then, not none."""
    return state.grad and tensor._edge() is not None


def fill_(self, value):
    """Set every element to a number, or to the number in a 0-d tensor."""
    self._check_inplace()
    array = self._value()
    number = value if isinstance(value, Tensor) else jnp.asarray(value)
    if number.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {number.ndim} dimensions."
        )
    if isinstance(number, Tensor) or _is_recorded(self):
        filled = registry["masked_fill"](self, jnp.ones((), bool), number)
        return self._assign(filled._value(), filled._edge())
    return self._assign(jnp.broadcast_to(number.astype(array.dtype), array.shape), None)


def zero_(self):
    """Set every element to zero."""
    return fill_(self, 0)


def copy_(self, src, non_blocking=False):
    """Copy the elements of another tensor, broadcast and converted to this one's dtype."""
    self._check_inplace()
    array = self._value()
    if src is self:
        self._version += 1
        return self
    src = src if isinstance(src, Tensor) else _creation.as_tensor(src)
    try:
        copied = registry["expand"](src.to(_types.of_array(array.dtype)), array.shape)
    except RuntimeError:
        raise RuntimeError(
            f"The size of tensor a {tuple(array.shape)} must match the size of tensor b {tuple(src.shape)}: copy_() "
            "expected a source that broadcasts to the tensor"
        ) from None
    copied = copied.to(self.device)
    if _is_recorded(self):
        copied = registry["where"](jnp.ones((), bool), copied, self)
    return self._assign(copied._value(), copied._edge())


# draws


def _fill(name: str, op: Any) -> Callable:
    """The method that puts a draw by `op` in place; torch's `from=` is the op's `start=`."""

    def fill(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self._check_inplace()
        if "from" in kwargs:
            kwargs["start"] = kwargs.pop("from")
        drawn = op(self, *args, **kwargs)
        return assign_checked(self, drawn._value(), drawn._edge())

    fill.__name__, fill.__qualname__ = name, f"Tensor.{name}"
    fill.__doc__ = f"In place: {op.__doc__.partition('Shape:')[0].strip()}"
    fill.__signature__ = op.__signature__  # type: ignore[attr-defined]
    return fill


uniform_ = _fill("uniform_", fills.uniform)
normal_ = _fill("normal_", fills.normal_like)
bernoulli_ = _fill("bernoulli_", fills.bernoulli_like)
exponential_ = _fill("exponential_", fills.exponential)
cauchy_ = _fill("cauchy_", fills.cauchy)
log_normal_ = _fill("log_normal_", fills.log_normal)
geometric_ = _fill("geometric_", fills.geometric)
_random = _fill("random_", fills.random)


def random_(self, *bounds, generator=None, **named):
    """In place: whole numbers from 0, or `from`, to below `to`, or to the greatest that the dtype holds exactly."""
    if named:
        bounds = (*bounds, *(named.pop(n) for n in ("from", "to")[len(bounds) :] if n in named))
    return _random(self, *bounds, generator=generator, **named)
