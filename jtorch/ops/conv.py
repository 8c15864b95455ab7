"""Convolutions and their transposes, in one to three dimensions.

On a CPU XLA is slow where channels are grouped, so there grouped convolutions are split into dense ones, depthwise ones
are sums of shifted products, and those with a 1x1 kernel are matrix products. Accelerators keep the native form.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._op import Array, op

_SPACE = {1: "W", 2: "HW", 3: "DHW"}
_LETTERS = {1: "L", 2: "H, W", 3: "D, H, W"}


class _Setting(NamedTuple):
    """The numbers of one convolution, an entry a dimension."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


def _layout(nd: int) -> tuple[str, str, str]:
    return f"NC{_SPACE[nd]}", f"OI{_SPACE[nd]}", f"NC{_SPACE[nd]}"


def _precision(input: Array) -> Any:
    return _args.precision() if input.dtype.itemsize >= 4 else None


def _native(input: Array, weight: Array, s: _Setting) -> Array:
    return jax.lax.conv_general_dilated(
        input, weight, s.stride, s.padding, rhs_dilation=s.dilation, feature_group_count=s.groups,
        dimension_numbers=_layout(len(s.stride)), precision=_precision(input),
    )  # fmt: skip


def _depthwise(input: Array, weight: Array, s: _Setting) -> Array:
    """One product for each place of the kernel; weight (C * m, 1, K): m outputs for each channel."""
    nd, multiple = len(s.stride), weight.shape[0] // input.shape[1]
    padded = jnp.pad(input, ((0, 0), (0, 0), *s.padding))
    padded = jnp.repeat(padded, multiple, axis=1) if multiple > 1 else padded
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], s.dilation, strict=True)]
    out = [(n - w) // st + 1 for n, w, st in zip(padded.shape[2:], spans, s.stride, strict=True)]
    total = None
    for place in itertools.product(*map(range, weight.shape[2:])):
        start = [k * d for k, d in zip(place, s.dilation, strict=True)]
        stop = [b + (o - 1) * st + 1 for b, o, st in zip(start, out, s.stride, strict=True)]
        part = jax.lax.slice(padded, [0, 0, *start], [*padded.shape[:2], *stop], [1, 1, *s.stride])
        term = part * weight[(slice(None), 0, *place)].reshape(1, -1, *(1,) * nd)
        total = term if total is None else total + term
    assert total is not None
    return total


def _split(input: Array, weight: Array, s: _Setting) -> Array:
    """A dense convolution for each group."""
    dense = s._replace(groups=1)
    parts = zip(jnp.split(input, s.groups, 1), jnp.split(weight, s.groups, 0), strict=True)
    return jnp.concatenate([_dense(x, w, dense) for x, w in parts], 1)


def _dense(input: Array, weight: Array, s: _Setting) -> Array:
    pointwise = set(weight.shape[2:]) == {1} and set(s.stride) == {1} and not any(map(any, s.padding))
    if not pointwise:
        return _native(input, weight, s)
    flat = input.reshape(*input.shape[:2], -1)
    matrix = weight.reshape(weight.shape[:2])
    return jnp.matmul(matrix, flat, precision=_precision(input)).reshape(input.shape[0], -1, *input.shape[2:])


def _convolve(input: Array, weight: Array, s: _Setting) -> Array:
    if jax.default_backend() != "cpu" or not _args.is_float(input.dtype):
        return _native(input, weight, s)
    if s.groups == 1:
        return _dense(input, weight, s)
    return _depthwise(input, weight, s) if weight.shape[1] == 1 and s.groups == input.shape[1] else _split(input, weight, s)


# arguments


def _check_shapes(name: str, nd: int, input: Array, weight: Array, bias: Array | None, groups: int, transposed: bool) -> None:
    ranks = input.ndim in (nd + 1, nd + 2) and weight.ndim == nd + 2
    text = f"{name}(): expected {nd + 1}D (unbatched) or {nd + 2}D (batched) input and a {nd + 2}D weight, got input {list(input.shape)} and weight {list(weight.shape)}"
    _args.check(ranks, text, RuntimeError)
    _args.check(groups > 0, f"{name}(): expected groups of at least 1, got {groups}; non-positive groups is not supported", RuntimeError)
    same = input.dtype == weight.dtype
    _args.check(same, f"{name}(): expected input and weight of one dtype, got {input.dtype} and {weight.dtype}", RuntimeError)
    channels = input.shape[-nd - 1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    _args.check(weight.shape[0] % groups == 0, f"{name}(): expected a weight whose first size divides into {groups} groups, got {list(weight.shape)}", RuntimeError)
    _args.check(channels == expected, f"{name}(): expected input of {expected} channels, got {channels} with weight {list(weight.shape)} and groups={groups}", RuntimeError)
    out = weight.shape[1] * groups if transposed else weight.shape[0]
    fits = bias is None or bias.shape == (out,)
    _args.check(fits, f"{name}(): expected a bias of {out} elements, got {None if bias is None else list(bias.shape)}", RuntimeError)


def _positive(name: str, values: tuple[int, ...], what: str) -> tuple[int, ...]:
    _args.check(min(values) > 0, f"{name}(): expected a {what} greater than zero, got {values}", RuntimeError)
    return values


def _setting(name: str, nd: int, weight: Array, stride: Any, padding: Any, dilation: Any, groups: int) -> _Setting:
    step = _positive(name, _args.ntuple(stride, nd, name, "stride"), "stride")
    spread = _positive(name, _args.ntuple(dilation, nd, name, "dilation"), "dilation")
    if not isinstance(padding, str):
        sides = _args.ntuple(padding, nd, name, "padding")
        _args.check(min(sides) >= 0, f"{name}(): expected padding of 0 or more, got {sides}; negative padding is not supported", RuntimeError)
        return _Setting(step, tuple((p, p) for p in sides), spread, groups)
    _args.check(padding in ("same", "valid"), f"{name}(): expected padding 'same', 'valid' or numbers, got {padding!r}", RuntimeError)
    if padding == "valid":
        return _Setting(step, ((0, 0),) * nd, spread, groups)
    _args.check(max(step) == 1, f"{name}(): expected stride 1 with padding='same', got {step}; strided convolutions are not supported", RuntimeError)
    totals = [d * (k - 1) for d, k in zip(spread, weight.shape[2:], strict=True)]
    return _Setting(step, tuple((t // 2, t - t // 2) for t in totals), spread, groups)


def _batched(function: Callable, input: Array, nd: int) -> Array:
    """Apply to a batch, where the input may be a single sample."""
    return function(input) if input.ndim == nd + 2 else function(input[None])[0]


def _plus(out: Array, bias: Array | None, nd: int) -> Array:
    return out if bias is None else out + bias.reshape(-1, *(1,) * nd)


def _conv(nd: int, input: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    name = f"conv{nd}d"
    _check_shapes(name, nd, input, weight, bias, groups, False)
    s = _setting(name, nd, weight, stride, padding, dilation, groups)
    for n, k, (low, high), d in zip(input.shape[-nd:], weight.shape[2:], s.padding, s.dilation, strict=True):
        fits = n + low + high >= d * (k - 1) + 1
        text = f"{name}(): expected a kernel no larger than the padded input, got kernel {tuple(weight.shape[2:])} for input {tuple(input.shape[-nd:])}; kernel size can't be greater than actual input size"
        _args.check(fits, text, RuntimeError)
    return _batched(lambda x: _plus(_convolve(x, weight, s), bias, nd), input, nd)


def _transposed(
    nd: int, input: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Array:
    name = f"conv_transpose{nd}d"
    _check_shapes(name, nd, input, weight, bias, groups, True)
    s = _setting(name, nd, weight, stride, padding, dilation, groups)
    extra = _args.ntuple(output_padding, nd, name, "output_padding")
    for e, st, d in zip(extra, s.stride, s.dilation, strict=True):
        text = f"{name}(): expected output_padding smaller than either stride or dilation, got {extra}"
        _args.check(0 <= e < max(st, d), text, RuntimeError)
    sizes = [d * (k - 1) for d, k in zip(s.dilation, weight.shape[2:], strict=True)]
    sides = tuple((w - p, w - p + e) for w, (p, _), e in zip(sizes, s.padding, extra, strict=True))
    kernel = jnp.flip(weight, range(2, nd + 2)).reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    kernel = kernel.swapaxes(1, 2).reshape(weight.shape[1] * groups, weight.shape[0] // groups, *weight.shape[2:])

    def convolve(x):
        return jax.lax.conv_general_dilated(
            x, kernel, (1,) * nd, sides, lhs_dilation=s.stride, rhs_dilation=s.dilation, feature_group_count=groups,
            dimension_numbers=_layout(nd), precision=_precision(x),
        )  # fmt: skip

    return _batched(lambda x: _plus(convolve(x), bias, nd), input, nd)


# the ops


def _declare_conv(nd: int) -> Any:
    def conv(
        input: Array, weight: Array, bias: Array | None = None, stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[int] = 0, dilation: int | Sequence[int] = 1, groups: int = 1,
    ) -> Array:  # fmt: skip
        return _conv(nd, input, weight, bias, stride, padding, dilation, groups)

    conv.__doc__ = f"""Each output channel is the sum of the input channels of its group, correlated with the kernel, plus the bias.

    Shape: (N, C, {_LETTERS[nd]}) or (C, {_LETTERS[nd]}), weight (O, C/G, K...), bias (O) -> the same with O and output sizes
    Raises: RuntimeError where shapes or settings do not fit.
    """
    return _renamed(conv, f"conv{nd}d")


def _declare_transposed(nd: int) -> Any:
    def conv(
        input: Array, weight: Array, bias: Array | None = None, stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0, output_padding: int | Sequence[int] = 0, groups: int = 1,
        dilation: int | Sequence[int] = 1,
    ) -> Array:  # fmt: skip
        return _transposed(nd, input, weight, bias, stride, padding, output_padding, groups, dilation)

    conv.__doc__ = f"""The transpose of a convolution: its gradient with respect to its input, plus the bias.

    Shape: (N, C, {_LETTERS[nd]}) or (C, {_LETTERS[nd]}), weight (C, O/G, K...), bias (O) -> the same with O and output sizes
    Raises: RuntimeError where shapes or settings do not fit.
    """
    return _renamed(conv, f"conv_transpose{nd}d")


def _renamed(function: Callable, name: str) -> Any:
    function.__name__ = function.__qualname__ = name
    return op(method=False)(function)


conv1d, conv2d, conv3d = (_declare_conv(nd) for nd in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_declare_transposed(nd) for nd in (1, 2, 3))
