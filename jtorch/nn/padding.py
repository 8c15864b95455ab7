"""Padding layers: a constant, zeros, the mirrored inside, the edge or the other end around the last dimensions."""

from typing import Any, ClassVar

from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn._declared import Declared
from jtorch.ops._args import check


class _Pad(Declared):
    """A layer that pads its last `nd` dimensions by amounts, or on all sides by one amount."""

    padding: Any
    nd: ClassVar[int]
    mode: ClassVar[str]
    shown = "{padding}"

    def __post_init__(self) -> None:
        one = isinstance(self.padding, int)
        self.padding = (self.padding,) * (2 * self.nd) if one else tuple(self.padding)

    def forward(self, input: Tensor) -> Tensor:
        """The input, padded."""
        return F.pad(input, self.padding, self.mode)


class _ConstantPad(_Pad):
    padding: Any
    value: float
    mode = "constant"
    shown = "padding={padding}, value={value}"

    def forward(self, input: Tensor) -> Tensor:
        """The input with the value around it."""
        return F.pad(input, self.padding, self.mode, self.value)


class _CircularPad(_Pad):
    mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        """The input, padded."""
        low = self.nd + 1
        check(input.ndim in (low, low + 1), f"expected {low}D or {low + 1}D input (got {input.ndim}D input)")
        return super().forward(input)


class ConstantPad1d(_ConstantPad):
    """Its input with `value` around it.

    Shape: (N, C, L) or (C, L) -> the same with L longer by padding[0] + padding[1]
    """

    nd = 1


class ConstantPad2d(_ConstantPad):
    """Its input with `value` around it.

    Shape: (N, C, H, W) or (C, H, W) -> the same with W longer by padding[0] + padding[1], H by padding[2] + padding[3]
    """

    nd = 2


class ConstantPad3d(_ConstantPad):
    """Its input with `value` around it.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with W, H and D longer by two amounts each, in this order
    """

    nd = 3


class CircularPad1d(_CircularPad):
    """Its input with its own other end after each end.

    Shape: (N, C, L) or (C, L) -> the same with L longer by padding[0] + padding[1]
    """

    nd = 1


class CircularPad2d(_CircularPad):
    """Its input with its own other end after each end.

    Shape: (N, C, H, W) or (C, H, W) -> the same with W longer by padding[0] + padding[1], H by padding[2] + padding[3]
    """

    nd = 2


class CircularPad3d(_CircularPad):
    """Its input with its own other end after each end.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with W, H and D longer by two amounts each, in this order
    """

    nd = 3


class ReflectionPad1d(_Pad):
    """Its input with its inside mirrored at the edges.

    Shape: (N, C, L) or (C, L) -> the same with L longer by padding[0] + padding[1]
    """

    nd = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """Its input with its inside mirrored at the edges.

    Shape: (N, C, H, W) or (C, H, W) -> the same with W longer by padding[0] + padding[1], H by padding[2] + padding[3]
    """

    nd = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """Its input with its inside mirrored at the edges.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with W, H and D longer by two amounts each, in this order
    """

    nd = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Its input with its edges repeated.

    Shape: (N, C, L) or (C, L) -> the same with L longer by padding[0] + padding[1]
    """

    nd = 1
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """Its input with its edges repeated.

    Shape: (N, C, H, W) or (C, H, W) -> the same with W longer by padding[0] + padding[1], H by padding[2] + padding[3]
    """

    nd = 2
    mode = "replicate"


class ReplicationPad3d(_Pad):
    """Its input with its edges repeated.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with W, H and D longer by two amounts each, in this order
    """

    nd = 3
    mode = "replicate"


class ZeroPad1d(ConstantPad1d):
    """Its input with zeros around it.

    Shape: (N, C, L) or (C, L) -> the same with L longer by padding[0] + padding[1]
    """

    shown = "{padding}"

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)


class ZeroPad2d(ConstantPad2d):
    """Its input with zeros around it.

    Shape: (N, C, H, W) or (C, H, W) -> the same with W longer by padding[0] + padding[1], H by padding[2] + padding[3]
    """

    shown = "{padding}"

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)


class ZeroPad3d(ConstantPad3d):
    """Its input with zeros around it.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with W, H and D longer by two amounts each, in this order
    """

    shown = "{padding}"

    def __init__(self, padding: Any):
        super().__init__(padding, 0.0)
