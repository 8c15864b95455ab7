"""Programs of views, writes through them, indexing and arithmetic, written by drawing one line after another.

A program is a list of lines of Python on the tensors `t0`, `t1`, ...; `torch` in them means whichever library runs them.
Lines are drawn for the shapes that torch has at that moment, now and then wrong on purpose, and a line that raises leaves
everything as it was. Few shapes and few forms of a line keep the number of compiled programs small.
"""

import functools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

Choose = Callable[[Sequence], Any]
"""Draws one of a sequence."""

LEAVES = "a, b, c, z"
_START = ("t0 = a * 1", "t1 = b", "t2 = c * 1", "t3 = z * 1")
_WIDEST, _MOST_DIMS = 24, 3


class Outcome(NamedTuple):
    """What running a program gave: for each line what it raised or None, the tensors alive, and the leaves."""

    raised: list[Exception | None]
    alive: dict[str, Any]
    leaves: dict[str, Any]


def leaves(lib: Any) -> dict[str, Any]:
    """What programs begin with: a matrix and a vector that want gradients, a matrix that does not, complex numbers."""
    matrix = lib.arange(12, dtype=lib.float64).reshape(3, 4)
    made = {
        "a": (matrix - 5) / 4,
        "b": (6 - matrix) / 8,
        "c": lib.arange(4, dtype=lib.float64) / 2 - 0.8,
        "z": lib.complex(matrix[:2, :2] / 4, 1 - matrix[:2, 1:3] / 4),
    }
    return {name: made[name] if name == "b" else made[name].requires_grad_() for name in made}


@functools.lru_cache(maxsize=8192)
def _code(line: str) -> Any:
    return compile(line, line, "exec")


def run_line(line: str, scope: dict[str, Any]) -> Exception | None:
    """Run one line; what it raised, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(_code(line), scope)
    except Exception as error:
        return error
    return None


def run(lines: Sequence[str], lib: Any, start: dict[str, Any] | None = None) -> Outcome:
    """Run a program in one of the libraries."""
    start = leaves(lib) if start is None else start
    scope = {"torch": lib, **start}
    raised = [run_line(line, scope) for line in lines]
    return Outcome(raised, alive(scope), start)


def alive(scope: dict[str, Any]) -> dict[str, Any]:
    """The tensors that a program has made."""
    return {name: value for name, value in scope.items() if name[0] == "t" and name[1:].isdigit()}


def draw(choose: Choose, length: int) -> list[str]:
    """A program of so many lines besides the first ones."""
    lines, scope = list(_START), _scope(_START)
    while len(lines) < length + len(_START):
        line = _line(choose, alive(scope))
        if _is_comparable(line, scope):
            lines.append(line)
        else:
            length -= 1
            scope = _scope(lines)
    return lines


def _scope(lines: Sequence[str]) -> dict[str, Any]:
    scope = {"torch": torch, **leaves(torch)}
    for line in lines:
        run_line(line, scope)
    return scope


def _is_comparable(line: str, scope: dict[str, Any]) -> bool:
    """Run a line of torch's and tell whether it did what it did for reasons that are not those of its memory.

    Where its inputs lie in part in what it writes torch refuses, and here there is nothing to mind, arrays being immutable;
    an index that turns out to be out of range leaves behind what it had written so far. A view that was made before its
    base had a graph it takes for a leaf when it is written to, unless it was used since; here it is written.
    """
    before = {name: value.detach().clone() for name, value in alive(scope).items()}
    error = run_line(line, scope)
    if error is None:
        return True
    unchanged = all(torch.equal(value, scope[name].detach()) for name, value in before.items())
    return unchanged and not str(error).startswith(
        ("unsupported operation: some elements of the input", "a leaf Variable")
    )


def _line(choose: Choose, tensors: dict[str, Any]) -> str:
    x = choose(list(tensors)[-4:] + list(tensors)[:3])
    tensor = tensors[x]
    kind = choose(("view", "view", "view", "write", "write", "write", "read", "sum"))
    kind = "view" if kind == "write" and _overlaps_unnoticed(tensor) else kind
    kind = (
        "view" if kind in ("read", "sum") and not tensor.is_contiguous() else kind
    )  # torch's results lie like that too
    forms = {"view": _views, "write": _writes, "read": _reads, "sum": _results}[kind](tensor)
    if not tensor.numel():  # an index into nothing is not checked by torch, here it is
        forms = [f for f in forms if "[9]" not in f and "index_" not in f]
    line = re.sub(r"\bx\b", x, choose(forms))
    if re.search(r"\by\b", line):
        line = re.sub(r"\by\b", choose([n for n, other in tensors.items() if _fits(other, tensor, kind)]), line)
    line = line if kind == "write" else f"t{len(tensors)} = {line}"
    reshapes = re.search(r"\b(transpose|squeeze|unsqueeze|t)_\(", line)  # torch then has a graph of the old shape
    return f"with torch.no_grad(): {line}" if choose((False,) * 7 + (True,)) and not reshapes else line


def _places(tensor: Any) -> np.ndarray:
    """Where the elements lie."""
    numbers = np.arange(_WIDEST * 4)[tensor.storage_offset() :]
    return np.lib.stride_tricks.as_strided(numbers, tensor.shape, [8 * s for s in tensor.stride()])


def _overlaps_unnoticed(tensor: Any) -> bool:
    """Whether elements lie in one place and torch does not see it: what it then writes is left open, and refused here."""
    repeats = any(n > 1 and not s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return not repeats and np.unique(_places(tensor)).size < tensor.numel()


def _fits(other: Any, tensor: Any, kind: str) -> bool:
    """Whether it may stand beside a tensor; for a write it must not lie in part in what is written, see `_is_comparable`."""
    try:
        fits = torch.broadcast_shapes(other.shape, tensor.shape) == tensor.shape and other.dtype == tensor.dtype
    except RuntimeError:
        return False
    if kind != "write" or other is tensor:
        return fits
    shared = other.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return fits and not (shared and np.intersect1d(_places(other), _places(tensor)).size)


_SUBSCRIPTS = {
    0: ("...", "None"),
    1: ("0", "-1", "1:", "::2", "..., None", "None", "-2:", ":0", "torch.tensor(-1)"),
    2: ("0", "-1", "1:", "::2", ":, 1", "..., -1", ":, None", "None", "1:, ::2", "0, 1:", "1, 0", ":, 1:3", "0, None",
        "torch.tensor(1)", ":, torch.tensor(0)"),
    3: ("0", ":, 0", "..., 0", ":, :1", "..., ::2", "0, ..., -1", ":, None, 0", "1:"),
}  # fmt: skip
_ARRAYS = {
    0: ("True", "torch.tensor(True)"),
    1: ("[0, -1]", "torch.tensor([1, 0, 1])", "x.real > 0", "True", "[[0, 1], [-1, 0]],", "None, [0]", "9", "[9]", "0, 0",
        "torch.tensor([0, 1], dtype=torch.int32)"),
    2: ("[0, -1]", ":, [0, 0]", "[1], :1", "x.real > 0", "[0, 1], [1, -1]", "0, [1, 0]", "[0, 1], None, [1, 0]", "None, [1]",
        "x[:, 0].real > 0", ":, x[0].real > 0", "..., [0]", "torch.tensor([[0, 1]])", "9", ":, [9]", "-9", "0, 0, 0", "True",
        "[1], ..., torch.tensor([[0], [1]])"),
    3: ("[0, -1]", ":, [0]", "[0], :, [0]", "..., [0, 0]", "0, :, [0]", "x[0].real > 0,", "x.real > 0", "9"),
}  # fmt: skip
"""Indices with arrays in them: reading by them copies. Some are out of range."""


def _views(tensor: Any) -> list[str]:
    n = tensor.ndim
    forms = [f"x[{s}]" for s in _SUBSCRIPTS[n] if n < _MOST_DIMS or "None" not in s]
    forms += ["x.view(-1)", "x.reshape(-1)", "x.flatten()", "x.detach()", "x.squeeze()", "x.view_as(x)", "x.real",
              "x.contiguous()", "x.data"]  # fmt: skip
    forms += ["x.as_strided((2, 2), (1, 2))"] if tensor.is_contiguous() and tensor.numel() > 3 else []
    if n < _MOST_DIMS:
        forms += ["x.unsqueeze(-1)", "x.unsqueeze(0)"]
        forms += ["torch.view_as_complex(x)"] if n and tensor.shape[-1] == 2 and not tensor.is_complex() else []
        forms += ["x.expand(2, *x.shape)"] if tensor.numel() * 2 <= _WIDEST else []
    if n:
        forms += ["x.narrow(0, 0, 1)", "x.narrow(-1, 1, 1)", "x.select(-1, 0)", "x.chunk(2)[0]", "x.chunk(2, -1)[-1]",
                  "x.split(2)[-1]", "x.unbind(0)[0]", "x.unbind(-1)[-1]", "x[:1].expand_as(x)", "x.tensor_split(2)[1]",
                  "x.squeeze(0)", "x.transpose(0, -1)", "x.unflatten(0, (1, -1))" if n < _MOST_DIMS else "x.mT"]  # fmt: skip
    if n == 1 and tensor.numel() <= 8:
        forms += ["x.unfold(0, 2, 1)", "x.unfold(0, 1, 2)", "x.view(2, 2)", "x.expand(3, -1)"]
    if n >= 2:
        forms += ["x.mT", "x.diagonal()", "x.diagonal(1)", "x.movedim(0, -1)", "x.flatten(0, 1)", "x.unfold(0, 2, 1)"]
    if n == 2:
        forms += ["x.t()", "x.T", "x.permute(1, 0)", "x.view(2, -1)", "x.reshape(2, -1)", "x.reshape(4, 3)"]
    return forms + (["x.imag", "torch.view_as_real(x)"] if tensor.is_complex() and n < _MOST_DIMS else [])


def _reads(tensor: Any) -> list[str]:
    forms = [f"x[{s}]" for s in _ARRAYS[tensor.ndim] if tensor.ndim < _MOST_DIMS or "None" not in s]
    forms += ["x[False]", "x[None, False]"] if tensor.ndim < 2 else []
    if tensor.ndim:
        forms += ["x.index_select(0, torch.tensor([0, 0]))", "x.take(torch.tensor([0, -1]))", "x.clone()",
                  "x.gather(0, torch.zeros_like(x, dtype=torch.int64))", "x.masked_select(x.real > 0)"]  # fmt: skip
    if tensor.ndim > 1:
        forms += ["x.take_along_dim(torch.tensor([[0, 1]]), 1)" if tensor.ndim == 2 else "x.flip(0)", "x.roll(1, 0)"]
    return [f for f in forms if tensor.numel() <= _WIDEST or "[" not in f]


def _results(tensor: Any) -> list[str]:
    forms = ["x * y", "x + y", "x - 0.5 * y", "x * 2", "x.sin()", "x.sum()", "x + 1", "-x"]
    return forms + (["x.sum(0)", "x.mean(-1)", "torch.cat([x, x])[:2]"] if tensor.ndim else [])


def _writes(tensor: Any) -> list[str]:
    n = tensor.ndim
    forms = ["x.add_(y)", "x.mul_(y)", "x.mul_(0.5)", "x.zero_()", "x.fill_(1.5)", "x.copy_(y)", "x += y", "x -= 0.25",
             "x *= 0.5", "x.masked_fill_(x.real > 0, 0.75)", "x.sub_(y, alpha=2)", "x.neg_()", "x.sin_()"]  # fmt: skip
    if any(size > 1 and not step for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
        # filling is refused here, as all writes to it are; by an index, which value stays in a place is left open;
        # copying it to itself torch allows, and refuses in backward
        return [f for f in forms if not re.search(r">|fill_|zero_|copy_", f)]
    forms += [f"x[{s}] = 0.25" for s in (*_SUBSCRIPTS[n], *_ARRAYS[n])]
    forms += [f"x[{s}] += 1" for s in (*_SUBSCRIPTS[n], *_ARRAYS[n])[::2]]
    forms += [f"x[{s}] = x[{s}] * 2" for s in (*_SUBSCRIPTS[n], *_ARRAYS[n])[1::2]]
    forms += ["x[...] = y", "x[x.real > 0] = 0.5", "x.copy_(x.detach() * 2)", "x.squeeze_()", "x.unsqueeze_(0)"]
    forms = [f for f in forms if n < _MOST_DIMS or "unsqueeze_" not in f]
    if n:
        forms += ["x[0] = x[-1]", "x[1:] = x[:1]", "x.index_fill_(0, torch.tensor([0]), 0.5)", "x.t_()" if n == 2 else "x.neg_()",
                  "x.index_add_(0, torch.tensor([0, 0]), torch.stack([x[0], x[-1]]))", "x.transpose_(0, -1)",
                  "x.index_put_((torch.tensor([0, 0]),), x[:1] * 2, accumulate=True)", "x[:1] = x[0]", "x[0], x[-1] = x[-1], x[0]",
                  "x.index_copy_(0, torch.tensor([0]), x[-1:] * 1)", "x.put_(torch.tensor([0, -1]), x.flatten()[:2] * 2)",
                  "x.scatter_(0, torch.zeros_like(x, dtype=torch.int64)[:1], x[-1:] * 2)", "x[0].mul_(2)", "x[-1].zero_()",
                  "x.scatter_add_(0, torch.zeros_like(x, dtype=torch.int64), x * 2)", "x.masked_scatter_(x.real > 0, x * 3)"]  # fmt: skip
    return forms + ([] if tensor.is_complex() else ["x.clamp_(min=-0.5)", "x.clamp_(-1, 1)", "x.relu_()"])
