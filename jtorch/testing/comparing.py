"""Comparing what a program computes with what it should: `assert_close`, with torch's tolerances and messages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jtorch import _types
from jtorch._creation import as_tensor
from jtorch._tensor import Tensor
from jtorch.ops import _args

_TOLERANCES = {
    "float16": (1e-3, 1e-5), "bfloat16": (1.6e-2, 1e-5), "float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5), "complex128": (1e-7, 1e-7),
}  # fmt: skip
"""rtol and atol by dtype; whole numbers and bools have to be equal."""


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise unless `|actual - expected| <= atol + rtol * |expected|` for every element.

    Tensors, arrays and numbers are compared, and sequences and mappings of them element by element.

    Args:
        allow_subclasses: whether types may differ if one is derived from the other.
        rtol, atol: both or neither; by default those of the wider of the two dtypes.
        equal_nan: whether NaN is close to NaN.
        check_device, check_dtype, check_stride: whether these must agree too. There is one layout.
        msg: what the error says instead, or a function that makes it from what it would say.
    Raises:
        AssertionError: something is not close, or structures, shapes or dtypes differ.
        TypeError: two values cannot be compared.
        ValueError: one tolerance is given without the other.

    Example:
        >>> import jtorch
        >>> jtorch.testing.assert_close(jtorch.ones(2) / 3 * 3, jtorch.ones(2))
    """
    _args.check((rtol is None) == (atol is None), _BOTH.format(rtol, atol))
    checks = {"device": check_device, "dtype": check_dtype, "stride": check_stride}
    text = _difference(actual, expected, (rtol, atol), equal_nan, checks, allow_subclasses, "")
    if text is not None:
        raise AssertionError(msg(text) if callable(msg) else text if msg is None else msg)


_BOTH = "rtol and atol must both be specified or both be unspecified, but got rtol={} and atol={}."


def _difference(actual, expected, tolerances, equal_nan, checks, subclasses, place) -> str | None:
    """What is wrong, None if nothing is."""
    rest = tolerances, equal_nan, checks, subclasses
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            missing, added = sorted(set(expected) - set(actual), key=str), sorted(set(actual) - set(expected), key=str)
            return _at(
                f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {missing}\n"
                f"Additional keys in the actual mapping: {added}",
                place,
            )
        pairs = [(f"{place}[{key!r}]", actual[key], expected[key]) for key in expected]
        return next((text for at, a, e in pairs if (text := _difference(a, e, *rest, at)) is not None), None)
    if all(isinstance(x, Sequence) and not isinstance(x, str) for x in (actual, expected)):
        if len(actual) != len(expected):
            return _at(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", place)
        pairs = [(f"{place}[{i}]", a, e) for i, (a, e) in enumerate(zip(actual, expected, strict=True))]
        return next((text for at, a, e in pairs if (text := _difference(a, e, *rest, at)) is not None), None)
    if actual is None or expected is None:
        return None if actual is expected else _at(f"None mismatch: {actual} is not {expected}", place)
    return _of_leaves(actual, expected, *rest, place)


def _at(text: str, place: str) -> str:
    return f"{text}\n\nThe failure occurred for item {place}" if place else text


_NUMBERS = bool | int | float | complex


def _of_leaves(actual, expected, tolerances, equal_nan, checks, subclasses, place) -> str | None:
    """The same for two tensors or numbers."""
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    kinds = Tensor | jax.Array | np.ndarray | np.generic
    plain = all(isinstance(x, _NUMBERS) for x in (actual, expected))
    known = plain or all(isinstance(x, kinds) for x in (actual, expected))
    _args.check(
        known and (plain or (related and (subclasses or type(actual) is type(expected)))),
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.",
        TypeError,
    )
    if plain and checks["dtype"] and type(actual) is not type(expected):
        return _at(f"The (d)types do not match: {type(actual)} != {type(expected)}.", place)
    one, two = (as_tensor(np.asarray(x) if plain else x).detach() for x in (actual, expected))
    names = ["shape", *(name for name in ("device", "dtype") if checks[name] and not plain)]
    for name in names:
        mine, other = getattr(one, name), getattr(two, name)
        if mine != other:
            return _at(f"The values for attribute '{name}' do not match: {mine} != {other}.", place)
    if checks["stride"] and one.stride() != two.stride():
        return _at(f"The values for attribute 'stride()' do not match: {one.stride()} != {two.stride()}.", place)
    return _of_values(one, two, tolerances, equal_nan, plain, place)


def _defaults(one: Tensor, two: Tensor) -> tuple[float, float]:
    """The wider of the tolerances of two dtypes."""
    pairs = [_TOLERANCES.get(_types.of_array(t._value().dtype).name, (0.0, 0.0)) for t in (one, two)]
    return max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)


def _of_values(one: Tensor, two: Tensor, tolerances, equal_nan: bool, plain: bool, place: str) -> str | None:
    rtol, atol = _defaults(one, two) if tolerances[0] is None else tolerances
    kind = np.complex128 if any(_args.is_complex(t._value().dtype) for t in (one, two)) else np.float64
    whole = all(t._value().dtype.kind in "iub" for t in (one, two))
    x, y = (np.asarray(t._concrete("assert_close")).astype(object if whole else kind) for t in (one, two))
    off = np.abs(x - y)
    equal = (x == y) | (equal_nan & (x != x) & (y != y))
    with np.errstate(invalid="ignore"):
        close = np.asarray(equal | (np.isfinite(off.astype(float)) & (off <= atol + rtol * np.abs(y))), bool)
    if close.all():
        return None
    off = np.where(equal, 0, off).astype(float)
    size = np.abs(y).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(off == 0, 0.0, off / size)
    exact = rtol == atol == 0
    what = "Scalars" if plain or not x.ndim else "Tensor-likes"
    head = f"{what} are not {'equal' if exact else 'close'}!\n\n"
    up_to = ["" if exact else f" (up to {limit} allowed)" for limit in (atol, rtol)]
    if not x.ndim:
        found = f"Expected {two.item()} but got {one.item()}.\n"
        text = f"Absolute difference: {off.item()}{up_to[0]}\nRelative difference: {relative.item()}{up_to[1]}"
        return _at(head + found + text, place)
    wrong, count = int((~close).sum()), close.size
    lines = [f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})"]
    for label, values, limit in (("absolute", off, up_to[0]), ("relative", relative, up_to[1])):
        values = np.where(close, 0.0, values)
        where = np.unravel_index(int(np.argmax(values)), values.shape)
        lines.append(f"Greatest {label} difference: {values[where]} at index {tuple(map(int, where))}{limit}")
    return _at(head + "\n".join(lines), place)
