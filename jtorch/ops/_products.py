"""How products with a matrix of weights are computed, their gradient in a form of its own on CPUs; the ops are in products.

The gradient of the weights is a product over the rows of both its factors. XLA's fast library for products on CPUs does
not take a first factor that is to be read by columns, and another one that does takes up to half as long again. So that
factor is written out transposed, behind a barrier, as XLA would take the transposition back into the product.

Weights (O, I), torch's layout, cost that library up to twice the time of (I, O) where they meet few rows. Where they do so
at each time of a recurrent network, they are turned once beforehand.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._op import Array

_WIDE = 128  # sizes of weights from which their gradient is worth a transposition
_MANY = 2**21  # products of the gradient from which it is
_FEW = 32  # rows up to which a product with weights (O, I) takes longer than with (I, O), unless there is only one
_OFTEN = 16  # products from which that is worth a transposition beforehand


def weighed(x: Array, w: Array, axis: int, precision: Any = None, dtype: Any = None) -> Array:
    """`x @ w.T` if the axis is 1, `x @ w` if it is 0.

    Args:
        dtype: what the sums are made in, and the result is of; None: that of the arrays.
    Shape: (*, I), (O, I) or (I, O) -> (*, O)
    """
    form = _with_slope if _is_worth_it(x, w) else _plain
    return form(x, w, axis, precision, dtype)


def _is_worth_it(x: Array, w: Array) -> bool:
    if w.ndim != 2 or x.dtype.itemsize != 4 or not _args.is_float(x.dtype) or not on_cpu():
        return False
    if not _args.fixed((*x.shape, *w.shape)):
        return False
    return min(w.shape) >= _WIDE and math.prod(x.shape[:-1]) * w.size >= _MANY


def repeated(w: Array, rows: int, times: int) -> tuple[Array, int]:
    """Weights (O, I) as `weighed` is to take them for so many rows, so many times, and the axis."""
    fit = on_cpu() and w.dtype == jnp.float32 and _args.fixed((*w.shape, rows, times))
    if fit and 1 < rows <= _FEW and times >= _OFTEN and min(w.shape) >= _WIDE // 2:
        return lax.optimization_barrier(w.T), 0
    return w, 1


def _plain(x: Array, w: Array, axis: int, precision: Any, dtype: Any) -> Array:
    contract = (((x.ndim - 1,), (axis,)), ((), ()))
    return lax.dot_general(x, w, contract, precision=precision, preferred_element_type=dtype)


_with_slope = jax.custom_jvp(_plain, nondiff_argnums=(2, 3, 4))


@functools.partial(_with_slope.defjvp, symbolic_zeros=True)
def _slope(axis: int, precision: Any, dtype: Any, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x, w), y = primals, _with_slope(*primals, axis, precision, dtype)
    rows = x.reshape(-1, x.shape[-1])
    forms = (
        lambda dx: _with_slope(dx, w, axis, precision, dtype),
        lambda dw: _of_weights(rows, dw, axis, precision, dtype).reshape(y.shape),
    )
    return y, added(y, tangents, *forms)


def _of_weights(x: Array, w: Array, axis: int, precision: Any, dtype: Any) -> Array:
    """The product in the form whose transpose, with respect to `w`, has its first factor written out transposed."""
    how = {"precision": precision, "preferred_element_type": dtype}
    if axis == 0:
        return lax.dot_general(lax.optimization_barrier(x.T), w, (((0,), (0,)), ((), ())), **how)
    return lax.optimization_barrier(lax.dot_general(w, x, (((1,), (1,)), ((), ())), **how)).T


def added(y: Array, tangents: Sequence, *forms: Callable) -> Array:
    """The tangent of a product: what each form makes of its factor's tangent, where there is one."""
    terms = [form(t) for form, t in zip(forms, tangents, strict=True) if not isinstance(t, SymbolicZero)]
    return functools.reduce(jnp.add, terms) if terms else jnp.zeros_like(y)
