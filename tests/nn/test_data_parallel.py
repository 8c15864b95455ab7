"""DataParallel on one device and on eight, which are virtual CPUs of a process of its own."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import jtorch
from jtorch import nn

ROOT = pathlib.Path(__file__).parents[2]
PRELUDE = """
import copy
import jax, jax.numpy as jnp, numpy as np
import jtorch
from flax import nnx
from jtorch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.register_buffer("sum", jtorch.zeros(3))

    def forward(self, x, scale=None):
        y = self.inner(x)
        self.sum.add_(y.detach().sum(0))
        return {"y": y * y if scale is None else y * scale}

def close(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)

net = Net()
twin = copy.deepcopy(net)
spread = nn.DataParallel(net)
everywhere = set(jax.devices())
assert len(everywhere) == 8
"""


def on_eight_devices(code):
    """Run code in a process with eight virtual devices."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    script = PRELUDE + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def test_on_one_device_it_is_the_module():
    module = nn.Linear(2, 3)
    spread = nn.DataParallel(module, device_ids=[0])
    x = jtorch.ones(4, 2)
    assert (spread(x) == module(x)).all() and spread.module is module
    assert list(spread.state_dict()) == ["module.weight", "module.bias"]
    spread(x).sum().backward()
    assert module.weight.grad is not None


@pytest.mark.parametrize(("ids", "error"), [([0, 99], RuntimeError), (["nowhere"], RuntimeError)])
def test_devices_that_are_not_there(ids, error):
    with pytest.raises(error):
        nn.DataParallel(nn.Identity(), device_ids=ids)


def test_on_eight_devices():
    on_eight_devices("""
    # even and uneven batches: values, gradients of parameters and inputs, buffers
    for n in (16, 5):
        x = jtorch.tensor(np.random.rand(n, 2).astype("float32"), requires_grad=True)
        same = jtorch.tensor(np.asarray(x.detach()), requires_grad=True)
        scale = jtorch.tensor(np.random.rand(n, 3).astype("float32"))
        out, expected = spread(x, scale=scale)["y"], twin(same, scale)["y"]
        assert out._value().sharding.device_set == everywhere
        if n == 16:
            assert out._value().addressable_shards[0].data.shape == (2, 3)
        close(out.detach(), expected.detach())
        for loss in (out * 2).sum(), (expected * 2).sum():
            loss.backward()
        close(x.grad, same.grad)
        close(net.inner.weight.grad, twin.inner.weight.grad)
        close(net.sum, twin.sum)
        net.inner.weight.grad = twin.inner.weight.grad = None
    assert net.inner.weight._value().sharding.is_fully_replicated

    # the whole on one device
    gathered = nn.DataParallel(net, output_device=0)(jtorch.ones(8, 2))["y"]
    assert gathered._value().devices() == {jax.devices()[0]}
    gathered.sum().backward()
    assert net.inner.weight.grad is not None

    # another dimension, a subset of the devices, a scalar argument
    assert nn.DataParallel(nn.Identity(), dim=1)(jtorch.ones(3, 8))._value().addressable_shards[0].data.shape == (3, 1)
    pair = nn.DataParallel(nn.Linear(2, 2), device_ids=[2, 3])
    assert pair(jtorch.ones(4, 2))._value().sharding.device_set == set(jax.devices()[2:4])
    assert spread(jtorch.ones(8, 2), jtorch.tensor(2.0))["y"].shape == (8, 3)

    # inside nnx.jit, and in a compiled training step
    out = nnx.jit(lambda m, x: m(x))(spread, jnp.ones((8, 2)))["y"]
    assert out.sharding.device_set == everywhere

    spread.zero_grad()
    before = np.asarray(net.inner.weight.detach())

    @jtorch.compile
    def step(x):
        loss = spread(x)["y"].sum()
        loss.backward()
        with jtorch.no_grad():
            for p in spread.parameters():
                p -= 0.1 * p.grad
        return loss.detach()

    for _ in range(2):
        step(jtorch.ones(8, 2))
    assert (np.asarray(net.inner.weight.detach()) != before).any()
    assert net.inner.weight._value().sharding.device_set == everywhere
    """)


def test_gradients_go_back_from_one_device_to_another():
    on_eight_devices("""
        x = jtorch.ones(2, requires_grad=True)
        away = (x * 2).to("cpu:1")
        loss = (away.jax().device.id * away * away).sum()
        loss.backward(create_graph=True)
        assert loss.jax().device.id == 1 and x.grad.jax().device.id == 0
        close(x.grad.jax(), [8.0, 8.0])
        second, = jtorch.autograd.grad(x.grad.sum(), x)
        close(second.jax(), [8.0, 8.0])
    """)


def test_gradients_on_several_devices_are_clipped_together():
    on_eight_devices("""
        parameters = [nn.Parameter(jtorch.ones(4)) for _ in range(2)]
        for parameter, device in zip(parameters, jax.devices()):
            parameter._grad = jtorch.Tensor(jax.device_put(np.ones(4, np.float32), device))
        close(nn.utils.clip_grad_norm_(parameters, 1.0).jax(), 8**0.5)
        close(parameters[1].grad.jax(), np.full(4, 8**-0.5))
        assert parameters[1].grad.jax().device.id == 1
    """)
