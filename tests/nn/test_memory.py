"""Which tensors share memory: what is written to one is seen by the others, as in torch; and nobody else sees it."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
from flax import nnx

import jtorch
from jtorch import nn

pytestmark = pytest.mark.x64_off

SCRIPTS: list = []
script = parity.scripts(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


def _written(torch, *tensors):
    """Add 1, 2, ... to the tensors in turn, and show all of them after each."""
    shown = []
    for i, each in enumerate(tensors):
        with torch.no_grad():
            each.add_(i + 1)
        shown += [t.tolist() for t in tensors]
    return shown


@script
def parameter_of_a_view(torch):
    whole = torch.zeros(2, 3)
    return _written(torch, whole, torch.nn.Parameter(whole[1]), torch.nn.Parameter(whole.t()[:2]))


@script
def parameter_of_another_parameter(torch):
    one = torch.nn.Parameter(torch.zeros(2))
    return _written(torch, one, torch.nn.Parameter(one.data), torch.nn.Parameter(one.detach()[:1]))


@script
def parameter_of_something_computed(torch):
    x = torch.ones(2, requires_grad=True)
    made = x * 2
    p = torch.nn.Parameter(made)
    (p * 3).sum().backward()
    return [*_written(torch, made, p), p.is_leaf, p.grad, x.grad]


@script
def buffer_of_a_view(torch):
    module, whole = torch.nn.Module(), torch.zeros(4)
    module.register_buffer("part", whole[:2])
    module.register_buffer("all", whole)
    return _written(torch, whole, module.part, module.all)


@script
def buffer_with_a_graph(torch):
    module, x = torch.nn.Module(), torch.ones(2, requires_grad=True)
    module.register_buffer("made", x * 2)
    (module.made * 3).sum().backward()
    return x.grad, module.made.detach()


@script
def data_set_to_a_tensor(torch):
    p, new = torch.nn.Parameter(torch.zeros(2)), torch.ones(2)
    old, part = p.data, p.detach()[:1]
    p.data = new
    return _written(torch, p, new, old, part)


@script
def data_set_when_a_view_has_not_been_read_since_a_write(torch):
    p = torch.nn.Parameter(torch.zeros(2))
    part, before = p.detach()[:1], p.tolist()
    p.data.add_(1)
    p.data = torch.ones(2) * 5
    return before, part, p.detach()


@script
def data_set_to_a_view(torch):
    p, new = torch.nn.Parameter(torch.zeros(2)), torch.ones(4)
    p.data = new[1:3]
    return _written(torch, p, new)


@script
def data_set_to_a_part_of_itself(torch):
    p = torch.nn.Parameter(torch.arange(4.0))
    whole = p.data
    p.data = p.data[:2]
    (p * p).sum().backward()
    return [*_written(torch, p, whole), p.grad, p.is_leaf]


@script
def data_taken_away_and_put_back(torch):
    """What an average of the weights does for an evaluation."""
    p, average = torch.nn.Parameter(torch.zeros(2)), torch.ones(2)
    kept = p.data
    p.data = average
    during = p.tolist()
    p.data = kept
    return [during, *_written(torch, p, average, kept)]


@script
def data_set_to_what_has_views(torch):
    p, new = torch.nn.Parameter(torch.zeros(2)), torch.ones(2)
    part = new[:1]
    p.data = new
    return _written(torch, p, part, new)


@script
def data_exchanged(torch):
    p, q = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.ones(2))
    p.data, q.data = q.data, p.data
    return _written(torch, p, q)


def test_parameter_of_a_temporary_is_no_view():
    module = nn.Module()
    module.weight = nn.Parameter(jtorch.arange(6.0).view(2, 3).t())
    assert module.weight._base is None
    assert module.weight.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_nnx_sees_and_writes_a_parameter_that_is_a_view():
    whole, module = jtorch.zeros(4), nn.Module()
    module.weight = nn.Parameter(whole[1:3])
    whole.add_(1)
    graph, state = nnx.split(module)
    np.testing.assert_array_equal(state["weight"].get_value(), [1, 1])
    nnx.update(module, jax.tree.map(lambda x: x + 1, state))
    assert module.weight.tolist() == [2, 2]
    assert whole.tolist() == [1, 2, 2, 1]


def test_compiled_step_writes_through_a_parameter_that_is_a_view():
    whole = jtorch.zeros(3)
    p = nn.Parameter(whole[:2])
    optimizer = jtorch.optim.SGD([p], lr=1.0)

    @jtorch.compile
    def step():
        optimizer.zero_grad()
        (p * jtorch.tensor([1.0, 2.0])).sum().backward()
        optimizer.step()

    step()
    assert whole.tolist() == [-1, -2, 0]
    p.data = jtorch.ones(2)
    step()
    assert (whole.tolist(), p.tolist()) == ([-1, -2, 0], [0, -1])


def test_views_that_are_gone_are_forgotten():
    root = jtorch.zeros(3)
    for _ in range(1000):
        root[0]
    gc.collect()
    assert len(root._views) <= 130


def test_plain_tensor_made_inside_a_transformation_can_be_written():
    def function(x):
        out = jtorch.zeros(3)
        out += jtorch.Tensor(x) * 2
        out[0] = 1
        return out.jax()

    np.testing.assert_array_equal(jax.vmap(function)(jnp.ones((2, 3))), [[1, 2, 2]] * 2)
    np.testing.assert_array_equal(jax.grad(lambda x: function(x).sum())(jnp.ones(3)), [0, 2, 2])
    np.testing.assert_array_equal(jax.jit(function)(jnp.ones(3)), [1, 2, 2])


def test_tensor_from_outside_is_not_written_inside_a_jit():
    outside = jtorch.zeros(3)
    with pytest.raises(RuntimeError, match="of this trace"):
        jax.jit(lambda x: outside.add_(jtorch.Tensor(x)).jax())(jnp.ones(3))
    assert outside.tolist() == [0, 0, 0]


def test_data_set_inside_a_compiled_step():
    p = nn.Parameter(jtorch.ones(2))

    @jtorch.compile
    def step():
        before = p.data
        p.data = before * 2
        return before + 0

    assert [step().tolist(), step().tolist(), p.tolist()] == [[1, 1], [2, 2], [4, 4]]


def test_data_set_inside_a_compiled_step_is_refused_where_a_view_outside_keeps_the_memory():
    p = nn.Parameter(jtorch.ones(2))
    view = p.detach()

    @jtorch.compile
    def step():
        p.data = p.data * 2

    with pytest.raises(RuntimeError, match="no views outside"):
        step()
    assert (p.tolist(), view.tolist()) == ([1, 1], [1, 1])
    del view
    step()
    assert p.tolist() == [2, 2]
