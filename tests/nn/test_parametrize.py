"""Parametrizations, compared with torch: values, gradients, names, errors, copies, and their life under NNX and jit."""

import copy
import gc
import pickle

import jax
import pytest
from flax import nnx
from nn.both import state, trained, waved
from parity import agree

import jtorch
from jtorch.nn.utils import parametrizations, parametrize


def symmetric(lib, inverse=True):
    class Symmetric(lib.nn.Module):
        def forward(self, X):
            return X.triu() + X.triu(1).mT

        if inverse:

            def right_inverse(self, A):
                return A.triu()

    return Symmetric()


def doubled(lib):
    class Doubled(lib.nn.Module):
        def forward(self, X):
            return 2 * X

        def right_inverse(self, X):
            return X / 2

    return Doubled()


def split(lib):
    class Split(lib.nn.Module):
        def forward(self, a, b):
            return a - b

        def right_inverse(self, X):
            return X.clamp(min=0), X.clamp(max=0).neg()

    return Split()


def linear(lib, *sizes):
    return waved(lib.nn.Linear(*sizes or (3, 3)))


def on(lib, *made, name="weight", module=None, **more):
    module = linear(lib) if module is None else module
    for each in made:
        lib.nn.utils.parametrize.register_parametrization(module, name, each(lib), **more)
    return module


CHAINS = [(symmetric,), (doubled,), (split,), (symmetric, doubled), (split, doubled), (doubled, symmetric, doubled)]


@pytest.mark.parametrize("chain", CHAINS, ids=lambda c: "-".join(f.__name__ for f in c))
def test_values_gradients_and_state(chain):
    def script(lib):
        module = on(lib, *chain)
        weight = module.weight
        module(lib.ones(2, 3)).pow(2).sum().backward()
        is_param = isinstance(module, lib.nn.Linear), isinstance(weight, lib.nn.Parameter)
        return [state(module), weight, [p.grad for p in module.parameters()], is_param, type(module).__name__]

    agree(script)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda c: "-".join(f.__name__ for f in c))
def test_assignment_goes_to_the_originals(chain):
    def script(lib):
        module = on(lib, *chain)
        before = list(module.parametrizations.weight.parameters())
        module.weight = lib.arange(9.0).reshape(3, 3)
        after = list(module.parametrizations.weight.parameters())
        return [state(module), module.weight, [a is b for a, b in zip(before, after, strict=True)]]

    agree(script)


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.parametrize("chain", CHAINS, ids=lambda c: "-".join(f.__name__ for f in c))
def test_removal(chain, leave):
    def script(lib):
        module = on(lib, *chain)
        on(lib, doubled, name="bias", module=module)
        lib.nn.utils.parametrize.remove_parametrizations(module, "bias", leave)
        half = state(module)
        lib.nn.utils.parametrize.remove_parametrizations(module, "weight", leave)
        return [half, state(module), type(module) is lib.nn.Linear, module(lib.ones(1, 3))]

    agree(script)


def test_a_buffer():
    def script(lib):
        module = linear(lib)
        module.register_buffer("scale", lib.arange(3.0))
        on(lib, doubled, name="scale", module=module)
        before = [state(module), module.scale, [n for n, _ in module.named_buffers()]]
        lib.nn.utils.parametrize.remove_parametrizations(module, "scale")
        return [before, state(module), [n for n, _ in module.named_buffers()]]

    agree(script)


def test_questions():
    def script(lib):
        p = lib.nn.utils.parametrize
        module, plain = on(lib, doubled), linear(lib)
        return [
            [p.is_parametrized(m, *n) for m in (module, plain) for n in ((), ("weight",), ("bias",))],
            [p.type_before_parametrizations(m) is lib.nn.Linear for m in (module, plain)],
            [hasattr(module, n) for n in ("weight", "bias", "nothing", "parametrizations")],
        ]

    agree(script)


def test_transfer():
    def script(lib):
        p = lib.nn.utils.parametrize
        source, target = on(lib, symmetric, doubled), linear(lib)
        on(lib, split, name="bias", module=source)
        p.transfer_parametrizations_and_params(source, target)
        shared = target.parametrizations.weight.original is source.parametrizations.weight.original
        return [state(target), target.weight, target.bias, shared]

    agree(script)


def bad(result, inverse=None):
    def make(lib):
        class Bad(lib.nn.Module):
            def forward(self, X):
                return result(X)

            if inverse is not None:

                def right_inverse(self, X):
                    return inverse(X)

        return Bad()

    return make


BAD = {
    "no tensor": bad(lambda X: 1),
    "dtype": bad(lambda X: X.double()),
    "shape": bad(lambda X: X.sum(0)),
    "inverse no tensor": bad(lambda X: X, lambda X: 1),
    "inverse dtype": bad(lambda X: X, lambda X: X.double()),
    "inverse sequence of numbers": bad(lambda a: a, lambda X: (X, 1)),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("unsafe", [False, True])
def test_misfits(name, first, unsafe):
    def script(lib):
        module = on(lib, *() if first else (doubled,))
        on(lib, BAD[name], module=module, unsafe=unsafe)
        return state(module)

    agree(script)


def test_refusals():
    p = lambda lib: lib.nn.utils.parametrize
    agree(lambda lib: p(lib).register_parametrization(linear(lib), "nothing", doubled(lib)))
    agree(lambda lib: p(lib).remove_parametrizations(linear(lib), "weight"))
    agree(lambda lib: p(lib).ParametrizationList([], lib.ones(1)), text=True)
    agree(lambda lib: setattr(on(lib, bad(lambda X: X)), "weight", lib.ones(3, 3)), text=True)
    agree(lambda lib: setattr(on(lib, split), "weight", lib.ones(3, 3, dtype=lib.float64)), text=True)


def test_pickling_is_refused_and_copies_are_apart():
    def script(lib):
        module = on(lib, symmetric)
        other = copy.deepcopy(module)
        with lib.no_grad():
            other.parametrizations.weight.original.zero_()
        same_class = type(other) is type(module)
        return [module.weight, other.weight, same_class, state(other)]

    agree(script)
    agree(lambda lib: pickle.dumps(on(lib, doubled)))


def test_removal_from_a_copy_leaves_the_first_alone():
    module = on(jtorch, doubled)
    other = copy.deepcopy(module)
    parametrize.remove_parametrizations(other, "weight")
    assert type(other) is jtorch.nn.Linear and module.weight.shape == (3, 3)


def test_classes_are_shared_and_forgotten():
    class Layer(jtorch.nn.Linear):
        pass

    one, two = (on(jtorch, doubled, module=Layer(3, 3)) for _ in range(2))
    assert type(one) is type(two)
    del one, two
    gc.collect()
    assert len(Layer.__subclasses__()) <= 1


def test_cached():
    def script(lib):
        module = on(lib, doubled)
        with lib.nn.utils.parametrize.cached():
            first, second = module.weight, module.weight
            with lib.nn.utils.parametrize.cached():
                third = module.weight
            same = first is second, second is third, third is module.weight
        return [same, module.weight is module.weight]

    agree(script)


def test_the_cache_keeps_no_tensor_of_a_trace():
    module = on(jtorch, doubled)
    with parametrize.cached():
        step = jtorch.compile(lambda x: module(x) + module.weight.sum())
        one = step(jtorch.ones(1, 3))
        assert not isinstance(module.weight._value(), jax.core.Tracer)
    assert jtorch.equal(step(jtorch.ones(1, 3)), one)


def test_state_is_loaded():
    def script(lib):
        source, target = on(lib, split), on(lib, split)
        with lib.no_grad():
            source.parametrizations.weight.original0.add_(1)
        keys = target.load_state_dict(source.state_dict())
        return [state(target), target.weight, repr(keys)]

    agree(script)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda c: "-".join(f.__name__ for f in c))
def test_in_a_compiled_step(chain):
    agree(lambda lib: trained(lib, lib.nn.Sequential(on(lib, *chain), lib.nn.Tanh()), lib.ones(2, 3)))


# NNX and JAX


def test_as_an_nnx_module():
    module = on(jtorch, symmetric)
    x = jtorch.ones(2, 3).jax()
    expected = module(x)
    graph, params = nnx.split(module)
    merged = nnx.merge(graph, params)
    assert type(merged) is type(module) and (merged(x) == expected).all()
    assert (nnx.jit(lambda m, x: m(x))(module, x) == expected).all()
    gradients = nnx.grad(lambda m: m(x).sum(), graph=True)(module)
    assert gradients["parametrizations"]["weight"]["original"][...].shape == (3, 3)
    assert (nnx.clone(module)(x) == expected).all()


def test_nnx_jit_carries_the_vectors_of_spectral_norm():
    module = _spectral(jtorch, linear(jtorch, 3, 4))
    before = module.parametrizations.weight[0]._u.clone()
    nnx.jit(lambda m, x: m(x))(module, jtorch.ones(2, 3).jax())
    after = module.parametrizations.weight[0]._u
    assert not isinstance(after._value(), jax.core.Tracer) and not jtorch.equal(before, after)


# those that are ready to use


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("kind", ["Linear", "Conv2d"])
def test_weight_norm(kind, dim):
    def script(lib):
        module = waved(lib.nn.Linear(3, 4) if kind == "Linear" else lib.nn.Conv2d(3, 4, 2))
        lib.nn.utils.parametrizations.weight_norm(module, dim=dim)
        before = [module.weight, state(module)]
        return [
            before,
            trained(lib, module, lib.ones(2, 3, 3, 3)[..., 0, :] if kind == "Linear" else lib.ones(2, 3, 3, 3)),
        ]

    agree(script)


def test_weight_norm_loads_the_old_names():
    def script(lib):
        old, new = lib.nn.utils.weight_norm(linear(lib)), lib.nn.utils.parametrizations.weight_norm(lib.nn.Linear(3, 3))
        return [repr(new.load_state_dict(old.state_dict())), state(new), new.weight]

    agree(script)


def _spectral(lib, module, **more):
    lib.nn.utils.parametrizations.spectral_norm(module, **more)
    for name, buffer in module.named_buffers():
        if name.endswith(("_u", "_v")):
            values = lib.arange(1.0, buffer.numel() + 1).to(buffer.dtype)
            buffer.copy_(values / (values * values).sum().sqrt())
    return module


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["Linear", "Conv2d", "ConvTranspose2d", "bias"])
def test_spectral_norm(kind, training):
    def script(lib):
        layer = getattr(lib.nn, "Linear" if kind == "bias" else kind)
        module = waved((layer(3, 4) if layer is lib.nn.Linear else layer(3, 4, 2)).double())
        _spectral(lib, module, name="bias" if kind == "bias" else "weight", n_power_iterations=2).train(training)
        x = lib.ones((2, 3) if layer is lib.nn.Linear else (2, 3, 3, 3), dtype=lib.float64)
        out = module(x)
        out.sum().backward()
        return [out, [p.grad for p in module.parameters()], state(module), trained(lib, module, x)]

    agree(script)


def test_spectral_norm_errors():
    norm = lambda lib, *a, **k: lib.nn.utils.parametrizations.spectral_norm(linear(lib), *a, **k)
    agree(lambda lib: norm(lib, "nothing"))
    agree(lambda lib: norm(lib, dim=2), text=True)
    agree(lambda lib: norm(lib, n_power_iterations=0), text=True)


SHAPES = [(3, 3), (3, 5), (5, 3), (2, 4, 3)]


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal(shape, how, trivial):
    def script(lib):
        module = lib.nn.Module()
        module.weight = lib.nn.Parameter(lib.zeros(shape, dtype=lib.float64))
        waved(module)
        lib.nn.utils.parametrizations.orthogonal(module, orthogonal_map=how, use_trivialization=trivial)
        core = module.parametrizations.weight
        if trivial:
            long, short = max(shape[-2:]), min(shape[-2:])
            base = lib.eye(long, dtype=lib.float64).roll(1, 0).expand(*shape[:-2], long, long)
            core[0].base = (
                base.clone()
                if core[0].base is not None and core[0].base.shape[-1] == long
                else base[..., :short].clone()
            )
        core.original.data = core.original.detach() + 0.3 * lib.arange(float(core.original.numel())).cos().reshape(
            shape
        )
        weight = module.weight
        (weight * lib.arange(float(weight.numel())).reshape(shape)).sum().backward()
        return [weight, core.original.grad, list(module.state_dict()), repr(module)]

    agree(script)


@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_takes_a_matrix(shape, how):
    def script(lib):
        module = lib.nn.Module()
        module.weight = lib.nn.Parameter(lib.zeros(shape, dtype=lib.float64))
        waved(module)
        lib.nn.utils.parametrizations.orthogonal(module, orthogonal_map=how)
        module.weight = lib.eye(*shape[-2:], dtype=lib.float64).expand(shape).clone()
        return [module.weight.abs(), module.parametrizations.weight.original]

    agree(script)


def test_orthogonal_errors():
    def script(lib, **more):
        module = lib.nn.Linear(3, 3)
        return lib.nn.utils.parametrizations.orthogonal(module, **more)

    agree(lambda lib: script(lib, orthogonal_map="other"), text=True)
    agree(lambda lib: script(lib, name="bias"), text=True)
    agree(lambda lib: script(lib, name="nothing"))
    agree(lambda lib: setattr(script(lib, use_trivialization=False), "weight", lib.ones(3, 3)))
    agree(lambda lib: setattr(script(lib), "weight", lib.ones(2, 3)), text=True)


def test_orthogonal_in_a_compiled_step():
    module = parametrizations.orthogonal(linear(jtorch, 4, 3))
    trained(jtorch, module, jtorch.ones(2, 4))
    weight = module.weight.detach()
    assert jtorch.allclose(weight @ weight.mT, jtorch.eye(3), atol=1e-5)
