"""Gradients kept within bounds: what `nn.utils.clip_grad` runs, over all of them at once."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, Scalar, op
from jtorch.ops.norms import vector_norm


def _norm(x: Array, norm_type: float) -> Array:
    return vector_norm(x, norm_type, tuple(range(x.ndim)), False)


@op(method=False, function=False)
def _norms(tensors: Sequence[Array], norm_type: float) -> Array:
    """The norm of each array, in their common dtype.

    Shape: (*) ... -> (how many)
    """
    norms = [_norm(x, norm_type) for x in tensors]
    dtype = norms[0].dtype
    for each in norms[1:]:
        dtype = _args.promote_types(dtype, each.dtype)
    return jnp.stack([each.astype(dtype) for each in norms])


@op(method=False, function=False)
def _total_norm(tensors: Sequence[Array], norm_type: float) -> Array:
    """The norm of the norms of all arrays.

    Shape: (*) ... -> ()
    """
    return _norm(_norms.body(tensors, norm_type), norm_type)


@op(method=False, function=False)
def _clipped_to_norm(tensors: Sequence[Array], max_norm: Scalar, total_norm: Array) -> tuple:
    """Each array times `max_norm / total_norm`, or as it is where that is more than 1.

    Shape: (*) ..., () -> (*) ...
    """
    factor = jnp.minimum(max_norm / (total_norm + 1e-6), 1.0)
    return tuple(_scaled(x, factor) for x in tensors)


def _scaled(x: Array, factor: Array) -> Array:
    wide = jnp.promote_types(x.dtype, np.float32)  # 16-bit floats are multiplied as float32, rounded once
    return (x.astype(wide) * factor.astype(wide)).astype(x.dtype)


@op(method=False, function=False)
def _clipped_to_value(tensors: Sequence[Array], clip_value: Scalar) -> tuple:
    """Each array with its elements kept between `-clip_value` and `clip_value`.

    Shape: (*) ... -> (*) ...
    """
    return tuple(jnp.clip(x, -clip_value, clip_value).astype(x.dtype) for x in tensors)
