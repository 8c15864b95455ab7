"""Tensors and weights that go to PyTorch, NumPy and JAX and come back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jtorch
from jtorch import nn

NUMPY = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"]  # fmt: skip
OTHERS = ["bfloat16", "float8_e4m3fn", "float8_e5m2"]


# DLPack


@pytest.mark.parametrize("name", [*NUMPY, *OTHERS])
def test_every_dtype_by_dlpack(name):
    theirs = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(getattr(torch, name))
    for tensor in (theirs, theirs.t()):
        ours = jtorch.from_dlpack(tensor)
        assert ours.dtype == getattr(jtorch, name) and ours.shape == tensor.shape
        back = torch.from_dlpack(ours)
        assert back.dtype == tensor.dtype and back.tolist() == tensor.tolist()
    if name in NUMPY:
        array = np.from_dlpack(jtorch.from_dlpack(theirs))
        assert array.dtype == name and array.tolist() == theirs.tolist()
        assert jtorch.from_dlpack(array.copy()).dtype == getattr(jtorch, name)
    else:
        with pytest.raises((RuntimeError, BufferError)):
            np.from_dlpack(jtorch.from_dlpack(theirs))


LAYOUTS = {
    "a scalar": lambda: torch.tensor(3.0),
    "empty": lambda: torch.ones(0, 3),
    "with gaps": lambda: torch.arange(8.0)[::2],
    "repeated": lambda: torch.ones(1).expand(4),
    "part of a row": lambda: torch.arange(12.0).reshape(3, 4)[:, 1:3],
    "permuted": lambda: torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
    "repeated bfloat16": lambda: torch.ones(1).bfloat16().expand(4),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_by_dlpack(name):
    tensor = LAYOUTS[name]()
    assert jtorch.from_dlpack(tensor).tolist() == tensor.tolist()
    if "gaps" in name or "repeated" in name:
        with pytest.raises(ValueError, match="to copy"):
            jtorch.from_dlpack(tensor, copy=False)
    assert np.array_equal(jtorch.from_dlpack(np.arange(8.0)[::2]), np.arange(8.0)[::2])


def test_memory_is_shared_or_copied_as_asked():
    theirs = torch.zeros(1000)
    shared, copied = jtorch.from_dlpack(theirs), jtorch.from_dlpack(theirs, copy=True, device="cpu")
    theirs[0] = 5
    assert (shared[0].item(), copied[0].item()) == (5, 0)
    exported = torch.from_dlpack(shared)
    assert exported.data_ptr() == theirs.data_ptr()
    assert jtorch.from_dlpack(theirs, copy=False)[0].item() == 5


def test_memory_that_is_shared_is_not_written_by_compiled_steps():
    theirs = torch.zeros(1000)
    ours = jtorch.from_dlpack(theirs)
    step = jtorch.compile(lambda: ours.add_(1))
    for _ in range(3):
        step()
    exported = torch.from_dlpack(ours)
    for _ in range(3):
        step()
    assert theirs.abs().sum() == 0 and exported.eq(3).all() and ours[0].item() == 6


def test_what_is_not_exported():
    for make, take in ((torch, jtorch), (jtorch, torch)):
        with pytest.raises(BufferError, match="require gradient"):
            take.from_dlpack(make.ones(3, requires_grad=True))
    with pytest.raises(BufferError):
        jtorch.from_dlpack(torch.tensor([1j]).conj())
    with pytest.raises(TypeError, match="__dlpack__"):
        jtorch.from_dlpack([1.0])
    with pytest.raises(RuntimeError, match="being traced"):
        jax.jit(lambda x: x.__dlpack__())(jtorch.ones(2))
    assert jtorch.ones(2).__dlpack_device__() == torch.ones(2).__dlpack_device__()


# PyTorch's tensors and modules


@pytest.mark.parametrize("name", [*NUMPY, *OTHERS])
def test_tensors_of_torch_as_data(name):
    theirs = torch.tensor([0, 1, 1]).to(getattr(torch, name))
    for make in (jtorch.tensor, jtorch.as_tensor):
        assert make(theirs).dtype == getattr(jtorch, name) and make(theirs).float().tolist() == [0, 1, 1]
    assert jtorch.tensor(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


def test_weights_from_torch_and_back():
    """A module and its optimizer take the state of PyTorch's directly, and PyTorch takes theirs through DLPack."""

    def made(lib):
        model = lib.nn.Sequential(lib.nn.Conv2d(1, 4, 3), lib.nn.BatchNorm2d(4), lib.nn.Flatten(), lib.nn.Linear(64, 2))
        optimizer = lib.optim.Adam(model.parameters(), lr=0.1)
        x = lib.tensor(np.random.default_rng(0).normal(size=(3, 1, 6, 6)).astype(np.float32))
        model(x).square().mean().backward()
        optimizer.step()
        return model, optimizer, x

    (theirs, their_optimizer, x), (ours, our_optimizer, y) = made(torch), made(jtorch)
    ours.load_state_dict(theirs.state_dict())
    our_optimizer.load_state_dict(their_optimizer.state_dict())
    np.testing.assert_allclose(ours.eval()(y).detach(), theirs.eval()(x).detach(), rtol=1e-4, atol=1e-5)
    ours.bfloat16()
    fresh = made(torch)[0].bfloat16()
    fresh.load_state_dict({name: torch.from_dlpack(tensor) for name, tensor in ours.state_dict().items()})
    ours.load_state_dict(fresh.state_dict())
    for name, tensor in fresh.state_dict().items():
        assert ours.state_dict()[name].float().tolist() == tensor.float().tolist()
    with pytest.raises(RuntimeError, match="size mismatch"):
        ours.load_state_dict({**theirs.state_dict(), "0.bias": torch.ones(5)})


# JAX


def test_pytrees_of_tensors_under_jax():
    tree = {
        "w": jtorch.full((2, 2), 2.0, requires_grad=True),
        "rest": [nn.Parameter(jtorch.ones(3)), (jtorch.zeros(1), None)],
    }
    out = jax.jit(lambda t: {"w": t["w"] @ t["w"], "rest": [t["rest"][0] * 2, t["rest"][1]]})(tree)
    assert out["w"].tolist() == [[8, 8], [8, 8]] and out["rest"][0].tolist() == [2, 2, 2] and out["rest"][1][1] is None
    grads = jax.grad(lambda t: ((t["w"] ** 2).sum() + t["rest"][0].sum()).jax())(tree)
    assert grads["w"].tolist() == [[4, 4], [4, 4]] and isinstance(grads["rest"][0], jtorch.Tensor)
    assert jax.vmap(lambda x: x.sum())(jtorch.ones(3, 2)).tolist() == [2, 2, 2]
    carried, seen = jax.lax.scan(lambda c, x: (c + x, c * x), jtorch.zeros(()), jtorch.arange(3.0))
    assert carried.item() == 3 and seen.tolist() == [0, 0, 2]
    doubled = jax.jit(lambda s: {name: value * 2 for name, value in s.items()})(dict(nn.Linear(2, 2).state_dict()))
    assert all(isinstance(value, jtorch.Tensor) for value in doubled.values())


def test_jax_hands_out_the_array():
    x = jtorch.ones(3)
    assert isinstance(x.jax(), jax.Array) and x.jax() is x.jax() and jnp.sin(x.jax()).shape == (3,)
    assert x[1:].jax().shape == (2,) and jtorch.Tensor(x.jax()).tolist() == [1, 1, 1]
