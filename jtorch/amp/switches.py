"""The state of autocast as the functions of torch's namespace read and set it. It is the thread's own."""

import warnings
from typing import Any

from jtorch import _types
from jtorch.ops import _args
from jtorch.ops._autocast import running


def _device_type(device_type: Any, name: str) -> str:
    """The type, if there is autocast for it."""
    message = f"{name}(): argument 'device_type' (position 1) must be str, not {type(device_type).__name__}"
    _args.check(isinstance(device_type, str), message, TypeError)
    message = f"{name}(): expected device_type cpu, cuda or tpu, got {device_type}"
    _args.check(device_type in running.dtypes, message, RuntimeError)
    return device_type


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a type of device.

    Raises:
        RuntimeError: there is none for this type.
    """
    return _device_type(device_type, "is_autocast_enabled") in running.enabled


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Turn autocast on or off for a type of device; with one argument for cuda, as old code says it.

    Raises:
        RuntimeError: there is none for this type.
    """
    if enabled is None:
        device_type, enabled = "cuda", device_type
    running.set(_device_type(device_type, "set_autocast_enabled"), enabled=bool(enabled))


def get_autocast_dtype(device_type: str) -> _types.dtype:
    """The dtype that autocast takes for a type of device: float16 for cuda, bfloat16 for others, unless it was set.

    Raises:
        RuntimeError: there is no autocast for this type.
    """
    return _types.of_array(running.dtypes[_device_type(device_type, "get_autocast_dtype")])


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Set the dtype that autocast takes for a type of device.

    Raises:
        RuntimeError: there is no autocast for this type.
    """
    running.set(_device_type(device_type, "set_autocast_dtype"), dtype=_args.to_dtype(dtype))


def is_autocast_cache_enabled() -> bool:
    """What `set_autocast_cache_enabled` set. Nothing follows from it: casts are parts of programs, never kept."""
    return running.cached


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set what `is_autocast_cache_enabled` says."""
    running.cached = bool(enabled)


def clear_autocast_cache() -> None:
    """Nothing: no casts are kept."""


def autocast_increment_nesting() -> int:
    """How many regions of autocast there are around, with one more."""
    running.depth += 1
    return running.depth


def autocast_decrement_nesting() -> int:
    """How many regions of autocast there are around, with one less."""
    running.depth -= 1
    return running.depth


def _deprecated(name: str, instead: str) -> None:
    message = f"torch.{name} is deprecated. Please use torch.{instead} instead."
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def is_autocast_cpu_enabled() -> bool:
    """The old name of `is_autocast_enabled("cpu")`."""
    _deprecated("is_autocast_cpu_enabled()", "is_autocast_enabled('cpu')")
    return is_autocast_enabled("cpu")


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """The old name of `set_autocast_enabled("cpu", enabled)`."""
    _deprecated("set_autocast_cpu_enabled(enabled)", "set_autocast_enabled('cpu', enabled)")
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> _types.dtype:
    """The old name of `get_autocast_dtype("cpu")`."""
    _deprecated("get_autocast_cpu_dtype()", "get_autocast_dtype('cpu')")
    return get_autocast_dtype("cpu")


def set_autocast_cpu_dtype(dtype: Any) -> None:
    """The old name of `set_autocast_dtype("cpu", dtype)`."""
    _deprecated("set_autocast_cpu_dtype(dtype)", "set_autocast_dtype('cpu', dtype)")
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> _types.dtype:
    """The old name of `get_autocast_dtype("cuda")`."""
    _deprecated("get_autocast_gpu_dtype()", "get_autocast_dtype('cuda')")
    return get_autocast_dtype("cuda")


def set_autocast_gpu_dtype(dtype: Any) -> None:
    """The old name of `set_autocast_dtype("cuda", dtype)`."""
    _deprecated("set_autocast_gpu_dtype(dtype)", "set_autocast_dtype('cuda', dtype)")
    set_autocast_dtype("cuda", dtype)
