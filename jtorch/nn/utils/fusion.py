"""Batch norm in evaluation folded into the layer before it."""

import copy
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn.parameter import Parameter
from jtorch.ops import _args
from jtorch.ops.pointwise import rsqrt


def _check_evaluation(layer: Any, bn: Any) -> None:
    _args.check(not (layer.training or bn.training), "Fusion only for eval!", AssertionError)
    known = bn.running_mean is not None and bn.running_var is not None
    _args.check(known, "bn.running_mean and bn.running_var must not be None", AssertionError)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A copy of a convolution that does what it and the batch norm after it do in evaluation.

    Args:
        transpose: whether it is a transposed convolution.

    Raises:
        AssertionError: one of them is in training, or the batch norm has no running statistics.
    """
    _check_evaluation(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None,
    bn_b: Tensor | None, transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Weight and bias of `fuse_conv_bn_eval`, as parameters of the dtypes of the convolution's."""
    shift = _creation.zeros_like(bn_rm) if bn_b is None else bn_b
    scale = rsqrt(bn_rv + bn_eps)
    scale = scale if bn_w is None else bn_w * scale
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    return _fused(conv_w, conv_b, scale.reshape(shape), bn_rm, scale, shift)


def _fused(weight: Any, bias: Any, factor: Any, mean: Any, scale: Any, shift: Any) -> tuple:
    before = _creation.zeros_like(mean) if bias is None else bias
    dtype = weight.dtype if bias is None else bias.dtype
    made = (weight * factor).to(weight.dtype), ((before - mean) * scale + shift).to(dtype)
    return Parameter(made[0], weight.requires_grad), Parameter(made[1], before.requires_grad)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A copy of a Linear that does what it and the batch norm after it do in evaluation.

    Raises:
        AssertionError: one of them is in training, the batch norm has no running statistics, or the sizes do not match.
    """
    _args.check(not (linear.training or bn.training), "Fusion only for eval!", AssertionError)
    _args.check(
        bn.num_features in (linear.out_features, 1),
        "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
        f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}",
        AssertionError,
    )
    _check_evaluation(linear, bn)
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor, bn_b: Tensor
) -> tuple[Parameter, Parameter]:
    """Weight and bias of `fuse_linear_bn_eval`, as parameters of the dtypes of the Linear's."""
    scale = bn_w * rsqrt(bn_rv + bn_eps)
    return _fused(linear_w, linear_b, scale.unsqueeze(-1), bn_rm, scale, bn_b)
