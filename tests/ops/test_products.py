"""Products with large weights, for which CPUs have forms of their own: of the gradient, and for few rows many times over."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jtorch
from jtorch import ops

CALLS = {"linear": lambda t, x, w: t.nn.functional.linear(x, w.T), "matmul": lambda t, x, w: t.matmul(x, w)}
ROWS, INNER, OUTER = (2, 70), 130, 140


def _numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _form(name):
    return lambda x, w: CALLS[name](jtorch, x, w)


def _agree(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", CALLS)
def test_gradients_to_second_order(name):
    arrays = (
        _numbers(*ROWS, INNER),
        _numbers(INNER, OUTER, seed=1),
        _numbers(*ROWS, OUTER, seed=2),
        _numbers(INNER, OUTER, seed=3),
    )

    def both(library):
        x, w, cotangent, other = map(library.from_numpy, arrays)
        x.requires_grad_(), w.requires_grad_()
        grads = library.autograd.grad(CALLS[name](library, x, w), (x, w), cotangent, create_graph=True)
        return [*grads, *library.autograd.grad((grads[1] * other).sum() + (grads[0] ** 2).sum(), (x, w))]

    for found, expected in zip(both(jtorch), both(torch), strict=True):
        _agree(found.detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("which", [(1, 0), (0, 1), (1, 1)])
def test_tangents_of_either_factor(name, which):
    x, w, dx, dw = (
        _numbers(*ROWS, INNER),
        _numbers(INNER, OUTER, seed=1),
        _numbers(*ROWS, INNER, seed=2),
        _numbers(INNER, OUTER, seed=3),
    )
    moved = [k for k in range(2) if which[k]]

    def of(*given):
        factors = [x, w]
        for k, value in zip(moved, given, strict=True):
            factors[k] = value
        return _form(name)(*map(jnp.asarray, factors))

    y, tangent = jax.jvp(of, [(x, w)[k] for k in moved], [(dx, dw)[k] for k in moved])
    _agree(y, x @ w)
    _agree(tangent, which[0] * (dx @ w) + which[1] * (x @ dw))


@pytest.mark.parametrize("name", CALLS)
def test_gradients_of_each_example(name):
    x, w = _numbers(3, *ROWS, INNER), _numbers(INNER, OUTER, seed=1)
    found = jax.vmap(jax.grad(lambda w, x: _form(name)(x, w).sum()), (None, 0))(w, x)
    _agree(found, np.broadcast_to(x.sum((1, 2))[:, :, None], (3, INNER, OUTER)))


@pytest.mark.parametrize(
    ("rows", "dtype", "written"), [(140, "float32", True), (2, "float32", False), (140, "float16", False)]
)
def test_only_the_gradient_of_large_weights_has_a_factor_written_out(rows, dtype, written):
    x, w = jnp.zeros((rows, INNER), dtype), jnp.zeros((OUTER, INNER), dtype)
    for jaxpr, here in (
        (jax.make_jaxpr(ops.linear)(x, w), False),
        (jax.make_jaxpr(jax.grad(lambda x: ops.linear(x, w).sum()))(x), False),
        (jax.make_jaxpr(jax.grad(lambda w: ops.linear(x, w).sum()))(w), written),
    ):
        assert ("optimization_barrier" in str(jaxpr)) == (here and jax.default_backend() == "cpu")


def test_weights_of_unknown_sizes():
    size = jax.export.symbolic_shape("n")[0]
    shapes = [jax.ShapeDtypeStruct(shape, "float32") for shape in ((size, INNER), (140, INNER))]
    slope = jax.export.export(jax.jit(jax.grad(lambda w, x: ops.linear(x, w).sum())))(*shapes)
    w, x = _numbers(OUTER, INNER), _numbers(140, INNER, seed=1)
    _agree(slope.call(w, x), np.broadcast_to(x.sum(0), w.shape))


TIMES, BATCH, FEATURES, HIDDEN = 16, 3, 5, 64  # the fewest times and units for which weights are turned
NETWORKS = ("RNN", "LSTM", "GRU")


def _network(name):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(FEATURES, HIDDEN)
    ours = getattr(jtorch.nn, name)(FEATURES, HIDDEN)
    ours.load_state_dict({key: jtorch.from_numpy(value.numpy()) for key, value in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("name", NETWORKS)
def test_recurrent_networks_to_second_order(name):
    values, cotangent = _numbers(TIMES, BATCH, FEATURES), _numbers(TIMES, BATCH, HIDDEN, seed=1)

    def both(library, network):
        x = library.from_numpy(values).requires_grad_()
        out, last = network(x)
        wanted = (x, *network.parameters())
        slopes = library.autograd.grad(out, wanted, library.from_numpy(cotangent), create_graph=True)
        second = library.autograd.grad(sum((g**2).sum() for g in slopes), wanted)
        return [out, *(last if name == "LSTM" else (last,)), *slopes, *second]

    for found, expected in zip(*map(both, (jtorch, torch), _network(name)), strict=True):
        _agree(found.detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize(
    ("batch", "times", "dtype", "turned"),
    [(3, 16, "float32", True), (1, 16, "float32", False), (33, 16, "float32", False), (3, 15, "float32", False),
     (3, 16, "float16", False)],
)  # fmt: skip
def test_weights_are_turned_for_few_rows_and_many_times_only(batch, times, dtype, turned):
    network = _network("GRU")[0].to(getattr(jtorch, dtype))
    parameters = {name: jnp.asarray(value.numpy()) for name, value in network.state_dict().items()}
    call = lambda x: jtorch.func.functional_call(network, parameters, (x,))[0]
    text = str(jax.make_jaxpr(call)(jnp.zeros((times, batch, FEATURES), dtype)))
    assert ("optimization_barrier" in text) == (turned and jax.default_backend() == "cpu")


def test_recurrent_networks_of_many_weights():
    network = _network("GRU")[0]
    weights = {name: jnp.stack([value.numpy(), 2 * value.numpy()]) for name, value in network.state_dict().items()}
    x = _numbers(TIMES, BATCH, FEATURES)
    call = lambda weights: jtorch.func.functional_call(network, weights, (jnp.asarray(x),))[0]
    found = jax.vmap(call)(weights)
    for place in range(2):
        _agree(found[place], call({name: value[place] for name, value in weights.items()}))


def test_recurrent_networks_of_unknown_batches():
    network = _network("LSTM")[0]
    weights = {name: jnp.asarray(value.numpy()) for name, value in network.state_dict().items()}
    call = jax.jit(lambda x: jtorch.func.functional_call(network, weights, (x,))[0])
    shape = (TIMES, jax.export.symbolic_shape("n")[0], FEATURES)
    exported = jax.export.export(call)(jax.ShapeDtypeStruct(shape, "float32"))
    x = jnp.asarray(_numbers(TIMES, BATCH, FEATURES))
    _agree(exported.call(x), call(x))
