"""interpolate against torch: sizes, scale factors and their places, antialiasing, bytes, gradients, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import parity
import pytest
import torch
from jax.test_util import check_grads

import jtorch

SMOOTH = [
    (mode, align, antialias)
    for mode, antialiases in (("bilinear", (False, True)), ("bicubic", (False, True)), ("lanczos", (True,)))
    for align in ((False,) if mode == "lanczos" else (False, True))
    for antialias in antialiases
]


def _both(x, **kwargs):
    parity.check(jtorch.nn.functional.interpolate, torch.nn.functional.interpolate, x, kwargs=kwargs)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nearest_places(mode, dtype):
    """Every size up to a limit, and factors that round in different ways, against the places that torch takes."""
    ours, theirs = jtorch.nn.functional.interpolate, torch.nn.functional.interpolate
    for size in (1, 2, 3, 5, 7, 10, 33):
        x = torch.arange(1.0, size + 1, dtype=dtype)
        ways = [{"size": n} for n in (1, 2, 3, 6, 7, 10, 14, 49)]
        ways += [{"scale_factor": s} for s in (0.35, 0.6, 1.1, 1.7, 2, 2.2, 7.7) if int(size * s)]
        for way in ways:
            mine = ours(jnp.asarray(x[None, None].numpy()), mode=mode, **way)
            np.testing.assert_array_equal(np.asarray(mine), theirs(x[None, None], mode=mode, **way).numpy(), f"{way}")


@pytest.mark.parametrize("width", [10, 60, 64])
def test_small_images_are_looked_up_in_their_own_way(width):
    """torch keeps an image of up to 128 rows and columns whose size does not change, whatever the scale factor."""
    x = torch.arange(2.0 * 3 * width * width).reshape(2, 3, width, width)
    for factor in (1 + 0.5 / width, 2, 2 + 0.5 / width):
        _both(x, scale_factor=factor, mode="nearest")


@pytest.mark.parametrize("mode, align, antialias", SMOOTH)
def test_smooth_modes(mode, align, antialias):
    for way in ({"size": (5, 13)}, {"size": (9, 6)}, {"scale_factor": (1.7, 0.35)}):
        x = torch.randn(2, 3, 9, 11, dtype=torch.float64, requires_grad=True)
        _both(x, mode=mode, align_corners=align, antialias=antialias, **way)
    # where no size changes, torch's gradient forgets the factor that its result knows, or the other way round
    _both(x.detach(), mode=mode, align_corners=align, antialias=antialias, scale_factor=1.05)


@pytest.mark.parametrize("recompute", [None, False, True])
@pytest.mark.parametrize("mode, shape", [("linear", (2, 3, 7)), ("trilinear", (1, 2, 4, 5, 6)), ("area", (1, 2, 7, 5))])
def test_scale_factors(mode, shape, recompute):
    for factor in (0.6, 1.3, 2, 3.7):
        x = torch.randn(shape, requires_grad=True)
        _both(x, scale_factor=factor, mode=mode, recompute_scale_factor=recompute)


@pytest.mark.parametrize("mode, align, antialias", SMOOTH)
@pytest.mark.parametrize("channels", [1, 3, 6])
def test_bytes(mode, align, antialias, channels):
    """uint8 images are resized in whole numbers, to the last bit as in torch."""
    for size in ((5, 9), (16, 4), (30, 17)):
        x = torch.randint(0, 256, (2, channels, 8, 9), dtype=torch.uint8)
        _both(x, size=size, mode=mode, align_corners=align, antialias=antialias)


def test_much_smaller_and_much_larger():
    """Sums of many elements are loops, in the result and in the gradient."""
    for size, to, mode, antialias in (
        (200, 5, "bicubic", True),
        (2, 90, "bilinear", False),
        (3, 100, "nearest", False),
    ):
        x = torch.randn(1, 2, size, size, dtype=torch.float64, requires_grad=True)
        _both(x, size=to, mode=mode, antialias=antialias)


def test_what_is_not_finite_stays_where_it_is():
    x = np.zeros((1, 1, 9, 9), np.float32)
    x[0, 0, 4, 4] = np.inf
    for way in ({"size": 17, "mode": "bilinear"}, {"size": 4, "mode": "bilinear", "antialias": True}):
        out = np.asarray(jtorch.ops.interpolate(jnp.asarray(x), **way))
        assert np.isfinite(out[0, 0, 0]).all() and not np.isfinite(out).all()


def test_second_gradient_and_forward_mode():
    def energy(x):
        return (jtorch.ops.interpolate(x, scale_factor=1.5, mode="bicubic") ** 3).sum()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 4, 4)))
    check_grads(energy, (x,), order=2, modes=["fwd", "rev"])
    batched = jax.vmap(lambda x: jtorch.ops.interpolate(x, scale_factor=1.5, mode="bicubic"))(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(batched[1], jtorch.ops.interpolate(2 * x, scale_factor=1.5, mode="bicubic"), 1e-6)


REFUSED = [
    dict(size=0),
    dict(size=(2.5, 2.0)),
    dict(size=2.5),
    dict(size=(2, 2, 2)),
    dict(scale_factor=(2, 2, 2)),
    dict(),
    dict(size=2, scale_factor=2),
    dict(size=2, recompute_scale_factor=True),
    dict(scale_factor=0.1),
    dict(scale_factor=-1.0),
    dict(size=2, align_corners=True),
    dict(size=2, mode="linear"),
    dict(size=2, mode="trilinear"),
    dict(size=2, mode="unknown"),
    dict(size=2, antialias=True),
    dict(size=2, mode="lanczos"),
    dict(size=2, mode="lanczos", antialias=True, align_corners=True),
]


@pytest.mark.parametrize("way", REFUSED, ids=str)
def test_refused(way):
    parity.agree(lambda lib: lib.nn.functional.interpolate(lib.ones(1, 2, 4, 4), **way))


@pytest.mark.parametrize("name", ["int32", "bool", "complex64"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_refused_dtypes(name, mode):
    parity.agree(lambda lib: lib.nn.functional.interpolate(lib.ones(1, 2, 4, 4).to(getattr(lib, name)), 2, mode=mode))


@pytest.mark.parametrize("shape, mode", [((4, 4), "nearest"), ((2, 3, 4), "bilinear"), ((2, 0, 4, 4), "nearest"),
                                         ((2, 3, 0, 4), "bilinear"), ((0, 3, 4, 4), "bilinear")])  # fmt: skip
def test_shapes(shape, mode):
    parity.agree(lambda lib: lib.nn.functional.interpolate(lib.ones(shape), 3, mode=mode))


@pytest.mark.parametrize("name", ["upsample", "upsample_nearest", "upsample_bilinear"])
def test_deprecated_names_warn_where_they_are_called(name):
    with pytest.warns(UserWarning, match=f"`nn.functional.{name}` is deprecated. Use") as caught:
        getattr(jtorch.nn.functional, name)(jtorch.ones(1, 2, 4, 4), 3)
    assert caught[0].filename == __file__
