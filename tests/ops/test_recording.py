"""How eager ops are recorded, and how numbers and small arrays reach the device."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import torch as reference

import jtorch as torch
from jtorch.ops import _placing
from jtorch.ops._program import Program, pulled
from jtorch.ops._recording import Recording


def _kept(function, *arrays):
    """How many arrays the forward of a function hands over to its pullback, and the pullback's result for ones."""
    recording = Recording(Program(function, "function")._record(tuple(range(len(arrays)))), pulled, "function")
    out, kept = recording.forward(*arrays)
    return len(kept), recording.pull(arrays, out, kept, (jnp.ones_like(out),))


def test_the_forward_keeps_neither_inputs_nor_outputs_nor_what_is_quickly_made_again():
    x, y = jnp.array([0.5, -2.0]), jnp.array([3.0, 4.0])
    for function, right in [
        (lambda a, b: a * b, (y, x)),
        (lambda a, b: jnp.exp(a + b), (jnp.exp(x + y),) * 2),
        (lambda a, b: jnp.where(a > 0, a, 0) + b, ((x > 0).astype(x.dtype), jnp.ones(2))),
    ]:
        count, found = _kept(function, x, y)
        assert count == 0
        for ours, theirs in zip(found, right, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_the_forward_keeps_what_is_dear():
    count, (gradient,) = _kept(lambda a: jnp.sin(jnp.cos(a)), jnp.array([0.5, -2.0]))
    x = np.array([0.5, -2.0])
    assert count > 0
    np.testing.assert_allclose(gradient, -np.cos(np.cos(x)) * np.sin(x), rtol=1e-6)


@pytest.mark.parametrize("number", [0.0, -0.0, math.nan, math.inf, 3, -(2**31), 2**31, True])
def test_a_number_that_comes_again_means_the_same(number):
    values = [1.0, -2.0]
    for _ in range(4):
        ours, theirs = torch.tensor(values) * number, reference.tensor(values) * number
        assert ours.dtype == getattr(torch, str(theirs.dtype).removeprefix("torch."))
        np.testing.assert_array_equal(np.signbit(ours.numpy()), np.signbit(theirs.numpy()))
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_number_does_not_decide_the_dtype_when_it_comes_again():
    half, whole = torch.tensor([1.0], dtype=torch.float16), torch.tensor([1])
    for _ in range(4):
        assert (half * 2.5).dtype == torch.float16
        assert (whole * 2).dtype == torch.tensor([1]).dtype
        assert (whole * 2.5).dtype == torch.float32


def test_arrays_of_a_shape_that_comes_often_are_apart():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 5)) for _ in range(_placing._OFTEN + 5)]
    tensors = [torch.tensor(a) for a in arrays]
    tensors[-1].zero_()
    for a, t in zip(arrays[:-1], tensors[:-1], strict=True):
        np.testing.assert_array_equal(t.numpy(), torch.tensor(a).numpy())
    arrays[0][:] = 7
    assert not (tensors[0] == 7).any()
