"""Several matrix products in one, of groups of rows or columns; and those of scaled 8-bit floats, which are not here."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array, DType, derived, op

_BY_CONTRACTION = jax.lax.RaggedDotDimensionNumbers(
    dot_dimension_numbers=(((1,), (0,)), ((), ())), lhs_ragged_dimensions=(1,), rhs_group_dimensions=()
)


def _check_grouped(a: Array, b: Array, offs: Array | None) -> None:
    shapes = f"got shapes {a.shape} and {b.shape}"
    _args.check(
        a.ndim in (2, 3) and b.ndim in (2, 3), f"grouped_mm(): expected 2 or 3 dimensions, {shapes}", RuntimeError
    )
    _args.check(
        a.shape[-1] == b.shape[-2], f"grouped_mm(): expected contraction dims that match, {shapes}", RuntimeError
    )
    _args.check(
        (offs is None) == (a.ndim == b.ndim == 3),
        f"grouped_mm(): expected offs where a matrix is 2-d, and only there, {shapes}",
        RuntimeError,
    )
    groups = offs.shape[0] if offs is not None else b.shape[0]
    known = [x.shape[0] for x in (a, b) if x.ndim == 3]
    _args.check(all(n == groups for n in known), f"grouped_mm(): expected {groups} groups, {shapes}", RuntimeError)


@op(method=False, function=False)
def grouped_mm(
    mat_a: Array,
    mat_b: Array,
    *,
    offs: Array | None = None,
    bias: Array | None = None,
    out_dtype: DType | None = None,
) -> Array:
    """Matrix products by groups: a 3-d array has a matrix for each, a 2-d one is cut into them where `offs` says.

    Of two 2-d arrays the dimension that is summed over is cut. Rows or columns after the last offset are zero.

    Shape: (M, K), (G, K, N) -> (M, N); (G, M, K), (G, K, N) -> (G, M, N); (G, M, K), (K, N) -> (M, N);
        (M, K), (K, N) -> (G, M, N)
    Args:
        offs: the end of each group, ascending.
    Raises: RuntimeError where the sizes do not match, or `bias` is given.
    Differs: any float dtype and any layout is taken.
    """
    _check_grouped(mat_a, mat_b, offs)
    _args.check(bias is None, "grouped_mm(): expected no bias, got one; add it to the result", RuntimeError)
    dtype = mat_a.dtype if out_dtype is None else out_dtype
    how: dict[str, Any] = {"precision": precision_for(mat_a.dtype)}
    if dtype != mat_a.dtype:  # added up in the wider one
        mat_a, mat_b = mat_a.astype(dtype), mat_b.astype(dtype)
    if offs is None:
        return jnp.matmul(mat_a, mat_b, **how).astype(dtype)
    sizes = jnp.diff(offs, prepend=0).astype(np.int32)
    if mat_b.ndim == 3:
        out = jax.lax.ragged_dot(mat_a, mat_b, sizes, **how)
    elif mat_a.ndim == 3:
        out = jax.lax.ragged_dot(mat_b.T, jnp.swapaxes(mat_a, 1, 2), sizes, **how).T
    else:
        out = jax.lax.ragged_dot_general(mat_a, mat_b, sizes, _BY_CONTRACTION, **how)
    return out.astype(dtype)


@derived(method=False, function=False)
def scaled_mm(
    mat_a: Any, mat_b: Any, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any,
    swizzle_a: Any = None, swizzle_b: Any = None, bias: Any = None, output_dtype: Any = jnp.bfloat16,
    contraction_dim: Any = (), use_fast_accum: bool = False,
) -> Any:  # fmt: skip
    """Not available: the product of matrices of scaled 8-bit floats.

    Raises: NotImplementedError.
    """
    raise NotImplementedError("scaled_mm(): products of scaled 8-bit floats are not available; convert, and use matmul")


@derived(method=False, function=False)
def scaled_grouped_mm(
    mat_a: Any, mat_b: Any, scale_a: Any, scale_recipe_a: Any, scale_b: Any, scale_recipe_b: Any,
    swizzle_a: Any = None, swizzle_b: Any = None, bias: Any = None, offs: Any = None,
    output_dtype: Any = jnp.bfloat16, contraction_dim: Any = (), use_fast_accum: bool = False,
) -> Any:  # fmt: skip
    """Not available: the product by groups of matrices of scaled 8-bit floats.

    Raises: NotImplementedError.
    """
    raise NotImplementedError(
        "scaled_grouped_mm(): products of scaled 8-bit floats are not available; convert, and use grouped_mm"
    )
