"""Pooling layers: the largest element or the mean of windows, with windows given or chosen for an output size."""

from typing import Any, ClassVar

from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional
from jtorch.ops._args import ntuple


class _MaxPool(Declared):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    return_indices: bool = False
    ceil_mode: bool = False
    shown = "kernel_size={kernel_size}, stride={stride}, padding={padding}, dilation={dilation}, ceil_mode={ceil_mode}"

    def __post_init__(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


class MaxPool1d(_MaxPool):
    """The largest element of each window, with `return_indices` its place as well.

    Shape: (N, C, L) or (C, L) -> the same with L' = (L + 2 padding - dilation (K - 1) - 1) / stride + 1
    """

    forward = functional(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest element of each window, with `return_indices` its flat place as well.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes as for MaxPool1d
    """

    forward = functional(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest element of each window, with `return_indices` its flat place as well.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes as for MaxPool1d
    """

    forward = functional(F.max_pool3d)


class _MaxUnpool(Declared):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    nd: ClassVar[int]
    shown = "kernel_size={kernel_size}, stride={stride}, padding={padding}"

    def __post_init__(self) -> None:
        name = type(self).__name__
        self.kernel_size = ntuple(self.kernel_size, self.nd, name, "kernel_size")
        self.stride = self.kernel_size if self.stride is None else ntuple(self.stride, self.nd, name, "stride")
        self.padding = ntuple(self.padding, self.nd, name, "padding")


class MaxUnpool1d(_MaxUnpool):
    """The inverse of MaxPool1d: zeros, with the elements at their places.

    Shape: (N, C, L) or (C, L) -> the same with output sizes
    """

    nd = 1

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """The input spread out to where `indices` say."""
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpool):
    """The inverse of MaxPool2d: zeros, with the elements at their places.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes
    """

    nd = 2

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """The input spread out to where `indices` say."""
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpool):
    """The inverse of MaxPool3d: zeros, with the elements at their places.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes
    """

    nd = 3

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """The input spread out to where `indices` say."""
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool1d(Declared):
    """The mean of each window.

    Shape: (N, C, L) or (C, L) -> the same with L' = (L + 2 padding - K) / stride + 1
    """

    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    shown = "kernel_size={kernel_size}, stride={stride}, padding={padding}"
    forward = functional(F.avg_pool1d)

    def __post_init__(self) -> None:
        name = "AvgPool1d"
        self.kernel_size = ntuple(self.kernel_size, 1, name, "kernel_size")
        self.stride = self.kernel_size if self.stride is None else ntuple(self.stride, 1, name, "stride")
        self.padding = ntuple(self.padding, 1, name, "padding")


class _AvgPool(Declared):
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    shown = "kernel_size={kernel_size}, stride={stride}, padding={padding}"

    def __post_init__(self) -> None:
        if self.stride is None:
            self.stride = self.kernel_size


class AvgPool2d(_AvgPool):
    """The mean of each window, or its sum divided by `divisor_override`.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes as for AvgPool1d
    """

    forward = functional(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window, or its sum divided by `divisor_override`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes as for AvgPool1d
    """

    forward = functional(F.avg_pool3d)


class _LPPool(Declared):
    norm_type: float
    kernel_size: Any
    stride: Any = None
    ceil_mode: bool = False
    shown = "norm_type={norm_type}, kernel_size={kernel_size}, stride={stride}, ceil_mode={ceil_mode}"
    _pool: ClassVar[Any]

    def forward(self, input: Tensor) -> Tensor:
        """The pooled input; the power counts as a float."""
        return self._pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """The `norm_type`-th root of the sum of that power over each window.

    Shape: (N, C, L) or (C, L) -> the same with output sizes
    """

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The `norm_type`-th root of the sum of that power over each window.

    Shape: (N, C, H, W) or (C, H, W) -> the same with output sizes
    """

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """The `norm_type`-th root of the sum of that power over each window.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with output sizes
    """

    _pool = staticmethod(F.lp_pool3d)


class _AdaptiveMaxPool(Declared):
    output_size: Any
    return_indices: bool = False
    shown = "output_size={output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` windows that cover the input.

    Shape: (N, C, L) or (C, L) -> the same with L = output_size
    """

    forward = functional(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, H, W) or (C, H, W) -> the same with (H, W) = output_size
    """

    forward = functional(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest element of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with (D, H, W) = output_size
    """

    forward = functional(F.adaptive_max_pool3d)


class _AdaptiveAvgPool(Declared):
    output_size: Any
    shown = "output_size={output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of `output_size` windows that cover the input.

    Shape: (N, C, L) or (C, L) -> the same with L = output_size
    """

    forward = functional(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, H, W) or (C, H, W) -> the same with (H, W) = output_size
    """

    forward = functional(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of `output_size` windows that cover the input; None keeps a size.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with (D, H, W) = output_size
    """

    forward = functional(F.adaptive_avg_pool3d)
