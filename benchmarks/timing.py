"""How things are timed: interleaved rounds, medians with quartiles, and a description of the machine.

Candidates for the same work take turns within each round, so that a slow spell of the machine meets all of them.
What is timed is in the other files.
"""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

DISTRIBUTIONS = ("jtorch-jax", "jax", "jaxlib", "flax", "optax", "equinox", "numpy", "torch")


class Timing(NamedTuple):
    """Seconds: the median of the rounds, the quartiles around it, and the shortest."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        """The timing that a list of measurements amounts to."""
        if len(seconds) < 2:
            return cls(seconds[0], seconds[0], seconds[0], seconds[0])
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high, min(seconds))


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int, seconds: float) -> dict[str, Timing]:
    """The time of one call of each candidate, every candidate getting about `seconds` in each round.

    A turn ends when its last result is there. Each turn starts with a call before the clock does: the caches and thread
    pools of the candidate before it are not its own.
    """
    counts = {name: _count_for(call, seconds) for name, call in calls.items()}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(_turn(call, counts[name]) / counts[name])
    return {name: Timing.of(values) for name, values in taken.items()}


def _count_for(call: Callable[[], Any], seconds: float) -> int:
    """How many calls fill `seconds`; the first calls, which compile, do not count."""
    for _ in range(3):
        jax.block_until_ready(call())
    return max(1, int(seconds / max(_turn(call, 3) / 3, 1e-7)))


def _turn(call: Callable[[], Any], count: int) -> float:
    jax.block_until_ready(call())
    result = None
    start = time.perf_counter()
    for _ in range(count):
        result = call()
    jax.block_until_ready(result)
    return time.perf_counter() - start


def machine() -> dict[str, str]:
    """What the figures depend on: the processor, the device, and the versions."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "device": jax.devices()[0].device_kind,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
