"""The tables of `interpolate`: where each output element lies in the input, in torch's formulae and precision.

`scale` is the caller's scale factor where the sizes are not to speak for themselves, else None; `kind` is the float
type that torch computes the places in.
"""

import functools
from typing import Any

import numpy as np

from jtorch.ops._resampled import Table


def _step(size: int, out: int, scale: float | None, align_corners: bool, kind: Any) -> Any:
    """How far apart two outputs lie in the input."""
    if align_corners:
        return kind(size - 1) / kind(out - 1) if out > 1 else kind(0)
    return kind(1.0 / scale) if scale is not None and scale > 0 else kind(size) / kind(out)


def _centres(size: int, out: int, scale: float | None, align_corners: bool, kind: Any) -> np.ndarray:
    step, at = _step(size, out, scale, align_corners, kind), np.arange(out).astype(kind)
    return step * at if align_corners else step * (at + kind(0.5)) - kind(0.5)


def _same(size: int) -> Table:
    return Table(size, np.arange(size)[:, None])


@functools.lru_cache(maxsize=256)
def nearest(size: int, out: int, scale: float | None, exact: bool, small: bool, kind: Any) -> Table:
    """One input for each output: the one at or before its start, or (exact) the one that its centre is in.

    `small` is torch's other rule for small images, which knows the sizes that need no computing.
    """
    kind = np.float32 if small else kind
    at = np.arange(out)
    if small and not exact and out in (size, 2 * size):
        places = at * size // out
    else:
        step = _step(size, out, scale, False, kind)
        real = (at.astype(kind) + kind(0.5)) * step if exact else at.astype(kind) * step
        places = np.minimum(np.floor(real.astype(np.float32)).astype(np.int64), size - 1)
    return Table(size, places[:, None])


@functools.lru_cache(maxsize=256)
def tent(size: int, out: int, scale: float | None, align_corners: bool, kind: Any) -> Table:
    """The two inputs around each output."""
    if size == out:
        return _same(size)
    real = np.maximum(_centres(size, out, scale, align_corners, kind), 0)
    first = np.minimum(real.astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    share = np.clip(real - first.astype(kind), 0, 1)
    return Table(size, np.stack([first, second], 1), np.stack([1 - share, share], 1))


@functools.lru_cache(maxsize=256)
def cubic(size: int, out: int, scale: float | None, align_corners: bool, kind: Any) -> Table:
    """The four inputs around each output, with the weights of cubic convolution.

    Source: Keys, IEEE Transactions on Acoustics, Speech and Signal Processing 29 (1981), with a = -0.75.
    """
    real = _centres(size, out, scale, align_corners, kind)
    first = np.floor(real)
    share = np.clip(real - first, 0, 1)
    places = np.clip(first.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    return Table(size, places, np.stack(cubic_weights(share), 1))


def cubic_weights(share: Any) -> list:
    """The weights of the four elements around a place `share` of the way from the second to the third; of any array."""
    a, t, rest = -0.75, share, 1 - share
    return [
        a * t * rest * rest,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * rest - (a + 3)) * rest * rest + 1,
        a * rest * t * t,
    ]


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _keys(x: np.ndarray) -> np.ndarray:
    a, x = -0.5, np.abs(x)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


_SMOOTH = {"bilinear": (_triangle, 2), "bicubic": (_keys, 4), "lanczos": (_lanczos, 6)}


@functools.lru_cache(maxsize=256)
def antialiased(mode: str, size: int, out: int, scale: float | None, align_corners: bool, kind: Any) -> Table:
    """All inputs under a filter that widens as the image shrinks."""
    if size == out:
        return _same(size)
    filter, width = _SMOOTH[mode]
    step = _step(size, out, scale, align_corners, kind)
    wide = max(step, kind(1))
    support = kind(width * 0.5) * wide
    most = int(np.ceil(support)) * 2 + 1
    centre = step * (np.arange(out).astype(kind) + kind(0.5))
    first = np.maximum((centre - support + kind(0.5)).astype(np.int64), 0)
    counts = np.clip(np.minimum((centre + support + kind(0.5)).astype(np.int64), size) - first, 0, most)
    taps = np.arange(max(int(counts.max(initial=1)), 1))
    at = first[:, None] + taps
    weights = filter((at - centre[:, None] + kind(0.5)) * (1 / wide)).astype(kind)
    weights = np.where(taps < counts[:, None], weights, 0)
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    return Table(size, np.minimum(at, size - 1), weights.astype(kind), counts)


def smooth(
    mode: str, antialias: bool, size: int, out: int, scale: float | None, align_corners: bool, kind: Any
) -> Table:
    """The table of a mode that is not `nearest`."""
    if antialias:
        return antialiased(mode, size, out, scale, align_corners, kind)
    return (cubic if mode == "bicubic" else tent)(size, out, scale, align_corners, kind)


@functools.lru_cache(maxsize=256)
def whole(mode: str, antialias: bool, size: int, out: int, scale: float | None, align_corners: bool) -> tuple:
    """(the table with whole numbers for weights, by how many bits they are too large): how torch resizes uint8."""
    table = smooth(mode, antialias, size, out, scale, align_corners, np.float64)
    weights: Any = np.zeros(table.places.shape)
    first = (table.places[:, :, None] == table.places[:, None, :]).argmax(2)
    np.add.at(weights, (np.arange(out)[:, None], first), table.weights)  # the taps beyond an edge are one with it
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    scaled = weights * (1 << bits)
    rounded = np.trunc(np.where(scaled < 0, scaled - 0.5, scaled + 0.5)).astype(np.int32)
    return Table(size, table.places, rounded, table.counts), bits
