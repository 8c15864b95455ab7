"""Checkpoints beside torch's: the same gradients of any order, the same random numbers, and less that is kept."""

import gc
import weakref

import jax
import parity
import pytest

import jtorch
from jtorch.utils.checkpoint import checkpoint

SCRIPTS: list = []
script = parity.scripts(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


def _checkpoint(torch, function, *args, **kwargs):
    return torch.utils.checkpoint.checkpoint(function, *args, use_reentrant=False, **kwargs)


@script
def gradients_of_arguments_and_parameters(torch):
    x, w = torch.ones(3, requires_grad=True), torch.full((3,), 0.5, requires_grad=True)
    h = x * w  # an input and something before it: neither is walked twice
    calls = []

    def f(h, scale):
        calls.append(1)
        return (h * w * x).exp() * scale, {"n": 3}

    out, rest = _checkpoint(torch, f, h, scale=2.0)
    out.sum().backward()
    return [out, rest["n"], x.grad, w.grad, len(calls)]


@script
def second_order(torch):
    x, w = torch.ones(3, requires_grad=True), torch.full((3,), 0.5, requires_grad=True)
    out = _checkpoint(torch, lambda x: (x * w).exp(), x)
    (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return torch.autograd.grad(g.sum(), [x, w])


@script
def the_same_dropout(torch):
    torch.manual_seed(0)
    x = torch.ones(20, requires_grad=True)
    out = _checkpoint(torch, lambda x: torch.nn.functional.dropout(x), x)
    after = torch.rand(2)
    out.sum().backward()
    return [out, x.grad, after, torch.rand(2)]


@script
def in_segments(torch):
    x = torch.ones(3, requires_grad=True)
    steps = [torch.sin, torch.exp, torch.cos, torch.tanh, torch.sin]
    out = torch.utils.checkpoint.checkpoint_sequential(steps, 2, x, use_reentrant=False)
    out.sum().backward()
    return [out, x.grad]


@script
def without_gradients(torch):
    with torch.no_grad():
        return _checkpoint(torch, torch.sin, torch.ones(2))


def test_inner_values_are_not_kept():
    x, kept = jtorch.ones(3, requires_grad=True), []

    def f(x):
        h = x.exp()
        kept.append(weakref.ref(h._value()))
        return h.sin()

    out = checkpoint(f, x)
    gc.collect()
    assert kept[0]() is None
    out.sum().backward()


def test_an_argument_that_was_changed_is_refused():
    x, w = jtorch.ones(3), jtorch.ones(3, requires_grad=True)
    out = checkpoint(lambda x: (x * w).sin(), x)
    x.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        out.sum().backward()


def _deep(wrap, counted=True):
    """A step through ten layers of which each is wrapped, with dropout and a counter in every one."""
    w, seen = jtorch.full((64,), 1.01, requires_grad=True), jtorch.zeros(())

    def layer(h):
        if counted:
            seen.add_(1)
        h = jtorch.nn.functional.dropout(h * w, 0.1)
        for _ in range(3):
            h = (h * w).sin()
        return h

    def forward(x):
        for _ in range(10):
            x = wrap(layer, x)
        return x.sum()

    return w, seen, forward


@pytest.mark.parametrize("whole", [True, False])
def test_in_compiled_code(whole):
    found = []
    for wrap in (lambda f, x: f(x), checkpoint):
        jtorch.manual_seed(0)
        w, seen, forward = _deep(wrap)

        def step(x, forward=forward):
            loss = forward(x)
            loss.backward()
            return loss.detach()

        if whole:
            loss = jtorch.compile(step)(jtorch.ones(2, 64))
        else:
            loss = jtorch.compile(forward)(jtorch.ones(2, 64))
            loss.backward()
        found.append((loss.item(), w.grad))
    assert found[0][0] == pytest.approx(found[1][0])
    assert jtorch.allclose(found[0][1], found[1][1])
    assert seen.item() == (20 if whole else 10)  # as in torch, the second run writes too where it is a run of its own


def test_compiled_code_computes_again():
    w, _, forward = _deep(checkpoint, counted=False)

    def gradient(array):
        return jtorch.autograd.grad(forward(jtorch.Tensor(array)), [w])[0].jax()

    with jtorch.random.keyed(jax.random.key(0)):
        text = jax.jit(gradient).lower(jax.ShapeDtypeStruct((2, 64), "float32")).as_text()
    assert text.count("optimization_barrier") == 10
