"""Fractional max pooling with given samples against torch: the same windows in every dtype, NaN, gradients, errors."""

import jax
import numpy as np
import parity
import pytest
import torch

import jtorch

SHAPES = {2: (2, 3, 11, 9), 3: (2, 2, 7, 9, 8)}


def _functions(nd):
    return [getattr(lib.nn.functional, f"fractional_max_pool{nd}d") for lib in (jtorch, torch)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("nd", [2, 3])
def test_same_samples_same_windows(nd, dtype):
    for size in (1, 2, 4, (5, 4, 3)[:nd]):
        x = torch.randn(SHAPES[nd]).to(dtype).requires_grad_()
        samples = torch.rand(*SHAPES[nd][:2], nd).to(dtype)
        parity.check(*_functions(nd), x, 3, size, None, True, samples)
    parity.check(*_functions(nd), x[0].detach().requires_grad_(), 2, None, (0.5,) * nd, False, samples[:1])


def test_nan_and_equals():
    nan = float("nan")
    x = torch.tensor([[1.0, nan, 2.0, 7.0], [nan, 3.0, 0.0, 7.0], [-1.0, 0.0, 5.0, 7.0]])[None]
    x = torch.cat([x, torch.zeros(1, 3, 4), torch.full((1, 3, 4), -float("inf"))])
    parity.check(*_functions(2), x, (3, 2), (1, 2), None, True, torch.zeros(1, 3, 2))


def test_drawn_windows():
    """Without samples they are drawn: the shapes, the draw by key, and the places of the values."""
    x = jtorch.randn(2, 3, 12, 10)
    out, places = jtorch.nn.functional.fractional_max_pool2d(x, 2, output_ratio=(0.6, 0.5), return_indices=True)
    assert out.shape == (2, 3, 7, 5) and places.dtype == jtorch.int64
    np.testing.assert_array_equal(
        x.numpy().reshape(2, 3, -1)[
            np.arange(2)[:, None, None], np.arange(3)[:, None], places.numpy().reshape(2, 3, -1)
        ],
        out.numpy().reshape(2, 3, -1),
    )
    draws = [jtorch.ops.fractional_max_pool2d(x.jax(), 2, 5, key=jax.random.key(k)) for k in (0, 0, 1)]
    assert (draws[0] == draws[1]).all() and (draws[0] != draws[2]).any()


REFUSED = {
    "no size": (2,),
    "three ratios": (2, None, (0.5, 0.5, 0.5)),
    "three sizes": (2, (2, 2, 2)),
    "three kernels": ((2, 2, 2), 2),
    "negative": (2, -1),
    "too large": (7, 4),
    "samples of few": (2, 2, None, False, (1, 3, 2)),
    "samples of other channels": (2, 2, None, False, (2, 1, 2)),
    "samples of other dimensions": (2, 2, None, False, (2, 3, 3)),
}


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_refused(arguments):
    def script(lib):
        given = [lib.zeros(a) if i == 4 else a for i, a in enumerate(arguments)]
        return lib.nn.functional.fractional_max_pool2d(lib.ones(2, 3, 8, 8), *given)

    parity.agree(script)


@pytest.mark.parametrize("shape", [(8, 8), (1, 1, 1, 8, 8), (2, 0, 8, 8), (0, 3, 8, 8), (3, 8, 8)], ids=str)
def test_shapes(shape):
    def script(lib):
        out = lib.nn.functional.fractional_max_pool2d(lib.ones(shape), 2, 2)
        return tuple(out.shape)

    parity.agree(script)


def test_room():
    """In three dimensions torch wants one element more than the windows need."""
    for nd in (2, 3):
        for kernel in (5, 6):
            parity.agree(
                lambda lib, nd=nd, kernel=kernel: getattr(lib.nn.functional, f"fractional_max_pool{nd}d")(
                    lib.ones(1, 1, *(8,) * nd), kernel, 3
                )
            )
