"""`autocast` as context and decorator, and the decorators of a Function's forward and backward that know of it."""

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jtorch import _types
from jtorch._tensor import Tensor
from jtorch.amp import switches
from jtorch.ops import _args
from jtorch.ops._autocast import running


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for a type of device: cpu, cuda or tpu."""
    return device_type in running.dtypes


def _has_gpu() -> bool:
    try:
        return bool(jax.devices("gpu"))
    except RuntimeError:
        return False


class autocast:
    """A region, or a function, in which each op takes the dtype that is good for it: 16 bits, float32 or the widest.

    Matrix products, convolutions and attention run in `dtype`; what would lose too much there, such as losses, runs in
    float32. The lists are torch's for the type of device. Gradients have the dtype of what they are of. Modules and
    inputs stay as they are: no `half()` or `bfloat16()`. Only ops on devices of the type are cast, float64 never is, and
    neither are ops in place nor those with `out=`.

    Args:
        device_type: cpu, cuda or tpu.
        dtype: bfloat16 or float16; None for what `get_autocast_dtype` says.
        enabled: False for a region without, inside one with.
        cache_enabled: what `is_autocast_cache_enabled` says inside; nothing else follows from it.

    Raises:
        RuntimeError: there is no autocast for this type of device.

    Differs:
        A function that was compiled by `jax.jit` itself is not compiled again because it is called in another region:
        open the region inside it. `jtorch.compile` sees the difference.

    Example:
        >>> import jtorch
        >>> layer, x = jtorch.nn.Linear(3, 2), jtorch.ones(4, 3)
        >>> with jtorch.autocast("cpu", dtype=jtorch.bfloat16):
        ...     y = layer(x)
        >>> y.dtype
        torch.bfloat16
        >>> y.sum().backward()
        >>> layer.weight.grad.dtype
        torch.float32
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ):  # fmt: skip
        _args.check(
            isinstance(device_type, str), f"autocast(): expected device_type to be a str, got {type(device_type)}"
        )
        message = f"autocast(): expected device_type cpu, cuda or tpu, got {device_type!r}"
        _args.check(is_autocast_available(device_type), message, RuntimeError)
        self.device = device_type
        self.fast_dtype = switches.get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = running.cached if cache_enabled is None else cache_enabled
        self._enabled = bool(enabled) and self._is_possible()
        self._before: list[tuple] = []

    def _is_possible(self) -> bool:
        """Whether there is such a device, and the dtype is one of 16 bits; warns where not."""
        if self.device == "cuda" and not _has_gpu():
            warnings.warn("autocast(): expected a GPU, got none; it is off", stacklevel=3)
            return False
        if self.fast_dtype not in (_types.bfloat16, _types.float16):
            message = f"autocast(): expected dtype torch.bfloat16 or torch.float16, got {self.fast_dtype}; it is off"
            warnings.warn(message, stacklevel=3)
            return False
        return True

    def __enter__(self):
        self._before.append(running.all())
        running.set(self.device, self._enabled, _args.to_dtype(self.fast_dtype))
        running.depth += 1
        running.cached = self._cache_enabled
        return self

    def __exit__(self, *_: Any):
        running.restore(self._before.pop())
        return False

    def __call__(self, func: Callable) -> Callable:
        message = (
            f"autocast()(): expected a callable, got {type(func).__name__}; use `with autocast(...):` for a region"
        )
        _args.check(callable(func), message, TypeError)

        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return inside


# Functions


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    """The value, with each floating tensor in it that is on such a device in another dtype, float64 apart."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype != _types.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, str | bytes | np.ndarray | jax.Array):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        cast = (_cast(v, device_type, dtype) for v in value)
        return type(value)(cast) if isinstance(value, list | tuple) else cast  # type: ignore[call-arg]
    return value


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Callable:
    """A decorator for the `forward` of a Function, so that `custom_bwd` runs its `backward` under the same autocast.

    Args:
        cast_inputs: the dtype that floating tensors among the arguments are cast to where autocast is on; it is off
            inside then. None leaves both as they are.

    Raises:
        ValueError: `device_type` is no str.
    """
    _args.check(
        isinstance(device_type, str), f"custom_fwd(): expected device_type to be a str, got {type(device_type)}"
    )
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = switches.get_autocast_dtype(device_type)
        enabled = switches.is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(
                ctx, *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs)
            )  # fmt: skip

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """A decorator for the `backward` of a Function whose `forward` has `custom_fwd`: it runs under the same autocast.

    Raises:
        ValueError: `device_type` is no str.
    """
    _args.check(
        isinstance(device_type, str), f"custom_bwd(): expected device_type to be a str, got {type(device_type)}"
    )
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward
