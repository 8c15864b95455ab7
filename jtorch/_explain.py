"""What a compiled function became, in words and figures: see `Compiled.explain`."""

from typing import Any, NamedTuple

from jtorch._entry import Entry

_PARTS = ("the structure of the arguments", "the arguments", "which arguments are the same object", "grad mode",
          "inference mode", "a setting such as the default dtype")  # fmt: skip
"""What the key of a program consists of. See `Compiled._key`."""


def reason(key: tuple, others: dict[tuple, list[Entry]]) -> str:
    """In words, why none of the programs that there are fits a call with this key."""
    if others.get(key):
        return next(filter(None, (entry.misfit() for entry in reversed(others[key]))), "an earlier one no longer fits")
    made = [other for other in others if others[other]]
    if not made:
        return "first call"
    nearest = min(made, key=lambda other: sum(a != b for a, b in zip(key, other, strict=True)))
    apart = [i for i, (a, b) in enumerate(zip(key, nearest, strict=True)) if a != b]
    if apart[0] != 1:
        return f"{_PARTS[apart[0]]} changed"
    at = next(i for i, (a, b) in enumerate(zip(key[1], nearest[1], strict=True)) if a != b)
    return f"argument {at} is {_told(key[1][at])}, was {_told(nearest[1][at])}"


def _told(signature: Any) -> str:
    """An argument by its signature. See `_compile._signature`."""
    if isinstance(signature, tuple) and len(signature) in (2, 3, 4) and isinstance(signature[0], tuple):
        graph = len(signature) in (3, 4) and signature[2] is not None
        inference = " made in inference mode" if signature[-1] == "inference" else ""
        return f"{signature[1]}{list(signature[0])}{inference}" + (" that requires grad" if graph else "")
    return repr(signature[1]) if isinstance(signature, tuple) else "another object"


class ProgramReport(NamedTuple):
    """One program of a compiled function. Sizes are in bytes; figures that the backend does not give are None."""

    reason: str
    arguments: list[str]
    captured: int
    captured_bytes: int
    written: int
    gradients: int
    numbers: int
    differentiable: bool
    flops: float | None
    bytes_accessed: float | None
    argument_bytes: int | None
    output_bytes: int | None
    temporary_bytes: int | None

    def __str__(self):
        lines = [
            f"made because: {self.reason}",
            f"arguments: {', '.join(self.arguments) or 'none'}",
            f"from outside: {self.captured} tensors of {_size(self.captured_bytes)} ({self.written} written), "
            f"{self.numbers} numbers; sets {self.gradients} gradients",
            f"recorded for backward(): {'yes' if self.differentiable else 'no'}",
            f"cost: {_count(self.flops)}FLOP, {_size(self.bytes_accessed)} read and written",
            f"memory: arguments {_size(self.argument_bytes)}, results {_size(self.output_bytes)}, between them "
            f"{_size(self.temporary_bytes)}",
        ]
        return "\n".join(lines)


class Explanation(NamedTuple):
    """What a compiled function became. Its text is for reading, its fields are for programs."""

    name: str
    programs: list[ProgramReport]

    def __str__(self):
        parts = [f"{self.name}: {len(self.programs)} program{'s' * (len(self.programs) != 1)}"]
        for number, program in enumerate(self.programs, 1):
            parts.append(f"{number}. " + str(program).replace("\n", "\n   "))
        return "\n".join(parts)

    __repr__ = __str__


def report(entry: Entry) -> ProgramReport:
    """The figures of one program, for which it is compiled once more."""
    tensors = [s.array() for s in entry.sources if s.slot != "number"]
    compiled = _lowered(entry).compile()
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    size = lambda name: getattr(memory, f"{name}_size_in_bytes", None)  # noqa: E731
    return ProgramReport(
        reason=entry.reason,
        arguments=[f"{x.dtype}{list(x.shape)}" for x in entry.shapes],
        captured=len(tensors),
        captured_bytes=sum(x.nbytes for x in tensors),
        written=len(entry.writes),
        gradients=sum(kind == "new" for _, (kind, _) in entry.grads) + len(entry.box_grads),
        numbers=len(entry.sources) - len(tensors),
        differentiable=entry.records,
        flops=cost.get("flops"),
        bytes_accessed=cost.get("bytes accessed"),
        argument_bytes=size("argument"),
        output_bytes=size("output"),
        temporary_bytes=size("temp"),
    )


def _lowered(entry: Entry) -> Any:
    kept, donated = ([s.array() for s in sources] for sources in (entry.kept, entry.donated))
    if entry.records:
        return entry.program.forward.lower(*entry.shapes, *kept)
    return entry.jitted.lower(entry.shapes, kept, donated)


def _size(count: float | None) -> str:
    return f"{_count(count)}B"


def _count(count: float | None) -> str:
    if count is None:
        return "? "
    for unit in ("", "k", "M", "G"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} T"
