"""Lazy modules and what they hold before their first call: states, copies, errors, and what they become."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch.nn.modules.lazy
from flax import nnx

import jtorch
from jtorch.nn.lazy import LazyModuleMixin

MADE = {
    "LazyLinear": (lambda nn: nn.LazyLinear(3), (2, 5)),
    "LazyLinear without bias": (lambda nn: nn.LazyLinear(3, bias=False), (2, 4, 5)),
    "LazyConv1d": (lambda nn: nn.LazyConv1d(4, 3, groups=2), (2, 4, 6)),
    "LazyConv2d": (lambda nn: nn.LazyConv2d(4, 3, padding="same", padding_mode="reflect", bias=False), (2, 3, 6, 6)),
    "LazyConv3d": (lambda nn: nn.LazyConv3d(2, (1, 2, 2)), (3, 4, 4, 4)),
    "LazyConvTranspose1d": (lambda nn: nn.LazyConvTranspose1d(4, 3, stride=2, output_padding=1), (2, 3, 4)),
    "LazyConvTranspose2d": (lambda nn: nn.LazyConvTranspose2d(4, 2, groups=2), (2, 6, 3, 3)),
    "LazyConvTranspose3d": (lambda nn: nn.LazyConvTranspose3d(2, 2, dilation=2), (1, 2, 2, 2, 2)),
    "LazyBatchNorm1d": (lambda nn: nn.LazyBatchNorm1d(eps=0.1, momentum=None), (3, 4)),
    "LazyBatchNorm2d": (lambda nn: nn.LazyBatchNorm2d(bias=False), (2, 3, 4, 4)),
    "LazyBatchNorm3d": (lambda nn: nn.LazyBatchNorm3d(track_running_stats=False), (2, 3, 2, 2, 2)),
    "LazyInstanceNorm1d": (lambda nn: nn.LazyInstanceNorm1d(), (2, 3, 4)),
    "LazyInstanceNorm2d": (lambda nn: nn.LazyInstanceNorm2d(affine=True, track_running_stats=True), (2, 3, 4, 4)),
    "LazyInstanceNorm3d": (lambda nn: nn.LazyInstanceNorm3d(affine=True), (2, 3, 2, 2, 2)),
}


def _input(lib, shape):
    return lib.tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def _shapes(module):
    return [(k, tuple(v.shape)) for k, v in module.state_dict().items()]


@pytest.mark.parametrize("name", MADE)
def test_becomes_the_layer(name):
    make, shape = MADE[name]

    def script(lib):
        layer = make(lib.nn)
        seen = [repr(layer), repr(list(layer.state_dict().items())), layer.has_uninitialized_params()]
        layer(_input(lib, shape))
        return [*seen, repr(layer), type(layer).__name__, _shapes(layer), len(layer._forward_pre_hooks)]

    parity.agree(script)


@pytest.mark.parametrize("name", MADE)
def test_takes_the_state_of_the_layer(name):
    make, shape = MADE[name]
    theirs = make(torch.nn)
    theirs(_input(torch, shape))
    ours = make(jtorch.nn)
    assert not str(ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))).count("missing")
    assert not ours.has_uninitialized_params()
    parity.check(ours.eval(), theirs.eval(), _input(torch, shape))
    assert repr(ours) == repr(theirs)


def test_initial_values():
    """Those of the layer itself, from the same seed."""
    jtorch.manual_seed(0)
    lazy = jtorch.nn.LazyConv2d(4, 3)
    lazy(_input(jtorch, (1, 2, 5, 5)))
    jtorch.manual_seed(0)
    plain = jtorch.nn.Conv2d(2, 4, 3)
    for mine, yours in zip(lazy.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(mine.detach(), yours.detach())


def test_optimizers_keep_the_parameters():
    def script(lib):
        model = lib.nn.Sequential(lib.nn.LazyLinear(3), lib.nn.ReLU(), lib.nn.LazyLinear(2))
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        optimizer.step()
        out = model(_input(lib, (2, 5)))
        before = [p.detach().clone() for p in model.parameters()]
        out.sum().backward()
        optimizer.step()
        return [bool((a != b).any()) for a, b in zip(before, model.parameters(), strict=True)][-1]

    parity.agree(script)


def test_dtypes_and_copies():
    def script(lib):
        found = []
        for change in (lambda m: m.double(), copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.to(lib.float64)):  # fmt: skip
            for name in ("LazyLinear", "LazyBatchNorm1d")[: 1 if change is copy.deepcopy else 2]:  # torch's fails there
                make, shape = MADE[name]
                layer = change(make(lib.nn))
                found += [layer.weight.dtype == lib.float64, layer.weight.requires_grad, repr(layer.weight)]
                out = layer(_input(lib, shape).to(layer.weight.dtype))
                found += [repr(layer), out.dtype == lib.float64, _shapes(layer)]
        return found

    parity.agree(script)


def test_a_failed_load_leaves_it_lazy():
    layer = jtorch.nn.LazyLinear(3)
    with pytest.raises(RuntimeError, match="Missing"):
        layer.load_state_dict({"weight": jtorch.ones(3, 4)})
    assert layer.has_uninitialized_params() and repr(layer.weight) == "<UninitializedParameter>"


USES = {
    "shape": lambda lib, p: p.shape,
    "add": lambda lib, p: p + 1,
    "linear": lambda lib, p: lib.nn.functional.linear(lib.ones(2, 2), p),
    "detach": lambda lib, p: p.detach(),
    "numel": lambda lib, p: p.numel(),
    "clone": lambda lib, p: p.clone(),
    "tolist": lambda lib, p: p.tolist(),
    "init": lambda lib, p: lib.nn.init.ones_(p),
    "bool": lambda lib, p: bool(p),
    "share": lambda lib, p: p.share_memory_(),
    "load": lambda lib, p: lib.nn.Linear(2, 3).load_state_dict({"weight": p, "bias": lib.ones(3)}),
    "integers": lambda lib, p: lib.nn.UninitializedParameter(dtype=lib.int64),
    "looks": lambda lib, p: [p.requires_grad, p.is_leaf, p.grad, str(p.dtype), repr(p), lib.nn.parameter.is_lazy(p)],
    "materialize": lambda lib, p: [p.materialize((2, 3), dtype=lib.float64), p.fill_(1.0) if not p.requires_grad else p * 0, type(p).__name__],
    "buffer": lambda lib, p: [repr(lib.nn.UninitializedBuffer()), lib.nn.parameter.is_lazy(lib.nn.UninitializedBuffer()), lib.nn.parameter.is_lazy(3)],
}  # fmt: skip


@pytest.mark.parametrize("name", USES)
def test_uses_before_the_first_call(name):
    parity.agree(lambda lib: USES[name](lib, lib.nn.LazyLinear(3).weight))


WRONG = {
    "groups": lambda lib: lib.nn.LazyConv1d(4, 3, groups=2)(lib.ones(1, 3, 6)),
    "dimensions": lambda lib: lib.nn.LazyConv1d(4, 3)(lib.ones(6)),
    "channels": lambda lib: lib.nn.LazyBatchNorm1d()(lib.ones(6)),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    parity.agree(WRONG[name])


def _scaled(lib, mixin):
    """A lazy module of a user's."""

    class Scaled(mixin, lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = lib.nn.UninitializedParameter()

        def forward(self, x, offset=0):
            return x * self.factor + offset

    return Scaled


def test_modules_of_users():
    def script(lib):
        mixin = LazyModuleMixin if lib is jtorch else torch.nn.modules.lazy.LazyModuleMixin
        scaled, found = _scaled(lib, mixin), []
        for initialize in (
            None,
            lambda self, x, offset: None,
            lambda self, x, offset: self.factor.materialize(x.shape),
        ):
            if initialize is not None:
                scaled.initialize_parameters = initialize
            module = scaled()
            try:
                module(lib.ones(2), offset=1)
            except Exception as error:
                found.append(f"{type(error).__name__}: {error}")
            found += [type(module).__name__, module.has_uninitialized_params(), len(module._forward_pre_hooks)]
        return found

    parity.agree(script)


def test_first_call_in_programs():
    x = _input(jtorch, (2, 5))
    for call in (
        lambda layer: jtorch.compile(lambda x: layer(x))(x),
        lambda layer: jax.jit(lambda x: layer(x))(x.jax()),
        lambda layer: nnx.jit(lambda layer, x: layer(x))(layer, x.jax()),
    ):
        layer = jtorch.nn.LazyLinear(3)
        with pytest.raises(RuntimeError, match="first call outside"):
            call(layer)
        assert layer.has_uninitialized_params()
        layer(x)
        np.testing.assert_allclose(np.asarray(jtorch.Tensor(call(layer)).detach()), layer(x).detach(), rtol=1e-6)


def test_is_an_nnx_module_afterwards():
    model = jtorch.nn.Sequential(jtorch.nn.LazyConv2d(4, 3), jtorch.nn.LazyBatchNorm2d(), jtorch.nn.ReLU())
    x = jnp.ones((2, 3, 5, 5), jnp.float32)
    model(x)
    graph, parameters, rest = nnx.split(model.eval(), nnx.Param, ...)
    assert len(jax.tree.leaves(parameters)) == 4 and len(jax.tree.leaves(rest)) == 3
    np.testing.assert_allclose(nnx.merge(graph, parameters, rest)(x), model(x), rtol=1e-6)
    assert nnx.grad(lambda m: m(x).sum())(model) is not None


def test_an_nnx_module_before():
    layer = jtorch.nn.LazyLinear(3)
    twin = nnx.merge(*nnx.split(layer))
    assert repr(twin) == repr(layer) and twin.has_uninitialized_params()
    assert tuple(twin(_input(jtorch, (2, 5))).shape) == (2, 3)
    assert tuple(layer(_input(jtorch, (2, 5))).shape) == (2, 3)
    assert repr(twin) == repr(layer) == "Linear(in_features=5, out_features=3, bias=True)"
