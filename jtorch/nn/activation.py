"""Activations as modules, each its function in `nn.functional` with the arguments stored. Attention is with transformer."""

import warnings
from dataclasses import InitVar
from typing import Any

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn._declared import Declared, functional
from jtorch.nn.dropout import Drawing
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check


class _Activation(Declared):
    """An activation, whose repr shows `inplace` where that is set."""

    def extra_repr(self) -> str:
        """The settings."""
        inplace = "inplace=True" if getattr(self, "inplace", False) else ""
        return ", ".join(filter(None, (super().extra_repr(), inplace)))


# piecewise linear


class Threshold(_Activation):
    """Its input where greater than `threshold`, `value` elsewhere.

    Shape: (*) -> (*)
    """

    threshold: float
    value: float
    inplace: bool = False
    shown = "threshold={threshold}, value={value}"
    forward = functional(F.threshold)


class ReLU(_Activation):
    """Its input where positive, 0 elsewhere.

    Shape: (*) -> (*)
    """

    inplace: bool = False
    forward = functional(F.relu)


class Hardtanh(_Activation):
    """Its input limited to the range from `min_val` to `max_val`.

    Shape: (*) -> (*)
    Args:
        min_value, max_value: deprecated names of the limits.
    """

    min_val: float = -1.0
    max_val: float = 1.0
    inplace: bool = False
    min_value: InitVar[float | None] = None
    max_value: InitVar[float | None] = None
    shown = "min_val={min_val}, max_val={max_val}"
    forward = functional(F.hardtanh)

    def __post_init__(self, min_value: float | None, max_value: float | None):
        for old, new, value in (("min_value", "min_val", min_value), ("max_value", "max_val", max_value)):
            if value is not None:
                warning = f"keyword argument `{old}` is deprecated and rename to `{new}`"
                warnings.warn(warning, FutureWarning, stacklevel=3)
                setattr(self, new, value)
        limits = f"expected min_val < max_val, got {self.min_val} and {self.max_val}"
        check(self.max_val > self.min_val, f"Hardtanh(): {limits}", AssertionError)


class ReLU6(Hardtanh):
    """Its input limited to the range from 0 to 6.

    Shape: (*) -> (*)
    """

    inplace: bool = False
    shown = ""
    forward = functional(F.relu6)

    def __post_init__(self):
        self.min_val, self.max_val = 0.0, 6.0


class RReLU(Drawing):
    """Its input where positive, elsewhere times a slope: drawn from `lower` to `upper` in training, else their mean.

    Shape: (*) -> (*)
    Source: Xu et al., arXiv 1505.00853 (2015).
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        """The function of the input."""
        key = self.key() if self.training else None
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace, key=key)

    def extra_repr(self) -> str:
        """The range of slopes."""
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class LeakyReLU(_Activation):
    """Its input where positive, elsewhere times `negative_slope`.

    Shape: (*) -> (*)
    """

    negative_slope: float = 1e-2
    inplace: bool = False
    shown = "negative_slope={negative_slope}"
    forward = functional(F.leaky_relu)


class PReLU(Module):
    """Its input where positive, elsewhere times a slope that is learned: one for all, or one for each channel.

    Shape: (N, C, *) -> same
    Args:
        num_parameters: 1 or C.
        init: where the slopes start.
    Source: He et al., arXiv 1502.01852 (2015).
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(_creation.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the slopes to where they start."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """The function of the input."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """The number of slopes."""
        return f"num_parameters={self.num_parameters}"


class Hardsigmoid(Declared):
    """A sigmoid of three straight lines.

    Shape: (*) -> (*)
    """

    inplace: bool = False
    forward = functional(F.hardsigmoid)


class Hardswish(Declared):
    """Its input times the hardsigmoid of it.

    Shape: (*) -> (*)
    Source: Howard et al., arXiv 1905.02244 (2019).
    """

    inplace: bool = False
    forward = functional(F.hardswish)


class Hardshrink(Declared):
    """Its input where its size is greater than `lambd`, 0 elsewhere.

    Shape: (*) -> (*)
    """

    lambd: float = 0.5
    shown = "{lambd}"
    forward = functional(F.hardshrink)


class Softshrink(Declared):
    """Its input moved towards 0 by `lambd`, and 0 where it is no farther away than that.

    Shape: (*) -> (*)
    """

    lambd: float = 0.5
    shown = "{lambd}"
    forward = functional(F.softshrink)


# smooth


class Sigmoid(Declared):
    """`1 / (1 + exp(-input))`.

    Shape: (*) -> (*)
    """

    forward = functional(F.sigmoid)


class Tanh(Declared):
    """The hyperbolic tangent.

    Shape: (*) -> (*)
    """

    forward = functional(F.tanh)


class ELU(_Activation):
    """Its input where positive, `alpha * (exp(input) - 1)` elsewhere.

    Shape: (*) -> (*)
    Source: Clevert et al., arXiv 1511.07289 (2015).
    """

    alpha: float = 1.0
    inplace: bool = False
    shown = "alpha={alpha}"
    forward = functional(F.elu)


class CELU(_Activation):
    """Its input where positive, `alpha * (exp(input / alpha) - 1)` elsewhere.

    Shape: (*) -> (*)
    Source: Barron, arXiv 1704.07483 (2017).
    """

    alpha: float = 1.0
    inplace: bool = False
    shown = "alpha={alpha}"
    forward = functional(F.celu)


class SELU(_Activation):
    """The scaled ELU that keeps mean 0 and variance 1 from layer to layer.

    Shape: (*) -> (*)
    Source: Klambauer et al., arXiv 1706.02515 (2017).
    """

    inplace: bool = False
    forward = functional(F.selu)


class GELU(Declared):
    """Its input times the normal distribution function at it, exact or by its "tanh" approximation.

    Shape: (*) -> (*)
    Source: Hendrycks & Gimpel, arXiv 1606.08415 (2016).
    """

    approximate: str = "none"
    shown = "approximate={approximate!r}"
    forward = functional(F.gelu)


class SiLU(_Activation):
    """Its input times the sigmoid of it.

    Shape: (*) -> (*)
    """

    inplace: bool = False
    forward = functional(F.silu)


class Mish(_Activation):
    """Its input times the tanh of the softplus of it.

    Shape: (*) -> (*)
    Source: Misra, arXiv 1908.08681 (2019).
    """

    inplace: bool = False
    forward = functional(F.mish)


class LogSigmoid(Declared):
    """The logarithm of the sigmoid.

    Shape: (*) -> (*)
    """

    forward = functional(F.logsigmoid)


class Softplus(Declared):
    """`log(1 + exp(beta * input)) / beta`, and the input itself where `beta * input > threshold`.

    Shape: (*) -> (*)
    """

    beta: float = 1.0
    threshold: float = 20.0
    shown = "beta={beta}, threshold={threshold}"
    forward = functional(F.softplus)


class Softsign(Declared):
    """`input / (1 + |input|)`.

    Shape: (*) -> (*)
    """

    forward = functional(F.softsign)


class Tanhshrink(Declared):
    """`input - tanh(input)`.

    Shape: (*) -> (*)
    """

    forward = functional(F.tanhshrink)


# along one dimension


class Softmax(Declared):
    """The exponentials of its input divided by their sum along `dim`.

    Shape: (*) -> (*)
    """

    dim: int | None = None
    shown = "dim={dim}"
    forward = functional(F.softmax)


class Softmin(Declared):
    """The softmax of minus its input along `dim`.

    Shape: (*) -> (*)
    """

    dim: int | None = None
    shown = "dim={dim}"
    forward = functional(F.softmin)


class LogSoftmax(Declared):
    """The logarithm of the softmax of its input along `dim`.

    Shape: (*) -> (*)
    """

    dim: int | None = None
    shown = "dim={dim}"
    forward = functional(F.log_softmax)


class Softmax2d(Declared):
    """The softmax over the channels at each place.

    Shape: (N, C, H, W) or (C, H, W) -> same
    Raises:
        ValueError: another number of dimensions.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The softmax of the input."""
        check(input.ndim in (3, 4), f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)


class GLU(Declared):
    """The first half of its input along `dim` times the sigmoid of the second half.

    Shape: (*, 2 L, *) -> (*, L, *)
    Source: Dauphin et al., arXiv 1612.08083 (2016).
    """

    dim: int = -1
    shown = "dim={dim}"
    forward = functional(F.glu)
