"""Convolutions and transposed convolutions over one, two and three dimensions: arguments, checks and bias.

How they are computed is in _convolution; im2col (`unfold`) is in patches.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._convolution import Window, convolve
from jtorch.ops._floating import wide
from jtorch.ops._op import Array, op
from jtorch.ops._transposed import convolve_transposed


def _check_arrays(name: str, nd: int, input: Array, weight: Array, bias: Array | None) -> None:
    check = _args.check
    check(weight.dtype != jnp.bool_, f"{name}(): expected numbers, got bool", NotImplementedError)
    check(
        weight.ndim == nd + 2,
        f"{name}(): expected a weight of {nd + 2} dimensions, got shape {weight.shape}",
        RuntimeError,
    )
    whole = 0 not in weight.shape[2:]
    check(whole, f"{name}(): expected kernel sizes of at least 1, got {weight.shape[2:]}", RuntimeError)
    allowed = f"{nd + 1} (unbatched) or {nd + 2}"
    fits = input.ndim in (nd + 1, nd + 2)
    check(fits, f"{name}(): expected an input of {allowed} dimensions, got shape {input.shape}", RuntimeError)
    for label, array in (("input", input), ("bias", bias)):
        if array is not None and array.dtype != weight.dtype:
            _args.fail(f"{name}(): expected {label} of the weight's {weight.dtype}, got {array.dtype}", RuntimeError)


def _check_channels(name: str, x: Array, inputs: int, bias: Array | None, outputs: int) -> None:
    check = _args.check
    check(outputs > 0, f"{name}(): expected a weight of at least 1 output channel, got 0", RuntimeError)
    check(x.shape[1] == inputs, f"{name}(): expected an input of {inputs} channels, got {x.shape[1]}", RuntimeError)
    if bias is not None:
        check(
            bias.shape == (outputs,), f"{name}(): expected a bias of shape ({outputs},), got {bias.shape}", RuntimeError
        )
    empty = 0 in x.shape[2:]
    check(not empty, f"{name}(): expected only batch or channels to be empty, got shape {x.shape}", RuntimeError)


def _at_least(least: int, name: str, **values: tuple[int, ...]) -> None:
    for what, numbers in values.items():
        _args.check(
            min(numbers) >= least, f"{name}(): expected {what} of at least {least}, got {numbers}", RuntimeError
        )


def _pads(name: str, nd: int, padding: int | Sequence[int] | str, stride: tuple, reach: tuple) -> tuple:
    """The (low, high) padding of each dimension."""
    if padding == "valid":
        return ((0, 0),) * nd
    if padding == "same":
        _args.check(max(stride) == 1, f"{name}(): expected stride 1 with padding 'same', got {stride}", RuntimeError)
        return tuple(((r - 1) // 2, r // 2) for r in reach)
    fits = not isinstance(padding, str)
    _args.check(fits, f"{name}(): expected padding 'same', 'valid' or numbers, got {padding!r}", RuntimeError)
    numbers = _args.ntuple(padding, nd, name, "padding")
    _at_least(0, name, padding=numbers)
    return tuple((p, p) for p in numbers)


def _conv(
    name: str, nd: int, input: Array, weight: Array, bias: Array | None, stride, padding, dilation, groups
) -> Array:
    _check_arrays(name, nd, input, weight, bias)
    stride, dilation = _args.ntuple(stride, nd, name, "stride"), _args.ntuple(dilation, nd, name, "dilation")
    _at_least(1, name, stride=stride, dilation=dilation, groups=(groups,))
    window = Window(stride, ((0, 0),) * nd, dilation)
    reach = window.reach(weight.shape[2:])
    window = window._replace(pads=_pads(name, nd, padding, stride, reach))
    outputs = weight.shape[0]
    divides = outputs % groups == 0
    _args.check(
        divides, f"{name}(): expected output channels divisible by groups={groups}, got {outputs}", RuntimeError
    )

    def body(x: Array) -> Array:
        _check_channels(name, x, weight.shape[1] * groups, bias, outputs)
        padded = tuple(size + sum(pad) for size, pad in zip(x.shape[2:], window.pads, strict=True))
        fits = all(r <= size for r, size in zip(reach, padded, strict=True))
        _args.check(fits, f"{name}(): expected a kernel within the padded input {padded}, got {reach}", RuntimeError)
        return convolve(x, _working(weight), window, groups)

    return _batched(body, nd, input, bias)


def _working(x: Array) -> Array:
    """The array in the dtype to compute in. CPUs have no 16-bit arithmetic; accelerators add 16-bit products in float32."""
    return wide(x) if on_cpu() else x


def _shifted_by(y: Array, bias: Array) -> Array:
    """The sum. XLA adds complex numbers up one by one, and would lose digits of the bias's gradient: so in two parts."""
    if not jnp.iscomplexobj(y):
        return y + bias
    return lax.complex(y.real + bias.real, y.imag + bias.imag)


def _batched(body: Callable, nd: int, input: Array, bias: Array | None) -> Array:
    """The body's result for a batched or unbatched input, with the bias added."""
    x = _working(input if input.ndim == nd + 2 else input[None])
    y = body(x)
    if bias is not None:
        y = _shifted_by(y, _working(bias).reshape(-1, *(1,) * nd))
    return (y if input.ndim == nd + 2 else y[0]).astype(input.dtype)


@op(method=False, tuned=True)
def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """The sum of products of a kernel and the part of the sequence under it, for each place of the kernel.

    Shape: (N, C, L), (O, C/G, K) -> (N, O, L'), or without N
    Args: `padding` is zeros at both ends, "valid" (none) or "same" (as many as keep the length; stride 1 only).
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or the kernel is larger than the padded input.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op(method=False, tuned=True)
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """The sum of products of a kernel and the part of the image under it, for each place of the kernel.

    Shape: (N, C, H, W), (O, C/G, K, K) -> (N, O, H', W'), or without N
    Args: `padding` is zeros at both ends, "valid" (none) or "same" (as many as keep the size; stride 1 only).
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or the kernel is larger than the padded input.
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op(method=False, tuned=True)
def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Array:
    """The sum of products of a kernel and the part of the volume under it, for each place of the kernel.

    Shape: (N, C, D, H, W), (O, C/G, K, K, K) -> (N, O, D', H', W'), or without N
    Args: `padding` is zeros at both ends, "valid" (none) or "same" (as many as keep the size; stride 1 only).
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or the kernel is larger than the padded input.
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    name: str,
    nd: int,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride,
    padding,
    output_padding,
    groups,
    dilation,
) -> Array:
    _check_arrays(name, nd, input, weight, bias)
    _args.check(not isinstance(padding, str), f"{name}(): expected padding in numbers, got {padding!r}", TypeError)
    stride, padding = _args.ntuple(stride, nd, name, "stride"), _args.ntuple(padding, nd, name, "padding")
    extra, dilation = (
        _args.ntuple(output_padding, nd, name, "output_padding"),
        _args.ntuple(dilation, nd, name, "dilation"),
    )
    _at_least(1, name, stride=stride, dilation=dilation, groups=(groups,))
    _at_least(0, name, padding=padding, output_padding=extra)
    small = all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True))
    _args.check(small, f"{name}(): expected output_padding below stride or dilation, got {extra}", RuntimeError)
    inputs = weight.shape[0]
    divides = inputs % groups == 0
    _args.check(divides, f"{name}(): expected input channels divisible by groups={groups}, got {inputs}", RuntimeError)

    def body(x: Array) -> Array:
        _check_channels(name, x, inputs, bias, weight.shape[1] * groups)
        numbers = zip(x.shape[2:], weight.shape[2:], stride, padding, extra, dilation, strict=True)
        sizes = tuple((size - 1) * s - 2 * p + d * (k - 1) + e + 1 for size, k, s, p, e, d in numbers)
        _args.check(min(sizes) >= 0, f"{name}(): expected an output of sizes from 0, got {sizes}", RuntimeError)
        return convolve_transposed(x, _working(weight), stride, padding, extra, dilation, groups)

    return _batched(body, nd, input, bias)


@op(method=False, tuned=True)
def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """The gradient of `conv1d` with respect to its input: each element lays down the kernel times its value.

    Shape: (N, C, L), (C, O/G, K) -> (N, O, L'), or without N; L' = (L-1)*stride - 2*padding + dilation*(K-1) + extra + 1
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or `output_padding` is not below stride or dilation.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(method=False, tuned=True)
def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """The gradient of `conv2d` with respect to its input: each element lays down the kernel times its value.

    Shape: (N, C, H, W), (C, O/G, K, K) -> (N, O, H', W'), or without N; sizes as in `conv_transpose1d`
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or `output_padding` is not below stride or dilation.
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(method=False, tuned=True)
def conv_transpose3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Array:
    """The gradient of `conv3d` with respect to its input: each element lays down the kernel times its value.

    Shape: (N, C, D, H, W), (C, O/G, K, K, K) -> (N, O, D', H', W'), or without N; sizes as in `conv_transpose1d`
    Raises: RuntimeError where shapes, dtypes or groups do not fit, or `output_padding` is not below stride or dilation.
    """
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(method=False, tuned=True)
def conv_tbc(input: Array, weight: Array, bias: Array, pad: int = 0) -> Array:
    """`conv1d` of a sequence whose first dimension is time.

    Shape: (T, N, C), (K, C, O), (O) -> (T', N, O)
    Raises: RuntimeError where shapes or dtypes do not fit.
    """
    three = input.ndim == weight.ndim == 3
    _args.check(three, f"conv_tbc(): expected 3 dimensions, got {input.shape} and {weight.shape}", RuntimeError)
    out = _conv("conv_tbc", 1, input.transpose(1, 2, 0), weight.transpose(2, 1, 0), bias, 1, pad, 1, 1)
    return out.transpose(2, 0, 1)
