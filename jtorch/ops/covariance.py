"""Covariances and correlations of variables whose observations are the columns of a matrix."""

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import computing_dtype
from jtorch.ops._floating import wide
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array, op


def _check_weights(input: Array, fweights: Array | None, aweights: Array | None, name: str) -> int:
    """The number of observations, after torch's checks."""
    _args.check(input.ndim <= 2, f"{name}(): expected at most two dimensions, got {input.ndim}", RuntimeError)
    _args.check(input.dtype != np.bool_, f"{name}(): expected numbers, got bool", RuntimeError)
    count = input.shape[1] if input.ndim == 2 else input.size
    for what, weights, kinds in (("fweights", fweights, "iu"), ("aweights", aweights, "f")):
        if weights is not None:
            kind = "f" if _args.is_float(weights.dtype) else weights.dtype.kind
            _args.check(kind in kinds, f"{name}(): expected other {what} than {weights.dtype}", RuntimeError)
            fits = weights.ndim <= 1 and weights.size == count
            _args.check(fits, f"{name}(): expected {count} {what}, got shape {weights.shape}", RuntimeError)
    return count


def _check_values(input, *, correction=1, fweights=None, aweights=None):
    total = np.ones(())
    for what, weights in (("fweights", fweights), ("aweights", aweights)):
        if weights is not None and np.size(weights):
            least = np.min(np.asarray(weights))
            _args.check(least >= 0, f"cov(): expected {what} of 0 or more, got {least}", RuntimeError)
            total = total * np.asarray(weights)
    _args.check(np.sum(total) != 0, "cov(): expected weights that are not all 0, got a sum of 0", RuntimeError)


def _cov(x: Array, correction: int, weights: Array | None, aweights: Array | None) -> Array:
    total = x.shape[1] if weights is None else jnp.sum(weights)
    weighted = x if weights is None else x * weights
    x = x - jnp.sum(weighted, 1, keepdims=True) / total
    left = correction if aweights is None or weights is None else correction * jnp.sum(weights * aweights) / total
    weighted = x if weights is None else x * weights
    product = jnp.matmul(x, jnp.conj(weighted).T, precision=precision_for(x.dtype))
    return product / jnp.maximum(total - left, 0)


@op(validate=_check_values)
def cov(input: Array, *, correction: int = 1, fweights: Array | None = None, aweights: Array | None = None) -> Array:
    """The covariances of variables, the rows, over observations, the columns; the variance of a single variable.

    Shape: (N, M) -> (N, N); (M) -> ()
    Args:
        correction: what is taken off the number of observations; 1 is without bias.
        fweights: how often each observation counts. aweights: how much.
    Raises:
        RuntimeError: more than two dimensions, bools, or weights that do not fit, are negative, or all 0.
    """
    _check_weights(input, fweights, aweights, "cov")
    given = [x for x in (input, aweights) if x is not None]
    dtype = _args.result_type(*given)
    dtype = dtype if _args.is_inexact(dtype) else _args.default_float()
    wide = computing_dtype(dtype)
    weights = fweights if aweights is None else aweights if fweights is None else fweights * aweights
    weights, aweights = (
        None if w is None else w.astype(jnp.finfo(wide).dtype).reshape(-1) for w in (weights, aweights)
    )
    x = input.astype(wide)
    out = _cov(x if x.ndim == 2 else x.reshape(1, -1), correction, weights, aweights)
    return jnp.squeeze(out).astype(dtype)


@op
def corrcoef(input: Array) -> Array:
    """The correlations of variables, the rows, over observations, the columns, limited to -1 .. 1.

    Shape: (N, M) -> (N, N); (M) -> ()
    Raises:
        RuntimeError: more than two dimensions, or bools.
    """
    dtype = input.dtype if _args.is_inexact(input.dtype) else _args.default_float()
    c = cov.body(wide(input))
    if not c.ndim:
        return (c / c).astype(dtype)
    size = jnp.sqrt(jnp.diagonal(c).real)
    c = c / size[:, None] / size[None, :]
    if _args.is_complex(c.dtype):
        return (jnp.clip(c.real, -1, 1) + 1j * jnp.clip(c.imag, -1, 1)).astype(c.dtype)
    return jnp.clip(c, -1, 1).astype(dtype)
