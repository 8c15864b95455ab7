"""Elements moved between channels and space (pixel_shuffle and its inverse), and between groups of channels."""

import math

from jtorch.ops import _args
from jtorch.ops._op import Array, op


def _check_image(name: str, input: Array, factor: int, what: str) -> None:
    text = f"{name}(): expected an int for {what}, got {factor!r}"
    _args.check(isinstance(factor, int) and not isinstance(factor, bool), text, TypeError)
    text = f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
    _args.check(input.ndim >= 3, text, RuntimeError)
    _args.check(factor > 0, f"{name} expects a positive {what}, but got {factor}", RuntimeError)


@op(method=False)
def pixel_shuffle(input: Array, upscale_factor: int) -> Array:
    """The input with r * r channels spread over each block of r by r elements of one, r the upscale factor.

    Shape: (*, C r r, H, W) -> (*, C, H r, W r)
    Raises: RuntimeError where the channels do not divide by r * r.
    Source: Shi et al., arXiv 1609.05158 (2016).
    """
    r = upscale_factor
    _check_image("pixel_shuffle", input, r, "upscale_factor")
    *lead, channels, height, width = input.shape
    text = (
        f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
        f"input.size(-3)={channels} is not divisible by {r * r}"
    )
    _args.check(channels % (r * r) == 0, text, RuntimeError)
    blocks = input.reshape(math.prod(lead), channels // (r * r), r, r, height, width).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(*lead, channels // (r * r), height * r, width * r)


@op(method=False)
def pixel_unshuffle(input: Array, downscale_factor: int) -> Array:
    """The inverse of `pixel_shuffle`: each block of r by r elements as r * r channels, r the downscale factor.

    Shape: (*, C, H r, W r) -> (*, C r r, H, W)
    Raises: RuntimeError where the height or the width does not divide by r.
    Differs: an empty input is given the same new shape as any other.
    """
    r = downscale_factor
    _check_image("pixel_unshuffle", input, r, "downscale_factor")
    *lead, channels, height, width = input.shape
    for size, what, at in ((height, "height", -2), (width, "width", -1)):
        text = (
            f"pixel_unshuffle expects {what} to be divisible by downscale_factor, but input.size({at})={size} is not "
            f"divisible by {r}"
        )
        _args.check(size % r == 0, text, RuntimeError)
    blocks = input.reshape(math.prod(lead), channels, height // r, r, width // r, r).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(*lead, channels * r * r, height // r, width // r)


@op(method=False, alias="native_channel_shuffle")
def channel_shuffle(input: Array, groups: int) -> Array:
    """The input with its channels dealt out in turn from each of the groups.

    Shape: (N, C, *) -> (N, C, *)
    Raises: RuntimeError where the channels do not divide by the groups.
    Source: Zhang et al., arXiv 1707.01083 (2017).
    """
    text = f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}"
    _args.check(input.ndim > 2, text, RuntimeError)
    text = f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
    _args.check(groups > 0, text, RuntimeError)
    channels = input.shape[1]
    text = f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
    _args.check(channels % groups == 0, text, RuntimeError)
    dealt = input.reshape(input.shape[0], groups, channels // groups, *input.shape[2:]).swapaxes(1, 2)
    return dealt.reshape(input.shape)
