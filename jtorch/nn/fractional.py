"""Fractional max pooling layers: the largest elements of windows whose steps are drawn."""

from typing import Any

from jtorch._tensor import Tensor
from jtorch.nn import functional as F
from jtorch.nn.dropout import Drawing
from jtorch.ops._args import check


def _spread(value: Any, nd: int) -> Any:
    return tuple(value) if isinstance(value, tuple | list) else value if value is None else (value,) * nd


class _FractionalMaxPool(Drawing):
    nd: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ):
        super().__init__()
        name, nd = type(self).__name__, self.nd
        self.kernel_size = _spread(kernel_size, nd)
        if nd == 3:
            check(min(self.kernel_size) > 0, f"kernel_size must be greater than 0, but got {kernel_size}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = _spread(output_size, nd)
        self.output_ratio = _spread(output_ratio, nd)
        given = output_size is not None or output_ratio is not None
        check(given, f"{name} requires specifying either an output size, or a pooling ratio")
        check(output_size is None or output_ratio is None, "only one of output_size and output_ratio may be specified")
        if output_ratio is not None:
            between = all(0 < ratio < 1 for ratio in self.output_ratio)
            check(between, f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def _pooled(self, function: Any, input: Tensor) -> Any:
        given = self._random_samples
        return function(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, given,
            key=self.key() if given is None else None,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest element of each window, the windows' steps drawn (with `return_indices`, its flat place as well).

    Shape: (N, C, H, W) or (C, H, W) -> the same with (H, W) = output_size or output_ratio times (H, W)
    Raises:
        ValueError: not one of output_size and output_ratio, or a ratio that is not between 0 and 1.
    Source: Graham, arXiv 1412.6071 (2014).
    """

    nd = 2

    def forward(self, input: Tensor) -> Any:
        """The largest elements."""
        return self._pooled(F.fractional_max_pool2d, input)


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest element of each window, the windows' steps drawn (with `return_indices`, its flat place as well).

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with (D, H, W) = output_size or output_ratio times (D, H, W)
    Raises:
        ValueError: not one of output_size and output_ratio, a ratio that is not between 0 and 1, a kernel size of 0.
    Source: Graham, arXiv 1412.6071 (2014).
    """

    nd = 3

    def forward(self, input: Tensor) -> Any:
        """The largest elements."""
        return self._pooled(F.fractional_max_pool3d, input)
