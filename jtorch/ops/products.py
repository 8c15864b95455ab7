"""Products of matrices and vectors: matmul and its special cases, the `add*` forms, linear, kron, cross.

float32 is multiplied at full precision unless `set_float32_matmul_precision` trades it. einsum and tensordot are in
`contraction`, norms, solvers and decompositions in `norms`, `linalg` and `spectra`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import scale_of
from jtorch.ops._matrices import accumulator, need, precision_for, same_dtype
from jtorch.ops._op import Array, Scale, derived, op
from jtorch.ops._products import weighed


def product(name: str, a: Array, b: Array, wide: bool = False) -> Array:
    """`a @ b`, checked as torch does; `wide` leaves 16-bit floats in the dtype they were added up in."""
    same_dtype(name, a, b)
    need(a.ndim > 0 and b.ndim > 0, name, "arrays with dimensions", a, b)
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    need(a.shape[-1] == inner, name, "the last size of the first to be the last but one of the second", a, b)
    lead = zip(a.shape[-3::-1], b.shape[-3::-1], strict=False)
    need(all(m == n or 1 in (m, n) for m, n in lead), name, "batch sizes that broadcast", a, b)
    kept = accumulator(a.dtype) if wide else None
    if b.ndim == 2:
        return weighed(a, b, 0, precision_for(a.dtype), kept)
    return jnp.matmul(a, b, precision=precision_for(a.dtype), preferred_element_type=kept)


@op
def matmul(input: Array, other: Array) -> Array:
    """The matrix product over the last two dimensions, the others broadcast.

    A vector is a row on the left and a column on the right.

    Shape: (*, M, K), (*, K, N) -> (*, M, N)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    return product("matmul", input, other)


@op
def mm(input: Array, mat2: Array) -> Array:
    """The product of two matrices.

    Shape: (M, K), (K, N) -> (M, N)
    Raises: RuntimeError for other than matrices, or where the sizes or dtypes do not match.
    """
    need(input.ndim == mat2.ndim == 2, "mm", "two matrices", input, mat2)
    return product("mm", input, mat2)


@op
def bmm(input: Array, mat2: Array) -> Array:
    """The products of two batches of matrices, one by one.

    Shape: (B, M, K), (B, K, N) -> (B, M, N)
    Raises: RuntimeError for other than three dimensions, or where the sizes or dtypes do not match.
    """
    need(input.ndim == mat2.ndim == 3 and input.shape[0] == mat2.shape[0], "bmm", "two batches", input, mat2)
    return product("bmm", input, mat2)


@op
def mv(input: Array, vec: Array) -> Array:
    """The product of a matrix and a vector.

    Shape: (M, K), (K) -> (M)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    need(input.ndim == 2 and vec.ndim == 1, "mv", "a matrix and a vector", input, vec)
    return product("mv", input, vec)


@op
def dot(input: Array, tensor: Array) -> Array:
    """The sum of the products of the elements of two vectors.

    Shape: (N), (N) -> ()
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    need(input.ndim == tensor.ndim == 1, "dot", "two vectors", input, tensor)
    return product("dot", input, tensor)


@op
def vdot(input: Array, other: Array) -> Array:
    """The dot product of two vectors, the first conjugated.

    Shape: (N), (N) -> ()
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    need(input.ndim == other.ndim == 1, "vdot", "two vectors", input, other)
    return product("vdot", jnp.conj(input), other)


@op
def inner(input: Array, other: Array) -> Array:
    """The sums of products over the last dimension of both; a scalar multiplies.

    Shape: (A*, K), (B*, K) -> (A*, B*)
    Raises: RuntimeError where the last sizes or the dtypes differ.
    """
    if not input.ndim or not other.ndim:
        return jnp.multiply(*_args.promote(input, other))
    same_dtype("inner", input, other)
    need(input.shape[-1] == other.shape[-1], "inner", "equal last sizes", input, other)
    return jnp.tensordot(input, other, (-1, -1), precision=precision_for(input.dtype))


@op(alias="ger", promote="same")
def outer(input: Array, vec2: Array) -> Array:
    """The products of each element of one vector with each of another.

    Shape: (M), (N) -> (M, N)
    Raises: RuntimeError for other than vectors.
    """
    need(input.ndim == vec2.ndim == 1, "outer", "two vectors", input, vec2)
    return input[:, None] * vec2


# input + product


def _batches(name: str, batch1: Array, batch2: Array) -> Array:
    fits = batch1.ndim == batch2.ndim == 3 and batch1.shape[0] == batch2.shape[0]
    need(fits, name, "two batches of matrices", batch1, batch2)
    return product(name, batch1, batch2, wide=True)


def _scaled(name: str, array: Array, factor: Any) -> Array:
    """The array times a number, in the array's dtype."""
    if isinstance(factor, int) and factor == 1:
        return array
    return array * _args.scalar(name, factor, array.dtype)


def _plus(name: str, input: Array, factor: Array, made: Array, beta: Any, alpha: Any) -> Array:
    """`beta * input + alpha * made`, `made` being a product of `factor`; with a beta of 0 the input is not read."""
    same_dtype(name, input, factor)
    lead = zip(input.shape[::-1], made.shape[::-1], strict=False)
    fits = input.ndim <= made.ndim and all(m in (1, n) for m, n in lead)
    need(fits, name, "an input that broadcasts to the product", input, made)
    kept = input.astype(made.dtype)
    if not _is_one(beta):
        kept = jnp.where(jnp.asarray(beta) == 0, 0, _scaled(name, kept, beta))
    return (kept + _scaled(name, made, alpha)).astype(input.dtype)


def _is_one(value: Any) -> bool:
    return isinstance(value, int) and value == 1


@op(inplace=True)
def addmm(input: Array, mat1: Array, mat2: Array, *, beta: Scale = 1, alpha: Scale = 1) -> Array:
    """`beta * input + alpha * (mat1 @ mat2)`.

    Shape: broadcasts to (M, N), (M, K), (K, N) -> (M, N)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    need(mat1.ndim == mat2.ndim == 2, "addmm", "two matrices", mat1, mat2)
    return _plus("addmm", input, mat1, product("addmm", mat1, mat2, wide=True), beta, alpha)


@op(inplace=True)
def addmv(input: Array, mat: Array, vec: Array, *, beta: Scale = 1, alpha: Scale = 1) -> Array:
    """`beta * input + alpha * (mat @ vec)`.

    Shape: broadcasts to (M), (M, K), (K) -> (M)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    need(mat.ndim == 2 and vec.ndim == 1, "addmv", "a matrix and a vector", mat, vec)
    return _plus("addmv", input, mat, product("addmv", mat, vec, wide=True), beta, alpha)


@op(inplace=True)
def addr(input: Array, vec1: Array, vec2: Array, *, beta: Scale = 1, alpha: Scale = 1) -> Array:
    """`beta * input + alpha * outer(vec1, vec2)`.

    Shape: broadcasts to (M, N), (M), (N) -> (M, N)
    Raises: RuntimeError where the sizes do not match.
    """
    need(vec1.ndim == vec2.ndim == 1, "addr", "two vectors", vec1, vec2)
    input, vec1, vec2 = _args.promote(input, vec1, vec2)
    beta, alpha = (scale_of("addr", x, input.dtype) for x in (beta, alpha))
    if input.dtype == np.bool_:
        return (beta & input) | (alpha & vec1[:, None] & vec2)
    wide = accumulator(input.dtype) or input.dtype
    return _plus("addr", input, vec1, vec1.astype(wide)[:, None] * vec2.astype(wide), beta, alpha)


@op(inplace=True)
def addbmm(input: Array, batch1: Array, batch2: Array, *, beta: Scale = 1, alpha: Scale = 1) -> Array:
    """`beta * input + alpha *` the sum of the products of two batches of matrices.

    Shape: broadcasts to (M, N), (B, M, K), (B, K, N) -> (M, N)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    made = _batches("addbmm", batch1, batch2)
    return _plus("addbmm", input, batch1, jnp.sum(made, axis=0, dtype=made.dtype), beta, alpha)


@op(inplace=True)
def baddbmm(input: Array, batch1: Array, batch2: Array, *, beta: Scale = 1, alpha: Scale = 1) -> Array:
    """`beta * input + alpha *` the products of two batches of matrices.

    Shape: broadcasts to (B, M, N), (B, M, K), (B, K, N) -> (B, M, N)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    return _plus("baddbmm", input, batch1, _batches("baddbmm", batch1, batch2), beta, alpha)


# layers


@op(method=False, function=False)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """`input @ weight.T + bias`.

    Shape: (*, I), (O, I) or (I), broadcasts to (O) -> (*, O) or (*)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    same_dtype("linear", input, weight, bias)
    fits = input.ndim and weight.ndim in (1, 2) and input.shape[-1] == weight.shape[-1]
    need(bool(fits), "linear", "an input whose last size is that of the weight", input, weight)
    kept = None if bias is None else accumulator(input.dtype)
    out = weighed(input, weight, weight.ndim - 1, precision_for(input.dtype), kept)
    return out if bias is None else _plus("linear", bias, weight, out, 1, 1)


@op(method=False)
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None) -> Array:
    """`input1 @ weight[o] @ input2 + bias[o]` for each o.

    Shape: (*, I1), (*, I2), (O, I1, I2), (O) -> (*, O)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    same_dtype("bilinear", input1, input2, weight, bias)
    fits = input1.shape[:-1] == input2.shape[:-1] and weight.shape[1:] == (input1.shape[-1], input2.shape[-1])
    need(fits, "bilinear", "equal batches and the last sizes of the weight", input1, input2, weight)
    half = jnp.einsum("...i,oij->...oj", input1, weight, precision=precision_for(weight.dtype))
    out = jnp.einsum("...oj,...j->...o", half, input2, precision=precision_for(weight.dtype))
    return out if bias is None else out + bias


@op(promote="same")
def kron(input: Array, other: Array) -> Array:
    """Each element of the input multiplied with the whole of the other, laid out in blocks.

    Shape: (A*), (B*) -> (A * B, dimension by dimension from the last)
    """
    if input.dtype == np.bool_:
        return jnp.kron(input.astype(np.uint8), other.astype(np.uint8)) != 0
    return jnp.kron(input, other)


def _multiplied(name: str, tensors: Sequence[Array]) -> Array:
    same_dtype(name, *tensors)
    inner = all(x.ndim == 2 for x in tensors[1:-1])
    ends = tensors[0].ndim in (1, 2) and tensors[-1].ndim in (1, 2)
    need(inner and ends, name, "matrices, or vectors at the ends", *tensors)
    chain = itertools.pairwise(tensors)
    need(all(a.shape[-1] == b.shape[0] for a, b in chain), name, "sizes that match along the chain", *tensors)
    return jnp.linalg.multi_dot(list(tensors), precision=precision_for(tensors[0].dtype))


@op(method=False, function=False)
def linalg_multi_dot(tensors: Sequence[Array]) -> Array:
    """The product of a chain of matrices, in the order that takes the fewest multiplications.

    Shape: (M, K), (K, ...), ..., (..., N) -> (M, N); a vector may stand at either end
    Raises: RuntimeError for fewer than two arrays, or where sizes or dtypes do not match.
    """
    _args.check(len(tensors) >= 2, f"multi_dot(): expected at least 2 arrays, got {len(tensors)}", RuntimeError)
    return _multiplied("multi_dot", tensors)


@derived(method=False)
def chain_matmul(*matrices: Any) -> Any:
    """The product of a chain of matrices, in the order that takes the fewest multiplications.

    Shape: (M, K), (K, ...), ..., (..., N) -> (M, N)
    Raises: RuntimeError where sizes or dtypes do not match.
    """
    each = _args.starred(matrices)
    _args.check(len(each) > 0, "chain_matmul(): expected one or more matrices", RuntimeError)
    return each[0] if len(each) == 1 else linalg_multi_dot(each)


# other products


@op
def trace(input: Array) -> Array:
    """The sum of the main diagonal of a matrix; integers add up to int64.

    Shape: (M, N) -> ()
    Raises: RuntimeError for other than a matrix.
    """
    need(input.ndim == 2, "trace", "a matrix", input)
    dtype = _args.long_dtype() if _args.is_integral(input.dtype) else input.dtype
    return jnp.trace(input, dtype=dtype)


def _crossed(name: str, input: Array, other: Array, dim: int) -> Array:
    same_dtype(name, input, other)
    need(input.ndim == other.ndim, name, "as many dimensions in both", input, other)
    fits = all(m == n or 1 in (m, n) for m, n in zip(input.shape, other.shape, strict=True))
    need(fits, name, "sizes that broadcast", input, other)
    at = _args.dim(dim, input.ndim, name)
    need(input.shape[at] == other.shape[at] == 3, name, f"size 3 in dimension {at}", input, other)
    return jnp.cross(input, other, axis=at)


@op
def cross(input: Array, other: Array, dim: int | None = None) -> Array:
    """The vector products along a dimension of size 3, by default the first of that size.

    Shape: (*, 3, *), (*, 3, *) -> (*, 3, *)
    Raises: RuntimeError where there is no such dimension or the sizes or dtypes do not match.
    """
    if dim is None:
        need(3 in input.shape, "cross", "a dimension of size 3", input)
        dim = input.shape.index(3)
    return _crossed("cross", input, other, dim)


@op(method=False, function=False)
def linalg_cross(input: Array, other: Array, *, dim: int = -1) -> Array:
    """The vector products along a dimension of size 3.

    Shape: (*, 3, *), (*, 3, *) -> (*, 3, *)
    Raises: RuntimeError where the dimension has another size, or the sizes or dtypes do not match.
    """
    return _crossed("cross", input, other, dim)


@op(method=False, function=False)
def linalg_vecdot(x: Array, y: Array, *, dim: int = -1) -> Array:
    """The dot products along a dimension, `x` conjugated.

    Shape: (*, N, *), (*, N, *) -> (*, *)
    Raises: RuntimeError where the sizes or dtypes do not match.
    """
    same_dtype("vecdot", x, y)
    need(x.shape[dim] == y.shape[dim], "vecdot", "equal sizes in the dimension", x, y)
    at = _args.dim(dim, max(x.ndim, y.ndim), "vecdot") - max(x.ndim, y.ndim)
    x, y = jnp.moveaxis(x, at, -1), jnp.moveaxis(y, at, -1)
    return jnp.matmul(jnp.conj(x)[..., None, :], y[..., None], precision=precision_for(x.dtype))[..., 0, 0]
