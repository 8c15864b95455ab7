"""Layers that are one matrix (Linear, Bilinear), or only a shape. Tables of vectors are in `embedding`."""

import math
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check


class Identity(Module):
    """Its input. Any arguments of the constructor are ignored.

    Shape: (*) -> (*)
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The input."""
        return input


class Linear(Module):
    """An affine map: `x W^T + b`.

    Shape: (*, in_features) -> (*, out_features)
    Args:
        bias: whether there is a `b`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        made = {"device": device, "dtype": dtype}
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(_creation.empty((out_features, in_features), **made))
        if bias:
            self.bias = Parameter(_creation.empty(out_features, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias evenly within `1 / sqrt(in_features)`."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """The map of the input."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class NonDynamicallyQuantizableLinear(Linear):
    """Linear under the name that torch's attention uses for its output projection."""


class Bilinear(Module):
    """A bilinear map of two inputs: `x1^T A x2 + b`.

    Shape: (*, in1_features), (*, in2_features) -> (*, out_features)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        check(in1_features > 0, f"in1_features must be > 0, but got {in1_features}")
        made = {"device": device, "dtype": dtype}
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(_creation.empty((out_features, in1_features, in2_features), **made))
        if bias:
            self.bias = Parameter(_creation.empty(out_features, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias evenly within `1 / sqrt(in1_features)`."""
        bound = 1 / math.sqrt(self.weight.size(1))
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """The map of the two inputs."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The sizes."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Flatten(Module):
    """Its input with the dimensions from `start_dim` to `end_dim` made one.

    Shape: (N, *) -> (N, the product of *)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """The flattened input."""
        return input.flatten(self.start_dim, self.end_dim)  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        """The two dimensions."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Its input with one dimension made several.

    Shape: (N, product of sizes, *) -> (N, sizes, *)
    Raises:
        TypeError: the sizes are no tuple of integers.
    """

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        kind = type(unflattened_size).__name__
        check(isinstance(dim, int), "only named tensors take a dim that is no integer", TypeError)
        fits = isinstance(unflattened_size, tuple | list)
        check(fits, f"unflattened_size must be a tuple of ints, but found type {kind}", TypeError)
        for i, n in enumerate(unflattened_size):
            whole = isinstance(n, int)
            check(
                whole,
                f"unflattened_size must be tuple of ints, but found element of type {type(n).__name__} at pos {i}",
                TypeError,
            )
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """The input with more dimensions."""
        return input.unflatten(self.dim, self.unflattened_size)  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        """The dimension and the sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
