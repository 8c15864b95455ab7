"""The GPUs: how many there are, which is the current one, and what they are."""

import contextlib
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from jtorch import _devices, _streams
from jtorch.ops import _args


def is_available() -> bool:
    """Whether JAX has a GPU."""
    return bool(_devices.found("cuda"))


def is_initialized() -> bool:
    """Whether JAX has a GPU: it starts them by itself."""
    return is_available()


def init() -> None:
    """Nothing: JAX starts its devices by itself.

    Raises:
        RuntimeError: there is no GPU.
    """
    gpu()


def device_count() -> int:
    """The number of GPUs."""
    return len(_devices.found("cuda"))


def gpu(given: Any = None) -> Any:
    """JAX's GPU of a number, a device or text; the current one if nothing or a negative number is given.

    Raises:
        RuntimeError: it is not there.
        ValueError: it is no GPU.
    """
    if given is None or (isinstance(given, int) and given < 0):
        given = "cuda"
    place = _devices.device("cuda", given) if isinstance(given, int) else _devices.device(given)
    _args.check(place.type == "cuda", f"cuda: expected a cuda device, got {place}")
    return place.jax()


def current_device() -> int:
    """The number of the GPU that `cuda` means; the first unless `set_device` chose another.

    Raises:
        RuntimeError: there is none.
    """
    gpu()
    return _devices.current["cuda"]


def set_device(device: Any) -> None:
    """Choose the GPU that `cuda` means.

    Differs: tensors made without a device stay where JAX makes them; see `set_default_device`.

    Raises:
        RuntimeError: it is not there.
    """
    if not (isinstance(device, int) and device < 0):
        chosen = gpu(device)
        _devices.current["cuda"] = _devices.found("cuda").index(chosen)


class device(contextlib.ContextDecorator):
    """`cuda` means another GPU inside. None or a negative number change nothing."""

    def __init__(self, device: Any):
        self.given = device
        self._before: list[int] = []

    def __enter__(self) -> None:
        self._before.append(_devices.current["cuda"])
        if self.given is not None:
            set_device(self.given)

    def __exit__(self, *error: Any) -> None:
        _devices.current["cuda"] = self._before.pop()


@contextlib.contextmanager
def device_of(obj: Any) -> Iterator[None]:
    """`cuda` means the GPU of a tensor inside; nothing changes for one that is on none."""
    with device(obj.device if obj.is_cuda else None):
        yield


def synchronize(device: Any = None) -> None:
    """Wait until everything that was started on a GPU has finished.

    Raises:
        RuntimeError: it is not there.
    """
    _streams.synchronize(gpu(device))


def get_device_name(device: Any = None) -> str:
    """The name of a GPU.

    Raises:
        RuntimeError: it is not there.
    """
    return gpu(device).device_kind


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The major and minor number of what a GPU can do.

    Raises:
        RuntimeError: it is not there.
    """
    numbers = re.findall(r"\d+", str(getattr(gpu(device), "compute_capability", "")))
    major, minor = (*numbers, "0", "0")[:2]
    return int(major), int(minor)


def get_device_properties(device: Any = None) -> Any:
    """What JAX knows of a GPU: `name`, `major`, `minor`, `total_memory` (what JAX may take) and
    `multi_processor_count`.

    Raises:
        RuntimeError: it is not there.
    """
    place = gpu(device)
    major, minor = get_device_capability(device)
    return SimpleNamespace(
        name=place.device_kind, major=major, minor=minor, total_memory=(place.memory_stats() or {}).get("bytes_limit", 0),
        multi_processor_count=getattr(place, "core_count", 0),
    )  # fmt: skip


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes in bfloat16; False where there is none."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Whether the current GPU has TF32; False where there is none."""
    return is_available() and get_device_capability() >= (8, 0)


def get_arch_list() -> list[str]:
    """The architectures that code was compiled for beforehand: none, XLA compiles for what is there."""
    return []


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one GPU reads the memory of another: JAX copies by itself, so always True where both are there.

    Raises:
        RuntimeError: one is not there.
    """
    return gpu(device) is not None and gpu(peer_device) is not None
