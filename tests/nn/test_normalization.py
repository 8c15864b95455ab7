"""SyncBatchNorm.convert_sync_batchnorm, and normalizations where torch's database does not lead."""

import numpy as np
import parity
import pytest

X = np.random.default_rng(0).normal(size=(3, 4, 5, 2))


def test_convert():
    def script(lib):
        nn = lib.nn
        model = nn.Sequential(
            nn.BatchNorm2d(4, eps=0.1, momentum=0.3), nn.Sequential(nn.BatchNorm2d(4, affine=False), nn.ReLU()),
            nn.BatchNorm2d(4, track_running_stats=False), nn.InstanceNorm2d(4),
        ).double().eval()  # fmt: skip
        model[0].weight.requires_grad_(False)
        made = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        shared = [made[0].weight is not None, made[0].training, made[0].weight.requires_grad, made[2].running_mean]
        alone = nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(3))
        return [repr(made), made is model, type(alone).__name__, list(made.state_dict()), shared, made(lib.tensor(X))]

    parity.agree(script)


def test_converted_parts_share_the_weights():
    def script(lib):
        model = lib.nn.Sequential(lib.nn.BatchNorm1d(4))
        weight, mean = model[0].weight, model[0].running_mean
        made = lib.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return [made[0].weight is weight, made[0].running_mean is mean, len(list(made.parameters()))]

    parity.agree(script)


CASES = {
    "LocalResponseNorm": lambda nn: nn.LocalResponseNorm(3, alpha=0.5, beta=0.6, k=2.0),
    "LocalResponseNorm even": lambda nn: nn.LocalResponseNorm(2, alpha=0.5),
    "LocalResponseNorm wide": lambda nn: nn.LocalResponseNorm(9),
    "RMSNorm": lambda nn: nn.RMSNorm((5, 2), eps=0.1),
    "RMSNorm of a number": lambda nn: nn.RMSNorm(2, elementwise_affine=False),
    "InstanceNorm2d": lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True, momentum=0.3),
    "InstanceNorm2d without bias": lambda nn: nn.InstanceNorm2d(4, affine=True, bias=False),
    "GroupNorm without bias": lambda nn: nn.GroupNorm(2, 4, bias=False),
    "LayerNorm without bias": lambda nn: nn.LayerNorm((5, 2), bias=False),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees(name):
    def script(lib):
        layer, x = CASES[name](lib.nn).double(), lib.tensor(X).requires_grad_()
        out = layer(x)
        (out**3).sum().backward()
        layer.eval()
        buffers = [v.detach() for v in layer.state_dict().values()]
        return [out, layer(x), x.grad, [p.grad for p in layer.parameters()], buffers, repr(layer)]

    parity.agree(script)


def test_cross_map_lrn():
    """The values; torch's gradient leaves out that the first channel is in every window."""
    for size in (1, 2, 3, 5):
        parity.agree(lambda lib, size=size: lib.nn.CrossMapLRN2d(size, 0.5, 0.6, 2.0)(lib.tensor(X).float()))
