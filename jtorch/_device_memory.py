"""What JAX says of the memory of a device. It frees and caches by itself; nothing here changes that."""

from types import SimpleNamespace
from typing import Any

NOTHING = SimpleNamespace(used=0, peak=0, held=0, peak_held=0, limit=0, told={})
"""The figures where there is no device."""


def figures(place: Any) -> SimpleNamespace:
    """Bytes that JAX has in use, at most had in use, holds and may take on one of its devices; 0 where it says nothing.

    Differs: JAX's peak is of the whole process. After `forget_peak`, the peak is the greatest use that was seen when
    somebody asked, until use passes what it was before.
    """
    told = place.memory_stats() or {}
    used, peak = told.get("bytes_in_use", 0), told.get("peak_bytes_in_use", 0)
    old, seen = _forgotten.get(place, (-1, 0))
    if peak > old:
        _forgotten.pop(place, None)
    else:
        peak = max(seen, used)
        _forgotten[place] = old, peak
    limit = told.get("bytes_limit", 0)
    held = max(told.get("pool_bytes", 0), used)
    return SimpleNamespace(used=used, peak=peak, held=held, peak_held=max(told.get("peak_pool_bytes", 0), held, peak),
                           limit=limit, told=told)  # fmt: skip


_forgotten: dict[Any, tuple[int, int]] = {}


def forget_peak(place: Any) -> None:
    """Begin to count the peak of a device anew."""
    told = place.memory_stats() or {}
    _forgotten[place] = told.get("peak_bytes_in_use", 0), told.get("bytes_in_use", 0)
