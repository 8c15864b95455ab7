"""Blocks of an image as columns (unfold), and columns added back into an image (fold)."""

import math
from collections.abc import Sequence

import jax

from jtorch.ops import _args
from jtorch.ops._op import Array, op
from jtorch.ops._windows import FEW, Windows, blocks_of


def _windows(name: str, size: tuple[int, ...], kernel_size, dilation, padding, stride) -> Windows:
    kernel, dil, pad, step = (
        _args.ntuple(value, 2, name, what)
        for value, what in (
            (kernel_size, "kernel_size"),
            (dilation, "dilation"),
            (padding, "padding"),
            (stride, "stride"),
        )
    )
    for values, what in ((kernel, "kernel size"), (dil, "dilation"), (step, "stride")):
        _args.check(min(values) > 0, f"{name}(): expected a {what} greater than zero, got {values}", RuntimeError)
    _args.check(min(pad) >= 0, f"{name}(): expected padding of 0 or more, got {pad}", RuntimeError)
    out = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, pad, dil, kernel, step, strict=True)
    )
    _args.check(
        min(out) > 0,
        f"{name}(): expected room for at least one block, got {out} blocks of {kernel} in {size}",
        RuntimeError,
    )
    return Windows(size, kernel, step, pad, dil, out)


def _columns(image: Array, w: Windows) -> Array:
    blocks = blocks_of(w.padded(image, 0), w.kernel, w.stride, w.dilation, w.out, math.prod(w.kernel) <= FEW)
    return blocks.reshape(image.shape[0], image.shape[1] * math.prod(w.kernel), math.prod(w.out))


@op(method=False, function=False)
def unfold(
    input: Array, kernel_size: int | Sequence[int], dilation: int | Sequence[int] = 1, padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Array:  # fmt: skip
    """Each block of the image as a column.

    Shape: (N, C, H, W) or (C, H, W) -> (N, C K, L) or (C K, L), K the elements of a block and L the number of blocks
    Raises: RuntimeError where no block fits.
    """
    text = f"unfold(): expected 3D or 4D input, got {list(input.shape)}"
    _args.check(input.ndim in (3, 4) and 0 not in input.shape[-3:], text, RuntimeError)
    w = _windows("unfold", input.shape[-2:], kernel_size, dilation, padding, stride)
    return _columns(input, w) if input.ndim == 4 else _columns(input[None], w)[0]


@op(method=False, function=False)
def fold(
    input: Array, output_size: int | Sequence[int], kernel_size: int | Sequence[int], dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0, stride: int | Sequence[int] = 1,
) -> Array:  # fmt: skip
    """An image that is the sum of blocks given as columns: the transpose of unfold.

    Shape: (N, C K, L) or (C K, L) -> (N, C, H, W) or (C, H, W), where (H, W) = output_size
    Raises: RuntimeError where the number of rows or columns is not that of the blocks.
    """
    size = _args.ntuple(output_size, 2, "fold", "output_size")
    _args.check(input.ndim in (2, 3), f"fold(): expected 2D or 3D input, got {list(input.shape)}", RuntimeError)
    w = _windows("fold", size, kernel_size, dilation, padding, stride)
    rows, columns = input.shape[-2:]
    block, count = math.prod(w.kernel), math.prod(w.out)
    _args.check(
        rows % block == 0,
        f"fold(): expected rows that divide by the {block} elements of a block, got {rows}",
        RuntimeError,
    )
    _args.check(columns == count, f"fold(): expected {count} columns for {w.out} blocks, got {columns}", RuntimeError)
    batch = input if input.ndim == 3 else input[None]
    image = jax.ShapeDtypeStruct((batch.shape[0], rows // block, *size), input.dtype)
    (result,) = jax.linear_transpose(lambda x: _columns(x, w), image)(batch)
    return result if input.ndim == 3 else result[0]
