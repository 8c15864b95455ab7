"""`pad` in all its modes: constant, reflect, replicate, circular; negative amounts cut off."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, op

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


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


def _check_mode(input: Array, sides: list[tuple[int, int]], count: int, mode: str) -> None:
    ranks = {1: (2, 3), 2: (3, 4), 3: (4, 5)}.get(count, ())
    text = (
        f"pad(): expected 2, 4 or 6 amounts for the last dimensions with mode {mode!r}, got {2 * count} for an "
        f"input of {input.ndim} dimensions"
    )
    _args.check(
        input.ndim in ranks, text, NotImplementedError if input.ndim > 5 or count > 3 or not ranks else RuntimeError
    )
    for size, side in zip(input.shape, sides, strict=True):
        limit = {"reflect": size - 1, "circular": size}.get(mode)
        fits = limit is None or max(side) <= limit
        _args.check(
            fits,
            f"pad(): expected padding of at most {limit} for size {size} with mode {mode!r}, got {side}",
            RuntimeError,
        )
        _args.check(
            size + sum(side) > 0, f"pad(): expected something to be left, got {side} for size {size}", RuntimeError
        )


@op(method=False, function=False)
def pad(input: Array, pad: Sequence[int], mode: str = "constant", value: Scalar | None = None) -> Array:
    """The input with more elements around it.

    Shape: (*) -> (*), the last dimension longer by pad[0] + pad[1], the one before by pad[2] + pad[3], and so on
    Args:
        mode: what the new elements are: `value`, the mirrored inside (reflect), the edge (replicate), or the other end
            (circular).
    Raises: RuntimeError where the amounts do not fit, NotImplementedError for a mode that is none of these.
    """
    sides = _sides(pad, input.ndim)
    if mode == "constant":
        for size, side in zip(input.shape, sides, strict=True):
            _args.check(
                size + sum(side) >= 0, f"pad(): expected something to be left, got {side} for size {size}", RuntimeError
            )
        fill = jnp.asarray(0 if value is None else value).astype(input.dtype)
        return jax.lax.pad(input, fill, [(low, high, 0) for low, high in sides])
    _args.check(
        mode in _MODES,
        f"pad(): expected mode constant, reflect, replicate or circular, got {mode!r}",
        NotImplementedError,
    )
    _args.check(value is None or isinstance(value, jax.Array), f'Padding mode "{mode}" doesn\'t take in value argument')
    _check_mode(input, sides, len(pad) // 2, mode)
    cut = tuple(slice(-min(low, 0), size + min(high, 0)) for size, (low, high) in zip(input.shape, sides, strict=True))
    grown = [(max(low, 0), max(high, 0)) for low, high in sides]
    return jnp.pad(input[cut], grown, mode=_MODES[mode])
