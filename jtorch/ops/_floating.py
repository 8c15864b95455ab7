"""Ops that torch has for float inputs only: the check of the dtype, and 16-bit floats computed in float32."""

import functools
from collections.abc import Callable

import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._op import Array


def wide(x: Array) -> Array:
    """The array as float32 where it has a 16-bit float type, itself otherwise."""
    return x.astype(jnp.float32) if _args.is_float(x.dtype) and x.dtype.itemsize < 4 else x


def require_float(name: str, *arrays: Array | None, complex_too: bool = False) -> None:
    """Raise as torch does unless each array has a float dtype.

    Raises:
        NotImplementedError: an array holds integers or bools, or complex numbers where those are not allowed.
    """
    for x in arrays:
        if x is not None:
            allowed = _args.is_inexact(x.dtype) if complex_too else _args.is_float(x.dtype)
            _args.check(allowed, f"{name}(): expected a float dtype, got {x.dtype}", NotImplementedError)


def floating(body: Callable) -> Callable:
    """The body of an op on one float array `input`, computed in float32 for 16-bit floats and returned in its dtype."""

    @functools.wraps(body)
    def computed(input, *args, **kwargs):
        require_float(body.__name__, input)
        out = body(wide(input), *args, **kwargs)
        real = f"{body.__name__}(): expected real numbers beside {input.dtype}, got a complex one"
        _args.check(not _args.is_complex(out.dtype), real, RuntimeError)
        return out.astype(input.dtype)

    return computed
