"""The memory of the GPUs, where JAX tells of it; 0 where there is no GPU. JAX's pool grows and shrinks by itself."""

from typing import Any

from jtorch import _device_memory
from jtorch.cuda.devices import gpu, is_available
from jtorch.ops._args import fail


class OutOfMemoryError(RuntimeError):
    """A GPU has no memory left; for code that names it: JAX raises its own error, a RuntimeError too."""


def _figures(device: Any) -> Any:
    return _device_memory.figures(gpu(device)) if is_available() else _device_memory.NOTHING


def memory_allocated(device: Any = None) -> int:
    """Bytes in use on a GPU."""
    return _figures(device).used


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that were in use on a GPU.

    Differs: JAX's peak is of the whole process. After `reset_peak_memory_stats` it is the greatest use that was seen when
    somebody asked, until use passes the old peak.
    """
    return _figures(device).peak


def memory_reserved(device: Any = None) -> int:
    """Bytes that JAX's pool holds on a GPU."""
    return _figures(device).held


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that JAX's pool held on a GPU."""
    return _figures(device).peak_held


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Bytes that are free and bytes in all, of what JAX may take on a GPU.

    Raises:
        RuntimeError: it is not there.
    """
    found = _device_memory.figures(gpu(device))
    return found.limit - found.used, found.limit


def memory_stats(device: Any = None) -> dict[str, int]:
    """JAX's own figures, under torch's names for those that it has too."""
    found = _figures(device)
    torchs = {
        "allocated_bytes.all.current": found.used,
        "allocated_bytes.all.peak": found.peak,
        "reserved_bytes.all.current": found.held,
        "reserved_bytes.all.peak": found.peak_held,
    }
    return torchs | found.told if found.told else {}


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """JAX's figures, one a line."""
    return "\n".join(f"{name}: {value}" for name, value in memory_stats(device).items())


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin to count the peak anew; see `max_memory_allocated`. Nothing where there is no GPU."""
    if is_available():
        _device_memory.forget_peak(gpu(device))


reset_max_memory_allocated = reset_max_memory_cached = reset_accumulated_memory_stats = reset_peak_memory_stats


def empty_cache() -> None:
    """Nothing: JAX manages its memory."""


def ipc_collect() -> None:
    """Nothing: processes do not share JAX arrays."""


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """The part of a GPU's memory that JAX takes is decided when it starts.

    Raises:
        RuntimeError: always.
    """
    fail(
        "set_per_process_memory_fraction(): expected to be decided before JAX starts, got a call while it runs; set the "
        "environment variable XLA_PYTHON_CLIENT_MEM_FRACTION",
        RuntimeError,
    )
