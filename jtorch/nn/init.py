"""Initial values: functions that fill a tensor in place from a distribution that suits its shape, unrecorded."""

import functools
import math
import typing
import warnings
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jtorch import _capture
from jtorch._tensor import Tensor
from jtorch.autograd import grad_mode
from jtorch.ops import _args, _backend, sampling

_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)), "sigmoid")


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which to widen a distribution before this nonlinearity, to keep the variance.

    Args:
        nonlinearity: the name of a function in `nn.functional`.
        param: the slope of leaky_relu (0.01 if None).

    Raises:
        ValueError: the nonlinearity is unknown, or the slope is no number.
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    _args.check(nonlinearity == "leaky_relu", f"Unsupported nonlinearity {nonlinearity}")
    number = isinstance(param, int | float) and not isinstance(param, bool)
    _args.check(param is None or number, f"negative_slope {param} not a valid number")
    return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))


def _silently(fill: Callable) -> Callable:
    """The function without a record on the tape; an empty tensor is left as it is."""

    @functools.wraps(fill)
    def wrapped(tensor: Tensor, *args: typing.Any, **kwargs: typing.Any) -> Tensor:
        with grad_mode.no_grad():
            return fill(tensor, *args, **kwargs)

    return wrapped


@_silently
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: typing.Any = None) -> Tensor:
    """Fill with numbers drawn evenly from `a` to `b`."""
    return tensor.uniform_(a, b, generator=generator)  # type: ignore[attr-defined]


@_silently
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: typing.Any = None) -> Tensor:
    """Fill with numbers drawn from the normal distribution."""
    return tensor.normal_(mean, std, generator=generator)  # type: ignore[attr-defined]


def _redraw(tensor: Tensor, refused: Callable, draw: Callable) -> Tensor:
    """Draw the elements that are refused again, until none is."""
    pending = refused(tensor)
    while pending.any():
        tensor._assign(jnp.where(pending, draw()._value(), tensor._value()), None)
        pending = pending & refused(tensor)
    return tensor


def _blank(tensor: Tensor) -> typing.Any:
    return Tensor(jnp.zeros_like(tensor._value()))


def _trunc_normal_by_quantiles(
    tensor: typing.Any, mean: float, std: float, a: float, b: float, generator: typing.Any
) -> Tensor:  # fmt: skip
    low, high = (math.erf((x - mean) / std / math.sqrt(2.0)) for x in (a, b))
    tensor.uniform_(low, high, generator=generator)
    return tensor.erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(a, b)


@_silently
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: typing.Any = None
) -> Tensor:
    """Fill with numbers drawn from the normal distribution, those outside `a` to `b` drawn again.

    Differs: in compiled code the numbers come from quantiles, with no second draw.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=3,
        )
    if _capture.state.session is not None or _backend.in_foreign_trace():
        return _trunc_normal_by_quantiles(tensor, mean, std, a, b, generator)
    low, high = (math.erf((x - mean) / std / math.sqrt(2.0)) / 2 for x in (a, b))
    if high - low > 0.3:  # most of a normal distribution is inside
        tensor.normal_(mean, std, generator=generator)  # type: ignore[attr-defined]
        low, high = (jnp.asarray(x, tensor._value().dtype) for x in (a, b))
        return _redraw(
            tensor,
            lambda t: (t._value() < low) | (t._value() > high),
            lambda: _blank(tensor).normal_(mean, std, generator=generator),
        )
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def unlikely(t: typing.Any) -> typing.Any:
        density = -0.5 * jnp.square((t._value() - mean) / std) - peak
        return jnp.log(_blank(t).uniform_(generator=generator)._value()) > density

    tensor.uniform_(a, b, generator=generator)  # type: ignore[attr-defined]
    return _redraw(tensor, unlikely, lambda: _blank(tensor).uniform_(a, b, generator=generator))


@_silently
def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number."""
    return tensor.fill_(val)  # type: ignore[attr-defined]


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


def _put(tensor: Tensor, values: np.ndarray) -> Tensor:
    tensor._assign(jnp.asarray(values, tensor._value().dtype), None)
    return tensor


@_silently
def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Raises:
        ValueError: it is no matrix.
    """
    _args.check(tensor.ndim == 2, "Only tensors with 2 dimensions are supported")
    return _put(tensor, np.eye(*tensor.shape))


@_silently
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it passes as many channels through as it can.

    Raises:
        ValueError: it has not 3, 4 or 5 dimensions, or its channels do not divide into the groups.
    """
    _args.check(tensor.ndim in (3, 4, 5), "Only tensors with 3, 4, or 5 dimensions are supported")
    sizes = tuple(tensor.shape)
    _args.check(sizes[0] % groups == 0, "dim 0 must be divisible by groups")
    values = np.zeros(sizes)
    out = sizes[0] // groups
    middle = tuple(n // 2 for n in sizes[2:])
    for group in range(groups):
        for d in range(min(out, sizes[1])):
            values[(group * out + d, d, *middle)] = 1
    return _put(tensor, values)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output of the weight has, and the reverse."""
    _args.check(tensor.ndim >= 2, "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    _args.check(mode in ("fan_in", "fan_out"), f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: typing.Any = None) -> Tensor:
    """Fill evenly so that the variance is kept forward and backward: bound `gain * sqrt(6 / (fan_in + fan_out))`.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """
    bound = gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))) * math.sqrt(3.0)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: typing.Any = None) -> Tensor:
    """Fill from a normal distribution so that the variance is kept: std `gain * sqrt(2 / (fan_in + fan_out))`.

    Source: Glorot and Bengio (2010).
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: typing.Any = None
) -> Tensor:
    """Fill evenly so that the variance is kept through a rectifier: bound `gain * sqrt(3 / fan)`.

    Args:
        a: the slope of leaky_relu.
        mode: `fan_in` keeps it forward, `fan_out` backward.

    Source: He et al., arXiv 1502.01852 (2015).
    """
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: typing.Any = None
) -> Tensor:
    """Fill from a normal distribution so that the variance is kept through a rectifier: std `gain / sqrt(fan)`.

    Source: He et al. (2015).
    """
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


@_silently
def orthogonal_(tensor: Tensor, gain: float = 1, generator: typing.Any = None) -> Tensor:
    """Fill with a (semi-)orthogonal matrix times `gain`; dimensions after the first count as one.

    Source: Saxe et al., arXiv 1312.6120 (2013).

    Raises:
        ValueError: fewer than two dimensions.
    """
    _args.check(tensor.ndim >= 2, "Only tensors with 2 or more dimensions are supported")
    if not tensor.numel():
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    normal = _draw((rows, columns), tensor, generator)
    q, r = jnp.linalg.qr(normal if rows >= columns else normal.T)
    q = q * jnp.sign(jnp.diagonal(r))
    q = q if rows >= columns else q.T
    tensor._assign((q.reshape(tensor.shape) * gain).astype(tensor._value().dtype), None)
    return tensor


def _draw(shape: tuple[int, ...], like: Tensor, generator: typing.Any) -> typing.Any:
    drawn = Tensor(jnp.zeros(shape, jnp.promote_types(like._value().dtype, jnp.float32)))
    return drawn.normal_(generator=generator)._value()  # type: ignore[attr-defined]


@_silently
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: typing.Any = None) -> Tensor:
    """Fill a matrix from a normal distribution, a fraction `sparsity` of each column being zero.

    Raises:
        ValueError: it is no matrix.
    """
    _args.check(tensor.ndim == 2, "Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)  # type: ignore[attr-defined]
    count = math.ceil(sparsity * rows)
    if _capture.state.session is not None or _backend.in_foreign_trace():
        keep = _draw((rows, columns), tensor, generator).argsort(0).argsort(0) >= count
    else:
        orders = [sampling.randperm(rows, generator=generator) for _ in range(columns)]
        places = np.argsort(np.reshape(np.asarray(orders), (columns, rows)), 1).T
        keep = jnp.asarray(places >= count)
    tensor._assign(tensor._value() * keep.astype(tensor._value().dtype), None)
    return tensor


def _deprecated(fill: Callable) -> Callable:
    old = fill.__name__[:-1]

    @functools.wraps(fill)
    def wrapped(*args: typing.Any, **kwargs: typing.Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{old}_`.", FutureWarning, stacklevel=2)
        return fill(*args, **kwargs)

    wrapped.__name__ = old
    wrapped.__doc__ = f"Deprecated spelling of `{old}_`."
    return wrapped


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
