"""Scaled dot product attention: weights of values by how keys fit queries. Multi-head attention is in `multihead`.

It is written as XLA's own matrix products on every platform. Where the matrix of scores would take more than 128
megabytes, the queries go through in blocks, and the backward pass computes a block's scores again.
"""

import enum
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jtorch.ops import _args
from jtorch.ops._floating import wide
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array, Key, Scalar, derived, op
from jtorch.ops.dropout import kept

MOST_SCORES = 2**25
"""How many scores are held at a time; a block of queries has no more than this, unless a single query has."""


_NAME = "scaled_dot_product_attention()"


# masks by rule


class CausalVariant(enum.IntEnum):
    """Where the triangle of a causal mask lies in a matrix that is not square."""

    UPPER_LEFT = enum.auto()
    LOWER_RIGHT = enum.auto()


class CausalBias:
    """A causal mask given by its rule, for the `attn_mask` of `scaled_dot_product_attention`.

    Differs: in torch it is a Tensor.
    """

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        known = isinstance(variant, CausalVariant)
        _args.check(known, f"CausalBias(): expected a CausalVariant, got {type(variant).__name__}", AssertionError)
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv

    @property
    def offset(self) -> int:
        """How many keys more than its own place each query may attend to."""
        return self.seq_len_kv - self.seq_len_q if self.variant == CausalVariant.LOWER_RIGHT else 0

    def __repr__(self):
        return repr(np.tri(self.seq_len_q, self.seq_len_kv, self.offset, bool))


def _causal_offset(attn_mask: Any, is_causal: bool, lengths: tuple[int, int]) -> tuple[Any, int | None]:
    """The mask that is left, and the offset of the causal triangle or None."""
    if isinstance(attn_mask, CausalBias):
        _args.check(not is_causal, f"{_NAME}: expected a CausalBias or is_causal, got both")
        own = attn_mask.seq_len_q, attn_mask.seq_len_kv
        fits = attn_mask.offset == 0 or own == lengths
        _args.check(fits, f"{_NAME}: expected a CausalBias of {lengths}, got {own}", RuntimeError)
        return None, attn_mask.offset
    both = is_causal and attn_mask is not None
    _args.check(not both, f"{_NAME}: expected attn_mask or is_causal, got both", RuntimeError)
    return attn_mask, 0 if is_causal else None


# the computation


class _Given(NamedTuple):
    """What every block of queries shares."""

    key: Array
    value: Array
    scale: Scalar
    causal: int | None
    dropout_p: Scalar | None = None
    precision: jax.lax.Precision | None = None


def _block(query: Array, mask: Array | None, first: Scalar, draw: Array | None, given: _Given) -> Array:
    """The output for a block of queries, the first of which has the place `first` in the sequence."""
    dtype = query.dtype
    scores = jnp.matmul(query, jnp.swapaxes(given.key, -1, -2), precision=given.precision)
    scores *= jnp.asarray(given.scale, dtype)
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == np.bool_ else scores + mask.astype(dtype)
    if given.causal is not None:
        rows, columns = (jax.lax.broadcasted_iota(jnp.int32, scores.shape[-2:], i) for i in (0, 1))
        scores = jnp.where(columns <= rows + (first + given.causal), scores, -jnp.inf)
    top = jax.lax.stop_gradient(jnp.max(scores, -1, keepdims=True, initial=-jnp.inf))
    weights = jnp.exp(scores - jnp.where(top == -jnp.inf, 0, top))
    total = jnp.sum(weights, -1, keepdims=True)
    if draw is not None:
        scale = 1 / (1 - jnp.asarray(given.dropout_p, jnp.float32))
        weights *= jnp.where(kept(draw, given.dropout_p, weights.shape), scale, 0).astype(dtype)
    out = jnp.matmul(weights, given.value, precision=given.precision)
    return out / jnp.where(total == 0, 1, total)  # where all is masked the output is 0


def _in_blocks(query: Array, mask: Array | None, draw: Array | None, rows: int, given: _Given) -> Array:
    """The outputs, from blocks of so many queries one after the other."""
    length = query.shape[-2]
    count = -(-length // rows)

    def cut(x: Array) -> Array:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, count * rows - length), (0, 0)])
        return jnp.moveaxis(x.reshape(*x.shape[:-2], count, rows, x.shape[-1]), -3, 0)

    per_row = mask is not None and mask.ndim > 1 and mask.shape[-2] > 1
    varying = {"query": cut(query), "first": jnp.arange(count, dtype=jnp.int32) * rows}
    if mask is not None and per_row:
        varying["mask"] = cut(mask)
    if draw is not None:
        varying["draw"] = jax.random.split(draw, count)

    @jax.checkpoint
    def one(x: dict) -> Array:
        return _block(x["query"], x.get("mask", mask), x["first"], x.get("draw"), given)

    out = jnp.moveaxis(jax.lax.map(one, varying), 0, -3)
    return out.reshape(*out.shape[:-3], count * rows, out.shape[-1])[..., :length, :]


def _attention(query: Array, mask: Array | None, draw: Array | None, given: _Given, enable_gqa: bool) -> Array:
    """The outputs; `draw` is the key of the dropout, None without."""
    _check_dtypes(query, given.key, given.value, mask)
    if enable_gqa:
        given = given._replace(key=_repeated(given.key, query), value=_repeated(given.value, query))
    shape = _scores_shape(query, given.key, given.value, mask)
    if given.scale is None:
        given = given._replace(scale=1 / math.sqrt(query.shape[-1] or 1))
    dtype = query.dtype  # products of 16-bit floats are exact at the default precision of float32
    query, key, value = (wide(x) for x in (query, given.key, given.value))
    given = given._replace(key=key, value=value, precision=precision_for(dtype))
    sizes = [1 if export.is_symbolic_dim(n) else n for n in shape]  # an exported program may leave some open
    rows = max(1, MOST_SCORES // max(1, math.prod(sizes) // max(1, sizes[-2])))
    if rows < sizes[-2]:
        return _in_blocks(query, mask, draw, rows, given).astype(dtype)
    return _block(query, mask, 0, draw, given).astype(dtype)


def _check_dtypes(query: Array, key: Array, value: Array, mask: Array | None) -> None:
    dtypes = query.dtype, key.dtype, value.dtype
    told = " and ".join(map(str, dtypes))
    _args.check(len(set(dtypes)) == 1, f"{_NAME}: expected one dtype, got {told}", RuntimeError)
    _args.check(
        not _args.is_complex(query.dtype), f"{_NAME}: expected real numbers, got {query.dtype}", NotImplementedError
    )
    _args.check(_args.is_float(query.dtype), f"{_NAME}: expected a float dtype, got {query.dtype}", RuntimeError)
    fits = mask is None or mask.dtype in (np.bool_, np.float32, query.dtype)
    _args.check(
        fits,
        f"{_NAME}: expected attn_mask of bool or {query.dtype}, got {mask is not None and mask.dtype}",
        RuntimeError,
    )


def _repeated(x: Array, query: Array) -> Array:
    """Keys or values, each head as often as there are query heads for it."""
    _args.check(query.ndim > 2 and x.ndim > 2, f"{_NAME}: expected heads in dimension -3, got {x.shape}", IndexError)
    heads, own = query.shape[-3], x.shape[-3]
    _args.check(
        own > 0 and heads % own == 0, f"{_NAME}: expected key heads that divide {heads}, got {own}", RuntimeError
    )
    return jnp.repeat(x, heads // own, axis=-3)


def _scores_shape(query: Array, key: Array, value: Array, mask: Array | None) -> tuple[int, ...]:
    """The shape of the matrix of scores.

    Raises: RuntimeError where the shapes do not fit together.
    """
    told = f"got shapes {query.shape}, {key.shape} and {value.shape}"
    _args.check(
        min(query.ndim, key.ndim, value.ndim) > 1, f"{_NAME}: expected at least 2 dimensions, {told}", RuntimeError
    )
    fits = query.shape[-1] == key.shape[-1] and key.shape[-2] == value.shape[-2]
    _args.check(fits, f"{_NAME}: expected queries as wide as keys and a value for each key, {told}", RuntimeError)
    try:
        lead = jnp.broadcast_shapes(query.shape[:-2], key.shape[:-2])
        jnp.broadcast_shapes(lead, value.shape[:-2])
    except ValueError:
        _args.fail(f"{_NAME}: expected batch sizes that broadcast, {told}", RuntimeError)
    shape = (*lead, query.shape[-2], key.shape[-2])
    if mask is not None:
        pairs = zip(mask.shape[::-1], shape[::-1], strict=False)
        fits = mask.ndim <= len(shape) and all(m in (1, n) for m, n in pairs)
        _args.check(fits, f"{_NAME}: expected attn_mask to broadcast to {shape}, got {mask.shape}", RuntimeError)
    return shape


@op(method=False, function=False)
def attention_of(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    scale: Scalar | None,
    causal: int | None,
    enable_gqa: bool,
) -> Array:
    """Values weighted by how their keys fit the queries; see `scaled_dot_product_attention`.

    Shape: (*, L, E), (*, S, E), (*, S, V) -> (*, L, V)
    """
    return _attention(query, attn_mask, None, _Given(key, value, scale, causal), enable_gqa)


@op(method=False, function=False)
def attention_with_dropout(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    scale: Scalar | None,
    dropout_p: Scalar,
    causal: int | None,
    enable_gqa: bool,
    *,
    dropout_key: Key | None = None,
) -> Array:
    """The same with part of the weights set to 0, the others divided by `1 - dropout_p`.

    Shape: (*, L, E), (*, S, E), (*, S, V) -> (*, L, V)
    """
    return _attention(query, attn_mask, dropout_key, _Given(key, value, scale, causal, dropout_p), enable_gqa)


@derived(method=False)
def scaled_dot_product_attention(
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    *,
    scale=None,
    enable_gqa=False,
    dropout_key=None,
):
    """`softmax(query key^T * scale + mask) value`. A query that may attend to nothing gives 0.

    Shape: (*, L, E), (*, S, E), (*, S, V) -> (*, L, V)
    Args:
        attn_mask: True where a query may attend to a key, or numbers to add to the scores. Broadcasts to (*, L, S).
        dropout_p: the probability of a weight to be set to 0, in evaluation as well.
        is_causal: query i attends to keys 0 to i, also where L and S differ.
        scale: 1 / sqrt(E) by default.
        enable_gqa: keys and values may have fewer heads (dimension -3), each for as many query heads in a row.
        dropout_key: the JAX key for the dropout, from the default generator where None.
    Raises:
        RuntimeError: shapes or dtypes do not fit, both attn_mask and is_causal are set, or dropout_p is no probability.
    Differs: torch lets attn_mask and is_causal be set together in one of its CPU kernels, against its documentation.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """
    lengths = tuple(x.shape[-2] if x.ndim > 1 else 0 for x in (query, key))
    attn_mask, causal = _causal_offset(attn_mask, is_causal, lengths)
    in_range = isinstance(dropout_p, jax.Array) or 0 <= dropout_p <= 1
    _args.check(in_range, f"{_NAME}: expected a probability between 0 and 1, got {dropout_p}", RuntimeError)
    if isinstance(dropout_p, jax.Array) or dropout_p > 0:
        return attention_with_dropout(
            query, key, value, attn_mask, scale, dropout_p, causal, enable_gqa, dropout_key=dropout_key
        )
    return attention_of(query, key, value, attn_mask, scale, causal, enable_gqa)
