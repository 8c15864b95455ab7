"""How tensors print: torch's layout, digit for digit, and `set_printoptions`."""

import math
from typing import Any

import numpy as np
from jax.core import Tracer

from jtorch.ops import _args


class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


options = _Options()
_PROFILES = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point.
        threshold: the number of elements above which the middle is left out.
        edgeitems: how many elements stand at each end then.
        linewidth: characters of a line.
        profile: `default`, `short` or `full`; the other arguments override it.
        sci_mode: scientific notation always or never; None lets the values decide.
    """
    names = ("precision", "threshold", "edgeitems", "linewidth")
    given = dict(zip(names, _PROFILES[profile], strict=True)) if profile is not None else {}
    given |= {n: v for n, v in zip(names, (precision, threshold, edgeitems, linewidth), strict=True) if v is not None}
    for name, value in given.items():
        setattr(options, name, value)
    options.sci_mode = sci_mode


class _Numbers:
    """One notation and width for all the numbers of one kind that are shown."""

    def __init__(self, values: np.ndarray):
        self.is_float = values.dtype.kind == "f"
        self.scientific = self.whole = False
        self.width = 1
        if not self.is_float:
            self.width = max([1, *(len(str(v)) for v in values.tolist())])
            return
        shown = values[np.isfinite(values) & (values != 0)]
        self.whole = not shown.size
        if shown.size:
            self._choose(shown)
        self.width = max([1, *(len(self._digits(float(v))) for v in shown)])

    def _choose(self, shown: np.ndarray) -> None:
        sizes = np.abs(shown.astype(np.float64))
        low, high = sizes.min(), sizes.max()
        self.whole = bool((shown == np.ceil(shown)).all())
        wide = bool(high / low > 1000.0 or high > 1.0e8 or (not self.whole and low < 1.0e-4))
        self.scientific = wide if options.sci_mode is None else options.sci_mode

    def _digits(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{options.precision}e}"
        return f"{value:.0f}." if self.whole else f"{value:.{options.precision}f}"

    def text(self, value: Any) -> str:
        """One number, padded to the common width."""
        if not self.is_float:
            return str(value).rjust(self.width)
        return (self._digits(value) if math.isfinite(value) else str(value)).rjust(self.width)


class _Complex:
    """Complex numbers, as two columns."""

    def __init__(self, values: np.ndarray):
        self.real, self.imaginary = _Numbers(values.real), _Numbers(values.imag)
        self.width = self.real.width + self.imaginary.width + 2

    def text(self, value: complex) -> str:
        """One number."""
        tail = self.imaginary.text(value.imag).lstrip()
        return self.real.text(value.real) + (tail if tail.startswith("-") else "+" + tail) + "j"


class _Layout:
    """The rows and columns of one array."""

    def __init__(self, array: np.ndarray):
        self.short = array.size > options.threshold
        shown = (_ends(array) if self.short else array).reshape(-1)
        self.numbers = _Complex(shown) if array.dtype.kind == "c" else _Numbers(shown)

    def text(self, array: np.ndarray, indent: int) -> str:
        """Nested brackets, the lines after the first indented."""
        if array.ndim == 0:
            return self.numbers.text(array.item())
        if array.ndim == 1:
            return self._row(array.tolist(), indent)
        edge = options.edgeitems
        if self.short and array.shape[0] > 2 * edge:
            parts = [*(self.text(a, indent + 1) for a in array[:edge]), "..."]
            parts += [self.text(a, indent + 1) for a in array[-edge:]]
        else:
            parts = [self.text(a, indent + 1) for a in array]
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"

    def _row(self, row: list, indent: int) -> str:
        per_line = max(1, (options.linewidth - indent) // (self.numbers.width + 2))
        edge = options.edgeitems
        if self.short and len(row) > 2 * edge:
            texts = [*map(self.numbers.text, row[:edge]), " ...", *map(self.numbers.text, row[-edge:])]
        else:
            texts = [*map(self.numbers.text, row)]
        lines = [", ".join(texts[i : i + per_line]) for i in range(0, len(texts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _ends(array: np.ndarray) -> np.ndarray:
    """Only the elements that a summary shows."""
    edge = options.edgeitems
    for axis, n in enumerate(array.shape):
        if n > 2 * edge:
            array = np.take(array, [*range(edge), *range(n - edge, n)], axis)
    return array


def tensor_text(tensor: Any) -> str:
    """The repr of a tensor: values, and whatever of size, dtype, device and graph does not go without saying."""
    array, tail = tensor.detach()._value(), []
    if isinstance(array, Tracer):
        return f"tensor(<traced>, size={tuple(array.shape)}, dtype={tensor.dtype})"
    prefix = "tensor("
    if tensor.device.type != "cpu":
        tail.append(f"device='{tensor.device}'")
    values = np.asarray(array)
    usual = [_args.default_float(), _args.long_dtype(), np.bool_, np.complex64]
    if values.size == 0:
        text, usual = "[]", usual[:1]
        if values.ndim != 1:
            tail.append(f"size={tuple(values.shape)}")
    else:
        wide = values.astype(np.float32) if values.dtype.kind not in "fiubc" else values
        text = _Layout(wide).text(wide, len(prefix))
    if values.dtype not in usual:
        tail.append(f"dtype={tensor.dtype}")
    tail += _graph(tensor)
    return _with_tail(prefix + text, tail, len(prefix)) + ")"


def _graph(tensor: Any) -> list[str]:
    try:
        made_by = tensor.grad_fn
    except RuntimeError:  # a view that is not to be used any more can still be looked at
        return ["grad_fn=<Invalid>"]
    if made_by is not None:
        return [f"grad_fn=<{made_by.name()}>"]
    return ["requires_grad=True"] if tensor.requires_grad else []


def _with_tail(text: str, tail: list[str], indent: int) -> str:
    """The values followed by the rest, on a new line where the last one is full."""
    length = len(text) - text.rfind("\n")
    for part in tail:
        if length + len(part) + 2 > options.linewidth:
            text += ",\n" + " " * indent + part
            length = indent + len(part)
        else:
            text += ", " + part
            length += len(part) + 2
    return text
