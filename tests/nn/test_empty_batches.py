"""Batches of no samples, as the last one of a filtered data set is: outputs and gradients as torch's."""

import parity
import pytest
import torch

LAYERS = {
    "Linear": lambda nn: (nn.Linear(4, 5), (0, 4)),
    "Conv2d": lambda nn: (nn.Conv2d(4, 6, 3, padding=1), (0, 4, 8, 8)),
    "Conv2d depthwise": lambda nn: (nn.Conv2d(4, 4, 3, groups=4), (0, 4, 8, 8)),
    "Conv2d groups": lambda nn: (nn.Conv2d(4, 8, 3, 2, groups=2), (0, 4, 8, 8)),
    "Conv2d 1x1": lambda nn: (nn.Conv2d(4, 8, 1), (0, 4, 8, 8)),
    "ConvTranspose2d": lambda nn: (nn.ConvTranspose2d(4, 6, 3, 2), (0, 4, 8, 8)),
    "MaxPool2d": lambda nn: (nn.MaxPool2d(3, 2, 1), (0, 4, 8, 8)),
    "MaxPool2d with places": lambda nn: (nn.MaxPool2d(2, return_indices=True), (0, 4, 8, 8)),
    "AvgPool2d": lambda nn: (nn.AvgPool2d(2), (0, 4, 8, 8)),
    "AdaptiveMaxPool2d": lambda nn: (nn.AdaptiveMaxPool2d(3, return_indices=True), (0, 4, 8, 8)),
    "AdaptiveAvgPool2d": lambda nn: (nn.AdaptiveAvgPool2d(3), (0, 4, 8, 8)),
    "BatchNorm2d": lambda nn: (nn.BatchNorm2d(4), (0, 4, 8, 8)),
    "GroupNorm": lambda nn: (nn.GroupNorm(2, 4), (0, 4, 8)),
    "LayerNorm": lambda nn: (nn.LayerNorm(4), (0, 4)),
    "Upsample": lambda nn: (nn.Upsample(scale_factor=2, mode="bilinear"), (0, 4, 8, 8)),
    "ReflectionPad2d": lambda nn: (nn.ReflectionPad2d(1), (0, 4, 8, 8)),
    "Unfold": lambda nn: (nn.Unfold(2), (0, 4, 4, 4)),
    "LSTM": lambda nn: (nn.LSTM(4, 5, batch_first=True), (0, 3, 4)),
    "GRU": lambda nn: (nn.GRU(4, 5, batch_first=True), (0, 3, 4)),
    "TransformerEncoderLayer": lambda nn: (nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (0, 3, 4)),
    "no time": lambda nn: (nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), (2, 0, 4)),
    "MultiheadAttention": lambda nn: (_Attention(nn), (0, 3, 4)),
}


class _Attention:
    def __init__(self, nn):
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)
        self.parameters = self.inner.parameters

    def __call__(self, x):
        return self.inner(x, x, x)


def _told(library, name):
    """Shapes, dtypes and values of outputs and gradients; the sum of an output without elements is the loss."""
    layer, shape = LAYERS[name](library.nn)
    x = library.zeros(shape, requires_grad=True)
    out = layer(x)
    found = parity.tensors(out, library.Tensor)
    found[0].sum().backward()
    return [(tuple(t.shape), str(t.dtype), t.detach().tolist()) for t in (*found, x.grad)] + [
        (tuple(p.shape), p.grad.abs().sum().item()) for p in layer.parameters() if p.grad is not None
    ]


@pytest.mark.parametrize("name", LAYERS)
def test_no_samples(name):
    import jtorch

    assert _told(jtorch, name) == _told(torch, name)
