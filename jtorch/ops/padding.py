"""`pad` in all its modes: constant, reflect, replicate, circular; negative amounts cut off."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._floating import require_float
from jtorch.ops._op import Array, Fitting, derived, op, registry
from jtorch.ops._resampled import Table, resampled


def _sides(pad: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """The amounts before and after each dimension; torch gives them from the last dimension backwards."""
    _args.check(len(pad) % 2 == 0, f"pad(): expected an even number of amounts, got {tuple(pad)}", RuntimeError)
    _args.check(
        len(pad) <= 2 * ndim,
        f"pad(): expected at most {2 * ndim} amounts for {ndim} dimensions, got {tuple(pad)}",
        RuntimeError,
    )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


def _check_ranks(input: Array, count: int, mode: str) -> None:
    """Modes other than constant pad the last one to three dimensions, of an input with one or two more than those."""
    text = (
        f"pad(): expected 2, 4 or 6 amounts for the last dimensions with mode {mode!r}, got {2 * count} for an "
        f"input of {input.ndim} dimensions"
    )
    _args.check(1 <= count <= 3 and input.ndim - count in (1, 2), text, NotImplementedError)
    if mode != "circular":
        sizes = input.shape[1:] if input.ndim == count + 2 else input.shape
        text = f"pad(): expected no dimension of size 0 but the batch with mode {mode!r}, got {list(input.shape)}"
        _args.check(0 not in sizes, text, RuntimeError)


def _check_amounts(size: int, side: tuple[int, int], mode: str, least: int) -> None:
    """torch's limits for the amounts before and after a dimension."""
    kept = size + min(side[0], 0) + min(side[1], 0)
    limit = {"reflect": size - 1, "circular": kept}.get(mode, max(*side, 0))
    text = f"pad(): expected padding of at most {limit} for size {size} with mode {mode!r}, got {side}"
    _args.check(max(*side, 0) <= max(limit, 0), text, RuntimeError)
    text = f"pad(): expected at least {least} elements to be left, got {side} for size {size}"
    _args.check(size + sum(side) >= least and (kept >= 0 or mode in ("reflect", "replicate")), text, RuntimeError)


@functools.lru_cache(maxsize=256)
def _edges(size: int, low: int, high: int, mode: str) -> Table:
    """Which element of the dimension each element of the result is."""
    at = np.arange(-low, size + high)
    if mode == "replicate":
        places = np.clip(at, 0, size - 1)
    elif mode == "reflect":
        places = size - 1 - np.abs(size - 1 - np.abs(at))
    else:
        start = max(-low, 0)
        places = start + (at - start) % max(size + min(low, 0) + min(high, 0), 1)
    return Table(size, places[:, None])


def _check_value(input, pad, mode="constant", value=None):
    if mode != "constant" and value is not None:
        taken = f'Padding mode "{mode}" doesn\'t take in value argument; pad(): got {value}'
        _args.check(not np.any(value), taken, RuntimeError)


@op(method=False, function=False, validate=_check_value)
def pad(input: Array, pad: Sequence[int], mode: str = "constant", value: Fitting | None = None) -> Array:
    """The input with more elements around it.

    Shape: (*) -> (*), the last dimension longer by pad[0] + pad[1], the one before by pad[2] + pad[3], and so on
    Args:
        mode: what the new elements are: `value`, the mirrored inside (reflect), the edge (replicate), or the other end
            (circular).
    Raises: RuntimeError where the amounts do not fit, NotImplementedError for a mode that is none of these.
    """
    whole = all(isinstance(n, int | np.integer) for n in pad)
    _args.check(whole, f"pad(): expected ints for the amounts, got {tuple(pad)}", TypeError)
    known = mode in ("constant", "reflect", "replicate", "circular")
    text = f"pad(): expected mode constant, reflect, replicate or circular, got {mode!r}"
    _args.check(known, text, NotImplementedError)
    sides = _sides(pad, input.ndim)
    if mode == "constant":
        for size, side in zip(input.shape, sides, strict=True):
            _check_amounts(size, side, mode, 0)
        fill = jnp.asarray(0 if value is None else value).astype(input.dtype)
        return jax.lax.pad(input, fill, [(low, high, 0) for low, high in sides])
    count = len(pad) // 2
    _check_ranks(input, count, mode)
    if mode != "circular" and input.dtype == bool:
        require_float("pad", input)
    for axis in range(input.ndim - 1, input.ndim - count - 1, -1):
        size, side = input.shape[axis], sides[axis]
        _check_amounts(size, side, mode, 1 if count == 1 and mode != "circular" else 0)
        if side != (0, 0):
            input = resampled(input, _edges(size, *side, mode), axis)
    return input


@derived(method=False)
def constant_pad_nd(input, pad, value=0):
    """The input with `value` around it, see `pad`.

    Shape: (*) -> (*), each dimension longer by the amounts that `pad` gives for it, the last dimension's first
    """
    return registry["pad"](input, pad, "constant", value)
