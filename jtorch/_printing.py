"""How tensors print: torch's layout, digit for digit, and `set_printoptions`."""

import math
from typing import Any

import jax
import numpy as np


from jtorch.ops import _args


class _Options:
    precision, threshold, edgeitems, linewidth, sci_mode = 4, 1000, 3, 80, None


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
    if profile is not None:
        options.precision, options.threshold, options.edgeitems, options.linewidth = _PROFILES[profile]  # type: ignore[assignment]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(options, name, value)
    options.sci_mode = sci_mode


class _Formatter:
    """One width and notation for all the numbers shown."""

    def __init__(self, values: np.ndarray):
        self.is_float = values.dtype.kind == "f"
        self.scientific = self.whole = False
        self.width = 1
        if not self.is_float:
            self.width = max([1, *(len(str(v)) for v in values.tolist())])
            return
        shown = values[np.isfinite(values) & (values != 0)]
        if shown.size:
            self._choose(np.abs(shown).astype(np.float64), shown)
        if options.sci_mode is not None:
            self.scientific = options.sci_mode
        if not np.isfinite(values).all():
            self.width = max(self.width, *(len(str(v)) for v in values[~np.isfinite(values)].tolist()))

    def _choose(self, size: np.ndarray, shown: np.ndarray) -> None:
        low, high = float(size.min()), float(size.max())
        self.whole = bool((shown == np.ceil(shown)).all())
        spread = high / low > 1000.0 or high > 1.0e8
        self.scientific = spread if self.whole else spread or low < 1.0e-4
        if options.sci_mode is not None:
            self.scientific = options.sci_mode
        self.width = max(self.width, *(len(self._digits(float(v))) for v in shown))

    def _digits(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{options.precision}e}"
        if self.whole:
            return f"{value:.0f}."
        return f"{value:.{options.precision}f}"

    def text(self, value: Any) -> str:
        """One number, padded to the common width."""
        if not self.is_float:
            return f"{value}".rjust(self.width)
        if self.scientific or not self.whole or math.isfinite(value):
            text = self._digits(value) if math.isfinite(value) else f"{value:.0f}"
        else:
            text = f"{value:.0f}"
        return text.rjust(self.width)


def _row(row: np.ndarray, indent: int, write) -> str:
    width = write.width if hasattr(write, "width") else write[0].width + write[1].width + 2
    per_line = max(1, (options.linewidth - indent) // (width + 2))
    edge = options.edgeitems
    if row.size > 2 * edge and write_summary[0]:
        texts = [_number(x, write) for x in row[:edge]] + [" ..."] + [_number(x, write) for x in row[row.size - edge :]]
    else:
        texts = [_number(x, write) for x in row]
    lines = [texts[i : i + per_line] for i in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(", ".join(line) for line in lines) + "]"


write_summary = [False]


def _number(value: Any, write: Any) -> str:
    if isinstance(write, _Formatter):
        return write.text(value)
    real, imaginary = write
    tail = imaginary.text(value.imag).lstrip()
    return real.text(value.real) + (tail if tail.startswith("-") else "+" + tail) + "j"


def _nested(array: np.ndarray, indent: int, write: Any) -> str:
    if array.ndim == 0:
        return _number(array.item() if array.dtype.kind != "c" else complex(array), write)
    if array.ndim == 1:
        return _row(array, indent, write)
    edge = options.edgeitems
    if write_summary[0] and array.shape[0] > 2 * edge:
        parts = [_nested(a, indent + 1, write) for a in array[:edge]]
        parts += ["..."] + [_nested(a, indent + 1, write) for a in array[-edge:]]
    else:
        parts = [_nested(a, indent + 1, write) for a in array]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _edges(array: np.ndarray) -> np.ndarray:
    """Only the elements that a summary shows."""
    for axis in range(array.ndim):
        n, edge = array.shape[axis], options.edgeitems
        if n > 2 * edge:
            array = np.take(array, [*range(edge), *range(n - edge, n)], axis)
    return array


def _formatter(array: np.ndarray) -> Any:
    shown = (_edges(array) if write_summary[0] else array).reshape(-1)
    if array.dtype.kind == "c":
        return _Formatter(shown.real), _Formatter(shown.imag)
    return _Formatter(shown)


def array_text(array: np.ndarray, indent: int) -> str:
    """The values as torch prints them, the lines after the first indented."""
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat16", "float8")):
        array = array.astype(np.float32)
    write_summary[0] = array.size > options.threshold
    return _nested(array, indent, _formatter(array))


def tensor_text(tensor: Any) -> str:
    """The repr of a tensor: values, and whatever of size, dtype, device and graph does not go without saying."""
    prefix = "tensor("
    array, tail = tensor.detach()._value(), []
    if isinstance(array, jax.core.Tracer):
        return f"tensor(<traced>, size={tuple(array.shape)}, dtype={tensor.dtype})"
    values = np.asarray(array)
    if tensor.device.type != "cpu":
        tail.append(f"device='{tensor.device}'")
    usual = (_args.default_float(), _args.long_dtype(), np.bool_, np.dtype(np.complex64))
    if values.size == 0:
        text = "[]"
        if values.ndim != 1:
            tail.append(f"size={tuple(values.shape)}")
        if values.dtype != _args.default_float():
            tail.append(f"dtype={tensor.dtype}")
    else:
        text = array_text(values, len(prefix))
        if values.dtype not in usual:
            tail.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        tail.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        tail.append("requires_grad=True")
    return _with_tail(prefix + text, tail) + ")"


def _with_tail(text: str, tail: list[str]) -> str:
    """The values followed by the rest, on a new line where the last one is full."""
    length = len(text) - text.rfind("\n") - 1 + 1
    for part in tail:
        if length + len(part) + 2 > options.linewidth:
            text += ",\n" + " " * len("tensor(") + part
            length = len("tensor(") + len(part)
        else:
            text += ", " + part
            length += len(part) + 2
    return text




