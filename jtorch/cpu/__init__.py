"""The CPU, asked as if it were an accelerator."""

from typing import Any

from jtorch import _devices, _streams
from jtorch.cpu import amp as amp


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1; more where XLA was told to make more of them."""
    return len(_devices.found("cpu"))


def current_device() -> str:
    """`cpu`."""
    return "cpu"


def set_device(device: Any) -> None:
    """Nothing: `cpu` means the first."""


def synchronize(device: Any = None) -> None:
    """Wait until everything that was started on the CPU has finished."""
    _streams.synchronize(_devices.device(device or "cpu").jax())


def current_stream(device: Any = None) -> _streams.Stream:
    """The one queue of the CPU."""
    return _streams.Stream(device or "cpu")
