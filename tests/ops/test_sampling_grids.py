"""grid_sample and affine_grid against torch: places far outside and on borders, gradients of both, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch

import jtorch

WAYS = [(m, p, a) for m in ("bilinear", "nearest", "bicubic") for p in ("zeros", "border", "reflection") for a in (True, False)]  # fmt: skip


@pytest.mark.parametrize("mode, padding_mode, align", WAYS)
def test_images(mode, padding_mode, align):
    """Inside and far outside, with the gradients of input and grid."""
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    grid = torch.empty(2, 3, 4, 2, dtype=torch.float64).uniform_(-4, 4).requires_grad_()
    functions = [lib.nn.functional.grid_sample for lib in (jtorch, torch)]
    parity.check(*functions, x, grid, kwargs=dict(mode=mode, padding_mode=padding_mode, align_corners=align))


@pytest.mark.parametrize("mode, padding_mode, align", [way for way in WAYS if way[0] != "bicubic"])
def test_volumes(mode, padding_mode, align):
    x = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    grid = torch.empty(2, 2, 3, 2, 3, dtype=torch.float64).uniform_(-4, 4).requires_grad_()
    functions = [lib.nn.functional.grid_sample for lib in (jtorch, torch)]
    parity.check(*functions, x, grid, kwargs=dict(mode=mode, padding_mode=padding_mode, align_corners=align))


@pytest.mark.parametrize("mode, padding_mode, align", WAYS)
def test_on_borders_and_elements(mode, padding_mode, align):
    """Where one formula gives way to another: corners, centres, halves between elements; an image of one row too."""
    at = torch.tensor([-3.0, -1.5, -1.0, -0.75, -0.25, 0.0, 0.25, 0.5, 1.0, 1.25, 3.0], dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)[None].requires_grad_()
    functions = [lib.nn.functional.grid_sample for lib in (jtorch, torch)]
    for shape in ((1, 1, 4, 4), (1, 1, 1, 4)):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        parity.check(*functions, x, grid, kwargs=dict(mode=mode, padding_mode=padding_mode, align_corners=align))


def test_second_gradient():
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    grid = torch.empty(1, 3, 3, 2, dtype=torch.float64).uniform_(-1, 1).requires_grad_()
    functions = [lib.nn.functional.grid_sample for lib in (jtorch, torch)]
    parity.check_second_order(*functions, x, grid, kwargs=dict(align_corners=False), tolerance={})


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_places_that_are_no_numbers_are_harmless(mode, padding_mode):
    grid = jnp.asarray([[[[np.nan, 0.0], [np.inf, 0.0], [-np.inf, 0.0], [1e30, 0.0]]]], jnp.float32)
    x = jnp.arange(1.0, 17, dtype=jnp.float32).reshape(1, 1, 4, 4)
    out = jtorch.ops.grid_sample(x, grid, mode, padding_mode, True)[0, 0, 0]
    corner = jtorch.ops.grid_sample(x, jnp.asarray([[[[-1.0, 0.0]]]], jnp.float32), mode, padding_mode, True)
    np.testing.assert_allclose(out[0], corner[0, 0, 0, 0], rtol=1e-5)
    assert np.isfinite(out).all() and (padding_mode != "zeros" or not out[1:].any())


@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("size", [(2, 1, 3, 5), (2, 1, 1, 4), (2, 3, 2, 3, 4), (2, 1, 1, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_affine_grid(size, align, dtype):
    if dtype == torch.bfloat16 and 1 in size[2:]:  # of which torch makes no 16-bit grids
        size = tuple(max(n, 2) for n in size)
    nd = len(size) - 2
    theta = torch.randn(2, nd, nd + 1).to(dtype).requires_grad_()
    functions = [lib.nn.functional.affine_grid for lib in (jtorch, torch)]
    parity.check(*functions, theta, kwargs=dict(size=size, align_corners=align))


def test_identity():
    """The grid of the identity reads the image as it is."""
    x = jtorch.randn(2, 3, 5, 4)
    theta = jtorch.eye(2, 3).expand(2, 2, 3)
    for align in (True, False):
        grid = jtorch.nn.functional.affine_grid(theta, x.shape, align_corners=align)
        out = jtorch.nn.functional.grid_sample(x, grid, align_corners=align)
        np.testing.assert_allclose(out.numpy(), x.numpy(), atol=1e-5)


REFUSED = {
    "batch": ((1, 2, 4, 4), (2, 3, 3, 2), {}),
    "last": ((1, 2, 4, 4), (1, 3, 3, 3), {}),
    "ranks": ((1, 2, 4, 4), (1, 3, 3, 3, 2), {}),
    "three": ((1, 2, 4), (1, 3, 2), {}),
    "bicubic": ((1, 2, 4, 4, 4), (1, 3, 3, 3, 3), {"mode": "bicubic"}),
    "empty": ((1, 2, 0, 4), (1, 3, 3, 2), {}),
    "mode": ((1, 2, 4, 4), (1, 3, 3, 2), {"mode": "linear"}),
    "padding": ((1, 2, 4, 4), (1, 3, 3, 2), {"padding_mode": "zero"}),
}


@pytest.mark.parametrize("shape, grid, kwargs", REFUSED.values(), ids=REFUSED)
def test_refused(shape, grid, kwargs):
    parity.agree(
        lambda lib: lib.nn.functional.grid_sample(lib.ones(shape), lib.zeros(grid), align_corners=False, **kwargs)
    )


def test_refused_dtypes():
    for one, other in (("float32", "float64"), ("int32", "int32")):
        parity.agree(
            lambda lib, one=one, other=other: lib.nn.functional.grid_sample(
                lib.ones(1, 1, 2, 2, dtype=getattr(lib, one)), lib.zeros(1, 1, 1, 2, dtype=getattr(lib, other))
            )
        )


@pytest.mark.parametrize("size", [(2, 1, 2, 2), (1, 1, 2), (1, 1, 0, 1), (1, 1, 2, 2, 2)])
def test_affine_grid_refuses(size):
    parity.agree(lambda lib: lib.nn.functional.affine_grid(lib.ones(1, 2, 3), size, align_corners=False))
    parity.agree(lambda lib: lib.nn.functional.affine_grid(lib.ones(1, 2, 3).int(), size, align_corners=False))


def test_unspecified_corners_warn_where_it_is_called():
    for call in (
        lambda F: F.grid_sample(jtorch.ones(1, 1, 2, 2), jtorch.zeros(1, 1, 1, 2)),
        lambda F: F.affine_grid(jtorch.ones(1, 2, 3), (1, 1, 2, 2)),
    ):
        with pytest.warns(UserWarning, match="align_corners=False since 1.3.0") as caught:
            call(jtorch.nn.functional)
        assert caught[0].filename == __file__


def test_batches_of_grids():
    """vmap over images and grids is a loop over them."""
    x, grid = jtorch.randn(3, 1, 2, 4, 4).jax(), jtorch.rand(3, 1, 2, 2, 2).jax()

    def sample(x, g):
        return jtorch.ops.grid_sample(x, g, align_corners=False)

    looped = jnp.stack([sample(a, b) for a, b in zip(x, grid, strict=True)])
    np.testing.assert_allclose(jax.vmap(sample)(x, grid), looped, rtol=1e-6)
