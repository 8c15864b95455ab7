"""Attention and the Transformer family as modules: steps, masks, evaluation, dropout, compilation, exchange of weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import parity
import pytest
import torch
from flax import nnx

import jtorch

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def pair(name, *args, **kwargs):
    """(ours, theirs) in double precision, with the same weights."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs, dtype=torch.float64)
    with torch.no_grad():
        for p in theirs.parameters():  # biases and norms too
            p.add_(torch.randn_like(p), alpha=0.1)
    ours = getattr(jtorch.nn, name)(*args, **parity.to_jtorch(kwargs), dtype=jtorch.float64)
    ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))
    return ours, theirs


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def plain(module, *args, **kwargs):
    return module(*args, **kwargs)


def same(ours, theirs, *inputs, call=plain, **kwargs):
    """Outputs, gradients of the inputs, and gradients of all parameters agree."""

    def step_of(module):
        def step(*args, **more):
            module.zero_grad()
            out = call(module, *args, **more)
            first = out[0] if isinstance(out, tuple) else out
            (first * first).sum().backward(retain_graph=True)
            weights = sorted(module.named_parameters())
            return (
                out,
                [n for n, p in weights if p.grad is not None],
                [p.grad for _, p in weights if p.grad is not None],
            )

        return step

    parity.check(step_of(ours), step_of(theirs), *inputs, kwargs=kwargs)


CAUSAL = torch.ones(4, 4, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False, False, False, False], [False, False, True, True], [False, True, True, True]])
NUMBERS = torch.randn(4, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


# MultiheadAttention


@pytest.mark.parametrize(
    ("options", "need"),
    [
        ({}, True),
        ({"batch_first": True}, False),
        ({"kdim": 3, "vdim": 5}, True),
        ({"kdim": 3, "batch_first": True, "bias": False, "add_zero_attn": True}, False),
        ({"add_bias_kv": True, "add_zero_attn": True}, True),
    ],
    ids=str,
)
def test_attention(options, need):
    ours, theirs = pair("MultiheadAttention", 8, 2, **options)
    assert repr(ours) == repr(theirs)
    inputs = draw(3, 5, 8), draw(3, 4, options.get("kdim", 8), seed=2), draw(3, 4, options.get("vdim", 8), seed=3)
    if not options.get("batch_first"):
        inputs = [x.detach().transpose(0, 1).clone().requires_grad_() for x in inputs]
    mask = torch.rand(6, 5, 4, generator=torch.Generator().manual_seed(4)) > 0.8
    mask[:, :, 0] = False
    same(ours, theirs, *inputs, need_weights=need, key_padding_mask=PADDING, attn_mask=mask)
    single = [x.detach()[0 if options.get("batch_first") else slice(None), ..., :] for x in inputs]
    single = [(x if x.ndim == 2 else x[:, 0]).clone().requires_grad_() for x in single]
    same(ours, theirs, *single, need_weights=need, average_attn_weights=False)


@pytest.mark.parametrize(("shared", "batch_first"), [(3, True), (3, False), (2, True)])
def test_attention_of_shared_inputs(shared, batch_first):
    ours, theirs = pair("MultiheadAttention", 8, 2, batch_first=batch_first)

    def call(module, x, memory, **kwargs):
        return module(x, *((x, x) if shared == 3 else (memory, memory)), **kwargs)

    inputs = (draw(3, 4, 8), draw(3, 4, 8, seed=2)) if batch_first else (draw(4, 3, 8), draw(4, 3, 8, seed=2))
    same(ours, theirs, *inputs, call=call, attn_mask=NUMBERS, key_padding_mask=PADDING.double())
    same(ours, theirs, *inputs, call=call, attn_mask=CAUSAL, is_causal=True, need_weights=False)


def test_attention_in_evaluation():
    """As torch's inference kernel gives it, wherever a query may attend to something."""
    ours, theirs = (m.eval() for m in pair("MultiheadAttention", 8, 2, dropout=0.5, batch_first=True))
    x = draw(3, 4, 8)
    for options in ({"need_weights": False}, {"key_padding_mask": PADDING}, {"attn_mask": CAUSAL}):
        with torch.no_grad(), jtorch.no_grad():
            parity.check(lambda x, **o: ours(x, x, x, **o), lambda x, **o: theirs(x, x, x, **o), x, kwargs=options)


def test_merged_masks():
    ours, theirs = pair("MultiheadAttention", 8, 2)
    x, numbers = torch.zeros(3, 4, 8), torch.randn(6, 4, 4)
    for attn, padding in itertools.product((None, torch.randn(4, 4), numbers), (None, torch.randn(3, 4))):
        parity.check(ours.merge_masks, theirs.merge_masks, attn, padding, x)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((0, 1), {}), ((4, 0), {}), ((5, 2), {}), ((4, 2), {"nonsense": 1})], ids=str
)
def test_attention_construction_errors(args, kwargs):
    parity.agree(lambda library: library.nn.MultiheadAttention(*args, **kwargs))


# the Transformer family


LAYERS = list(itertools.product((False, True), (False, True), ("relu", "gelu")))


@pytest.mark.parametrize(("norm_first", "batch_first", "activation"), LAYERS, ids=str)
@pytest.mark.parametrize("name", ["TransformerEncoderLayer", "TransformerDecoderLayer"])
def test_layer(name, norm_first, batch_first, activation):
    options = {"norm_first": norm_first, "batch_first": batch_first, "activation": activation}
    ours, theirs = pair(name, 8, 2, 16, 0.0, **options)
    assert repr(ours) == repr(theirs)
    shape = (3, 4, 8) if batch_first else (4, 3, 8)
    if name == "TransformerEncoderLayer":
        same(ours, theirs, draw(*shape), src_mask=NUMBERS, src_key_padding_mask=PADDING.double())
        assert ours.activation_relu_or_gelu == theirs.activation_relu_or_gelu
        return
    masks = {"tgt_mask": CAUSAL, "memory_mask": NUMBERS, "tgt_key_padding_mask": PADDING, "tgt_is_causal": True}
    same(ours, theirs, draw(*shape), draw(*shape, seed=2), **masks)


def test_activation():
    for make in (lambda t: t.tanh, lambda t: t.nn.GELU(), lambda t: t.nn.functional.relu):
        parity.agree(lambda t: repr(t.nn.TransformerEncoderLayer(4, 2, 8, activation=make(t))))  # noqa: B023
        parity.agree(lambda t: t.nn.TransformerEncoderLayer(4, 2, 8, activation=make(t)).activation_relu_or_gelu)  # noqa: B023
    for name in ("TransformerEncoderLayer", "TransformerDecoderLayer"):
        parity.agree(lambda t: getattr(t.nn, name)(4, 2, activation="tanh"), text=True)  # noqa: B023


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer(batch_first):
    ours, theirs = pair("Transformer", 8, 2, 2, 2, 16, 0.0, batch_first=batch_first)
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    shape = (3, 4, 8) if batch_first else (4, 3, 8)
    masks = {"src_mask": CAUSAL, "tgt_mask": CAUSAL, "src_key_padding_mask": PADDING, "memory_mask": NUMBERS}
    same(ours, theirs, draw(*shape), draw(*shape, seed=2), tgt_key_padding_mask=PADDING, **masks)
    same(ours, theirs, draw(4, 8), draw(3, 8, seed=2))


def test_causal_mask():
    parity.agree(lambda t: t.nn.Transformer.generate_square_subsequent_mask(3))
    parity.agree(lambda t: t.nn.Transformer.generate_square_subsequent_mask(2, dtype=t.float64))


TRANSFORMER_ERRORS = {
    "batches": lambda m, x: m(x, x[:, :1]),
    "features": lambda m, x: m(x[..., :4], x),
    "no_mask": lambda m, x: m(x, x, src_is_causal=True),
    "mask_shape": lambda m, x: m(x, x, src_mask=x[0, 0, 0].expand(3, 3)),
    "mask_dtype": lambda m, x: m(x, x, memory_mask=x[0, 0, 0].expand(4, 4).long()),
    "padding_shape": lambda m, x: m(x, x, src_key_padding_mask=x[0, 0, 0].expand(2, 4)),
}


@pytest.mark.parametrize("case", TRANSFORMER_ERRORS)
def test_errors(case):
    ours, theirs = pair("Transformer", 8, 2, 1, 1, 16)
    parity.check(
        lambda x: TRANSFORMER_ERRORS[case](ours, x), lambda x: TRANSFORMER_ERRORS[case](theirs, x), draw(4, 3, 8)
    )


def test_layers_share_no_weights():
    layer = jtorch.nn.TransformerEncoderLayer(4, 2, 8)
    encoder = jtorch.nn.TransformerEncoder(layer, 3)
    assert len({id(p) for p in (*layer.parameters(), *encoder.parameters())}) == 4 * len(list(layer.parameters()))
    first, second, third = (x.linear1.weight for x in encoder.layers)
    assert jtorch.equal(first, second)
    with jtorch.no_grad():
        first.zero_()
    assert second.any() and jtorch.equal(second, third)


def test_custom_stacks():
    """Any module may stand for a layer or a stack; layers get what torch's get."""

    def script(library):
        told = []

        class Layer(library.nn.Module):
            def forward(self, src, src_mask=None, is_causal=None, src_key_padding_mask=None):
                told.append((is_causal, src_mask is None, src_key_padding_mask))
                return src + 1

        class Decoder(library.nn.Module):
            def forward(self, tgt, memory, **masks):
                told.append(sorted(k for k, v in masks.items() if v is not None))
                return tgt + memory

        encoder = library.nn.TransformerEncoder(Layer(), 2, enable_nested_tensor=False)
        encoder.layers[0].self_attn = library.nn.MultiheadAttention(4, 2)  # torch looks at its batch_first
        model = library.nn.Transformer(4, 2, custom_encoder=encoder, custom_decoder=Decoder())
        padding = library.tensor([[True, False]])
        return model(library.ones(2, 1, 4), library.ones(2, 1, 4), src_key_padding_mask=padding), told

    parity.agree(script)


# evaluation


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("mask_check", [True, False])
def test_padding_in_evaluation(norm, mask_check):
    """Where torch turns to nested tensors padded places are 0, before the last norm; nowhere else."""
    at_end, anywhere = PADDING, PADDING.flip(1)

    def script(library, padding, mask, layer, training):
        torch.manual_seed(0)
        made = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, dtype=torch.float64, **layer)
        made = made if library is torch else parity.to_jtorch(made)
        last = library.nn.LayerNorm(8, dtype=library.float64) if norm else None
        encoder = library.nn.TransformerEncoder(made, 2, last, mask_check=mask_check).train(training)
        x, padding, mask = (y if library is torch else parity.to_jtorch(y) for y in (draw(3, 4, 8), padding, mask))
        graded = encoder(x, mask, src_key_padding_mask=padding).detach()
        with library.no_grad():
            return graded, encoder(x, mask, src_key_padding_mask=padding)

    first, kinds = {"batch_first": True}, [{}, {"norm_first": True}, {"bias": False}, {"activation": torch.tanh}]
    for layer in kinds[: 2 if mask_check else 1]:
        parity.agree(lambda t: script(t, at_end, None, first | layer, False))  # noqa: B023
    parity.agree(lambda t: script(t, at_end, None, first, True))
    parity.agree(lambda t: script(t, at_end, CAUSAL, first, False))
    parity.agree(lambda t: script(t, None, None, first, False))
    if mask_check:
        parity.agree(lambda t: script(t, anywhere, None, first, False))


def test_padding_is_zero_in_compiled_code_too():
    layer = jtorch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = jtorch.nn.TransformerEncoder(layer, 1).eval()
    x, padding = jtorch.randn(3, 4, 8), parity.to_jtorch(PADDING)
    compiled = jtorch.compile(lambda x: encoder(x, src_key_padding_mask=padding))
    with jtorch.no_grad():
        eager, made = encoder(x, src_key_padding_mask=padding), compiled(x)
    assert jtorch.allclose(eager, made, atol=1e-5) and not made[padding].any() and made[~padding].any()


# dropout


def test_dropout():
    """Only in training, another draw each time, and of the right share."""
    attention = jtorch.nn.MultiheadAttention(4, 2, dropout=0.25, batch_first=True)
    x = jtorch.randn(2, 100, 4)
    weights = attention(x, x, x, average_attn_weights=False)[1]
    assert abs((weights != 0).float().mean().item() - 0.75) < 0.02
    assert abs(weights.sum(-1).mean().item() - 1) < 0.02
    assert not jtorch.equal(weights, attention(x, x, x, average_attn_weights=False)[1])
    without = attention(x, x, x, need_weights=False)[0]
    assert not jtorch.equal(without, attention(x, x, x, need_weights=False)[0])
    attention.eval()
    assert jtorch.equal(attention(x, x, x)[0], attention(x, x, x)[0])
    many = jtorch.stack([attention.train()(x, x, x, need_weights=False)[0] for _ in range(200)]).mean(0)
    assert jtorch.allclose(many, attention.eval()(x, x, x)[0], atol=0.1)


def _model():
    layer = jtorch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    return jtorch.nn.TransformerEncoder(layer, 2)


def test_dropout_in_compiled_steps():
    model, x = _model(), jtorch.randn(3, 4, 8)
    step = jtorch.compile(lambda x: model(x))
    first, second = step(x), step(x)
    assert not jtorch.equal(first, second)
    model.eval()
    assert jtorch.equal(step(x), step(x)) and jtorch.allclose(step(x), model(x), atol=1e-5)


def test_training_under_nnx():
    """Draws differ from call to call and from layer to layer, parameters learn, and arrays come out."""
    model = _model()
    x = jax.random.normal(jax.random.key(0), (3, 4, 8), jnp.float32)

    @nnx.jit
    def forward(model, x):
        return model(x)

    first, second = forward(model, x), forward(model, x)
    assert isinstance(first, jax.Array) and not np.array_equal(first, second)
    keys = [np.asarray(jax.random.key_data(m.rngs.key[...])) for m in model.modules() if hasattr(m, "rngs")]
    assert len({k.tobytes() for k in keys}) == len(keys) == 8
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def train(model, optimizer, x):
        value, gradients = nnx.value_and_grad(lambda m: jnp.mean((m(x) - 1) ** 2))(model)
        optimizer.update(model, gradients)
        return value

    losses = [float(train(model, optimizer, x)) for _ in range(40)]
    assert losses[-1] < 0.7 * losses[0]


def test_compiled_training_step():
    torch.manual_seed(0)
    theirs = torch.nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True)
    ours = jtorch.nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True)
    ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))

    def losses(library, model, wrap):
        optimizer = library.optim.SGD(model.parameters(), lr=0.05)
        inputs = draw(3, 4, 8).detach().float(), draw(3, 4, 8, seed=2).detach().float(), CAUSAL
        x, y, mask = inputs if library is torch else parity.to_jtorch(inputs)

        def step(x, y):
            optimizer.zero_grad()
            loss = ((model(x, y, tgt_mask=mask) - x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        return [step(x, y).item() for _ in range(4)]

    expected = losses(torch, theirs, lambda f: f)
    np.testing.assert_allclose(losses(jtorch, ours, jtorch.compile), expected, rtol=1e-4)


# exchange of weights


@pytest.mark.parametrize("name", ["Transformer", "MultiheadAttention"])
def test_weights_both_ways(name):
    """A state_dict of either library makes the other's module compute the same, in float32 to 1e-5."""
    args = (8, 2, 2, 2, 16, 0.0) if name == "Transformer" else (8, 2)
    x, y = draw(4, 3, 8).detach().float(), draw(5, 3, 8, seed=2).detach().float()

    def outputs(model, *inputs):
        out = model.eval()(*(inputs if name == "Transformer" else (inputs[0], inputs[1], inputs[1])))
        return [t.detach() for t in (out if isinstance(out, tuple) else (out,))]

    for from_torch in (True, False):
        theirs, ours = getattr(torch.nn, name)(*args), getattr(jtorch.nn, name)(*args)
        if from_torch:
            ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))
        else:
            theirs.load_state_dict({k: parity.to_torch(v) for k, v in ours.state_dict().items()})
        assert list(ours.state_dict()) == list(theirs.state_dict())
        mine, yours = outputs(ours, *parity.to_jtorch((x, y))), outputs(theirs, x, y)
        for m, t in zip(mine, yours, strict=True):
            np.testing.assert_allclose(m.numpy(), t.numpy(), rtol=1e-5, atol=1e-5)
