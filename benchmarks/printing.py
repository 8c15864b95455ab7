"""How the figures are shown: each table of the command, and the picture of the training steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.steps import BASE, CANDIDATES, SCALES, WORKS, FirstCall, Work
from benchmarks.timing import Timing


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, its first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip(), flush=True)


def shown(timing: Timing | None, unit: float) -> str:
    """A median and its quartiles."""
    if timing is None:
        return "-"
    digits = 1 if timing.median / unit < 100 else 0
    return f"{timing.median / unit:.{digits}f} [{timing.low / unit:.{digits}f}-{timing.high / unit:.{digits}f}]"


def shortest(timing: Timing | None) -> str:
    """The shortest turn in microseconds, and the median."""
    return "-" if timing is None else f"{timing.least * 1e6:.1f} ({timing.median * 1e6:.1f})"


def ratio(timing: Timing | None, base: Timing | None) -> str:
    """How many times the median of `base` a median is."""
    return "-" if timing is None or base is None else f"{timing.median / base.median:.2f}"


def _mebibytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**20:.1f}"


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


def print_compiled(found: dict[str, dict[str, Timing]]) -> None:
    """One row a case; the speeds are torch's time over jtorch's, so that more is better."""
    rows = []
    for name, ways in found.items():
        theirs, row = ways.get("torch"), [name, shown(ways.get("torch"), 1e-3)]
        for way in ("jtorch compiled", "jtorch eager"):
            row += [shown(ways[way], 1e-3), ratio(theirs, ways[way])]
        rows.append(row)
    head = ["op", "torch", "compiled", "speed", "eager", "speed"]
    table("Ops at the sizes of layers, forward + backward, ms: median [quartiles]; speed: times torch's", head, rows)


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


def print_steps(model: str, times: dict[str, Timing], first: dict[str, FirstCall]) -> None:
    """One row a candidate, with "-" where it was not measured; the ratios are to the hand-written JAX step."""
    rows, base = [], first.get(BASE)
    for name in CANDIDATES:
        call = first.get(name)
        row = [name, shown(times.get(name), 1e-3), ratio(times.get(name), times.get(BASE))]
        row += [shown(call and call.time, 1), ratio(call and call.time, base and base.time)]
        rows.append([*row, _mebibytes(call and call.program), _mebibytes(call and call.resident)])
    head = ["candidate", "ms a step", "ratio", "first call, s", "ratio", "program, MiB", "process, MiB"]
    table(f"Training step of {model}, batch {WORKS[model].shape}, {WORKS[model].optimizer}", head, rows)


def print_summary(found: dict[str, dict[str, Timing]]) -> None:
    """One row a model, one column a candidate: medians of the steps."""
    rows = []
    for model, times in found.items():
        rows.append([model, *(f"{times[name].median * 1e3:.1f}" if name in times else "-" for name in CANDIDATES)])
    table("Training steps, ms: medians", ["model", *CANDIDATES], rows)


def print_scaling(found: dict[str, dict[str, Any]]) -> None:
    """One row a point; the ratios are to the hand-written JAX step."""
    rows = []
    for point, measured in found.items():
        times, first = measured["step"], measured["first call"].get("jtorch.compile")
        row = [point, str(measured["parameters"]), shown(times[BASE], 1e-3)]
        for name in ("jtorch.compile", "nnx.jit", "torch eager"):
            row += [shown(times.get(name), 1e-3), ratio(times.get(name), times[BASE])]
        rows.append([*row, shown(first and first.time, 1), _mebibytes(first and first.program)])
    head = ["point", "parameters", BASE, "jtorch.compile", "ratio", "nnx.jit", "ratio", "torch eager", "ratio"]
    base: Work = next(iter(SCALES.values()))
    title = f"Training step of a perceptron, {base.optimizer}, ms; first call of jtorch.compile"
    table(title, [*head, "first call, s", "program, MiB"], rows)


def print_overhead(found: dict[str, Timing], parameters: int) -> None:
    """One row a candidate; the ratios are to a flat list of arrays under `jax.jit`."""
    base = found["jax.jit"]
    rows = [[name, shown(timing, 1e-6), ratio(timing, base)] for name, timing in found.items()]
    table(f"One call of a step over {parameters} tiny parameters, microseconds", ["candidate", "us", "ratio"], rows)


def print_cache(found: dict[str, dict[str, dict[str, Timing]]]) -> None:
    """One row a model and candidate; the ratios are to the first process."""
    rows = []
    for model, candidates in found.items():
        for name, turns in candidates.items():
            first, second = turns["first process"], turns["second process"]
            rows.append([f"{model}, {name}", shown(first, 1), shown(second, 1), ratio(second, first)])
    head = ["step", "first process", "second process", "ratio"]
    table("First call with the persistent cache, s", head, rows)


def print_imports(found: dict[str, Timing]) -> None:
    """One row an import; the ratios are to what jtorch imports."""
    base = found["jax, flax.nnx"]
    rows = [[name, shown(timing, 1e-3), ratio(timing, base)] for name, timing in found.items()]
    table("Imports, ms", ["import", "ms", "ratio"], rows)


def plot_steps(found: Mapping[str, Mapping[str, Timing]], machine: Mapping[str, str], path: Path) -> None:
    """A picture of the step times of every model and candidate, as multiples of torch eager's or else bare JAX's.

    Raises:
        ImportError: matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    base = "torch eager" if all("torch eager" in times for times in found.values()) else BASE
    names = [name for name in CANDIDATES if any(name in times for times in found.values())]
    figure = Figure(figsize=(2 + 1.4 * len(found), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes, width = figure.subplots(), 0.85 / len(names)
    for place, name in enumerate(names):
        models = [(i, times) for i, times in enumerate(found.values()) if name in times]
        middles = [times[name].median / times[base].median for _, times in models]
        spreads = [
            [middle - times[name].low / times[base].median for middle, (_, times) in zip(middles, models, strict=True)],
            [
                times[name].high / times[base].median - middle
                for middle, (_, times) in zip(middles, models, strict=True)
            ],
        ]
        left = [i + (place - (len(names) - 1) / 2) * width for i, _ in models]
        axes.bar(left, middles, width, yerr=spreads, label=name, error_kw={"elinewidth": 0.8})
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_ylabel(f"time of a training step / {base}")
    axes.set_title(f"{machine['processor']}, {machine['cores']} cores, {machine['device']}; jax {machine['jax']}")
    figure.legend(loc="outside lower center", ncols=len(names), fontsize="small")
    figure.savefig(path, dpi=150)
