"""Devices by torch's names. They are JAX's: `cpu`, `cuda[:i]` and `tpu[:i]`; torch's other names can be spelled, not used."""

import functools
import threading
from typing import Any

import jax
from jax.core import Tracer

from jtorch.ops import _args

_PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}
_ELSEWHERE = (
    "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla", "lazy", "vulkan", "mps",
    "meta", "hpu", "mtia", "privateuseone",
)  # fmt: skip

current = {"cpu": 0, "cuda": 0, "tpu": 0}
"""The index that a device without one means; see `cuda.set_device`."""


def found(kind: str) -> list:
    """JAX's devices of a type, none where JAX has no such platform."""
    try:
        return jax.devices(_PLATFORMS[kind]) if kind in _PLATFORMS else []
    except RuntimeError:
        return []


def accelerator() -> str | None:
    """The type of the accelerator that JAX has, None if it has none."""
    return next((kind for kind in ("cuda", "tpu") if found(kind)), None)


class device:
    """Where a tensor lives: `cpu`, `cuda[:i]` or `tpu[:i]`, which are JAX's devices. A number means an accelerator's.

    Raises:
        RuntimeError: the text names no device type, or the index is negative or given twice.
        TypeError: it is neither text, a number nor a device.
    """

    __slots__ = ("type", "index")

    def __init__(self, type: Any, index: int | None = None):
        if isinstance(type, device) and index is None:
            type, index = type.type, type.index
        elif isinstance(type, int) and not isinstance(type, bool) and index is None:
            index, type = type, _accelerator(type)
        if not isinstance(type, str):
            raise TypeError(f"device(): expected text, a number or a device, got {type!r}")
        name, colon, number = type.partition(":")
        if colon:
            if index is not None:
                _args.fail(f"device(): expected a type without an index beside one, got {type!r}", RuntimeError)
            plain = number.isascii() and number.isdigit() and (number == "0" or number[0] != "0")
            _args.check(plain and name, f"device(): expected cpu, cuda[:i] or tpu[:i], got {type!r}", RuntimeError)
            index = int(number)
        known = name in _PLATFORMS or name in _ELSEWHERE
        _args.check(known, f"device(): expected cpu, cuda[:i] or tpu[:i], got {type!r}", RuntimeError)
        _args.check(index is None or index >= 0, f"device(): expected an index from 0 on, got {index}", RuntimeError)
        self.type = name
        self.index = index

    def jax(self) -> Any:
        """JAX's device.

        Raises:
            RuntimeError: there is none of that type or index.
        """
        there = found(self.type)
        if not there:
            hint = "; Found no NVIDIA driver on your system" if self.type == "cuda" else ""
            _args.fail(f"device(): expected a device that is there, got {self}{hint}", RuntimeError)
        at = self.number()
        _args.check(
            at < len(there), f"device(): expected one of {len(there)} {self.type} devices, got {self}", RuntimeError
        )
        return there[at]

    def number(self) -> int:
        """The index, the current one where none was given."""
        return current.get(self.type, 0) if self.index is None else self.index

    def __repr__(self):
        return (
            f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"
        )

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __enter__(self) -> "device":
        """New tensors are on this device inside."""
        context = jax.default_device(self.jax())
        context.__enter__()
        _entered.contexts.append(context)
        return self

    def __exit__(self, *error: Any) -> None:
        _entered.contexts.pop().__exit__(*error)

    def __eq__(self, other):
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self):
        return hash((self.type, self.index))

    def __reduce__(self):
        return device, (self.type, self.index)


class _Entered(threading.local):
    """JAX's contexts of the devices that were entered and not left."""

    def __init__(self):
        self.contexts: list = []


_entered = _Entered()


def _accelerator(index: int) -> str:
    _args.check(index >= 0, f"device(): expected an index from 0 on, got {index}", RuntimeError)
    kind = accelerator()
    if kind is None:
        _args.fail(f"device(): expected an accelerator for the number {index}, got a JAX without one", RuntimeError)
    return kind


_CPU = device("cpu")
_NAMES = {platform: kind for kind, platform in _PLATFORMS.items()}


@functools.cache
def several() -> bool:
    """Whether JAX has more than one device, so that arrays may be apart."""
    return jax.default_backend() != "cpu" or jax.device_count() > 1


def beside(array: Any, other: Any) -> Any:
    """The array, where the other one is."""
    if not several() or isinstance(array, Tracer) or isinstance(other, Tracer):
        return array
    return array if array.sharding == other.sharding else jax.device_put(array, other.sharding)


def default() -> Any:
    """JAX's device for what names none: the one that JAX was told of, or its first."""
    told: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    return (jax.devices(told)[0] if isinstance(told, str) else told) or jax.devices()[0]


def device_of(array: Any) -> device:
    """Where an array is; for one spread over several devices, the first. Tracers answer the default device."""
    where = default() if isinstance(array, Tracer) else next(iter(array.devices()))
    if where.platform == "cpu" and not where.id:
        return _CPU  # as torch says it; there are more of them where XLA was told to make them
    return device(_NAMES.get(where.platform, where.platform), where.id)
