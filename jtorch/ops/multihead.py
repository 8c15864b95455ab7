"""Multi-head attention as one function: projections, heads, masks, attention, and the output's projection."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args, _autocast
from jtorch.ops._floating import wide
from jtorch.ops._matrices import precision_for
from jtorch.ops._op import Array, DType, derived, op
from jtorch.ops.attention import scaled_dot_product_attention
from jtorch.ops.dropout import dropout
from jtorch.ops.products import linear

_NAME = "multi_head_attention_forward()"


def _need(condition: Any, message: str, error: type[Exception] = AssertionError) -> None:
    _args.check(condition, f"{_NAME}: {message}", error)


# masks: True, or minus infinity, is where nobody attends


def _added(mask: Array, dtype: Any) -> Array:
    """The mask as numbers to add to the scores."""
    return jnp.where(mask, -jnp.inf, 0).astype(dtype) if mask.dtype == np.bool_ else mask


@op(method=False, function=False)
def mask_as_numbers(mask: Array, dtype: DType) -> Array:
    """A mask as numbers to add to scores: minus infinity where a bool one is True; float ones as they are.

    Shape: (*) -> (*)
    """
    return _added(mask, dtype)


@derived(method=False, function=False)
def canonical_mask(mask, name, query, other=None, other_name=""):
    """A mask as numbers to add to scores, in the query's dtype; None stays None.

    Raises:
        AssertionError: it holds neither bools nor floats.
    """
    if mask is None:
        return None
    is_bool = _is_bool(mask)
    if other is not None and mask.dtype != other.dtype:
        told = f"Support for mismatched {name} and {other_name} is deprecated. Use same type for both instead."
        warnings.warn(told, stacklevel=3)
    return mask_as_numbers(mask, query.dtype) if is_bool else mask


def _is_bool(mask: Any) -> bool:
    dtype = _args.to_dtype(mask.dtype)
    _need(dtype == np.bool_ or _args.is_float(dtype), f"expected a mask of bools or floats, got {dtype}")
    return dtype == np.bool_


@op(method=False, function=False)
def joined_masks(
    attn_mask: Array | None, key_padding_mask: Array | None, heads: int, more_keys: int, dtype: DType
) -> Array:
    """Both masks as one to add to the scores, with zeros for the keys that were added.

    Shape: (L, S) or (N * heads, L, S), and (S) or (N, S) -> (N or 1, heads or 1, L or 1, S + more_keys)
    """
    found = []
    if attn_mask is not None:
        lead = (-1, heads) if attn_mask.ndim == 3 else (1, 1)
        found.append(_added(attn_mask, dtype).reshape(*lead, *attn_mask.shape[-2:]))
    if key_padding_mask is not None:
        found.append(_added(key_padding_mask, dtype).reshape(-1, 1, 1, key_padding_mask.shape[-1]))
    both = found[0] if len(found) == 1 else found[0] + found[1]
    return jnp.pad(both, [(0, 0)] * 3 + [(0, more_keys)])


@op(method=False, function=False)
def padding_zeroed(input: Array, key_padding_mask: Array, any_order: bool) -> Array:
    """The input with 0 where the mask, as numbers to add to scores, is not 0.

    Shape: (N, S, E), (N, S) -> (N, S, E)
    Args:
        any_order: otherwise nothing is changed unless the padding of each sequence is at its end.
    """
    kept = key_padding_mask == 0
    at_end = jnp.all(kept[:, :-1] >= kept[:, 1:])
    return jnp.where((kept if any_order else kept | ~at_end)[..., None], input, 0)


# the steps, each one program. Inside, sequences come first, then the batch.


def _batched(x: Array) -> Array:
    return x[:, None] if x.ndim == 2 else x


def _projected(
    query: Array, key: Array | None, value: Array | None, weight: Array, bias: Array | None
) -> tuple[Array, Array, Array]:
    """Queries, keys and values by one packed weight; where inputs are one and the same, in one product."""
    width = query.shape[-1]

    def part(x: Array, first: int, last: int) -> tuple[Array, ...]:
        rows = slice(first * width, last * width)
        made = linear(x, weight[rows], None if bias is None else bias[rows])
        return tuple(jnp.split(made, last - first, axis=-1))

    if key is None:
        q, k, v = part(query, 0, 3)
    elif value is None:
        (q,), (k, v) = part(query, 0, 1), part(key, 1, 3)
    else:
        (q,), (k,), (v,) = part(query, 0, 1), part(key, 1, 2), part(value, 2, 3)
    return q, k, v


@op(method=False, function=False)
def projected_heads(
    query: Array,
    key: Array | None,
    value: Array | None,
    in_proj_weight: Array | None,
    in_proj_bias: Array | None,
    q_proj_weight: Array | None,
    k_proj_weight: Array | None,
    v_proj_weight: Array | None,
    bias_k: Array | None,
    bias_v: Array | None,
    static_k: Array | None,
    static_v: Array | None,
    heads: int,
    add_zero_attn: bool,
) -> tuple[Array, Array, Array]:
    """Queries, keys and values of every head. No key means the query, no value the key.

    Shape: (L, N, E) or (L, E), (S, N, K), (S, N, V) -> (N, heads, L, E / heads), twice (N, heads, S, E / heads)
    """
    query, key, value = (x if x is None else _batched(x) for x in (query, key, value))
    if in_proj_weight is None:
        biases = (None,) * 3 if in_proj_bias is None else jnp.split(in_proj_bias, 3)
        weights = q_proj_weight, k_proj_weight, v_proj_weight
        q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True))
    else:
        q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias)
    _, batch, width = q.shape
    if bias_k is not None:
        k, v = (jnp.concatenate([x, jnp.broadcast_to(b, (1, batch, width))]) for x, b in ((k, bias_k), (v, bias_v)))
    q, k, v = (x.reshape(x.shape[0], batch, heads, width // heads).transpose(1, 2, 0, 3) for x in (q, k, v))
    k = k if static_k is None else static_k.reshape(batch, heads, static_k.shape[1], width // heads)
    v = v if static_v is None else static_v.reshape(batch, heads, static_v.shape[1], width // heads)
    if add_zero_attn:
        k, v = (jnp.pad(x, [(0, 0), (0, 0), (0, 1), (0, 0)]) for x in (k, v))
    return q, k, v


def _joined_heads(x: Array, weight: Array, bias: Array | None, batched: bool) -> Array:
    batch, heads, length, width = x.shape
    out = linear(x.transpose(2, 0, 1, 3).reshape(length, batch, heads * width), weight, bias)
    return out if batched else out[:, 0]


@op(method=False, function=False)
def joined_heads(x: Array, weight: Array, bias: Array | None, batched: bool) -> Array:
    """What the heads found, side by side and projected.

    Shape: (N, heads, L, D) -> (L, N, E), or (L, E) where not batched
    """
    return _joined_heads(x, weight, bias, batched)


@jax.custom_jvp
def _softmax(scores: Array) -> Array:
    return jax.nn.softmax(scores, axis=-1)


@_softmax.defjvp
def _softmax_tangent(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Written so that its transpose multiplies a difference, rather than subtracting products that nearly cancel."""
    weights = _softmax(primals[0])
    moved = weights * tangents[0]
    return weights, moved - weights * jnp.sum(moved, -1, keepdims=True)


@op(method=False, function=False)
def attention_weights(query: Array, key: Array, mask: Array | None) -> Array:
    """`softmax(query key^T / sqrt(D) + mask)`; NaN for a query that may attend to nothing.

    Shape: (*, L, D), (*, S, D) -> (*, L, S)
    """
    dtype, precision = query.dtype, precision_for(query.dtype)
    query, key = wide(query) / math.sqrt(query.shape[-1]), wide(key)
    scores = jnp.einsum("...ld,...sd->...ls", query, key, precision=precision)
    scores = scores if mask is None else scores + mask.astype(scores.dtype)
    return _softmax(scores).astype(dtype)


@op(method=False, function=False)
def weighted_values(
    weights: Array, value: Array, out_weight: Array, out_bias: Array | None, batched: bool, average: bool
) -> tuple[Array, Array]:
    """The projected sums of the values, and the weights as they are to be shown.

    Shape: (N, heads, L, S), (N, heads, S, D) -> (L, N, E), (N, L, S) or (N, heads, L, S); without N where not batched
    """
    found = jnp.matmul(wide(weights), wide(value), precision=precision_for(value.dtype))
    out = _joined_heads(found.astype(value.dtype), out_weight, out_bias, batched)
    shown = jnp.mean(weights, axis=1) if average else weights
    return out, shown if batched else shown[0]


# what is refused


def _check_ranks(query: Any, key: Any, value: Any, key_padding_mask: Any, attn_mask: Any, heads: int) -> None:
    ranks = query.ndim, key.ndim, value.ndim
    _need(ranks in ((2, 2, 2), (3, 3, 3)), f"expected query, key and value to be all 2-D or all 3-D, got {ranks}")
    if key_padding_mask is not None:
        rank, given = query.ndim - 1, key_padding_mask.ndim
        _need(rank == given, f"expected key_padding_mask to be {rank}-D, got {given}-D")
    if attn_mask is not None:
        _need(attn_mask.ndim in (2, 3), f"expected attn_mask to be 2-D or 3-D, got {attn_mask.ndim}-D")
        shape = heads, query.shape[0], key.shape[0]
        fits = query.ndim == 3 or attn_mask.ndim == 2 or tuple(attn_mask.shape) == shape
        _need(fits, f"expected attn_mask of shape {shape}, got {tuple(attn_mask.shape)}")


def _check_packed(query: Any, key: Any, value: Any, weight: Any) -> None:
    _need(weight is not None, "expected in_proj_weight, got None; set use_separate_proj_weight for three weights")
    same = tuple(key.shape) == tuple(value.shape)
    _need(same, f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
    fits = key.ndim == 2 or query.shape[1] == key.shape[1]
    _need(fits, f"expected one batch size, got {query.shape[1]} and {key.shape[1]}", RuntimeError)
    width = query.shape[-1]
    fits = tuple(weight.shape) == (3 * width, width)
    _need(fits, f"expected in_proj_weight of shape {(3 * width, width)}, got {tuple(weight.shape)}", RuntimeError)


def _check_separate(query: Any, key: Any, value: Any, weights: tuple) -> None:
    _need(all(w is not None for w in weights), "expected q_proj_weight, k_proj_weight and v_proj_weight, got None")
    lead = [tuple(x.shape[:-1]) for x in (key, value)]
    _need(lead[0] == lead[1], f"key's sequence and batch dims {lead[0]} do not match value's {lead[1]}")
    for which, x, weight in zip(("query", "key", "value"), (query, key, value), weights, strict=True):
        shape = query.shape[-1], x.shape[-1]
        _need(
            tuple(weight.shape) == shape,
            f"expected {which} weights of shape {shape}, got {tuple(weight.shape)}",
        )


def _check_biases(bias_k: Any, bias_v: Any, static_k: Any, static_v: Any, lead: int, width: int) -> None:
    _need((bias_k is None) == (bias_v is None), "expected bias_k and bias_v, got one of them")
    fixed = static_k is not None or static_v is not None
    _need(bias_k is None or not fixed, "expected no bias_k with static_k or static_v, got both")
    for name, x in (("static_k", static_k), ("static_v", static_v)):
        fits = x is None or (x.ndim == 3 and x.shape[0] == lead and x.shape[2] == width)
        _need(fits, f"expected {name} of shape ({lead}, S, {width}), got {x is not None and tuple(x.shape)}")


def _check_masks(attn_mask: Any, key_padding_mask: Any, query: Any, heads: int, keys: int, more: int) -> None:
    """Whether the masks fit queries (N, heads, L, D) and so many keys, `more` of which were added."""
    batch, _, length, _ = query.shape
    if attn_mask is not None:
        shape = (length, keys - more) if attn_mask.ndim == 2 else (batch * heads, length, keys - more)
        given = tuple(attn_mask.shape)
        _need(given == shape, f"expected attn_mask of shape {shape}, got {given}", RuntimeError)
    if key_padding_mask is not None:
        shape = (batch, keys - more) if key_padding_mask.ndim == 2 else (keys - more,)
        given = tuple(key_padding_mask.shape)
        _need(given == shape, f"expected key_padding_mask of shape {shape}, got {given}")


# the function


def _heads_of(query, key, value, packed, biases, statics, separate, heads, add_zero_attn):
    """Checked arguments, then `projected_heads`."""
    if separate is None:
        _check_packed(query, key, value, packed[0])
    else:
        _check_separate(query, key, value, separate)
    batch = query.shape[1] if query.ndim == 3 else 1
    _check_biases(*biases, *statics, batch * heads, query.shape[-1] // heads)
    if separate is None:
        value = None if value is key else value
        key = None if value is None and key is query else key
    weight = packed[0] if separate is None else None
    return projected_heads(
        query, key, value, weight, packed[1], *(separate or (None,) * 3), *biases, *statics, heads, bool(add_zero_attn)
    )


@derived(method=False, function=False)
def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
    *,
    dropout_key=None,
):
    """The output of multi-head attention, and its weights or None.

    Shape: (L, N, E) or (L, E), (S, N, K), (S, N, V) -> (L, N, E), (N, L, S) or (N, H, L, S); without N as given
    Args:
        embed_dim_to_check: what E has to be.
        bias_k, bias_v: one more key and value, (1, 1, E).
        add_zero_attn: one more key and value of zeros.
        key_padding_mask: (N, S) or (S), True where nobody attends, or numbers to add to the scores.
        attn_mask: (L, S) or (N * num_heads, L, S), likewise.
        static_k, static_v: keys and values in place of the projected ones, (N * num_heads, S, E / num_heads).
        is_causal: a hint that attn_mask is the causal one.
        dropout_key: the JAX key for the dropout, from the default generator where None.
    Raises:
        AssertionError: shapes do not fit, or arguments are missing.
        RuntimeError: attn_mask is missing or has another shape, dtypes differ.
    Source: Vaswani et al., arXiv 1706.03762 (2017).
    """
    _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    _need(not is_causal or attn_mask is not None, "expected an attn_mask with is_causal, got None", RuntimeError)
    padding = canonical_mask(key_padding_mask, "key_padding_mask", query, attn_mask, "attn_mask")
    width = query.shape[-1]
    _need(width == embed_dim_to_check, f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}")
    _need(width % num_heads == 0, f"embed_dim {width} not divisible by num_heads {num_heads}")
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    packed, biases, statics = (in_proj_weight, in_proj_bias), (bias_k, bias_v), (static_k, static_v)
    q, k, v = _heads_of(query, key, value, packed, biases, statics, separate, num_heads, add_zero_attn)
    causal = is_causal and padding is None and not need_weights
    mask = None if causal else canonical_mask(attn_mask, "attn_mask", query)
    more = (bias_k is not None) + bool(add_zero_attn)
    _check_masks(mask, padding, q, num_heads, k.shape[2], more)
    if mask is not None or padding is not None:
        mask = joined_masks(mask, padding, num_heads, more, query.dtype)
    p, batched = (dropout_p if training else 0.0), query.ndim == 3
    if not need_weights:
        found = scaled_dot_product_attention(q, k, v, mask, p, causal, dropout_key=dropout_key)
        return joined_heads(found, out_proj_weight, out_proj_bias, batched), None
    alike = mask is None or mask.dtype == q.dtype or bool(_autocast.running.on)
    _need(alike, f"expected a mask of {q.dtype}, got {mask is not None and mask.dtype}", RuntimeError)
    weights = dropout(attention_weights(q, k, mask), p, True, key=dropout_key)
    return weighted_values(weights, v, out_proj_weight, out_proj_bias, batched, average_attn_weights)
