"""Methods that give a tensor new contents in place: constants, copies, and draws from distributions."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch import _creation, _types, _views
from jtorch._calling import assign_checked, reshaped
from jtorch._capture import state
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _args, fills
from jtorch.ops._hints import NUMBERS
from jtorch.ops._op import registry
from jtorch.ops._placing import boxed
from jtorch.ops.shape import sizes_of

__all__ = [
    "bernoulli_", "cauchy_", "copy_", "exponential_", "fill_", "geometric_", "log_normal_", "normal_", "random_",
    "resize_", "resize_as_", "uniform_", "zero_",
]  # fmt: skip


def _is_recorded(tensor: Tensor) -> bool:
    """Whether an overwritten tensor stays in its graph: what it was gets zeros as its gradient then, not none."""
    return state.grad and tensor._edge() is not None


def fill_(self, value):
    """Set every element to a number, or to the number in a 0-d tensor."""
    self._check_inplace()
    array = self._value()
    ndim = 0 if isinstance(value, int | float) else np.ndim(value)
    if ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {ndim} dimensions.")
    if type(value) in NUMBERS:
        _args.check_fits("fill_", value, array.dtype)
    if isinstance(value, Tensor) or _is_recorded(self):
        filled = registry["masked_fill"](self, jnp.ones((), bool), value)
        return self._assign(filled._value(), filled._edge())
    return self._assign(_filled(array, boxed(value) if type(value) is int or type(value) is float else value), None)


_filled = jax.jit(lambda array, number: jnp.broadcast_to(_args.cast(number, array.dtype), array.shape))


def zero_(self):
    """Set every element to zero."""
    return fill_(self, 0)


def _resized(self, shape):
    """Have another shape on the same memory, its first elements being kept; what is added is 0."""
    self._check_inplace()
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"resize_(): expected sizes of 0 or more, got {shape}")
    _args.check_room(shape, self._value().dtype)
    count, held = math.prod(shape), self.numel()
    if count <= held:
        part: Any = registry["as_strided"](self, shape, _views.row_major(shape))
        return reshaped(self, part, "resize_")
    if self._base is not None or any(view() is not None for view in (self._views or {}).values()):
        raise RuntimeError(
            f"resize_(): expected a tensor that shares no memory to grow to {shape}, got a view or its base"
        )
    grown = jnp.pad(self._value().reshape(-1), (0, count - held)).reshape(shape)
    return reshaped(self, from_array(grown), "resize_")


def resize_(self, *sizes, memory_format=None):
    """Have another shape on the same memory, its first elements being kept in row-major order.

    Raises:
        RuntimeError: it requires a gradient, or would have to grow while it shares its memory with a view.
    Differs: what is added is 0, where torch leaves what was in memory.
    """
    return _resized(self, sizes_of(sizes))


def resize_as_(self, other, memory_format=None):
    """Have the shape of another tensor on the same memory, as by `resize_`.

    Raises:
        RuntimeError: it requires a gradient, or would have to grow while it shares its memory with a view.
    """
    return _resized(self, tuple(other.shape))


def copy_(self, src, non_blocking=False):
    """Copy the elements of another tensor, broadcast and converted to this one's dtype."""
    self._check_inplace()
    array = self._value()
    if src is self:
        self._writes += 1
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
