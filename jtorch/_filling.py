"""Methods that give a tensor new contents in place: constants, copies, and draws from distributions."""

from typing import Any

import jax
import jax.numpy as jnp

from jtorch import _creation, _types, random
from jtorch._tensor import Tensor
from jtorch.ops import _args
from jtorch.ops._op import registry

__all__ = [
    "bernoulli_", "cauchy_", "copy_", "exponential_", "fill_", "geometric_", "log_normal_", "normal_", "random_",
    "uniform_", "zero_",
]  # fmt: skip


def fill_(self, value):
    """Set every element to a number, or to the number in a 0-d tensor."""
    self._check_inplace()
    array = self._value()
    number = value if isinstance(value, Tensor) else jnp.asarray(value)
    if number.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {number.ndim} dimensions."
        )
    filled = (
        registry["expand"](number.to(_types.of_array(array.dtype)), array.shape) if isinstance(number, Tensor) else None
    )
    if filled is not None:
        return self._assign(filled._value(), filled._edge())
    return self._assign(jnp.broadcast_to(number.astype(array.dtype), array.shape), None)


def zero_(self):
    """Set every element to zero."""
    return fill_(self, 0)


def copy_(self, src, non_blocking=False):
    """Copy the elements of another tensor, broadcast and converted to this one's dtype."""
    self._check_inplace()
    array = self._value()
    src = src if isinstance(src, Tensor) else _creation.as_tensor(src)
    try:
        copied = registry["expand"](src.to(_types.of_array(array.dtype)), array.shape)
    except RuntimeError:
        raise RuntimeError(
            f"The size of tensor a {tuple(array.shape)} must match the size of tensor b {tuple(src.shape)}: copy_() "
            "expected a source that broadcasts to the tensor"
        ) from None
    copied = copied.to(self.device)
    return self._assign(copied._value(), copied._edge())


# draws


def _take(tensor: Tensor, drawn: Any) -> Tensor:
    return tensor._assign(drawn.astype(tensor._raw_value.dtype), None)


def _start(tensor: Tensor, name: str, generator: Any) -> tuple[Any, tuple, Any]:
    """A key, and the shape and a float dtype to draw in."""
    tensor._check_inplace()
    array = tensor._value()
    kind = array.dtype if _args.is_float(array.dtype) and array.dtype.itemsize >= 4 else jnp.float32
    return random.next_key(name, generator), array.shape, kind


def _need_float(tensor: Tensor, name: str) -> None:
    if not _args.is_inexact(tensor._value().dtype):
        kind = _types.long_name(tensor._value().dtype)
        raise NotImplementedError(f"{name}(): expected a floating point tensor, got {kind}")


def uniform_(self, from_=0, to=1, *, generator=None):
    """Numbers drawn evenly from `from_` (included) to `to` (excluded)."""
    _need_float(self, "uniform_")
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    key, shape, kind = _start(self, "uniform_", generator)
    return _take(self, jax.random.uniform(key, shape, kind) * (to - from_) + from_)


def normal_(self, mean=0, std=1, *, generator=None):
    """Numbers drawn from the normal distribution."""
    _need_float(self, "normal_")
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    key, shape, kind = _start(self, "normal_", generator)
    return _take(self, jax.random.normal(key, shape, kind) * std + mean)


def bernoulli_(self, p=0.5, *, generator=None):
    """1 with probability `p` (a number or a tensor), 0 otherwise."""
    key, shape, _ = _start(self, "bernoulli_", generator)
    p = p._value() if isinstance(p, Tensor) else p
    if not isinstance(p, jax.Array) and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    return _take(self, jax.random.bernoulli(key, p, shape))


def random_(self, from_=None, to=None, *, generator=None):
    """Whole numbers from `from_` to `to - 1`; by default over all that the dtype holds exactly."""
    key, shape, _ = _start(self, "random_", generator)
    if to is None:
        low, high = 0, _whole_limit(self._value().dtype) if from_ is None else from_
    else:
        low, high = from_ or 0, to
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    return _take(self, jax.random.randint(key, shape, low, high, _args.long_dtype()))


def _whole_limit(dtype: Any) -> int:
    if _args.is_float(dtype):
        return 2 ** (jnp.finfo(dtype).nmant + 1)
    limit = 2 if dtype == jnp.bool_ else int(jnp.iinfo(dtype).max)
    return min(limit, int(jnp.iinfo(_args.long_dtype()).max))


def exponential_(self, lambd=1, *, generator=None):
    """Numbers drawn from the exponential distribution of rate `lambd`."""
    _need_float(self, "exponential_")
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    key, shape, kind = _start(self, "exponential_", generator)
    return _take(self, jax.random.exponential(key, shape, kind) / lambd)


def cauchy_(self, median=0, sigma=1, *, generator=None):
    """Numbers drawn from the Cauchy distribution."""
    _need_float(self, "cauchy_")
    key, shape, kind = _start(self, "cauchy_", generator)
    return _take(self, jax.random.cauchy(key, shape, kind) * sigma + median)


def log_normal_(self, mean=1, std=2, *, generator=None):
    """Numbers whose logarithm is drawn from the normal distribution."""
    _need_float(self, "log_normal_")
    key, shape, kind = _start(self, "log_normal_", generator)
    return _take(self, jnp.exp(jax.random.normal(key, shape, kind) * std + mean))


def geometric_(self, p, *, generator=None):
    """How many trials of probability `p` it takes until one succeeds."""
    key, shape, _ = _start(self, "geometric_", generator)
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    return _take(self, jax.random.geometric(key, p, shape))
