"""Whether a module of jtorch computes what its twin of PyTorch does: `parity`, which finds the first layer that departs.

torch is needed only here, where there is a module of it to compare with.
"""

import html
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jtorch import optim
from jtorch._creation import tensor as make_tensor
from jtorch._tensor import Tensor
from jtorch.autograd import backward
from jtorch.nn.module import Module

KINDS = ("output", "gradient", "buffer", "loss")
"""What is compared: of each module what it gives, of each parameter and input its gradient, buffers afterwards, and losses."""


class Row(NamedTuple):
    """One comparison.

    `off` is the largest absolute difference, `size` the largest element of torch's, and `share` the largest difference
    as a part of what is allowed: more than 1 departs.
    """

    kind: str
    name: str
    what: str
    off: float
    size: float
    share: float

    @property
    def close(self) -> bool:
        """Whether nothing departs."""
        return self.share <= 1


class Report:
    """What `parity` found. Printed, it is a table; `ok` tells whether all agrees, and `first` is the first row that does not."""

    def __init__(self, rows: list[Row], limits: tuple[float, float]):
        self.rows, self.limits = rows, limits

    @property
    def ok(self) -> bool:
        """Whether every row is close."""
        return all(row.close for row in self.rows)

    @property
    def first(self) -> Row | None:
        """The first row that departs: outputs come in the order in which the modules ran, inner ones before outer ones."""
        return next((row for row in self.rows if not row.close), None)

    def verdict(self) -> str:
        """One sentence."""
        if self.first is None:
            return f"All of {len(self.rows)} comparisons agree within rtol={self.limits[0]:g}, atol={self.limits[1]:g}."
        row, wrong = self.first, sum(not row.close for row in self.rows)
        return (
            f"{wrong} of {len(self.rows)} comparisons depart; the first is the {row.kind} of {row.name!r} ({row.what}), "
            f"off by {row.off:.3g} where the largest element is {row.size:.3g}."
        )

    def __repr__(self) -> str:
        cells = [("", "what", "name", "of", "largest difference", "largest element", "of the allowed")]
        for row in self.rows:
            mark = "  " if row.close else ">>" if row is self.first else "> "
            cells.append((mark, row.kind, row.name, row.what, f"{row.off:.2e}", f"{row.size:.2e}", f"{row.share:.2g}"))
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        return "\n".join([*lines, "", self.verdict()])

    def to_html(self, path: Any) -> None:
        """Write one page: the verdict, the differences by depth as a plot, and the table. Needs matplotlib."""
        head = "".join(
            f"<th>{title}</th>"
            for title in ("what", "name", "of", "largest difference", "largest element", "of the allowed")
        )
        body = []
        for row in self.rows:
            texts = (row.kind, row.name, row.what, f"{row.off:.2e}", f"{row.size:.2e}", f"{row.share:.2g}")
            style = "" if row.close else ' class="first"' if row is self.first else ' class="off"'
            body.append(f"<tr{style}>{''.join(f'<td>{html.escape(text)}</td>' for text in texts)}</tr>")
        page = _PAGE.format(verdict=html.escape(self.verdict()), plot=self._plot(), head=head, body="\n".join(body))
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)

    def _plot(self) -> str:
        """The share of the allowed difference of each row, as SVG."""
        from matplotlib.figure import Figure

        kinds = [kind for kind in KINDS if any(row.kind == kind for row in self.rows)]
        figure = Figure(figsize=(9, 2.2 * len(kinds)), layout="constrained")
        for axis, kind in zip(np.atleast_1d(figure.subplots(len(kinds))), kinds, strict=True):
            rows = [row for row in self.rows if row.kind == kind]
            shares = [max(row.share, 1e-6) if np.isfinite(row.share) else 1e6 for row in rows]
            axis.bar(range(len(rows)), shares, color=["#4878a8" if row.close else "#c44e52" for row in rows])
            axis.axhline(1, color="black", linewidth=0.8)
            axis.set_yscale("log")
            axis.set_ylabel(kind)
            axis.set_xlim(-1, len(rows))
            axis.set_xticks(range(len(rows)), [row.name for row in rows], rotation=60, ha="right", fontsize=6)
        text = io.StringIO()
        figure.savefig(text, format="svg")
        return text.getvalue()[text.getvalue().index("<svg") :]


_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Parity</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: 0.15rem 0.8rem 0.15rem 0; border-bottom: 1px solid #ddd; }}
tr.off td {{ background: #fbe9e9; }}
tr.first td {{ background: #f2b8b8; font-weight: 600; }}
svg {{ width: 100%; height: auto; }}
</style>
<h1>Parity</h1>
<p>{verdict}</p>
<p>Bars are the largest difference as a part of what is allowed, in the order in which modules ran; the line is 1.</p>
{plot}
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
"""


def parity(
    torch_module: Any, jtorch_module: Module, *inputs: Any, steps: int = 0, rtol: float = 1e-4, atol: float = 1e-5
) -> Report:
    """Compare a module of PyTorch and one of jtorch on the same weights and inputs.

    The weights are copied by name from the one to the other, and the mode with them. Compared are what every module gives,
    the gradients of parameters and float inputs for a sum of the outputs with fixed random weights, and buffers afterwards;
    with `steps`, also the losses of as many steps of SGD from there. The torch module is left as it was.

    Args:
        inputs: tensors of either library or NumPy arrays.
        rtol, atol: what is allowed, of torch's elements and absolutely.
    Raises:
        RuntimeError: the names or shapes of weights differ, as `load_state_dict` tells.
    """
    import torch

    before = {name: value.clone() for name, value in torch_module.state_dict().items()}
    jtorch_module.load_state_dict({name: make_tensor(_numbers(value)) for name, value in before.items()})
    jtorch_module.train(torch_module.training)
    arrays = [_numbers(value) for value in inputs]
    rows: list[Row] = []
    try:
        theirs = _run(torch_module, [torch.tensor(a) for a in arrays], torch.tensor, torch.autograd.backward)
        ours = _run(jtorch_module, [make_tensor(a) for a in arrays], make_tensor, backward)
        for kind in ("output", "gradient", "buffer"):
            rows += _compared(kind, ours[kind], theirs[kind], (rtol, atol))
        if steps:
            losses = [
                _losses(torch_module, [torch.tensor(a) for a in arrays], torch.optim.SGD, steps),
                _losses(jtorch_module, [make_tensor(a) for a in arrays], optim.SGD, steps),
            ]
            named = [{f"step {i}": ("SGD", np.asarray(x)) for i, x in enumerate(each)} for each in losses]
            rows += _compared("loss", named[1], named[0], (rtol, atol))
    finally:
        torch_module.load_state_dict(before)
        torch_module.zero_grad()
    return Report(rows, (rtol, atol))


def _numbers(value: Any) -> np.ndarray:
    """A copy of the values of a tensor of either library."""
    if isinstance(value, Tensor):
        return np.array(value.detach()._concrete("parity"))
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) in ("torch.bfloat16", "torch.float16") else value
        value = value.numpy()
    return np.array(value)


def _run(module: Any, inputs: list, make: Callable, differentiate: Callable) -> dict[str, dict]:
    """What the module does on the inputs, by kind and name, in the order in which it happens."""
    outputs: dict[str, tuple] = {}

    def keep(name: str) -> Callable:
        def hook(part: Any, args: Any, result: Any) -> None:
            for place, value in _named(result):
                outputs[f"{name}{place}"] = type(part).__name__, _numbers(value)

        return hook

    handles = [part.register_forward_hook(keep(name or "(whole)")) for name, part in module.named_modules()]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    try:
        result = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    module.zero_grad()
    stream = np.random.default_rng(0)
    roots = [value for _, value in _named(result) if value.requires_grad]
    vectors = [make(stream.uniform(0.5, 1.5, tuple(root.shape)).astype(_numbers(root).dtype)) for root in roots]
    if roots:
        differentiate(roots, vectors)
    kinds = {name: type(part).__name__ for name, part in module.named_modules()}
    gradients = {
        name: (kinds[name.rpartition(".")[0]], _numbers(p.grad))
        for name, p in module.named_parameters()
        if p.grad is not None
    }
    gradients |= {f"input {i}": ("input", _numbers(x.grad)) for i, x in enumerate(inputs) if x.grad is not None}
    buffers = {name: (kinds[name.rpartition(".")[0]], _numbers(b)) for name, b in module.named_buffers()}
    return {"output": outputs, "gradient": gradients, "buffer": buffers}


def _named(value: Any, place: str = "") -> list[tuple[str, Any]]:
    """The tensors in what a module gives, and where they are in it."""
    if isinstance(value, Mapping):
        return [pair for k, v in value.items() for pair in _named(v, f"{place}[{k!r}]")]
    if isinstance(value, tuple | list):
        return [pair for i, v in enumerate(value) for pair in _named(v, f"{place}[{i}]")]
    return [(place, value)] if hasattr(value, "requires_grad") and not isinstance(value, jax.Array) else []


def _losses(module: Any, inputs: list, make_optimizer: Callable, steps: int) -> list[float]:
    """The losses of some steps: the mean square of what the module gives."""
    optimizer = make_optimizer([p for p in module.parameters() if p.requires_grad], lr=0.01)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        results = [r for _, r in _named(module(*inputs)) if r.requires_grad]
        loss = sum((r * r).mean() for r in results[1:]) + (results[0] * results[0]).mean()
        loss.backward()
        optimizer.step()
        found.append(float(loss.item()))
    return found


def _compared(kind: str, ours: dict, theirs: dict, limits: tuple[float, float]) -> list[Row]:
    """A row for each name that either has."""
    rows = []
    for name in [*theirs, *(n for n in ours if n not in theirs)]:
        what = (theirs.get(name) or ours[name])[0]
        mine, yours = ours.get(name, (0, None))[1], theirs.get(name, (0, None))[1]
        if mine is None or yours is None or mine.shape != yours.shape:
            rows.append(Row(kind, name, what, float("inf"), float("nan"), float("inf")))
            continue
        dtype = np.complex128 if np.iscomplexobj(yours) else np.float64
        mine, yours = mine.astype(dtype), yours.astype(dtype)
        with np.errstate(invalid="ignore"):
            same = (mine == yours) | (np.isnan(mine) & np.isnan(yours))
            off = np.where(same, 0, np.abs(mine - yours))
            share = np.where(same, 0, off / (limits[1] + limits[0] * np.abs(yours)))
        share = np.where(np.isnan(share), np.inf, share)
        size = np.abs(yours[np.isfinite(yours)])
        rows.append(Row(kind, name, what, *(float(np.max(x, initial=0)) for x in (off, size, share))))
    return rows
