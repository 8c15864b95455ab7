"""The gradients of convolutions for their input and their weight, as functions of their own."""

from collections.abc import Callable, Sequence
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.autograd import grad
from jtorch.autograd.grad_mode import inference_mode
from jtorch.ops.conv import conv1d, conv2d, conv3d

_Size = int | Sequence[int]


def _of_input(conv: Callable, size: Any, weight: Any, output: Any, *how: Any) -> Tensor:
    with inference_mode(False):
        x = _creation.zeros(size, dtype=weight.dtype, device=weight.device, requires_grad=True)
        return grad(conv(x, weight, None, *how), x, output)[0]


def _of_weight(conv: Callable, x: Any, size: Any, output: Any, *how: Any) -> Tensor:
    with inference_mode(False):
        weight = _creation.zeros(size, dtype=x.dtype, device=x.device, requires_grad=True)
        return grad(conv(x, weight, None, *how), weight, output)[0]


def conv1d_input(
    input_size: Any, weight: Tensor, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv1d` for its input, of the shape `input_size`."""
    return _of_input(conv1d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(
    input: Tensor, weight_size: Any, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv1d` for its weight, of the shape `weight_size`."""
    return _of_weight(conv1d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(
    input_size: Any, weight: Tensor, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv2d` for its input, of the shape `input_size`."""
    return _of_input(conv2d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(
    input: Tensor, weight_size: Any, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv2d` for its weight, of the shape `weight_size`."""
    return _of_weight(conv2d, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(
    input_size: Any, weight: Tensor, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv3d` for its input, of the shape `input_size`."""
    return _of_input(conv3d, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(
    input: Tensor, weight_size: Any, grad_output: Tensor, stride: _Size = 1, padding: _Size = 0, dilation: _Size = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """The gradient of `conv3d` for its weight, of the shape `weight_size`."""
    return _of_weight(conv3d, input, weight_size, grad_output, stride, padding, dilation, groups)
