"""The old names of automatic mixed precision on CPUs. They warn, and are those of `jtorch.amp` otherwise."""

import warnings
from typing import Any

from jtorch import _types, amp


def _deprecated(name: str) -> None:
    message = f"`torch.cpu.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('cpu', args...)` instead."
    warnings.warn(message, FutureWarning, stacklevel=3)


class autocast(amp.autocast):
    """The old name of `amp.autocast("cpu", ...)`."""

    def __init__(self, enabled: bool = True, dtype: Any = _types.bfloat16, cache_enabled: bool = True):
        _deprecated("autocast")
        super().__init__("cpu", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """The old name of `amp.GradScaler("cpu", ...)`."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        _deprecated("GradScaler")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
