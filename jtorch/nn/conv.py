"""Convolution layers and their transposes, in one to three dimensions. The rank is the class attribute `nd`."""

import math
from typing import Any, ClassVar

from jtorch import _creation
from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn import init
from jtorch.nn.module import Module
from jtorch.nn.parameter import Parameter
from jtorch.ops._args import check, ntuple

_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    nd: ClassVar[int]
    transposed: bool
    bias: Any

    def _setup(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        transposed: bool, output_padding: Any, groups: int, bias: bool, padding_mode: str, made: dict,
    ) -> None:  # fmt: skip
        Module.__init__(self)
        check(groups > 0, "groups must be a positive integer")
        check(in_channels % groups == 0, "in_channels must be divisible by groups")
        check(out_channels % groups == 0, "out_channels must be divisible by groups")
        text = f"padding_mode must be one of {list(_MODES)}, but got padding_mode={padding_mode!r}"
        check(padding_mode in _MODES, text)
        name = type(self).__name__
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = ntuple(kernel_size, self.nd, name, "kernel_size")
        self.stride = ntuple(stride, self.nd, name, "stride")
        self.dilation = ntuple(dilation, self.nd, name, "dilation")
        self.padding = self._padding(padding)
        self.transposed = transposed
        self.output_padding = ntuple(output_padding, self.nd, name, "output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(_creation.empty((*shape, *self.kernel_size), **made))
        if bias:
            self.bias = Parameter(_creation.empty(out_channels, **made))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _padding(self, padding: Any) -> Any:
        if not isinstance(padding, str):
            return ntuple(padding, self.nd, type(self).__name__, "padding")
        check(padding in ("same", "valid"), f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}")
        strided = padding == "same" and max(self.stride) > 1
        check(not strided, "padding='same' is not supported for strided convolutions")
        return padding

    def reset_parameters(self) -> None:
        """Draw weight and bias evenly within `1 / sqrt(fan_in)`."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, and the settings that differ from the defaults."""
        nd = self.nd
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        usual = {"padding": (0,) * nd, "dilation": (1,) * nd, "output_padding": (0,) * nd, "groups": 1}
        text += "".join(
            f", {name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value
        )
        text += ", bias=False" if self.bias is None else ""
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Forward(_ConvNd):
    function: ClassVar[Any]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        made = {"device": device, "dtype": dtype}
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            False,
            0,
            groups,
            bias,
            padding_mode,
            made,
        )

    def _around(self) -> list[int]:
        """The padding as `F.pad` takes it, from the last dimension backwards."""
        if self.padding == "valid":
            return [0] * (2 * self.nd)
        if self.padding == "same":
            totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return [side for t in reversed(totals) for side in (t // 2, t - t // 2)]
        return [p for p in reversed(self.padding) for _ in range(2)]

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of the input."""
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._around(), mode=self.padding_mode), 0
        return type(self).function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Forward):
    """Each output channel is the correlation of the input channels of its group with a learned kernel, plus a bias.

    Shape: (N, C, L) or (C, L) -> the same with out_channels and
        L' = (L + 2 padding - dilation (K - 1) - 1) / stride + 1
    Args:
        padding: numbers, `valid` for none, `same` for the size of the input.
        padding_mode: `zeros`, `reflect`, `replicate` or `circular`.
    Raises:
        ValueError: channels that do not divide into the groups, an unknown padding or mode.
    """

    nd = 1
    function = F.conv1d


class Conv2d(_Forward):
    """Each output channel is the correlation of the input channels of its group with a learned kernel, plus a bias.

    Shape: (N, C, H, W) or (C, H, W) -> the same with out_channels and output sizes as for Conv1d
    """

    nd = 2
    function = F.conv2d


class Conv3d(_Forward):
    """Each output channel is the correlation of the input channels of its group with a learned kernel, plus a bias.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with out_channels and output sizes as for Conv1d
    """

    nd = 3
    function = F.conv3d


class _Transposed(_ConvNd):
    function: ClassVar[Any]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        text = f'Only "zeros" padding mode is supported for {type(self).__name__}'
        check(padding_mode == "zeros", text)
        made = {"device": device, "dtype": dtype}
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            True,
            output_padding,
            groups,
            bias,
            padding_mode,
            made,
        )

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        """The transposed convolution; `output_size` chooses among the sizes that the stride leaves open."""
        extra = self.output_padding if output_size is None else self._output_padding(input, tuple(output_size))
        return type(self).function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        nd, first = self.nd, input.ndim - self.nd
        if len(output_size) == input.ndim:
            output_size = output_size[first:]
        text = (
            f"{type(self).__name__}: for {input.ndim}D input, output_size must have {nd} or {input.ndim} elements "
            f"(got {len(output_size)})"
        )
        check(len(output_size) == nd, text)
        lowest = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                input.shape[first:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        highest = [n + s - 1 for n, s in zip(lowest, self.stride, strict=True)]
        for size, low, high in zip(output_size, lowest, highest, strict=True):
            text = f"requested an output size of {list(output_size)}, but valid sizes range from {lowest} to {highest}"
            check(low <= size <= high, text)
        return tuple(size - low for size, low in zip(output_size, lowest, strict=True))


class ConvTranspose1d(_Transposed):
    """The transpose of Conv1d: its gradient with respect to its input, with a weight of its own, plus a bias.

    Shape: (N, C, L) or (C, L) -> the same with out_channels and
        L' = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1
    """

    nd = 1
    function = F.conv_transpose1d


class ConvTranspose2d(_Transposed):
    """The transpose of Conv2d: its gradient with respect to its input, with a weight of its own, plus a bias.

    Shape: (N, C, H, W) or (C, H, W) -> the same with out_channels and output sizes as for ConvTranspose1d
    """

    nd = 2
    function = F.conv_transpose2d


class ConvTranspose3d(_Transposed):
    """The transpose of Conv3d: its gradient with respect to its input, with a weight of its own, plus a bias.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with out_channels and output sizes as for ConvTranspose1d
    """

    nd = 3
    function = F.conv_transpose3d
