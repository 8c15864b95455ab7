"""Modules in another dtype or on another device."""

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp

from jtorch import _types
from jtorch._conversion import parse_to
from jtorch._tensor import from_array
from jtorch.autograd import no_grad
from jtorch.nn._graph import epoch
from jtorch.nn.parameter import as_buffer, is_lazy
from jtorch.ops import _args


class Casting:
    """The part of Module that converts."""

    _parameters: dict
    _buffers: dict

    def _apply(self, fn: Callable, recurse: bool = True) -> Self:
        """Put `fn(tensor)` in place of the value of each parameter, its gradient, and each buffer."""
        if recurse:
            for child in self.children():  # type: ignore[attr-defined]
                child._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    _apply_to(parameter, fn)
                    if parameter.grad is not None:
                        _apply_to(parameter.grad, fn)
            for name, buffer in self._buffers.items():
                if is_lazy(buffer):
                    _apply_to(buffer, fn)
                elif buffer is not None:
                    self._buffers[name] = as_buffer(fn(buffer))
        epoch[0] += 1
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The module itself with its float parameters and buffers in another dtype, and all of them on another device.

        `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`; `non_blocking` and `memory_format` are accepted.

        Raises:
            TypeError: the dtype is neither a float nor a complex type.
            RuntimeError: the device is not there.
        """
        device, dtype, _ = parse_to(*args, **kwargs)
        if dtype is not None and not _args.is_inexact(dtype):
            wanted = _types.of_array(dtype)
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={wanted}"
            )
        return self._apply(lambda t: t.to(device, dtype if t.dtype.is_floating_point or t.dtype.is_complex else None))

    def _cast(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.dtype.is_floating_point else t)

    def float(self) -> Self:
        """The module itself with its float parameters and buffers as float32."""
        return self._cast(_types.float32)

    def double(self) -> Self:
        """The module itself with its float parameters and buffers as float64."""
        return self._cast(_types.float64)

    def half(self) -> Self:
        """The module itself with its float parameters and buffers as float16."""
        return self._cast(_types.float16)

    def bfloat16(self) -> Self:
        """The module itself with its float parameters and buffers as bfloat16."""
        return self._cast(_types.bfloat16)

    def type(self, dst_type: Any) -> Self:
        """The module itself with all parameters and buffers in a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self) -> Self:
        """The module itself on the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """The module itself on a GPU.

        Raises:
            RuntimeError: there is none.
        """
        return self._apply(lambda t: t.cuda(device))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """The module itself on another device, its parameters and buffers zero."""
        to = None if device is None else _types.device(device).jax()
        return self._apply(lambda t: from_array(jax.device_put(jnp.zeros_like(t._value()), to)), recurse=recurse)

    def share_memory(self) -> Self:
        """The module itself: processes do not share JAX arrays."""
        return self


def _apply_to(tensor: Any, fn: Callable) -> None:
    """Give a tensor the value that `fn` makes of it, keeping its identity."""
    value = fn(tensor)
    if value is not tensor:
        tensor.data = value
