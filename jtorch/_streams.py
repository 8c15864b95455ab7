"""Streams and events of any device. JAX runs what it is given in order, on a stream of its own: these do no harm."""

import time
from typing import Any, Self

import jax
import jax.numpy as jnp

from jtorch import _devices


def synchronize(place: Any) -> None:
    """Wait until everything that was started on one of JAX's devices has finished."""
    for array in jax.live_arrays():
        if not array.is_deleted() and place in array.devices():
            array.block_until_ready()
    (jax.device_put(jnp.zeros(()), place) + 0).block_until_ready()  # stands last in the device's own queue


class Stream:
    """The one queue of a device, the accelerator's if there is one. As a context it changes nothing.

    Raises:
        RuntimeError: the device is not there.
    """

    kind: str | None = None
    """The type of device, None for any."""

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any):
        self.device = _place(device, self.kind)
        self.device_index = self.device.number()
        self.device_type = self.device.type
        self.priority = priority
        self.stream_id = 0

    def synchronize(self) -> None:
        """Wait until everything that was started has finished."""
        synchronize(self.device.jax())

    def query(self) -> bool:
        """True, after waiting for what was started."""
        self.synchronize()
        return True

    def wait_stream(self, stream: "Stream") -> None:
        """Nothing: JAX orders work by the data it needs."""

    def wait_event(self, event: "Event") -> None:
        """Nothing: JAX orders work by the data it needs."""

    def record_event(self, event: "Event | None" = None) -> "Event":
        """The event, recorded; a new one if none is given."""
        event = Event(self.device) if event is None else event
        event.record(self)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Stream) and self.device == other.device

    def __hash__(self) -> int:
        return hash(self.device)

    def __repr__(self) -> str:
        return f"<jtorch.Stream device={self.device}>"


class Event:
    """A moment in a device's work, for timing.

    Differs: recording waits for what was started, because JAX has no marks inside its queue; the times between two
    events are right, but the waiting takes away what would have overlapped.

    Raises:
        RuntimeError: the device is not there.
    """

    kind: str | None = None
    """The type of device, None for any."""

    def __init__(self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False,
                 interprocess: bool = False):  # fmt: skip
        self.device = _place(device, self.kind)
        self.enable_timing = enable_timing
        self.event_id = 0
        self._at: float | None = None

    def record(self, stream: Any = None) -> None:
        """Note the time at which everything that was started has finished."""
        self.synchronize()
        self._at = time.perf_counter()

    def synchronize(self) -> None:
        """Wait until everything that was started has finished."""
        synchronize(self.device.jax())

    def query(self) -> bool:
        """True: recording waited."""
        return True

    def wait(self, stream: Any = None) -> None:
        """Nothing: JAX orders work by the data it needs."""

    def elapsed_time(self, end_event: "Event") -> float:
        """Milliseconds from this event to another.

        Raises:
            ValueError: one of them was not recorded, or was made without `enable_timing`.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._at is None or end_event._at is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return 1000 * (end_event._at - self._at)


def _place(device: Any, kind: str | None) -> _devices.device:
    """The device of a stream: the given one, the current one of a type, or of the accelerator or the CPU."""
    if device is None:
        device = kind or _devices.accelerator() or "cpu"
    elif kind is not None and isinstance(device, int):
        device = f"{kind}:{device}"
    place = _devices.device(device)
    if kind is not None and place.type != kind:
        raise ValueError(f"Stream(): expected a {kind} device, got {place}")
    place.jax()
    return place if place.type == "cpu" else _devices.device(place.type, place.number())
