"""The greatest and smallest elements, and where they are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._op import Array, derived, op
from jtorch.ops._reducing import along, axes_of, iota, pick, same, shaped, shared
from jtorch.ops._results import result_of
from jtorch.ops.rounding import maximum, minimum


class Extremes(NamedTuple):
    """The extreme values along a dimension, and their indices."""

    values: Array
    indices: Array


@result_of("max")
class Max(Extremes):
    """The greatest values along a dimension, and their indices."""


@result_of("min")
class Min(Extremes):
    """The smallest values along a dimension, and their indices."""


@result_of("aminmax")
class MinMax(NamedTuple):
    """The smallest and the greatest value."""

    min: Array
    max: Array


def _require_order(name: str, x: Array, error: type[Exception] = NotImplementedError) -> None:
    _args.check(not _args.is_complex(x.dtype), f"{name}(): expected real numbers, got {x.dtype}", error)


def _extreme(name: str, x: Array, dim: int | Sequence[int] | None, keepdim: bool, largest: bool) -> Array:
    """The extreme over some dimensions; equal ones share the gradient."""
    _require_order(name, x)
    axes = axes_of(dim, x.ndim, name)
    whole = dim is None or dim == ()
    filled = x.size > 0 or not x.ndim or all(x.shape[a] for a in axes)
    _args.check(
        filled,
        f"{name}(): expected elements to choose from, got shape {x.shape}",
        RuntimeError if whole else IndexError,
    )
    return (jnp.max if largest else jnp.min)(x, axes, keepdims=keepdim)


@op
def amax(input: Array, dim: int | Sequence[int] | None = (), keepdim: bool = False) -> Array:
    """The greatest element over some dimensions, () meaning all. Equal ones share the gradient.

    Shape: (*) -> (* without dim)
    Raises: IndexError where a dimension is empty, RuntimeError where the input is.
    """
    return _extreme("amax", input, dim, keepdim, True)


@op
def amin(input: Array, dim: int | Sequence[int] | None = (), keepdim: bool = False) -> Array:
    """The smallest element over some dimensions, () meaning all. Equal ones share the gradient.

    Shape: (*) -> (* without dim)
    Raises: IndexError where a dimension is empty, RuntimeError where the input is.
    """
    return _extreme("amin", input, dim, keepdim, False)


@op(exact_out=True)
def aminmax(input: Array, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the greatest element over one dimension or all, as a named tuple (min, max).

    Shape: (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty, RuntimeError where the input is.
    """
    found = (_extreme("aminmax", input, dim, keepdim, largest) for largest in (False, True))
    return MinMax(*found)


def _first_extreme(x: Array, axis: int, largest: bool) -> Array:
    """The index of the first extreme, or the first NaN, with size 1 along the axis. Two plain passes beat XLA's argmax."""
    found = (jnp.max if largest else jnp.min)(x, axis, keepdims=True)
    return jnp.min(jnp.where(same(x, found), iota(x, axis), x.shape[axis]), axis, keepdims=True)


def _index(name: str, x: Array, dim: int | None, keepdim: bool, largest: bool) -> Array:
    ordered = x.dtype != jnp.bool_ and not _args.is_complex(x.dtype)
    _args.check(ordered, f"{name}(): expected real numbers, got {x.dtype}", RuntimeError)
    flat, axis = along(x.reshape(-1) if dim is None else x, dim or 0, name)
    index = _first_extreme(flat, axis, largest).astype(_args.long_dtype())
    if dim is None:
        return index.reshape((1,) * x.ndim if keepdim else ())
    return shaped(index, axis, keepdim, x.ndim)


@op(differentiable=False)
def argmax(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """The index of the first greatest element, or of the first NaN, along a dimension or in the flattened input.

    Shape: (*) -> (* without dim)
    Raises: IndexError where there is nothing to choose from; RuntimeError for bools and complex numbers.
    """
    return _index("argmax", input, dim, keepdim, True)


@op(differentiable=False)
def argmin(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """The index of the first smallest element, or of the first NaN, along a dimension or in the flattened input.

    Shape: (*) -> (* without dim)
    Raises: IndexError where there is nothing to choose from; RuntimeError for bools and complex numbers.
    """
    return _index("argmin", input, dim, keepdim, False)


@op(method=False, function=False, node=lambda largest: "max_of_all" if largest else "min_of_all")
def extreme(input: Array, largest: bool) -> Array:
    """The greatest element, or the smallest. Equal ones share the gradient.

    Shape: (*) -> ()
    Raises: RuntimeError where there is none.
    """
    found = _extreme("max" if largest else "min", jax.lax.stop_gradient(input), None, False, largest)
    return shared(found, input, same(input, found)) if _args.is_float(input.dtype) else found


@op(method=False, function=False, node=lambda dim, keepdim, largest: "max" if largest else "min")
def extreme_along(input: Array, dim: int, keepdim: bool, largest: bool) -> Extremes:
    """The greatest elements along a dimension, or the smallest, and the index of the first, which gets the gradient.

    Shape: (*) -> (* without dim), (* without dim)
    Raises: IndexError where the dimension is empty.
    """
    name = "max" if largest else "min"
    _require_order(name, input)
    x, axis = along(input, dim, name)
    index = _first_extreme(x, axis, largest)
    found = (pick(x, index, axis), index.astype(_args.long_dtype()))
    return (Max if largest else Min)(*(shaped(each, axis, keepdim, input.ndim) for each in found))


def _overloaded(input: Any, dim: Any, keepdim: bool, other: Any, largest: bool) -> Any:
    if dim is not None and hasattr(dim, "dtype"):
        dim, other = None, dim
    if other is not None:
        return (maximum if largest else minimum)(input, other)
    return extreme(input, largest) if dim is None else extreme_along(input, dim, keepdim, largest)


@derived
def max(input, dim=None, keepdim=False, *, other=None):
    """The greatest element; along a dimension those and their indices; or, of two arrays, the greater of each two.

    Equal elements share the gradient of the whole and of two arrays; along a dimension it goes to the first.

    Shape: (*) -> (); (*) -> (* without dim), (* without dim); (*), (*) -> (*)
    Raises: IndexError where the dimension is empty, RuntimeError where the input is.
    """
    return _overloaded(input, dim, keepdim, other, True)


@derived
def min(input, dim=None, keepdim=False, *, other=None):
    """The smallest element; along a dimension those and their indices; or, of two arrays, the smaller of each two.

    Equal elements share the gradient of the whole and of two arrays; along a dimension it goes to the first.

    Shape: (*) -> (); (*) -> (* without dim), (* without dim); (*), (*) -> (*)
    Raises: IndexError where the dimension is empty, RuntimeError where the input is.
    """
    return _overloaded(input, dim, keepdim, other, False)
