"""Layers that resize images and sequences."""

from typing import Any

from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional


class Upsample(Declared):
    """Its input resized to `size`, or by `scale_factor`.

    Shape: (N, C, *) -> (N, C, *size), with one to three dimensions *
    Args:
        mode: nearest, linear, bilinear, bicubic or trilinear, as for `interpolate`.
    """

    size: Any = None
    scale_factor: Any = None
    mode: str = "nearest"
    align_corners: bool | None = None
    recompute_scale_factor: bool | None = None
    forward = functional(F.interpolate)

    def __post_init__(self) -> None:
        factor = self.scale_factor
        self.name = type(self).__name__
        self.scale_factor = (
            tuple(map(float, factor)) if isinstance(factor, tuple) else float(factor) if factor else None
        )

    def extra_repr(self) -> str:
        """The factor or the size, and the mode."""
        by = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{by}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Its input resized by the nearest element: `Upsample` under an old name.

    Shape: (N, C, H, W) -> (N, C, *size)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Its input resized in mode bilinear with the corners in place: `Upsample` under an old name.

    Shape: (N, C, H, W) -> (N, C, *size)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
