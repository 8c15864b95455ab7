"""Compiled training under bfloat16 autocast gets as far as training in float32, within the margins stated here."""

import contextlib

import numpy as np
from sklearn.datasets import load_digits

import jtorch
import jtorch.nn.functional as F
from jtorch import nn


def _region(lower):
    return jtorch.autocast("cpu") if lower else contextlib.nullcontext()


def _compiled(model, optimizer, lower):
    @jtorch.compile
    def step(x, y):
        optimizer.zero_grad()
        with _region(lower):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _digits(lower):
    """The accuracy of a small convolutional network on the last 400 of the digits."""
    images, labels = load_digits(return_X_y=True)
    x, y = jtorch.tensor((images / 16).astype(np.float32)).reshape(-1, 1, 8, 8), jtorch.tensor(labels)
    jtorch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    ).float()
    step = _compiled(model, jtorch.optim.Adam(model.parameters(), lr=1e-2), lower)
    for i in range(100):
        at = slice((i * 127) % 1270, (i * 127) % 1270 + 127)
        step(x[at], y[at])
    model.eval()
    with jtorch.no_grad(), _region(lower):
        found = model(x[1397:]).argmax(1)
    assert step.traces == 1 and {p.dtype for p in model.parameters()} == {jtorch.float32}
    return (found == y[1397:]).float().mean().item()


class GPT(nn.Module):
    """A causal layer over 16 places and 13 characters."""

    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(13, 32), nn.Embedding(16, 32)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(1))
        self.head = nn.Linear(32, 13)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(16))

    def forward(self, x):
        x = self.token(x) + self.place(jtorch.arange(16))
        for layer in self.layers:
            x = layer(x, src_mask=self.mask, is_causal=True)
        return self.head(x).flatten(0, 1)


def _text(lower):
    """The mean loss of the last ten of 80 steps on sequences that count on by a step of their own, from 1 to 4."""
    draws = np.random.default_rng(0)
    jtorch.manual_seed(0)
    model = GPT().float()
    step = _compiled(model, jtorch.optim.AdamW(model.parameters(), lr=3e-3), lower)
    losses = []
    for _ in range(80):
        start, stride = draws.integers(0, 13, (32, 1)), draws.integers(1, 5, (32, 1))
        text = jtorch.tensor((start + stride * np.arange(17)) % 13)
        losses.append(step(text[:, :-1], text[:, 1:].flatten()).item())
    return np.mean(losses[-10:])


def test_digits():
    full, lower = _digits(False), _digits(True)
    assert full > 0.9 and lower > full - 0.02


def test_text():
    full, lower = _text(False), _text(True)
    assert full < 1.0 and lower < full + 0.1
