"""The accelerator, whatever it is: JAX's GPUs or TPUs."""

import contextlib
from typing import Any

from jtorch import _device_memory, _devices, _streams
from jtorch.ops._args import check, fail


def current_accelerator(check_available: bool = False) -> _devices.device | None:
    """The type of the accelerator, as a device without a number; None if JAX has none."""
    kind = _devices.accelerator()
    return None if kind is None else _devices.device(kind)


def is_available() -> bool:
    """Whether JAX has an accelerator."""
    return _devices.accelerator() is not None


def device_count() -> int:
    """The number of accelerators, 0 if there are none."""
    kind = _devices.accelerator()
    return 0 if kind is None else len(_devices.found(kind))


def _kind() -> str:
    kind = _devices.accelerator()
    if kind is None:
        fail("Cannot access accelerator device when none is available.", RuntimeError)
    return kind


def _one(given: Any = None) -> _devices.device:
    """The accelerator of a number, a device or text, the current one if nothing is given."""
    kind = _kind()
    place = _devices.device(kind if given is None else given)
    check(place.type == kind, f"accelerator: expected a {kind} device, got {place}")
    return place


def current_device_index() -> int:
    """The number of the accelerator that a device without a number means.

    Raises:
        RuntimeError: there is none.
    """
    return _devices.current[_kind()]


def set_device_index(device: Any, /) -> None:
    """Choose the accelerator that a device without a number means.

    Raises:
        RuntimeError: it is not there.
    """
    place = _one(device)
    place.jax()
    _devices.current[place.type] = place.number()


current_device_idx, set_device_idx = current_device_index, set_device_index


class device_index(contextlib.ContextDecorator):
    """A device without a number means another accelerator inside. None changes nothing."""

    def __init__(self, device: int | None, /):
        self.given = device
        self._before: list[int] = []

    def __enter__(self) -> None:
        if self.given is not None:
            self._before.append(current_device_index())
            set_device_index(self.given)

    def __exit__(self, *error: Any) -> None:
        if self._before:
            set_device_index(self._before.pop())


def synchronize(device: Any = None, /) -> None:
    """Wait until everything that was started on an accelerator has finished.

    Raises:
        RuntimeError: it is not there.
    """
    _streams.synchronize(_one(device).jax())


def current_stream(device: Any = None, /) -> _streams.Stream:
    """The one queue of an accelerator.

    Raises:
        RuntimeError: it is not there.
    """
    return _streams.Stream(_one(device))


def set_stream(stream: _streams.Stream) -> None:
    """Nothing: there is one stream."""


def memory_allocated(device: Any = None, /) -> int:
    """Bytes in use on an accelerator.

    Raises:
        RuntimeError: it is not there.
    """
    return _device_memory.figures(_one(device).jax()).used


def max_memory_allocated(device: Any = None, /) -> int:
    """The most bytes that were in use on an accelerator; see `cuda.max_memory_allocated`.

    Raises:
        RuntimeError: it is not there.
    """
    return _device_memory.figures(_one(device).jax()).peak


def memory_reserved(device: Any = None, /) -> int:
    """Bytes that JAX's pool holds on an accelerator.

    Raises:
        RuntimeError: it is not there.
    """
    return _device_memory.figures(_one(device).jax()).held


def max_memory_reserved(device: Any = None, /) -> int:
    """The most bytes that JAX's pool held on an accelerator.

    Raises:
        RuntimeError: it is not there.
    """
    return _device_memory.figures(_one(device).jax()).peak_held


def get_memory_info(device: Any = None, /) -> tuple[int, int]:
    """Bytes that are free and bytes in all, of what JAX may take on an accelerator.

    Raises:
        RuntimeError: it is not there.
    """
    found = _device_memory.figures(_one(device).jax())
    return found.limit - found.used, found.limit


def reset_peak_memory_stats(device: Any = None, /) -> None:
    """Begin to count the peak anew; see `cuda.max_memory_allocated`.

    Raises:
        RuntimeError: it is not there.
    """
    _device_memory.forget_peak(_one(device).jax())


def empty_cache() -> None:
    """Nothing: JAX manages its memory.

    Raises:
        RuntimeError: there is no accelerator.
    """
    _kind()
