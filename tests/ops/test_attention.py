"""Attention as a function: masks of every kind, shapes, errors, dropout, blocks of queries, all options of multi-head."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch
import torch.nn.attention.bias

import jtorch
import jtorch.nn.functional as F
from jtorch.ops import attention


def heads(*shape, dtype=torch.float64, seed=0):
    """Queries (2, 3, 5, 4) and keys and values (2, 3, 6, 4), or others, that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = shape or ((2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 4))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def same(*inputs, **kwargs):
    """The functions of both libraries give the same."""
    parity.check(
        F.scaled_dot_product_attention, torch.nn.functional.scaled_dot_product_attention, *inputs, kwargs=kwargs
    )


ALLOWED = torch.rand(5, 6, generator=torch.Generator().manual_seed(3)) > 0.4
ALLOWED[1] = False  # a query that may attend to nothing
MASKS = {
    "none": None,
    "bool": ALLOWED,
    "per_head": torch.stack([ALLOWED, ~ALLOWED, ALLOWED.roll(1, 0)]),
    "padding": torch.arange(6) < torch.tensor([[[[4]]], [[[6]]]]),
    "minus_infinity": torch.zeros(5, 6, dtype=torch.float64).masked_fill(~ALLOWED, -torch.inf),
    "numbers": torch.randn(2, 1, 5, 6, dtype=torch.float64).requires_grad_(),
    "single": torch.randn(2, 1, 1, 1),
}


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask):
    same(*heads(), MASKS[mask])
    same(*heads(), attn_mask=MASKS[mask], scale=-0.7)


@pytest.mark.parametrize("mask", MASKS)
def test_blocks_of_queries_give_the_same(mask, monkeypatch):
    monkeypatch.setattr(attention, "MOST_SCORES", 2 * 3 * 6 * 2)  # two queries at a time, of five
    jtorch.ops.forget_programs()
    same(*heads(), MASKS[mask])
    same(*heads(), is_causal=True)
    q = jnp.ones((1, 1, 64, 4))
    drawn = attention.attention_with_dropout(
        q, q, jnp.eye(64)[None, None], None, None, 0.5, None, False, dropout_key=jax.random.key(0)
    )
    assert 0.4 < float((drawn == 0).mean()) < 0.6 and len(np.unique(np.asarray(drawn[0, 0]), axis=0)) == 64
    jtorch.ops.forget_programs()


@pytest.mark.parametrize(
    "shapes",
    [
        ((5, 4), (6, 4), (6, 4)),
        ((3, 5, 4), (3, 6, 4), (3, 6, 2)),
        ((2, 3, 7, 4), (2, 3, 2, 4), (2, 3, 2, 4)),
        ((1, 2, 3, 5, 4), (1, 2, 3, 6, 4), (1, 2, 3, 6, 4)),
        ((3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 4)),
        ((2, 3, 5, 4), (2, 3, 0, 4), (2, 3, 0, 4)),
        ((2, 3, 0, 4), (2, 3, 6, 4), (2, 3, 6, 4)),
        ((2, 3, 5, 0), (2, 3, 6, 0), (2, 3, 6, 4)),
    ],
)
def test_shapes(shapes):
    same(*heads(*shapes))
    same(*heads(*shapes), is_causal=True)


def test_groups_of_heads():
    shapes = (2, 6, 5, 4), (2, 2, 6, 4), (2, 3, 6, 4)
    same(*heads(*shapes), enable_gqa=True)
    same(*heads(*shapes), ALLOWED, enable_gqa=True)
    same(*heads((6, 5, 4), (2, 6, 4), (2, 6, 4)), enable_gqa=True, is_causal=True)


ERRORS = {
    "both_masks": lambda t, f, q, k, v: f(q, k, v, t.ones(5, 6, dtype=t.bool), is_causal=True),
    "width": lambda t, f, q, k, v: f(q[..., :2], k, v),
    "fewer_values": lambda t, f, q, k, v: f(q, k, v[:, :5]),
    "batches": lambda t, f, q, k, v: f(q[:2], k, v),
    "vectors": lambda t, f, q, k, v: f(q[0, 0], k[0, 0], v[0, 0]),
    "dtypes": lambda t, f, q, k, v: f(q, k.float(), v),
    "integers": lambda t, f, q, k, v: f(q.long(), k.long(), v.long()),
    "complex": lambda t, f, q, k, v: f(q.to(t.complex128), k.to(t.complex128), v.to(t.complex128)),
    "mask_of_integers": lambda t, f, q, k, v: f(q, k, v, t.ones(5, 6, dtype=t.int64)),
    "mask_of_half": lambda t, f, q, k, v: f(q, k, v, t.ones(5, 6, dtype=t.float16)),
    "mask_shape": lambda t, f, q, k, v: f(q, k, v, t.ones(5, 5, dtype=t.bool)),
    "mask_larger": lambda t, f, q, k, v: f(q[:1], k[:1], v[:1], t.ones(3, 5, 6, dtype=t.bool)),
    "probability": lambda t, f, q, k, v: f(q, k, v, dropout_p=1.5),
    "groups": lambda t, f, q, k, v: f(q, k[:2], v[:2], enable_gqa=True),
    "groups_of_nothing": lambda t, f, q, k, v: f(q[0], k[0], v[0], enable_gqa=True),
    "positional_scale": lambda t, f, q, k, v: f(q, k, v, None, 0.0, False, 1.0),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    inputs = [x.detach()[0] for x in heads()]

    def script(library):
        mine = inputs if library is torch else parity.to_jtorch(inputs)
        return ERRORS[case](library, library.nn.functional.scaled_dot_product_attention, *mine)

    with pytest.raises(Exception):  # noqa: B017  whichever torch raises
        script(torch)
    parity.agree(script)


def test_dropout():
    q, k, v = jtorch.zeros(4, 8, 16), jtorch.zeros(4, 500, 16), jtorch.eye(500).expand(4, 500, 500)
    weights = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25) * 500
    kept = (weights != 0).float().mean().item()
    assert abs(kept - 0.75) < 0.02
    assert abs(weights.max().item() - 1 / 0.75) < 1e-3
    jtorch.manual_seed(1)
    first = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    second = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25)
    jtorch.manual_seed(1)
    assert jtorch.equal(first, F.scaled_dot_product_attention(q, k, v, dropout_p=0.25))
    assert not jtorch.equal(first, second)
    assert not F.scaled_dot_product_attention(q, k, v, dropout_p=1.0).any()


def test_all_dropped_has_no_gradient():
    same(*heads(), dropout_p=1.0)


def test_causal_bias():
    def script(library):
        bias, f = library.nn.attention.bias, library.nn.functional.scaled_dot_product_attention
        tensors = heads() if library is torch else parity.to_jtorch(heads())
        found = []
        for rows, columns in ((5, 6), (6, 6), (6, 3)):
            q, k, v = (library.cat([x, x], 2)[:, :, :n] for x, n in zip(tensors, (rows, columns, columns), strict=True))
            made = (bias.causal_upper_left(rows, columns), bias.causal_lower_right(rows, columns))
            found += [f(q, k, v, mask) for mask in made]
        return found

    parity.agree(script)


@pytest.mark.parametrize("case", ["not_two", "not_a_variant", "with_is_causal", "lengths"])
def test_causal_bias_errors(case):
    def script(library):
        bias, f = library.nn.attention.bias, library.nn.functional.scaled_dot_product_attention
        x = library.ones(1, 1, 4, 4)
        calls = {
            "not_two": lambda: bias.causal_lower_right(4),
            "not_a_variant": lambda: bias.CausalBias(1, 2, 3),
            "with_is_causal": lambda: f(x, x, x, bias.causal_upper_left(4, 4), is_causal=True),
            "lengths": lambda: f(x, x, x, bias.causal_lower_right(3, 5)),
        }
        return calls[case]()

    parity.agree(script)


def test_kernels_are_accepted():
    from jtorch.nn.attention import SDPBackend, sdpa_kernel

    x = jtorch.ones(1, 1, 2, 2)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], set_priority=True), sdpa_kernel(SDPBackend.MATH):
        assert F.scaled_dot_product_attention(x, x, x).shape == x.shape
    with pytest.raises(AssertionError, match="expected SDPBackends"), sdpa_kernel("math"):
        pass
    with pytest.raises(NotImplementedError, match="FlexAttention"):
        jtorch.nn.attention.flex_attention.flex_attention(x, x, x)
    names = {n: int(v) for n, v in torch.nn.attention.SDPBackend.__members__.items()}
    assert {n: int(v) for n, v in SDPBackend.__members__.items()} == names


# multi-head


def parts(batched=True, separate=False, bias=True, bias_kv=False, dtype=torch.float64):
    """Arguments of multi_head_attention_forward: two heads of width 2, three queries, four keys."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()

    batch = (2,) if batched else ()
    kdim, vdim = (3, 5) if separate else (4, 4)
    weights = {"q_proj_weight": draw(4, 4), "k_proj_weight": draw(4, kdim), "v_proj_weight": draw(4, vdim)}
    given = [draw(3, *batch, 4), draw(4, *batch, kdim), draw(4, *batch, vdim), 4, 2]
    given += [None if separate else draw(12, 4), draw(12) if bias else None]
    given += [draw(1, 1, 4), draw(1, 1, 4)] if bias_kv else [None, None]
    return given, [draw(4, 4), draw(4) if bias else None], weights if separate else {}


def padding(batched, kind):
    if kind is None:
        return None
    bools = torch.tensor([[False, False, True, True], [False, False, False, True]])
    mask = bools if kind == "bool" else torch.where(bools, -1.5, 0.25).double()
    return mask if batched else mask[0]


def pairs(batched, kind, rank=2):
    if kind is None:
        return None
    lead = (2 * (2 if batched else 1),) if rank == 3 else ()
    numbers = torch.randn(*lead, 3, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return numbers > 0.8 if kind == "bool" else numbers


@pytest.mark.parametrize(
    ("batched", "separate", "more"),
    list(itertools.product((True, False), (True, False), ("none", "zero", "bias_kv"))),
    ids=str,
)
def test_multi_head(batched, separate, more):
    given, out, weights = parts(batched, separate, bias=more != "zero", bias_kv=more == "bias_kv")
    options = [(None, None, 2), ("bool", "bool", 2), ("float", "float", 3), (None, "bool", 3), ("float", None, 2)]
    for (pad, pair, rank), (need, average) in zip(
        options, itertools.cycle([(True, True), (False, True), (True, False)])
    ):
        kwargs = {
            "key_padding_mask": padding(batched, pad),
            "attn_mask": pairs(batched, pair, rank),
            "need_weights": need,
            "average_attn_weights": average,
            "use_separate_proj_weight": separate,
            "training": False,
            **weights,
        }
        ours, theirs = F.multi_head_attention_forward, torch.nn.functional.multi_head_attention_forward
        parity.check(ours, theirs, *given, more == "zero", 0.5, *out, kwargs=kwargs)


def test_multi_head_of_one_tensor():
    """The shortcuts for self-attention, and for keys that are the values."""
    given, out, _ = parts()

    def script(library, same_query):
        mine = (given, out) if library is torch else parity.to_jtorch((given, out))
        (query, key, _, *rest), last = parity.fresh(mine) if library is torch else mine
        query = key if same_query else query
        f = library.nn.functional.multi_head_attention_forward
        found, shown = f(query, key, key, *rest, False, 0.0, *last)
        (found * found).sum().backward()
        return [found.detach(), shown.detach(), key.grad, rest[2].grad, rest[3].grad]

    for same_query in (True, False):
        parity.agree(lambda library: script(library, same_query))  # noqa: B023


@pytest.mark.parametrize("need", [True, False])
def test_static_keys_and_values(need):
    given, out, _ = parts()
    k, v = (torch.randn(4, 7, 2, dtype=torch.float64).requires_grad_() for _ in range(2))
    ours, theirs = F.multi_head_attention_forward, torch.nn.functional.multi_head_attention_forward
    kwargs = {"static_k": k, "static_v": v, "need_weights": need}
    parity.check(ours, theirs, *given, True, 0.0, *out, kwargs=kwargs)


@pytest.mark.parametrize("need", [True, False])
def test_nothing_to_attend_to(need):
    """NaN where the weights are asked for, 0 where not."""
    given, out, _ = parts()
    mask = torch.zeros(2, 4, dtype=torch.bool)
    mask[1] = True
    ours, theirs = F.multi_head_attention_forward, torch.nn.functional.multi_head_attention_forward
    parity.check(ours, theirs, *given, False, 0.0, *out, kwargs={"key_padding_mask": mask, "need_weights": need})


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("need", [True, False])
def test_causal_hint(need, padded):
    given, out, _ = parts()
    kwargs = {
        "attn_mask": torch.ones(3, 4, dtype=torch.bool).triu(1),
        "is_causal": True,
        "need_weights": need,
        "key_padding_mask": padding(True, "bool") if padded else None,
    }
    ours, theirs = F.multi_head_attention_forward, torch.nn.functional.multi_head_attention_forward
    parity.check(ours, theirs, *given, False, 0.0, *out, kwargs=kwargs)


def _changed(at, value):
    def change(given, out, kwargs):
        given[at] = value(given[at]) if callable(value) else value

    return change


def _with(**more):
    return lambda given, out, kwargs: kwargs.update(more)


MULTI_HEAD_ERRORS = {
    "query_rank": _changed(0, lambda x: x[0, 0]),
    "key_rank": _changed(1, lambda x: x[0]),
    "batch": _changed(0, lambda x: x[:, :1]),
    "value_shape": _changed(2, lambda x: x[:3]),
    "embed_dim": _changed(3, 6),
    "heads": _changed(4, 3),
    "no_weight": _changed(5, None),
    "weight_shape": _changed(5, lambda x: x[:9]),
    "one_bias": _changed(7, torch.ones(1, 1, 4, dtype=torch.float64)),
    "padding_rank": _with(key_padding_mask=torch.zeros(4, dtype=torch.bool)),
    "padding_shape": _with(key_padding_mask=torch.zeros(2, 3, dtype=torch.bool)),
    "padding_batch": _with(key_padding_mask=torch.zeros(3, 4, dtype=torch.bool)),
    "padding_dtype": _with(key_padding_mask=torch.zeros(2, 4, dtype=torch.int64)),
    "mask_rank": _with(attn_mask=torch.zeros(4, dtype=torch.bool)),
    "mask_shape": _with(attn_mask=torch.zeros(3, 3, dtype=torch.bool)),
    "mask_heads": _with(attn_mask=torch.zeros(2, 3, 4, dtype=torch.bool)),
    "mask_of_float32": _with(attn_mask=torch.zeros(3, 4)),
    "no_causal_mask": _with(is_causal=True),
    "static_shape": _with(static_k=torch.zeros(4, 7, 3, dtype=torch.float64)),
    "static_batch": _with(static_v=torch.zeros(3, 7, 2, dtype=torch.float64)),
    "no_separate_weights": _with(use_separate_proj_weight=True),
}


@pytest.mark.parametrize("case", MULTI_HEAD_ERRORS)
def test_multi_head_errors(case):
    given, out, _ = parts()
    kwargs: dict = {}
    MULTI_HEAD_ERRORS[case](given, out, kwargs)
    theirs = torch.nn.functional.multi_head_attention_forward
    with pytest.raises(Exception):  # noqa: B017  whichever torch raises
        theirs(*given, False, 0.0, *out, **kwargs)
    parity.check(F.multi_head_attention_forward, theirs, *given, False, 0.0, *out, kwargs=kwargs)


@pytest.mark.parametrize("case", ["embed_dim", "mask_shape", "mask_rank"])
def test_unbatched_errors(case):
    given, out, _ = parts(batched=False)
    masks = {"mask_shape": torch.zeros(3, 3, 4, dtype=torch.bool), "mask_rank": torch.zeros(2, 4, dtype=torch.bool)}
    kwargs = {"key_padding_mask" if case == "mask_rank" else "attn_mask": masks.get(case)}
    given[3] = 6 if case == "embed_dim" else 4
    theirs = torch.nn.functional.multi_head_attention_forward
    parity.check(F.multi_head_attention_forward, theirs, *given, False, 0.0, *out, kwargs=kwargs)


def test_mismatched_masks_warn():
    given, out, _ = parts()
    kwargs = {"key_padding_mask": padding(True, "bool"), "attn_mask": pairs(True, "float")}
    args, kwargs, last = parity.to_jtorch((given, kwargs, out))
    with pytest.warns(UserWarning, match="Support for mismatched key_padding_mask and attn_mask is deprecated"):
        F.multi_head_attention_forward(*args, False, 0.0, *last, **kwargs)


def test_arrays_jit_vmap():
    q, k, v = (jnp.asarray(parity.to_numpy(x)) for x in heads())
    plain = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert isinstance(plain, jax.Array)
    causal = lambda *x: F.scaled_dot_product_attention(*x, is_causal=True)
    for made in (jax.jit(causal)(q, k, v), jax.vmap(causal)(q, k, v)):
        np.testing.assert_allclose(plain, made, rtol=1e-12)
