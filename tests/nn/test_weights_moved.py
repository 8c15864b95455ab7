"""Weights as vectors, folded into others, or put in for one call: compared with torch."""

import jax
import pytest
import torch.nn.utils.stateless  # noqa: F401 - torch does not import it by itself
from nn.both import state, waved
from parity import agree

import jtorch
from jtorch.nn.utils import stateless


def model(lib):
    return waved(lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Linear(4, 2)))


# as vectors


def test_parameters_to_vector_and_back():
    def script(lib):
        net = model(lib)
        vector = lib.nn.utils.parameters_to_vector(net.parameters())
        (vector * lib.arange(float(vector.numel()))).sum().backward()
        before = list(net.parameters())
        lib.nn.utils.vector_to_parameters(vector.detach() * 2, net.parameters())
        same = [a is b for a, b in zip(before, net.parameters(), strict=True)]
        return [vector, [p.grad for p in before], state(net), same]

    agree(script)


def test_vector_errors():
    agree(lambda lib: lib.nn.utils.vector_to_parameters([1.0], model(lib).parameters()))
    agree(lambda lib: lib.nn.utils.vector_to_parameters(lib.ones(3), model(lib).parameters()))
    agree(lambda lib: lib.nn.utils.parameters_to_vector([]))


# folded


def norm(lib, kind, size, affine=True):
    bn = getattr(lib.nn, kind)(size, affine=affine).eval()
    for i, buffer in enumerate((bn.running_mean, bn.running_var)):
        buffer.copy_(lib.arange(float(size)) / 3 + i)
    return waved(bn) if affine else bn


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv1d", "Conv2d", "ConvTranspose2d"])
def test_conv_and_bn(kind, bias, affine):
    def script(lib):
        dims = kind[-2]
        conv = waved(getattr(lib.nn, kind)(2, 3, 2, bias=bias)).eval()
        bn = norm(lib, f"BatchNorm{dims}d", 3, affine)
        fused = lib.nn.utils.fuse_conv_bn_eval(conv, bn, transpose="Transpose" in kind)
        x = lib.arange(50.0 if dims == "2" else 10.0).reshape(1, 2, *(5,) * int(dims)) / 50
        return [state(fused), fused(x), (fused(x) - bn(conv(x))).abs().max() < 1e-5, fused.training]

    agree(script)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [3, 1])
def test_linear_and_bn(bias, size):
    def script(lib):
        fused = lib.nn.utils.fuse_linear_bn_eval(
            waved(lib.nn.Linear(2, 3, bias=bias)).eval(), norm(lib, "BatchNorm1d", size)
        )
        return [list(fused.state_dict()), [p.detach().clone() for p in fused.parameters()]]

    agree(script)


def test_folding_errors():
    bn = lambda lib, n=3: norm(lib, "BatchNorm2d", n)
    agree(lambda lib: lib.nn.utils.fuse_conv_bn_eval(lib.nn.Conv2d(2, 3, 2), bn(lib)), text=True)
    agree(lambda lib: lib.nn.utils.fuse_linear_bn_eval(lib.nn.Linear(2, 4).eval(), bn(lib)), text=True)
    untracked = lambda lib: lib.nn.BatchNorm2d(3, track_running_stats=False).eval()
    agree(lambda lib: lib.nn.utils.fuse_conv_bn_eval(lib.nn.Conv2d(2, 3, 2).eval(), untracked(lib)), text=True)


def test_memory_formats_change_nothing():
    conv = jtorch.nn.Conv2d(2, 3, 2)
    weight = conv.weight
    for n in (2, 3):
        convert = getattr(jtorch.nn.utils, f"convert_conv{n}d_weight_memory_format")
        assert convert(conv, jtorch.channels_last) is conv and conv.weight is weight


# for one call


def call(lib, module, values, *args, **more):
    return lib.nn.utils.stateless.functional_call(module, values, *args, **more)


def test_functional_call():
    def script(lib):
        net = model(lib)
        weight = lib.ones(4, 3, requires_grad=True)
        out = call(lib, net, {"0.weight": weight}, lib.ones(2, 3))
        out.sum().backward()
        return [out, weight.grad, [p.grad for p in net.parameters()], state(net), call(lib, net, {}, (lib.ones(1, 3),))]

    agree(script)


def test_buffers_come_back():
    def script(lib):
        bn = lib.nn.BatchNorm1d(3)
        values = {n: b.clone() for n, b in bn.named_buffers()}
        call(lib, bn, values, lib.arange(6.0).reshape(2, 3))
        return [list(values), list(values.values()), state(bn)]

    agree(script)


def tied(lib):
    net = lib.nn.Sequential(lib.nn.Linear(3, 3), lib.nn.Linear(3, 3))
    net[1].weight = net[0].weight
    return waved(net)


@pytest.mark.parametrize("tie", [True, False])
def test_tied_weights(tie):
    x = lambda lib: lib.ones(1, 3)
    agree(lambda lib: call(lib, tied(lib), {"1.weight": lib.eye(3)}, x(lib), tie_weights=tie))
    both = lambda lib: {"1.weight": lib.eye(3), "0.weight": lib.ones(3, 3)}
    agree(lambda lib: call(lib, tied(lib), both(lib), x(lib), tie_weights=tie))


@pytest.mark.parametrize("strict", [True, False])
def test_names(strict):
    agree(
        lambda lib: call(
            lib, model(lib), {"0.weight": lib.ones(4, 3), "other": lib.ones(1)}, lib.ones(1, 3), strict=strict
        )
    )
    agree(lambda lib: call(lib, model(lib), {"5.weight": lib.ones(4, 3)}, lib.ones(1, 3), strict=strict))
    agree(lambda lib: call(lib, model(lib), {"0.weight": 1}, lib.ones(1, 3)))


def test_the_module_is_as_it_was_after_an_error():
    net = model(jtorch)
    before = list(net.parameters())
    with pytest.raises(RuntimeError):
        stateless.functional_call(net, {"0.weight": jtorch.ones(7, 7)}, jtorch.ones(1, 3))
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))


def test_with_arrays_under_jax():
    net, x = model(jtorch), jtorch.ones(2, 3).jax()
    values = {n: p.detach().jax() for n, p in net.named_parameters()}
    loss = lambda values: stateless.functional_call(net, values, x).sum()
    gradients = jax.jit(jax.grad(loss))(values)
    net(jtorch.ones(2, 3)).sum().backward()
    for name, parameter in net.named_parameters():
        assert jax.numpy.allclose(gradients[name], parameter.grad.jax())


def test_running_statistics_under_jax():
    bn = jtorch.nn.BatchNorm1d(3)

    @jax.jit
    def step(values, x):
        out = stateless.functional_call(bn, values, x)
        return out, values

    _, after = step({n: b.jax() for n, b in bn.named_buffers()}, jtorch.arange(6.0).reshape(2, 3).jax())
    assert jax.numpy.allclose(after["running_mean"], jax.numpy.array([0.15, 0.25, 0.35]))
    assert bn.running_mean.sum().item() == 0


def test_compiled():
    net = model(jtorch)
    step = jtorch.compile(lambda w, x: stateless.functional_call(net, {"0.weight": w}, x))
    for k in (1.0, 2.0):
        weight = jtorch.full((4, 3), k)
        expected = stateless.functional_call(net, {"0.weight": weight}, jtorch.ones(2, 3))
        assert jtorch.allclose(step(weight, jtorch.ones(2, 3)), expected)
    assert step.traces == 1
