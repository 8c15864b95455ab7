"""Fractional max pooling in two and three dimensions: windows whose steps are drawn, for output sizes of any ratio."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops.pooling import _taken
from jtorch.ops.sampling import rand


def _starts(sample: Array, size: int, kernel: int, out: int) -> Array:
    """Where the windows along one dimension start: (N, C) -> (N, C, out).

    Every step is rounded to the dtype of `sample`, as in torch, so that the same sample gives the same windows.
    """
    kind = sample.dtype
    bits = jnp.finfo(kind)

    def rounded(x):
        return jax.lax.reduce_precision(x, bits.nexp, bits.nmant) if kind.itemsize == 2 else x

    last = jnp.full((*sample.shape, 1), size - kernel)
    if out == 1:
        return last
    step = float(np.asarray(size - kernel, kind) / np.asarray(out - 1, kind))
    u = (sample.astype(jnp.float32) if kind.itemsize == 2 else sample)[..., None]
    at = jnp.asarray(np.arange(out - 1).astype(kind).astype(u.dtype))
    whole = jnp.trunc(rounded(rounded(at + u) * step)) - jnp.trunc(rounded(u * step))
    return jnp.concatenate([whole.astype(last.dtype), last], axis=-1)


def _first_largest(values: Array) -> Array:
    """The place of the largest element along the last axis but one: the first among equals, the last NaN."""
    nan = jnp.isnan(values)
    last_nan = values.shape[-2] - 1 - jnp.argmax(jnp.flip(nan, -2), axis=-2)
    return jnp.where(nan.any(-2), last_nan, jnp.argmax(values, axis=-2))


def _check_windows(name: str, input: Array, kernel: tuple, out: tuple) -> None:
    nd, size = len(out), input.shape[-len(out) :]
    text = f"{name}(): expected {nd + 1}D or {nd + 2}D input with elements, got {list(input.shape)}"
    _args.check(input.ndim in (nd + 1, nd + 2) and 0 not in input.shape[-nd - 1 :], text, RuntimeError)
    text = f"{name}(): expected output sizes of 0 or more and a kernel size of 1 or more, got {out} and {kernel}"
    _args.check(min(out) >= 0 and min(kernel) > 0, text, RuntimeError)
    spare = 0 if nd == 2 else 1  # torch wants one element more in three dimensions
    fits = all(o + k - 1 + spare <= n for n, k, o in zip(size, kernel, out, strict=True))
    text = f"{name}(): expected room for {out} windows of {kernel} in {size}; the pool is too large for the input"
    _args.check(fits, text, RuntimeError)


def _check_samples(name: str, input: Array, samples: Array, nd: int) -> None:
    batch, channels = (1, *input.shape)[-nd - 2 : -nd]
    text = f"Expect _random_samples to have the same dtype as input; {name}() got {samples.dtype} and {input.dtype}"
    _args.check(samples.dtype == input.dtype, text, RuntimeError)
    fits = samples.ndim == 3 and samples.shape[0] >= batch and samples.shape[1:] == (channels, nd)
    text = f"{name}(): expected _random_samples of shape {(batch, channels, nd)}, got {samples.shape}"
    _args.check(fits, text, RuntimeError)


@op(method=False, function=False)
def _fractional_max_pool(
    input: Array, samples: Array, kernel_size: Sequence[int], output_size: Sequence[int]
) -> tuple[Array, Array]:
    """The largest element of each window and its flat place, see fractional_max_pool2d."""
    kernel, out, nd = tuple(kernel_size), tuple(output_size), len(output_size)
    name = f"fractional_max_pool{nd}d"
    _args.check(
        _args.is_float(input.dtype), f"{name}(): expected a float dtype, got {input.dtype}", NotImplementedError
    )
    _check_windows(name, input, kernel, out)
    _check_samples(name, input, samples, nd)
    if 0 in out or 0 in input.shape:
        empty = (*input.shape[:-nd], *out)
        return jnp.zeros(empty, input.dtype), jnp.zeros(empty, _args.long_dtype())
    images = input if input.ndim == nd + 2 else input[None]
    size, lead = images.shape[2:], images.shape[:2]
    order = range(nd) if nd == 3 else (1, 0)  # which sample is for which dimension
    base: Any = 0
    for d, (n, k, o, which) in enumerate(zip(size, kernel, out, order, strict=True)):
        start = _starts(samples[: lead[0], :, which], n, k, o)
        base = base * n + start.reshape(*lead, *(o if e == d else 1 for e in range(nd)))
    offsets = np.ravel_multi_index(np.indices(kernel).reshape(nd, -1), size)
    places = base.reshape(*lead, 1, math.prod(out)) + jnp.asarray(offsets)[:, None]
    flat = jax.lax.stop_gradient(images).reshape(*lead, -1)
    values = jnp.take_along_axis(flat, places.reshape(*lead, -1), axis=-1, mode="clip").reshape(places.shape)
    best = jnp.take_along_axis(places, _first_largest(values)[:, :, None], axis=2)
    index = best.reshape(*input.shape[:-nd], *out)
    return _taken(input, index, nd), index.astype(_args.long_dtype())


def _pool(nd: int, input: Any, kernel: Any, size: Any, ratio: Any, samples: Any, key: Any) -> Any:
    name = f"fractional_max_pool{nd}d"
    _args.check(
        size is not None or ratio is not None,
        f"{name} requires specifying either an output_size or an output_ratio",
    )
    lead = input.shape[-nd - 1 :]
    text = f"{name}(): expected an input of at least {nd + 1} dimensions, got {input.ndim}"
    _args.check(len(lead) == nd + 1, text, IndexError)
    if size is None:
        ratios = tuple(ratio) if isinstance(ratio, tuple | list) else (ratio,) * nd
        text = f"{name} requires output_ratio to either be a single Int or tuple of Ints."
        _args.check(len(ratios) == nd, text)
        size = tuple(int(n * r) for n, r in zip(lead[1:], ratios, strict=True))
    window, out = (_args.ntuple(v, nd, name, what) for v, what in ((kernel, "kernel_size"), (size, "output_size")))
    if samples is None:
        batch = input.shape[0] if input.ndim == nd + 2 else 1
        samples = rand(batch, lead[0], nd, dtype=input.dtype, key=key)
    return _fractional_max_pool(input, samples, window, out)


@derived(method=False, function=False)
def fractional_max_pool2d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None, *, key=None
):
    """The largest element of each window and its flat place, see `fractional_max_pool2d`.

    Shape: (N, C, H, W) or (C, H, W) -> twice the same with (H, W) = output_size
    """
    return _pool(2, input, kernel_size, output_size, output_ratio, _random_samples, key)


@derived(method=False, function=False)
def fractional_max_pool2d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None, *, key=None
):
    """The largest element of each of `output_size` windows, whose steps are drawn (with `return_indices`, its place too).

    Shape: (N, C, H, W) or (C, H, W) -> the same with (H, W) = output_size
    Args:
        output_ratio: the output sizes as parts of the input's, in place of output_size.
        _random_samples: numbers from 0 to 1 that place the windows, (N, C, 2); drawn if None.
    Raises:
        ValueError: neither output_size nor output_ratio.
        RuntimeError: windows that do not fit the input.
    Source: Graham, arXiv 1412.6071 (2014).
    """
    found = _pool(2, input, kernel_size, output_size, output_ratio, _random_samples, key)
    return found if return_indices else found[0]


@derived(method=False, function=False)
def fractional_max_pool3d_with_indices(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None, *, key=None
):
    """The largest element of each window and its flat place, see `fractional_max_pool3d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> twice the same with (D, H, W) = output_size
    """
    return _pool(3, input, kernel_size, output_size, output_ratio, _random_samples, key)


@derived(method=False, function=False)
def fractional_max_pool3d(
    input, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None, *, key=None
):
    """The largest element of each of `output_size` windows, whose steps are drawn (with `return_indices`, its place too).

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same with (D, H, W) = output_size
    Args:
        output_ratio: the output sizes as parts of the input's, in place of output_size.
        _random_samples: numbers from 0 to 1 that place the windows, (N, C, 3); drawn if None.
    Raises:
        ValueError: neither output_size nor output_ratio.
        RuntimeError: windows that do not fit the input.
    Source: Graham, arXiv 1412.6071 (2014).
    """
    found = _pool(3, input, kernel_size, output_size, output_ratio, _random_samples, key)
    return found if return_indices else found[0]
