"""Layers that move elements between channels and space, or between groups of channels."""

from jtorch.nn import functional as F
from jtorch.nn._declared import Declared, functional


class PixelShuffle(Declared):
    """Its input with r * r channels spread over each block of r by r elements of one, r the upscale factor.

    Shape: (*, C r r, H, W) -> (*, C, H r, W r)
    Source: Shi et al., arXiv 1609.05158 (2016).
    """

    upscale_factor: int
    shown = "upscale_factor={upscale_factor}"
    forward = functional(F.pixel_shuffle)


class PixelUnshuffle(Declared):
    """Its input with each block of r by r elements as r * r channels, r the downscale factor.

    Shape: (*, C, H r, W r) -> (*, C r r, H, W)
    """

    downscale_factor: int
    shown = "downscale_factor={downscale_factor}"
    forward = functional(F.pixel_unshuffle)


class ChannelShuffle(Declared):
    """Its input with the channels dealt out in turn from each of the groups.

    Shape: (N, C, *) -> (N, C, *)
    Source: Zhang et al., arXiv 1707.01083 (2017).
    """

    groups: int
    shown = "groups={groups}"
    forward = functional(F.channel_shuffle)
