"""The old weight and spectral normalization, by hooks, compared with torch."""

import copy
import pickle

import jax
import pytest
from flax import nnx
from nn.both import state, trained, waved
from parity import agree

import jtorch

KINDS = ["Linear", "Conv2d", "ConvTranspose2d"]


def layer(lib, kind):
    module = getattr(lib.nn, kind)(3, 4, *() if kind == "Linear" else (2,))
    return waved(module.double())


def fed(lib, kind):
    return lib.ones((2, 3) if kind == "Linear" else (2, 3, 3, 3), dtype=lib.float64)


def spectral(lib, module, name="weight", **more):
    lib.nn.utils.spectral_norm(module, name, **more)
    for part in ("u", "v"):
        vector = getattr(module, f"{name}_{part}")
        values = lib.arange(1.0, vector.numel() + 1, dtype=vector.dtype)
        vector.copy_(values / (values * values).sum().sqrt())
    return module


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("kind", KINDS)
def test_weight_norm(kind, dim):
    def script(lib):
        module = lib.nn.utils.weight_norm(layer(lib, kind), dim=dim)
        out = module(fed(lib, kind))
        out.pow(2).sum().backward()
        grads = [p.grad for p in module.parameters()]
        before = [state(module), module.weight, out, grads]
        after = trained(lib, module, fed(lib, kind))
        return [before, after, state(lib.nn.utils.remove_weight_norm(module))]

    agree(script)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_spectral_norm(kind, training):
    def script(lib):
        module = spectral(lib, layer(lib, kind), n_power_iterations=2).train(training)
        out = module(fed(lib, kind))
        out.pow(2).sum().backward()
        grads = [p.grad for p in module.parameters()]
        before = [state(module), module.weight, out, grads, [n for n, _ in module.named_buffers()]]
        after = trained(lib, module, fed(lib, kind))
        return [before, after, state(lib.nn.utils.remove_spectral_norm(module))]

    agree(script)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_twice_or_never(norm):
    again = lambda lib: getattr(lib.nn.utils, norm)(getattr(lib.nn.utils, norm)(layer(lib, "Linear")))
    agree(again, text=True)
    agree(lambda lib: getattr(lib.nn.utils, f"remove_{norm}")(layer(lib, "Linear")), text=True)
    agree(lambda lib: getattr(lib.nn.utils, norm)(layer(lib, "Linear"), "nothing"))


def test_other_errors_of_spectral_norm():
    agree(lambda lib: lib.nn.utils.spectral_norm(layer(lib, "Linear"), n_power_iterations=0), text=True)
    agree(lambda lib: lib.nn.utils.spectral_norm(lib.nn.Linear(3, 3, bias=False), "bias"), text=True)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_state_goes_from_one_to_another(norm):
    def script(lib):
        source, target = (getattr(lib.nn.utils, norm)(layer(lib, "Linear")) for _ in range(2))
        with lib.no_grad():
            source.bias.add_(1)
        if norm == "spectral_norm":
            spectral_state = source.state_dict()
            for name in ("weight_u", "weight_v"):
                spectral_state[name].fill_(0.5)
        saved = source.state_dict()
        keys = target.load_state_dict(saved)
        return [repr(keys), state(target), target(fed(lib, "Linear")), repr(dict(saved._metadata))]

    agree(script)


def test_spectral_norm_loads_what_old_versions_saved():
    def script(lib):
        module = spectral(lib, layer(lib, "Linear"))
        saved = module.state_dict()
        saved["weight"] = saved["weight_orig"] / 2.5
        del saved["weight_v"], saved._metadata[""]["spectral_norm"]
        keys = module.eval().load_state_dict(saved)
        return [repr(keys), state(module), module(fed(lib, "Linear"))]

    agree(script)


def test_spectral_norm_misses_keys():
    def script(lib):
        module = spectral(lib, layer(lib, "Linear"))
        saved = module.state_dict()
        del saved["weight_u"]
        return module.load_state_dict(saved)

    agree(script)


def test_assigned_weights_last_until_the_next_call():
    def script(lib):
        module = lib.nn.utils.weight_norm(layer(lib, "Linear"))
        module.weight = lib.zeros(4, 3, dtype=lib.float64)
        assigned = module.weight
        return [assigned, module(fed(lib, "Linear")), module.weight]

    agree(script)
    agree(
        lambda lib: setattr(lib.nn.utils.weight_norm(layer(lib, "Linear")), "weight", lib.nn.Parameter(lib.ones(4, 3)))
    )


def test_the_weight_is_never_stale():
    module = jtorch.nn.utils.weight_norm(layer(jtorch, "Linear"))
    before = module.weight.clone()
    with jtorch.no_grad():
        module.weight_g.mul_(2)
    assert jtorch.allclose(module.weight, before * 2)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_copies_and_pickles(norm):
    module = getattr(jtorch.nn.utils, norm)(layer(jtorch, "Linear"))
    x = fed(jtorch, "Linear")
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        other.eval(), module.eval()
        assert jtorch.allclose(other(x), module(x)) and other.weight is not module.weight


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_under_nnx_and_jax(norm):
    module = getattr(jtorch.nn.utils, norm)(layer(jtorch, "Linear"))
    x = fed(jtorch, "Linear").jax()
    nnx.jit(lambda m, x: m(x))(module, x)
    module.eval()
    expected = module(x)
    assert jax.numpy.allclose(nnx.jit(lambda m, x: m(x))(module, x), expected)
    assert jax.numpy.allclose(jax.jit(module)(x), expected)
    graph, params = nnx.split(module)
    assert jax.numpy.allclose(nnx.merge(graph, params)(x), expected)
    assert not isinstance(module.weight._value(), jax.core.Tracer)
