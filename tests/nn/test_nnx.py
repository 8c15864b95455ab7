"""Modules inside Flax NNX and under JAX transformations: split, merge, jit, grad, optimizers, nesting, plain arrays."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import treescope
from flax import errors, nnx
from nn.both import filled, plain

import jtorch
from jtorch import nn


class Centre(nn.Module):
    """Subtracts a running mean, which it updates while training; keeps what it saw last."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("mean", jtorch.zeros(size))
        self.register_buffer("cache", jtorch.zeros(size), persistent=False)
        self.register_buffer("nothing", None)
        self.steps = jtorch.zeros(1)  # a tensor, but no buffer

    def forward(self, x):
        if self.training:
            self.mean.mul_(0.5).add_(x.detach()[0] * 0.5)
            self.steps += 1
            self.last = x
        return x - self.mean


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.late = None
        self.zeta, self.alpha = nn.Linear(2, 3), nn.Linear(3, 3)  # registered in this order, not the alphabet's
        self.layers = nn.ModuleList([Centre(3), nn.Linear(3, 3)])
        self.layers[1].weight = self.alpha.weight
        self.loose = [filled(nn.Linear(3, 3))]
        self.settings = {"rate": 0.5, "sizes": [2, 3], "words": {"a", "b"}}
        self.odd = {1: "mixed", "a": "keys"}
        self.late = nn.Parameter(jtorch.ones(3))
        filled(self)

    def forward(self, x):
        x = self.alpha(self.zeta(x).view(x.size(0), -1))
        for layer in self.layers:
            x = layer(x)
        return self.loose[0](x) * self.late


X = jnp.arange(8, dtype=np.float32).reshape(4, 2) / 8


@nnx.jit
def call(model, x):
    return model(x)


@nnx.jit
def step(model, optimizer, x):
    loss, grads = nnx.value_and_grad(lambda model: (model(x) ** 2).mean())(model)
    optimizer.update(model, grads)
    return loss


def state_of(module):
    return plain(list(module.state_dict().items()))


def test_split_and_merge():
    module = Net().eval()
    module.zeta.bias.requires_grad_(False)
    graphdef, state = nnx.split(module, graph=True)
    other = nnx.merge(graphdef, state, copy=True)
    hash(graphdef)
    assert graphdef == nnx.graphdef(copy.deepcopy(module)) and graphdef != nnx.graphdef(Net())
    assert state_of(other) == state_of(module) and repr(other) == repr(module)
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in module.named_parameters()]
    assert other.layers[1].weight is other.alpha.weight is not module.alpha.weight
    assert not other.training and not other.zeta.bias.requires_grad and other.zeta.weight.requires_grad
    assert other.layers[0]._non_persistent_buffers_set == {"cache"} and "nothing" in other.layers[0]._buffers
    assert other.settings == module.settings and other.odd == module.odd
    assert isinstance(other.layers[0].steps, jtorch.Tensor)
    with jtorch.no_grad():
        other.zeta.weight += 1
    assert module.zeta.weight[0, 0] == 0


def test_state_by_kind():
    parameters, buffers, rest = nnx.state(Net(), nnx.Param, nnx.BatchStat, ...)
    assert set(parameters) == {"zeta", "alpha", "layers", "loose", "late"}
    assert set(buffers["layers"]["0"]) == {"mean", "cache"}
    assert set(rest["layers"]["0"]) == {"steps"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)),
        lambda: nn.ModuleDict({"b": nn.Linear(2, 3), "a": nn.Identity()}),
        lambda: nn.ParameterList([jtorch.ones(2), "text", None]),
        lambda: nn.ParameterDict({"b": jtorch.ones(2), "a": 3}),
        lambda: nn.Embedding(4, 2, padding_idx=0),
    ],
)
def test_containers_survive(make):
    module = make()
    clone = nnx.clone(module)
    assert repr(clone) == repr(module) and state_of(clone) == state_of(module)
    assert type(clone) is type(module) and hash(nnx.graphdef(clone)) == hash(nnx.graphdef(module))


def test_update_and_pop():
    module, other = Net(), Net()
    nnx.update(module, jax.tree.map(jnp.zeros_like, nnx.as_pure(nnx.state(module))))
    assert float(module.zeta.weight.abs().sum()) == 0 and module.layers[0].steps[0] == 0
    nnx.update(module, nnx.state(other))
    assert state_of(module) == state_of(other)
    popped = nnx.pop(module, nnx.BatchStat)
    assert list(module.layers[0].state_dict()) == [] and set(popped["layers"]["0"]) == {"mean", "cache"}


def test_jit_carries_buffers_and_tensors():
    module, same = Net(), Net()
    for _ in range(3):
        got, expected = call(module, X), same(jtorch.tensor(X))
    np.testing.assert_allclose(got, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(module.layers[0].mean, same.layers[0].mean, rtol=1e-5)
    assert module.layers[0].steps[0] == 3 and isinstance(module.layers[0].steps, jtorch.Tensor)
    np.testing.assert_allclose(module.layers[0].last.detach(), same.layers[0].last.detach(), rtol=1e-5)


def test_jit_follows_the_mode_and_keeps_identity():
    module = Net()
    before = [*module.modules(), *module.parameters(), *module.buffers()]
    call(module.eval(), X)
    assert module.layers[0].steps[0] == 0
    call(module.train(), X)
    assert module.layers[0].steps[0] == 1
    after = [*module.modules(), *module.parameters(), *module.buffers()]
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_jit_compiles_once(compilations):
    module = Net()
    call(module, X), call(module, X)
    assert compilations(lambda: call(module, X)) == 0


def test_buffer_replaced_inside_jit():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", jtorch.zeros(2), persistent=False)

        def forward(self, x):
            before = self.seen
            self.seen = self.seen + x
            return self.seen - before

    module = Keeps()
    x = jnp.ones(2)
    assert call(module, x).tolist() == [1, 1] and call(module, x).tolist() == [1, 1]
    assert module.seen.tolist() == [2, 2] and module._non_persistent_buffers_set == {"seen"}


@pytest.mark.parametrize("jitted", [True, False])
def test_gradients_are_those_of_the_tape(jitted):
    module, same = Net(), Net()

    def gradients(model):
        return nnx.grad(lambda model: (model(X) ** 2).mean())(model)

    got = (nnx.jit(gradients) if jitted else gradients)(module)
    (same(jtorch.tensor(X)) ** 2).mean().backward()
    expected = {n: p.grad for n, p in same.named_parameters()}
    expected["loose.0.weight"], expected["loose.0.bias"] = (p.grad for p in same.loose[0].parameters())
    flat = {".".join(map(str, path)): v for path, v in nnx.to_flat_state(got)}
    assert flat.keys() == expected.keys()
    for name, gradient in expected.items():
        np.testing.assert_allclose(flat[name].get_value(), gradient, rtol=1e-4, atol=1e-6, err_msg=name)
    assert module.layers[0].steps[0] == 1
    np.testing.assert_allclose(module.layers[0].mean, same.layers[0].mean, rtol=1e-5)


@pytest.mark.parametrize(
    "forward",
    [
        lambda w, x: w * x.detach() + x * w.detach(),
        lambda w, x: w * x + (w * w).data,
        lambda w, x: x + (w.round() - x).detach(),  # straight through
        lambda w, x: w * x * jtorch.no_grad()(lambda: w * x)(),
        lambda w, x: w * x * jtorch.no_grad()(lambda: w[0] * 2)(),
    ],
)
def test_what_is_detached_has_no_gradient_in_jax_either(forward):
    class Detaches(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(jtorch.tensor([2.0, 3.0]))

        def forward(self, x):
            return forward(self.w, x).sum()

    module, x = Detaches(), jtorch.tensor([5.0, 7.0], requires_grad=True)
    module(x).backward()
    grads = nnx.grad(lambda m, x: m(x), argnums=(0, 1))(module, x.detach().jax())
    expected = jtorch.zeros(2) if module.w.grad is None else module.w.grad
    assert (
        grads[0].w.get_value() if hasattr(grads[0], "w") else grads[0]["w"].get_value()
    ).tolist() == expected.tolist()
    assert grads[1].tolist() == x.grad.tolist()


def test_optimizer_trains_and_keeps_tied_weights():
    module = Net()
    optimizer = nnx.Optimizer(module, optax.adamw(1e-2), wrt=nnx.Param)
    losses = [float(step(module, optimizer, X)) for _ in range(4)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
    assert module.layers[1].weight is module.alpha.weight


def test_a_filter_can_leave_out_frozen_parameters():
    module = Net()
    module.zeta.requires_grad_(False)
    wanted = nnx.state(module, lambda path, value: isinstance(value, nnx.Param) and value.requires_grad)
    assert set(wanted) == {"alpha", "layers", "late", "loose"}


class Outer(nnx.Module):
    def __init__(self):
        self.net = Net()
        self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.head(self.net(x))


def test_inside_a_plain_nnx_module():
    outer = Outer()
    first = call(outer, X)
    assert outer.net.layers[0].steps[0] == 1 and first.shape == (4, 2)
    outer.eval()
    assert not outer.net.layers[0].training
    call(outer, X)
    assert outer.net.layers[0].steps[0] == 1
    outer.train()
    assert outer.net.training
    optimizer = nnx.Optimizer(outer, optax.sgd(1e-1), wrt=nnx.Param)
    before = np.asarray(outer.net.zeta.weight.detach())
    step(outer, optimizer, X)
    assert (np.asarray(outer.net.zeta.weight.detach()) != before).any()
    assert "net=Net(" in repr(outer) and "zeta" in treescope.render_to_text(outer.net)


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.ours = nn.Linear(2, 3)
        self.theirs = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        self.variable = nnx.Param(jnp.ones(2))
        self.array = jnp.ones(2)

    def forward(self, x):
        return jtorch.as_tensor(self.theirs(self.ours(x).jax()) + self.variable[...] + self.array)


def test_holding_plain_nnx_modules():
    module = Mixed()
    assert list(module.state_dict()) == ["ours.weight", "ours.bias"] == [n for n, _ in module.named_parameters()]
    assert set(nnx.state(module)) == {"ours", "theirs", "variable", "array"}
    for _ in range(2):
        assert call(module, X).shape == (4, 2)
    assert isinstance(module.array, jax.Array) and not isinstance(module.array, jax.core.Tracer)
    optimizer = nnx.Optimizer(module, optax.sgd(1e-2), wrt=nnx.Param)
    before = module.variable[...]
    step(module, optimizer, X)
    assert (module.variable[...] != before).all()
    assert copy.deepcopy(module).theirs.kernel.shape == (3, 2)


def test_forward_hooks_run_inside_and_survive():
    module = nn.Linear(2, 2)
    handle = module.register_forward_hook(lambda m, args, out: out * 0 + 7)
    assert (call(module, X) == 7).all()
    handle.remove()
    assert not (call(module, X) == 7).any() and not module._forward_hooks


def test_vmap_over_modules():
    ensemble = nnx.vmap(lambda key: nn.Linear(2, 3), in_axes=0)(jnp.arange(5))
    assert ensemble.weight.shape == (5, 3, 2)
    assert nnx.vmap(lambda m, x: m(x), in_axes=(0, None))(ensemble, X).shape == (5, 4, 3)


def test_eval_shape():
    with jtorch.random.keyed(jax.random.key(0)):
        assert nnx.eval_shape(lambda: nn.Linear(2, 3)).weight.get_raw_value().shape == (3, 2)


# arrays in, arrays out


class Structured(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, first, pair=(), *, named=None):
        out = self.inner(first).relu_()  # torch's methods, in-place ones too, work on arrays
        return {
            "out": out,
            "rest": [x.unsqueeze(0) for x in pair],
            "named": None if named is None else named["x"] * 2,
            "n": 3,
        }


def test_arrays_give_arrays():
    x = jnp.ones((1, 2), np.float32)
    out = Structured()(x, (x, x), named={"x": x})
    assert all(isinstance(v, jax.Array) for v in (out["out"], *out["rest"], out["named"])) and out["n"] == 3
    assert list(out) == ["out", "rest", "named", "n"]
    assert isinstance(Structured()(first=x)["out"], jax.Array)


def test_tensors_give_tensors_even_beside_arrays():
    module, x = Structured(), jnp.ones((1, 2), np.float32)
    out = module(x, (jtorch.ones(1, 2),))
    assert isinstance(out["out"], jtorch.Tensor) and out["out"].requires_grad


def test_a_child_called_with_an_array_still_records():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Linear(2, 2, bias=False)

        def forward(self, x):
            return x + self.table(jnp.ones((1, 2), np.float32))

    module = Positions()
    module(jtorch.ones(1, 2)).sum().backward()
    assert module.table.weight.grad is not None


def test_plain_jax_transformations():
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    expected = module(jtorch.tensor(X))
    np.testing.assert_allclose(jax.jit(module)(X), expected.detach(), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(module)(X), expected.detach(), rtol=1e-6)
    x = jtorch.tensor(X, requires_grad=True)
    module(x).sum().backward()
    np.testing.assert_allclose(jax.grad(lambda x: module(x).sum())(jnp.asarray(X)), x.grad, rtol=1e-6)


# what would be lost raises


@pytest.mark.parametrize(
    "change",
    [
        lambda m, x: setattr(m, "seen", x),
        lambda m, x: setattr(m, "training", False),
        lambda m, x: m.eval(),
        lambda m, x: m.register_buffer("more", x),
        lambda m, x: setattr(m, "zeta", nn.Identity()),
        lambda m, x: delattr(m, "zeta"),
    ],
)
def test_a_module_from_outside_cannot_be_changed_inside_a_trace(change):
    module = Net()
    with pytest.raises(errors.TraceContextError):
        jax.jit(lambda x: change(module, x))(X)
    assert module.training and "zeta" in module._modules and not hasattr(module, "seen")


def test_buffer_updates_that_would_be_lost_raise():
    module = Centre(2)
    with pytest.raises(RuntimeError, match="would be lost"):
        jax.jit(module)(X)
    assert module.mean.tolist() == [0, 0]
    jax.jit(module.eval())(X)


def test_jax_does_not_take_a_parameter_for_an_array():
    parameter = nn.Parameter(jtorch.ones(2))
    out = jnp.ones(2) + parameter
    assert isinstance(out, jtorch.Tensor) and out.requires_grad
    with pytest.raises(TypeError):
        jnp.sin(parameter)
