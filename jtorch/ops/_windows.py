"""The windows of pooling: how many there are, and the elements at one place of all of them as one strided slice."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args

Array = jax.Array
FEW = 16  # elements of a window up to which one sum over them beats one over rows and one over columns


class Windows(NamedTuple):
    """The windows over the last dimensions of an array; one entry a dimension in each field."""

    size: tuple[int, ...]  # of the input
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    out: tuple[int, ...]

    def padded(self, input: Array, value: Any) -> Array:
        """The input with `value` around it, wide enough for the last window."""
        needed = [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in zip(self.out, self.stride, self.kernel, self.dilation, strict=True)
        ]
        sides = [(p, max(n - p - length, 0), 0) for n, p, length in zip(needed, self.padding, self.size, strict=True)]
        lead = [(0, 0, 0)] * (input.ndim - len(self.size))
        return jax.lax.pad(input, jnp.asarray(value, input.dtype), lead + sides)

    def places(self) -> Iterator[tuple[int, ...]]:
        """The places in a window, in row-major order."""
        return itertools.product(*map(range, self.kernel))

    def at(self, padded: Array, place: Sequence[int]) -> Array:
        """The element at one place of every window."""
        lead = padded.ndim - len(self.size)
        start = [k * d for k, d in zip(place, self.dilation, strict=True)]
        stop = [b + (o - 1) * s + 1 for b, o, s in zip(start, self.out, self.stride, strict=True)]
        shape = padded.shape[:lead]
        return jax.lax.slice(padded, [0] * lead + start, [*shape, *stop], [1] * lead + list(self.stride))

    def positions(self, place: Sequence[int]) -> np.ndarray:
        """The flat positions in the input of that element; where it lies in the padding they mean nothing."""
        rows = [
            np.arange(o) * s - p + k * d
            for o, s, p, k, d in zip(self.out, self.stride, self.padding, place, self.dilation, strict=True)
        ]
        return _flat(rows, self.size)

    def first_positions(self) -> np.ndarray:
        """The flat position of each window's first element that lies in the input."""
        rows = []
        for o, s, p, d in zip(self.out, self.stride, self.padding, self.dilation, strict=True):
            start = np.arange(o) * s - p
            rows.append(np.where(start < 0, start + -(start // d) * d, start))
        return _flat(rows, self.size)

    def counts(self, include_padding: bool) -> np.ndarray:
        """How many elements each window averages over."""
        rows = []
        for o, s, p, k, length in zip(self.out, self.stride, self.padding, self.kernel, self.size, strict=True):
            start = np.arange(o) * s - p
            stop = np.minimum(start + k, length + p)
            rows.append(stop - start if include_padding else np.minimum(stop, length) - np.maximum(start, 0))
        return math.prod(np.ix_(*rows))  # type: ignore[arg-type]


def blocks_of(padded: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
              out: Sequence[int], direct: bool = False) -> Array:  # fmt: skip
    """The elements of every window, by their place in it: (N, C, *padded sizes) -> (N, C, *kernel, *out).

    One dimension after the other: slices for the elements of a row and of a column, not for all of the kernel. `direct`
    takes them all from the input, which is faster for what the transposed function adds up, where they are few.
    """
    if direct:
        w = Windows(padded.shape[2:], tuple(kernel), tuple(stride), (0,) * len(kernel), tuple(dilation), tuple(out))
        return jnp.stack([w.at(padded, place) for place in w.places()], 2).reshape(*padded.shape[:2], *kernel, *out)
    x = padded
    for d in reversed(range(len(kernel))):
        reach = (out[d] - 1) * stride[d] + 1
        starts = range(0, kernel[d] * dilation[d], dilation[d])
        axis = x.ndim - len(kernel) + d
        x = jnp.stack([jax.lax.slice_in_dim(x, a, a + reach, stride[d], axis) for a in starts], 2)
    return x


def _flat(rows: Sequence[np.ndarray], size: Sequence[int]) -> np.ndarray:
    steps = [math.prod(size[i + 1 :]) for i in range(len(size))]
    return sum(r * n for r, n in zip(np.ix_(*rows), steps, strict=True)).astype(np.int32)  # type: ignore[union-attr]


def windows(
    name: str,
    input: Array,
    nd: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Windows:
    """The windows of a pooling call.

    Raises:
        RuntimeError: the arguments do not fit the input, as torch finds.
    """
    _args.check(
        input.ndim in (nd + 1, nd + 2),
        f"{name}(): expected {nd + 1}D or {nd + 2}D input, got {list(input.shape)}",
        RuntimeError,
    )
    kernel, pad, dil = (
        _args.ntuple(value, nd, name, what)
        for value, what in ((kernel_size, "kernel_size"), (padding, "padding"), (dilation, "dilation"))
    )
    step = kernel if stride is None or stride == () else _args.ntuple(stride, nd, name, "stride")
    for values, what in ((kernel, "kernel size"), (step, "stride"), (dil, "dilation")):
        _args.check(min(values) > 0, f"{name}(): expected a {what} greater than zero, got {values}", RuntimeError)
    for p, k, d in zip(pad, kernel, dil, strict=True):
        fits = 0 <= p <= ((k - 1) * d + 1) // 2
        text = f"{name}(): expected padding from 0 to half of the kernel, got pad={p}, kernel_size={k}, dilation={d}"
        _args.check(fits, text, RuntimeError)
    size = input.shape[-nd:]
    out = tuple(_count(*each, ceil_mode) for each in zip(size, kernel, step, pad, dil, strict=True))
    text = f"{name}(): expected room for a window, got size {size} with output size {out}; the output size is too small"
    _args.check(min(out) > 0 and 0 not in input.shape[-nd - 1 :], text, RuntimeError)
    return Windows(size, kernel, step, pad, dil, out)


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    # the last window has to start inside the input or the padding before it
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count
