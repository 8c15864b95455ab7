"""`python -m benchmarks [TABLE ...]`: measure, and print one table for each.

All run in a process that keeps the memory it frees, where the C library can: see `jtorch.keep_memory`.
torch takes part where it is installed and JAX runs on the CPU, so that both have the same device; Equinox where it is
installed.
"""

import argparse
import contextlib
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

import jtorch
from benchmarks import compiled, ops, printing
from benchmarks.cache import CACHED, measure_cache
from benchmarks.eager import CALLS, measure_eager
from benchmarks.overhead import PARAMETERS, measure_overhead
from benchmarks.startup import IMPORTS, measure_imports
from benchmarks.steps import BASE, CANDIDATES, SCALED, SCALES, WORKS, measure_first_calls, measure_steps
from benchmarks.timing import machine


def comparable_torch() -> Any:
    """torch, or None where it is missing or would run on another device."""
    with contextlib.suppress(ImportError):
        import torch

        if jax.default_backend() == "cpu":
            return torch
    return None


def _available(names: list[str], options: argparse.Namespace, torch: Any) -> list[str]:
    """Those of the candidates that can take part and shall; what the ratios are to always does."""
    out = set(CANDIDATES) - {*options.candidates, BASE}
    if options.no_torch_compile:
        out.add("torch.compile")
    if importlib.util.find_spec("equinox") is None:
        out.add("Equinox")
    return [name for name in names if name not in out and (torch is not None or not name.startswith("torch"))]


def run_eager(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of eager calls."""
    found = measure_eager(torch, list(CALLS), options.rounds, options.seconds / 10)
    printing.print_eager(found)
    return found


def run_ops(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of small ops."""
    cases = [case for case in ops.CASES if not options.ops or case.name in options.ops]
    found = ops.measure_ops(torch, cases, options.rounds, options.seconds / 4)
    printing.print_ops(found)
    return found


def run_compiled(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of ops at the sizes of layers."""
    cases = [case for case in compiled.CASES if not options.ops or case.name in options.ops]
    found = compiled.measure_compiled(torch, cases, options.rounds, options.seconds / 2)
    printing.print_compiled(found)
    return found


def run_steps(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the models one by one."""
    names = _available(list(CANDIDATES), options, torch)
    found = {}
    for model in options.models:
        times = measure_steps(WORKS[model], names, options.rounds, options.seconds)
        first = {} if options.no_first_calls else measure_first_calls(model, names, options.first_calls)
        printing.print_steps(model, times, first)
        found[model] = {"step": times, "first call": first}
    printing.print_summary({model: measured["step"] for model, measured in found.items()})
    return found


def run_scaling(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print how the step of a perceptron grows."""
    names, found = _available(list(SCALED), options, torch), {}
    for point in options.points:
        work = SCALES[point]
        times = measure_steps(work, names, options.rounds, options.seconds / 4)
        compiling = [] if options.no_first_calls else ["jtorch.compile"]
        first = measure_first_calls(point, compiling, options.first_calls)
        count = sum(array.size for array in work.weights().values())
        found[point] = {"parameters": count, "step": times, "first call": first}
    printing.print_scaling(found)
    return found


def run_overhead(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print what a call costs where the work is nothing."""
    found = measure_overhead(torch, options.rounds, options.seconds)
    printing.print_overhead(found, PARAMETERS)
    return found


def run_cache(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print what the persistent cache saves."""
    names = [name for name in CACHED if name in options.candidates]
    found = {model: measure_cache(model, names, options.first_calls) for model in options.models}
    printing.print_cache(found)
    return found


def run_imports(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of imports."""
    found = measure_imports([name for name in IMPORTS if torch is not None or name != "torch"], options.rounds)
    printing.print_imports(found)
    return found


TABLES: dict[str, Callable[[argparse.Namespace, Any], dict[str, Any]]] = {
    "eager": run_eager,
    "ops": run_ops,
    "compiled": run_compiled,
    "steps": run_steps,
    "scaling": run_scaling,
    "overhead": run_overhead,
    "cache": run_cache,
    "imports": run_imports,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [case.name for case in (*ops.CASES, *compiled.CASES)]
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"which of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--models", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--points", nargs="+", choices=list(SCALES), default=list(SCALES), help="of the scaling")
    parser.add_argument("--ops", nargs="+", metavar="NAME", choices=names, help="only these ops")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each candidate")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a turn")
    parser.add_argument("--first-calls", type=int, default=3, help="processes in which each compilation is timed")
    parser.add_argument("--no-first-calls", action="store_true", help="do not time compilation in steps and scaling")
    parser.add_argument("--no-torch-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--plain-memory", action="store_true", help="leave out jtorch.keep_memory()")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the training steps; needs matplotlib")
    options = parser.parse_args()
    options.tables = options.tables or list(TABLES)
    unknown = set(options.tables) - set(TABLES)
    if unknown:
        parser.error(f"expected tables among {', '.join(TABLES)}, got {', '.join(unknown)}")
    if options.png and "steps" not in options.tables:
        parser.error("expected steps among the tables, since --png draws them")
    if options.png and importlib.util.find_spec("matplotlib") is None:
        parser.error("expected matplotlib, which --png needs; install the extra benchmarks")
    return options


def main() -> None:
    """Measure what was asked for."""
    options = arguments()
    kept = not options.plain_memory and jtorch.keep_memory()
    os.environ["JTORCH_KEEP_MEMORY"] = str(int(kept))
    torch = comparable_torch()
    found: dict[str, Any] = {"machine": {**machine(), "freed memory": "kept" if kept else "returned"}}
    for key, value in found["machine"].items():
        print(f"{key}: {value}")
    for name in options.tables:
        found[name] = TABLES[name](options, torch)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    if options.png:
        steps = {model: measured["step"] for model, measured in found["steps"].items()}
        printing.plot_steps(steps, found["machine"], options.png)


if __name__ == "__main__":
    main()
