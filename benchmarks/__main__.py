"""`python -m benchmarks [eager] [ops] [steps] [imports]`: measure, and print one table for each.

torch takes part where it is installed and JAX runs on the CPU, so that both have the same device.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.eager import CALLS, measure_eager
from benchmarks.ops import CASES, measure_ops
from benchmarks.startup import IMPORTS, measure_imports
from benchmarks.steps import BASE, CANDIDATES, WORKS, measure_first_calls, measure_steps
from benchmarks.timing import Timing, machine

TABLES = ("eager", "ops", "steps", "imports")


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, its first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def shown(timing: Timing | None, unit: float) -> str:
    """A median and its quartiles."""
    if timing is None:
        return "-"
    digits = 1 if timing.median / unit < 100 else 0
    return f"{timing.median / unit:.{digits}f} [{timing.low / unit:.{digits}f}-{timing.high / unit:.{digits}f}]"


def ratio(timing: Timing | None, base: Timing | None) -> str:
    """How many times the median of `base` a median is."""
    return "-" if timing is None or base is None else f"{timing.median / base.median:.2f}"


def print_ops(found: dict[str, dict[str, Timing]]) -> None:
    """One row a case; the ratios are to torch."""
    rows = []
    for name, ways in found.items():
        row = [name]
        for direction in ("forward", "both"):
            theirs, ours = ways.get(f"torch {direction}"), ways[f"jtorch {direction}"]
            row += [shown(theirs, 1e-6), shown(ours, 1e-6), ratio(ours, theirs)]
        rows.append([*row, shown(ways["arrays forward"], 1e-6)])
    head = ["op", "torch", "jtorch", "ratio", "torch f+b", "jtorch f+b", "ratio", "on arrays"]
    table("Eager ops, microseconds a call: median [quartiles]", head, rows)


def print_eager(found: dict[str, dict[str, Timing]]) -> None:
    """One row a call; the ratios are to torch's, of the shortest turns."""
    rows = []
    for name, ways in found.items():
        row = [name]
        for form in ("", " taped"):
            theirs, ours = ways.get("torch" + form), ways["jtorch" + form]
            quotient = "-" if theirs is None else f"{ours.least / theirs.least:.1f}"
            row += [shortest(theirs), shortest(ours), quotient]
        rows.append([*row, shortest(ways.get("jax.jit"))])
    head = ["call", "torch", "jtorch", "ratio", "torch taped", "jtorch taped", "ratio", "jax.jit"]
    table("One eager call, microseconds: shortest turn (median)", head, rows)


def shortest(timing: Timing | None) -> str:
    """The shortest turn in microseconds, and the median."""
    return "-" if timing is None else f"{timing.least * 1e6:.1f} ({timing.median * 1e6:.1f})"


def print_steps(model: str, times: dict[str, Timing], first: dict[str, Timing]) -> None:
    """One row a candidate; the ratios are to the hand-written JAX step."""
    rows = [
        [
            name,
            shown(times[name], 1e-3),
            ratio(times[name], times.get(BASE)),
            shown(first.get(name), 1),
            ratio(first.get(name), first.get(BASE)),
        ]
        for name in times
    ]
    head = ["candidate", "ms a step", "ratio", "first call, s", "ratio"]
    table(f"Training step of {model}, batch {WORKS[model].shape}, {WORKS[model].optimizer}", head, rows)


def print_imports(found: dict[str, Timing]) -> None:
    """One row an import; the ratios are to what jtorch imports."""
    base = found["jax, flax.nnx"]
    rows = [[name, shown(timing, 1e-3), ratio(timing, base)] for name, timing in found.items()]
    table("Imports, ms", ["import", "ms", "ratio"], rows)


def comparable_torch() -> Any:
    """torch, or None where it is missing or would run on another device."""
    with contextlib.suppress(ImportError):
        import torch

        if jax.default_backend() == "cpu":
            return torch
    return None


def run_steps(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the models one by one."""
    names = [name for name in CANDIDATES if torch is not None or not name.startswith("torch")]
    if options.no_torch_compile and "torch.compile" in names:
        names.remove("torch.compile")
    found = {}
    for model in options.models:
        times = measure_steps(WORKS[model], names, options.rounds, options.seconds)
        compiled = [name for name in names if not name.endswith("eager")]
        first = {} if options.no_first_calls else measure_first_calls(model, compiled, options.first_calls)
        print_steps(model, times, first)
        found[model] = {"step": times, "first call": first}
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"which of {', '.join(TABLES)} (default: all)")
    parser.add_argument("--models", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument(
        "--ops", nargs="+", metavar="NAME", choices=[case.name for case in CASES], help="only these ops"
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each candidate")
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a turn")
    parser.add_argument("--first-calls", type=int, default=3, help="processes in which each compilation is timed")
    parser.add_argument("--no-first-calls", action="store_true", help="do not time compilation")
    parser.add_argument("--no-torch-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    options = parser.parse_args()
    options.tables = options.tables or list(TABLES)
    unknown = set(options.tables) - set(TABLES)
    if unknown:
        parser.error(f"expected tables among {', '.join(TABLES)}, got {', '.join(unknown)}")
    return options


def main() -> None:
    """Measure what was asked for."""
    options = arguments()
    torch = comparable_torch()
    found: dict[str, Any] = {"machine": machine()}
    for key, value in found["machine"].items():
        print(f"{key}: {value}")
    run: dict[str, Callable[[], Any]] = {
        "eager": lambda: run_eager(options, torch),
        "ops": lambda: run_ops(options, torch),
        "steps": lambda: run_steps(options, torch),
        "imports": lambda: run_imports(options, torch),
    }
    for name in options.tables:
        found[name] = run[name]()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def run_eager(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of eager calls."""
    found = measure_eager(torch, list(CALLS), options.rounds, options.seconds / 10)
    print_eager(found)
    return found


def run_ops(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of ops."""
    cases = [case for case in CASES if not options.ops or case.name in options.ops]
    found = measure_ops(torch, cases, options.rounds, options.seconds / 4)
    print_ops(found)
    return found


def run_imports(options: argparse.Namespace, torch: Any) -> dict[str, Any]:
    """Measure and print the table of imports."""
    found = measure_imports([name for name in IMPORTS if torch is not None or name != "torch"], options.rounds)
    print_imports(found)
    return found


if __name__ == "__main__":
    main()
