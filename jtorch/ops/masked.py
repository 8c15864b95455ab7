"""Reductions and normalizations that pass over what a mask leaves out: the ops of `jtorch.masked`, its index.

What is left out becomes the number that does not count for the op, its identity: 0 for a sum, minus infinity for a
maximum. Tensors that carry a mask of their own are not here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args, cumulative, extrema, norms, powers, reduction, statistics
from jtorch.ops._elementwise import computing_dtype
from jtorch.ops._op import Array, DType, op
from jtorch.ops.activation import log_softmax, softmax, softmin
from jtorch.ops.arithmetic import true_divide

Dims = int | Sequence[int] | None


def _least(dtype: Any) -> Any:
    return -jnp.inf if _args.is_inexact(dtype) else jnp.iinfo(dtype).min


def _greatest(dtype: Any) -> Any:
    return jnp.inf if _args.is_inexact(dtype) else jnp.iinfo(dtype).max


def _whole(input: Array, mask: Array) -> Array:
    """The mask in the shape of the input."""
    fits = mask.ndim <= input.ndim
    _args.check(fits, f"masked: expected a mask that broadcasts to {input.shape}, got {mask.shape}", IndexError)
    try:
        return jnp.broadcast_to(mask != 0, input.shape)
    except ValueError:
        _args.fail(f"masked: expected a mask that broadcasts to {input.shape}, got {mask.shape}", RuntimeError)


def _filled(input: Array, mask: Array | None, identity: Any) -> Array:
    """The input with the identity where the mask is False."""
    return input if mask is None else jnp.where(_whole(input, mask), input, jnp.asarray(identity, input.dtype))


def _count(input: Array, mask: Array | None, axes: tuple[int, ...], keepdim: bool) -> Array:
    there = jnp.ones(input.shape, bool) if mask is None else _whole(input, mask)
    return jnp.sum(there, axes, keepdims=keepdim)


# reductions


def _declared(name: str, text: str, body: Callable, result: str = "(* without dim)", **flags: Any) -> Any:
    """The op `masked_<name>` of a body."""
    body.__name__ = body.__qualname__ = f"masked_{name}"
    body.__doc__ = f"""{text}

    Shape: (*), mask that broadcasts to (*) -> {result}
    Args:
        dtype: of the result, by default that of the input.
        mask: what counts; all of it by default.
    Raises:
        IndexError: there is no such dimension, or the mask has more dimensions than the input.
    """
    return op(method=False, function=False, **flags)(body)


def _reduction(name: str, text: str, identity: Callable, reduce: Callable, default: Callable) -> Any:
    def body(
        input: Array, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Array | None = None
    ) -> Array:  # fmt: skip
        axes = reduction.axes_of(dim, input.ndim, f"masked.{name}")
        return reduce(_filled(input, mask, identity(input.dtype)), axes, bool(keepdim), dtype or default(input))

    return _declared(name, text, body)


def _in_long(input: Array) -> Any:
    return _args.long_dtype() if _args.is_integral(input.dtype) else input.dtype


def _own(input: Array) -> Any:
    return input.dtype


def _prod(x: Array, axes: tuple, keepdim: bool, dtype: Any) -> Array:
    return jnp.prod(x.astype(dtype).astype(computing_dtype(dtype)), axes, keepdims=keepdim).astype(dtype)


def _in(function: Callable) -> Callable:
    """A reduction whose result is cast to the dtype asked for."""
    return lambda x, axes, keepdim, dtype: function(x, axes, keepdim).astype(dtype)


masked_sum = _reduction(
    "sum", "The sum of what the mask lets through.", lambda _: 0,
    lambda x, axes, keepdim, dtype: reduction.sum.body(x, axes, keepdim, dtype=dtype) if axes else x.astype(dtype), _in_long,
)  # fmt: skip
masked_prod = _reduction("prod", "The product of what the mask lets through.", lambda _: 1, _prod, _in_long)
masked_amax = _reduction("amax", "The greatest of what the mask lets through.", _least, _in(extrema.amax.body), _own)
masked_amin = _reduction("amin", "The least of what the mask lets through.", _greatest, _in(extrema.amin.body), _own)
masked_logsumexp = _reduction(
    "logsumexp", "`log(sum(exp(input)))` of what the mask lets through.", _least, _in(reduction.logsumexp.body), _own
)


def _place(name: str, text: str, identity: Callable, find: Callable) -> Any:
    def body(
        input: Array, dim: int | None = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Array | None = None
    ) -> Array:  # fmt: skip
        return find(_filled(input, mask, identity(input.dtype)), dim, bool(keepdim)).astype(dtype or input.dtype)

    return _declared(name, text, body, differentiable=False)


masked_argmax = _place(
    "argmax", "The place of the greatest of what the mask lets through.", _least, extrema.argmax.body
)
masked_argmin = _place(
    "argmin", "The place of the least of what the mask lets through.", _greatest, extrema.argmin.body
)


@op(method=False, function=False)
def masked_mean(
    input: Array, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None, mask: Array | None = None
) -> Array:  # fmt: skip
    """The mean of what the mask lets through; NaN of nothing.

    Shape: (*), mask that broadcasts to (*) -> (* without dim)
    Raises: ValueError for integers without a float dtype.
    """
    kind = dtype or input.dtype
    _args.check(_args.is_inexact(kind), f"masked.mean(): expected a float or complex dtype, got {kind}; give dtype=")
    axes = reduction.axes_of(dim, input.ndim, "masked.mean")
    total = jnp.sum(_filled(input, mask, 0).astype(computing_dtype(kind)), axes, keepdims=bool(keepdim))
    return (total / _count(input, mask, axes, bool(keepdim))).astype(kind)


def _check_median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    if mask is not None and _args.is_integral(input.dtype):
        there = np.broadcast_to(np.asarray(mask) != 0, input.shape).any(dim if input.ndim else None)
        _args.check(there.all(), "masked.median(): expected something in each row of integers, got a mask of nothing")


@op(method=False, function=False, validate=_check_median)
def masked_median(
    input: Array, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None, mask: Array | None = None
) -> Array:
    """The lower median of what the mask lets through and is not NaN; NaN of nothing.

    Shape: (*), mask that broadcasts to (*) -> (* without dim)
    Raises: ValueError where there is nothing in a row of integers.
    """
    x = input if _args.is_float(input.dtype) else input.astype(jnp.float32)
    found = statistics.median_along.body(_filled(x, mask, jnp.nan), dim, keepdim, True).values
    return found if x is input else found.astype(dtype or input.dtype)


@op(method=False, function=False)
def masked_norm(
    input: Array, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool | None = False, dtype: DType | None = None,
    mask: Array | None = None,
) -> Array:  # fmt: skip
    """The norm of order `ord` of what the mask lets through.

    Shape: (*), mask that broadcasts to (*) -> (* without dim)
    Raises: RuntimeError for integers.
    """
    order = 2.0 if ord is None else ord
    x = _filled(input, mask, jnp.inf if order == -jnp.inf else 0)
    axes = reduction.axes_of(dim, input.ndim, "masked.norm")
    return norms.linalg_vector_norm.body(x, order, axes, bool(keepdim), dtype=dtype or input.dtype)


def _spread(name: str, text: str, root: bool) -> Any:
    def body(
        input: Array, dim: Dims = None, unbiased: bool | None = None, *, correction: int | float | None = None,
        keepdim: bool | None = False, dtype: DType | None = None, mask: Array | None = None,
    ) -> Array:  # fmt: skip
        axes = reduction.axes_of(dim, input.ndim, f"masked.{name}")
        kind = dtype or (input.dtype if _args.is_inexact(input.dtype) else _args.default_float())
        x = input.astype(computing_dtype(kind if _args.is_inexact(kind) else _args.default_float()))
        count = _count(input, mask, axes, True)
        x = x - jnp.sum(_filled(x, mask, 0), axes, keepdims=True) / count
        total = jnp.sum(_filled(x * jnp.conj(x), mask, 0), axes, keepdims=bool(keepdim))
        off = (1 if unbiased in (None, True) else 0) if correction is None else correction
        out = (total / jnp.maximum(count.reshape(total.shape) - off, 0)).astype(kind)
        return jnp.sqrt(out) if root else out

    return _declared(name, text, body)


masked_var = _spread("var", "The variance of what the mask lets through.", False)
masked_std = _spread("std", "The standard deviation of what the mask lets through.", True)


# running sums and normalizations


def _along(name: str, text: str, identity: Callable, run: Callable) -> Any:
    def body(input: Array, dim: int, *, dtype: DType | None = None, mask: Array | None = None) -> Array:
        return run(_filled(input, mask, identity(input.dtype)), dim, dtype=dtype or input.dtype)

    return _declared(name, text, body, "(*)")


masked_cumsum = _along(
    "cumsum", "The running sum, what the mask leaves out being 0.", lambda _: 0, cumulative.cumsum.body
)
masked_cumprod = _along(
    "cumprod", "The running product, what the mask leaves out being 1.", lambda _: 1, cumulative.cumprod.body
)
masked_softmax = _along("softmax", "The softmax of what the mask lets through, 0 elsewhere.", _least, softmax.body)
masked_log_softmax = _along("log_softmax", "The logarithm of masked softmax.", _least, log_softmax.body)
masked_softmin = _along("softmin", "The softmin of what the mask lets through, 0 elsewhere.", _greatest, softmin.body)


@op(method=False, function=False)
def masked_normalize(
    input: Array,
    ord: float,
    dim: int | None,
    *,
    eps: float = 1e-12,
    dtype: DType | None = None,
    mask: Array | None = None,
) -> Array:
    """What the mask lets through divided by its norm along a dimension, 0 elsewhere; norms below `eps` count as that.

    Shape: (*), mask that broadcasts to (*) -> (*)
    Raises: RuntimeError for integers.
    """
    norm = masked_norm.body(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    return true_divide.body(_filled(input, mask, 0), jnp.maximum(norm, jnp.asarray(eps, norm.dtype)))


@op(method=False, function=False)
def masked_logaddexp(
    input: Array, other: Array, *, dtype: DType | None = None, input_mask: Array | None = None, other_mask: Array | None = None
) -> Array:  # fmt: skip
    """`log(exp(input) + exp(other))`, what a mask leaves out of either being minus infinity.

    Shape: (*), (*) -> (*), broadcast
    """
    operands = (_filled(x, mask, _least(x.dtype)) for x, mask in ((input, input_mask), (other, other_mask)))
    return powers.logaddexp.body(*operands).astype(dtype or input.dtype)
