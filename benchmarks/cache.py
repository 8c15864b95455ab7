"""What the persistent compilation cache saves: the first call of a step in a first and in a second process."""

import tempfile

from benchmarks.steps import child
from benchmarks.timing import Timing

CACHED = ("jtorch.compile", "bare JAX")


def measure_cache(model: str, names: list[str], rounds: int) -> dict[str, dict[str, Timing]]:
    """The seconds of each candidate's first step, each pair of processes with an empty directory of its own."""
    turns = [{name: _pair(model, name) for name in names} for _ in range(rounds)]
    return {
        name: {
            process: Timing.of([turn[name][place] for turn in turns])
            for place, process in enumerate(("first process", "second process"))
        }
        for name in names
    }


def _pair(model: str, name: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        settings = {"JTORCH_COMPILATION_CACHE": directory, "JAX_ENABLE_COMPILATION_CACHE": "1"}
        return child(model, name, settings)["seconds"], child(model, name, settings)["seconds"]
