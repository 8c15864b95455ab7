"""Fold and Unfold: blocks of an image as columns, and back."""

from typing import Any

from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional


class Fold(Declared):
    """An image that is the sum of blocks given as columns.

    Shape: (N, C K, L) or (C K, L) -> (N, C, H, W) or (C, H, W), where (H, W) = output_size
    """

    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1
    shown = (
        "output_size={output_size}, kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}"
    )
    forward = functional(F.fold)


class Unfold(Declared):
    """Each block of the image as a column.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C K, L) or (C K, L)
    """

    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1
    shown = "kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}"
    forward = functional(F.unfold)
