"""Activations: functions of one array, elementwise or along one dimension, that networks put between their layers.

Sigmoid and tanh are with the pointwise ops; rrelu and gumbel_softmax, which draw, are with dropout.
"""

import inspect
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._floating import floating, require_float, wide
from jtorch.ops._op import Array, DType, Fitting, Op, Scalar, derived, op
from jtorch.ops._reducing import thin

# piecewise linear


def _not_bool(name: str, input: Array) -> None:
    _args.check(input.dtype != jnp.bool_, f"{name}(): expected numbers, got bool", RuntimeError)
    _args.check(
        not _args.is_complex(input.dtype), f"{name}(): expected real numbers, got {input.dtype}", NotImplementedError
    )


@op(inplace=True)
def relu(input: Array, inplace: bool = False) -> Array:
    """`input` where positive, 0 elsewhere.

    Shape: (*) -> (*)
    """
    _not_bool("relu", input)
    return jnp.where(input <= 0, 0, input)  # this way round NaN stays NaN


@op(method=False, function=False)
def relu6(input: Array, inplace: bool = False) -> Array:
    """`input` limited to the range from 0 to 6.

    Shape: (*) -> (*)
    """
    _not_bool("relu6", input)
    return _limited(input, 0, 6)


def _limited(input: Array, low: Scalar, high: Scalar) -> Array:
    """`input` held inside the bounds; its gradient is 0 at the bounds themselves, unlike that of clamp."""
    low, high = (_args.cast(x, input.dtype) for x in (low, high))
    return jnp.where(input <= low, low, jnp.where(input >= high, high, input))


def _check_hardtanh(input, min_val, max_val, inplace):
    _args.check(min_val <= max_val, f"hardtanh(): expected min_val <= max_val, got {min_val} and {max_val}")
    signed = min_val >= 0 or input.dtype.kind != "u"
    _args.check(signed, f"hardtanh(): expected limits >= 0 for unsigned integers, got {min_val}", RuntimeError)


@op(method=False, function=False, validate=_check_hardtanh)
def hardtanh(input: Array, min_val: Fitting = -1.0, max_val: Fitting = 1.0, inplace: bool = False) -> Array:
    """`input` limited to the range from `min_val` to `max_val`.

    Shape: (*) -> (*)
    Raises:
        ValueError: min_val > max_val.
    """
    _not_bool("hardtanh", input)
    return _limited(input, min_val, max_val)


@op(method=False)
def threshold(input: Array, threshold: Fitting, value: Fitting, inplace: bool = False) -> Array:
    """`input` where greater than `threshold`, `value` elsewhere.

    Shape: (*) -> (*)
    """
    allowed = input.dtype != jnp.bool_ and not _args.is_complex(input.dtype)
    _args.check(allowed, f"threshold(): expected real numbers, got {input.dtype}", NotImplementedError)
    threshold, value = (_args.cast(x, input.dtype) for x in (threshold, value))
    return jnp.where(input <= threshold, value, input)


@op(method=False, function=False)
@floating
def leaky_relu(input: Array, negative_slope: Scalar = 0.01, inplace: bool = False) -> Array:
    """`input` where positive, `negative_slope * input` elsewhere.

    Shape: (*) -> (*)
    Source: Maas et al., ICML workshop (2013).
    """
    return jnp.where(input > 0, input, negative_slope * input)


def _prelu_weight(input: Array, weight: Array) -> Array:
    """The slopes laid along the channel dimension of the input."""
    message = "prelu(): expected weight and input of one dtype, got {} and {}"
    _args.check(input.dtype == weight.dtype, message.format(weight.dtype, input.dtype), RuntimeError)
    _args.check(weight.ndim <= 1, f"prelu(): expected weight of one dimension, got {weight.ndim}", RuntimeError)
    if weight.size == 1:
        return weight.reshape(())
    _args.check(input.ndim > 0, f"prelu(): expected one slope for a scalar input, got {weight.size}", RuntimeError)
    channels = input.shape[1] if input.ndim > 1 else 1
    expected = f"prelu(): expected 1 slope or one for each of {channels} channels, got {weight.size}"
    _args.check(weight.size == channels, expected, RuntimeError)
    return weight.reshape(channels, *[1] * (input.ndim - 2))


@op
def prelu(input: Array, weight: Array) -> Array:
    """`input` where positive, `weight * input` elsewhere, with one weight for all or one for each channel.

    Shape: (N, C, *), (C) or (1) -> (N, C, *)
    Raises:
        RuntimeError: the number of weights is neither 1 nor C, or the dtypes differ.
    Source: He et al., arXiv 1502.01852 (2015).
    """
    require_float("prelu", input)
    x = wide(input)  # its gradient adds up in float32
    return jnp.where(x > 0, x, wide(_prelu_weight(input, weight)) * x).astype(input.dtype)


@op(method=False, function=False)
@floating
def hardsigmoid(input: Array, inplace: bool = False) -> Array:
    """A sigmoid of three straight lines: `(input + 3) / 6` limited to the range from 0 to 1.

    Shape: (*) -> (*)
    """
    return _limited((input + 3) / 6, 0, 1)


@op(method=False, function=False)
@floating
def hardswish(input: Array, inplace: bool = False) -> Array:
    """`input * hardsigmoid(input)`.

    Shape: (*) -> (*)
    Source: Howard et al., arXiv 1905.02244 (2019).
    """
    middle = jnp.where(jnp.abs(input) >= 3, 0, input)  # finite, so that the branch not taken has no NaN gradient
    return jnp.where(input <= -3, 0, jnp.where(input >= 3, input, middle * (middle + 3) / 6))


@op
@floating
def hardshrink(input: Array, lambd: Scalar = 0.5) -> Array:
    """`input` where its size is greater than `lambd`, 0 elsewhere.

    Shape: (*) -> (*)
    """
    return jnp.where((input >= -lambd) & (input <= lambd), 0, input)


def _check_softshrink(input, lambd):
    _args.check(lambd >= 0, f"softshrink(): expected lambd >= 0, got {lambd}", RuntimeError)


@op(method=False, function=False, validate=_check_softshrink)
@floating
def softshrink(input: Array, lambd: Scalar = 0.5) -> Array:
    """`input` moved towards 0 by `lambd`, and 0 where it is no farther away than that.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: lambd < 0.
    """
    outside = jnp.where(input > lambd, input - lambd, input + lambd)
    return jnp.where((input >= -lambd) & (input <= lambd), 0, outside)


# smooth


def _elu(input: Array, alpha: Scalar, scale: Scalar, input_scale: Scalar) -> Array:
    below = jnp.where(input > 0, 0, input)  # keeps exp finite, so that the branch not taken has no NaN gradient
    return scale * jnp.where(input > 0, input, alpha * jnp.expm1(below * input_scale))


@op(method=False, function=False)
@floating
def elu(input: Array, alpha: Scalar = 1.0, inplace: bool = False) -> Array:
    """`input` where positive, `alpha * (exp(input) - 1)` elsewhere.

    Shape: (*) -> (*)
    Source: Clevert et al., arXiv 1511.07289 (2015).
    """
    return _elu(input, alpha, 1.0, 1.0)


@op(method=False)
@floating
def selu(input: Array, inplace: bool = False) -> Array:
    """`scale * elu(input, alpha)`, with the constants that keep mean 0 and variance 1 from layer to layer.

    Shape: (*) -> (*)
    Source: Klambauer et al., arXiv 1706.02515 (2017).
    """
    return _elu(input, 1.6732632423543772, 1.0507009873554805, 1.0)


def _check_celu(input, alpha, inplace):
    _args.check(alpha != 0, "celu(): expected alpha other than 0, got 0", RuntimeError)


@op(method=False, validate=_check_celu)
@floating
def celu(input: Array, alpha: Scalar = 1.0, inplace: bool = False) -> Array:
    """`input` where positive, `alpha * (exp(input / alpha) - 1)` elsewhere.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: alpha is 0.
    Source: Barron, arXiv 1704.07483 (2017).
    """
    return _elu(input, alpha, 1.0, 1.0 / alpha)


@op(method=False, function=False)
@floating
def gelu(input: Array, approximate: str = "none") -> Array:
    """`input` times the normal distribution function at `input`, exact or by its "tanh" approximation.

    Shape: (*) -> (*)
    Raises:
        RuntimeError: approximate is neither "none" nor "tanh".
    Source: Hendrycks & Gimpel, arXiv 1606.08415 (2016).
    """
    known = approximate in ("none", "tanh")
    _args.check(known, f"gelu(): expected approximate 'none' or 'tanh', got {approximate!r}", RuntimeError)
    if approximate == "tanh":
        return jax.nn.gelu(input)
    return input * (0.5 + 0.5 * jax.lax.erf(input * math.sqrt(0.5)))


@op(method=False, function=False)
def silu(input: Array, inplace: bool = False) -> Array:
    """`input * sigmoid(input)`; complex numbers too.

    Shape: (*) -> (*)
    """
    require_float("silu", input, complex_too=True)
    x = wide(input)
    if jnp.iscomplexobj(x):
        return x / (1 + jnp.exp(-x))
    return (x * jax.nn.sigmoid(x)).astype(input.dtype)


@op(method=False, function=False)
@floating
def mish(input: Array, inplace: bool = False) -> Array:
    """`input * tanh(softplus(input))`.

    Shape: (*) -> (*)
    Source: Misra, arXiv 1908.08681 (2019).
    """
    return input * jnp.tanh(jax.nn.softplus(input))


@op(method=False, function=False)
@floating
def logsigmoid(input: Array) -> Array:
    """The logarithm of the sigmoid, without overflow.

    Shape: (*) -> (*)
    """
    return -jax.nn.softplus(-input)


@op(method=False, function=False)
@floating
def softplus(input: Array, beta: Scalar = 1.0, threshold: Scalar = 20.0) -> Array:
    """`log(1 + exp(beta * input)) / beta`, and `input` itself where `beta * input > threshold`.

    Shape: (*) -> (*)
    """
    scaled = input * beta
    above = scaled > threshold
    return jnp.where(above, input, jax.nn.softplus(jnp.where(above, 0, scaled)) / beta)


@op(method=False, function=False)
def softsign(input: Array) -> Array:
    """`input / (1 + |input|)`.

    Shape: (*) -> (*)
    """
    _args.check(input.dtype != jnp.bool_, "softsign(): expected numbers, got bool", NotImplementedError)
    x = wide(input)
    below = 1 + jnp.abs(x)
    if _args.is_inexact(x.dtype):
        return (x / below).astype(input.dtype)
    return x.astype(_args.default_float()) / below  # the smallest integer has no absolute value, as in torch


@op(method=False, function=False, promote="float")
def tanhshrink(input: Array) -> Array:
    """`input - tanh(input)`.

    Shape: (*) -> (*)
    """
    return input - jnp.tanh(input)


# along one dimension


def _softmax_dim(name: str, input: Array, dim: int | None) -> int:
    """The dimension to use; torch still takes None and guesses."""
    if dim is None:
        warnings.warn(
            f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
            stacklevel=2,
        )
        dim = 0 if input.ndim in (0, 1, 3) else 1
    return _args.dim(dim, input.ndim, name)


def _along(function, name: str, input: Array, dim: int | None, stacklevel: Any, dtype: Any) -> Array:
    """A softmax of `jax.nn` with torch's arguments."""
    if not isinstance(stacklevel, int):  # torch.softmax(input, dim, dtype)
        dtype = _args.to_dtype(stacklevel)
    if dtype is not None:
        input = _args.cast(input, dtype)
    dim = _softmax_dim(name, input, dim)
    require_float(name, input)
    if input.ndim == 0 or input.size == 0:
        return function(input.reshape(-1), axis=0).reshape(input.shape) if input.size else input
    ones = thin(input.shape, (dim,))
    out = function(jnp.squeeze(wide(input), ones), axis=dim - sum(i < dim for i in ones))
    return jnp.expand_dims(out, ones).astype(input.dtype)


@op
def softmax(input: Array, dim: int | None = None, _stacklevel: Any = 3, dtype: DType | None = None) -> Array:
    """`exp(input)` divided by its sum along `dim`.

    Shape: (*) -> (*)
    Args:
        dtype: the input is cast to it first.
    Raises:
        IndexError: no such dimension.
    """
    return _along(jax.nn.softmax, "softmax", input, dim, _stacklevel, dtype)


@op
def log_softmax(input: Array, dim: int | None = None, _stacklevel: Any = 3, dtype: DType | None = None) -> Array:
    """The logarithm of softmax along `dim`, without overflow.

    Shape: (*) -> (*)
    Args:
        dtype: the input is cast to it first.
    Raises:
        IndexError: no such dimension.
    """
    return _along(jax.nn.log_softmax, "log_softmax", input, dim, _stacklevel, dtype)


@op(method=False, function=False)
def softmin(input: Array, dim: int | None = None, _stacklevel: Any = 3, dtype: DType | None = None) -> Array:
    """The softmax of `-input` along `dim`.

    Shape: (*) -> (*)
    Raises:
        IndexError: no such dimension.
    """
    _args.check(input.dtype != jnp.bool_, "softmin(): expected numbers, got bool", RuntimeError)
    return _along(jax.nn.softmax, "softmin", -input, dim, _stacklevel, dtype)  # unsigned integers wrap, as in torch


@op(method=False, function=False)
@floating
def glu(input: Array, dim: int = -1) -> Array:
    """The first half of `input` along `dim` times the sigmoid of the second half.

    Shape: (*, 2 L, *) -> (*, L, *)
    Raises:
        RuntimeError: the size of `dim` is odd, or the input is a scalar.
    Source: Dauphin et al., arXiv 1612.08083 (2016).
    """
    _args.check(input.ndim > 0, "glu(): expected at least one dimension, got a scalar", RuntimeError)
    dim = _args.dim(dim, input.ndim, "glu")
    size = input.shape[dim]
    _args.check(size % 2 == 0, f"glu(): expected an even size of dimension {dim}, got {size}", RuntimeError)
    first, second = jnp.split(input, 2, axis=dim)
    return first * jax.nn.sigmoid(second)


# in place, as functions


def _in_place(made: Op, function: bool = True) -> Any:
    """The function `name_`, which writes the result of an op over its input, a Tensor."""
    parameters = [p for p in inspect.signature(made.body).parameters.values() if p.name != "inplace"]

    def write(input, *args, **kwargs):
        message = f"{made.name}_(): expected a Tensor, got an array, which cannot be written; use {made.name}()"
        _args.check(not isinstance(input, jax.Array), message, TypeError)
        return made(input, *args, **kwargs, inplace=True)

    write.__name__ = write.__qualname__ = f"{made.name}_"
    write.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    write.__doc__ = f"`input` itself, overwritten by `{made.name}` of it.\n\n    Shape: (*) -> (*)\n    "
    return derived(write, method=False, function=function)


relu_ = _in_place(relu)
threshold_ = _in_place(threshold)
selu_ = _in_place(selu)
celu_ = _in_place(celu)
elu_ = _in_place(elu, function=False)
hardtanh_ = _in_place(hardtanh, function=False)
leaky_relu_ = _in_place(leaky_relu, function=False)
