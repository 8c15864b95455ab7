"""Layers of vision that torch's database of modules leaves out: their looks and their results."""

import numpy as np
import parity
import pytest
import torch

import jtorch

MADE = {
    "ChannelShuffle(2)": (2, 4, 3, 3),
    "ConstantPad1d((1, 2), 3.5)": (2, 3, 4),
    "ConstantPad3d(1, 0.5)": (1, 2, 3, 3, 3),
    "CircularPad2d((1, 0, 2, 1))": (2, 3, 4, 4),
    "LPPool2d(2, 3, stride=2)": (2, 3, 7, 7),
    "LPPool3d(1, (1, 2, 2))": (2, 3, 4, 4, 4),
    "PixelShuffle(2)": (2, 8, 3, 3),
    "PixelUnshuffle(3)": (2, 1, 6, 6),
    "ReflectionPad2d(2)": (2, 3, 4, 4),
    "ReplicationPad3d([1, 1, 0, 2, 1, 0])": (2, 3, 2, 2, 2),
    "Upsample(scale_factor=2)": (2, 3, 4),
    "Upsample(scale_factor=(2, 1.5), mode='bilinear', align_corners=False)": (2, 3, 4, 4),
    "Upsample(size=(3, 5), mode='bicubic')": (2, 3, 4, 4),
    "Upsample(None, 1.7, 'trilinear', True, True)": (1, 2, 3, 3, 3),
    "UpsamplingBilinear2d(scale_factor=2)": (2, 3, 4, 4),
    "UpsamplingNearest2d(size=7)": (2, 3, 4, 4),
    "ZeroPad1d(2)": (2, 3, 4),
    "ZeroPad2d((1, 1, 0, -1))": (2, 3, 4, 4),
}


@pytest.mark.parametrize("text", MADE)
def test_layers(text):
    ours, theirs = (eval(f"nn.{text}", {"nn": lib.nn}) for lib in (jtorch, torch))
    assert repr(ours) == repr(theirs)
    parity.check(ours, theirs, torch.rand(MADE[text], requires_grad=True))


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("norm", [float("inf"), -float("inf")])
def test_power_average_of_infinite_power(nd, norm):
    ours, theirs = (getattr(lib.nn, f"LPPool{nd}d")(norm, 3, 2, ceil_mode=True) for lib in (jtorch, torch))
    parity.check(ours, theirs, torch.randn(2, 3, *(6,) * nd, requires_grad=True))


@pytest.mark.parametrize("nd", [2, 3])
def test_fractional_max_pool_with_samples(nd):
    """Samples are a buffer, and the same ones give the same windows as in torch."""
    samples, x = torch.rand(2, 3, nd), torch.randn(2, 3, *(9,) * nd, requires_grad=True)
    ours, theirs = (
        getattr(lib.nn, f"FractionalMaxPool{nd}d")(2, output_ratio=0.5, return_indices=True, _random_samples=given)
        for lib, given in ((jtorch, jtorch.tensor(samples.numpy())), (torch, samples))
    )
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["_random_samples"] and repr(ours) == repr(theirs)
    parity.check(ours, theirs, x)


def test_fractional_max_pool_draws():
    layer, x = jtorch.nn.FractionalMaxPool2d(3, output_size=(4, 3)), jtorch.randn(2, 3, 17, 15)
    one, two = layer(x), layer(x)
    assert one.shape == (2, 3, 4, 3) and (one != two).any()
    jtorch.manual_seed(1)
    three = layer(x)
    jtorch.manual_seed(1)
    np.testing.assert_array_equal(three.numpy(), layer(x).numpy())
    compiled = jtorch.compile(layer)
    assert (compiled(x) != compiled(x)).any()


@pytest.mark.parametrize(
    "arguments", [(2,), (2, 3, 0.5), (2, None, 1.5), (2, None, (0.5, 0.0, 0.5)), (0, 2), ((2, 0, 2), 2)], ids=str
)
def test_fractional_max_pool3d_refuses(arguments):
    parity.agree(lambda lib: lib.nn.FractionalMaxPool3d(*arguments), text=True)
