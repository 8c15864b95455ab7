"""AdaptiveLogSoftmaxWithLoss: torch's numbers with torch's weights, in programs too, and what it refuses."""

import numpy as np
import parity
import pytest

import jtorch

X = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
TARGET = np.array([0, 3, 19, 4, 10, 2])


def filled(lib, **settings):
    """The layer with weights from one stream of numbers."""
    layer = lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], div_value=2.0, **settings)
    stream = np.random.default_rng(1)
    layer.load_state_dict({k: lib.tensor(stream.normal(size=tuple(v.shape))) for k, v in layer.state_dict().items()})
    return layer


@pytest.mark.parametrize("head_bias", (False, True))
def test_agrees(head_bias):
    def script(lib):
        layer, x = filled(lib, head_bias=head_bias), lib.tensor(X).requires_grad_()
        out = layer(x, lib.tensor(TARGET))
        out.loss.backward()
        gradients = [p.grad for p in (x, *layer.parameters())]
        names, text = list(layer.state_dict()), repr(layer)
        one = layer(x[0], lib.tensor(7))
        return [
            *out,
            *one,
            layer.log_prob(x),
            layer.predict(x),
            gradients,
            names,
            text,
            type(out).__name__,
            out._fields,
        ]

    parity.agree(script)


def test_predict_trusts_the_head():
    def script(lib):
        layer = filled(lib)
        return [layer.predict(lib.tensor(X * factor)) for factor in (-3, 0.1, 5)]

    parity.agree(script)


def test_is_one_program():
    layer = filled(jtorch)
    expected = layer(jtorch.tensor(X), jtorch.tensor(TARGET))
    compiled = jtorch.compile(lambda x, t: tuple(layer(x, t)))
    for mine, yours in zip(compiled(jtorch.tensor(X), jtorch.tensor(TARGET)), expected, strict=True):
        np.testing.assert_allclose(mine.detach(), yours.detach(), rtol=1e-6)


WRONG = {
    "class": lambda lib, x, t: filled(lib)(x, t + 1),
    "below 0": lambda lib, x, t: filled(lib)(x, t - 1),
    "batch": lambda lib, x, t: filled(lib)(x, t[:3]),
    "dimensions": lambda lib, x, t: filled(lib)(x, t[0]),
    "target": lambda lib, x, t: filled(lib)(x, t[None]),
    "no cutoffs": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, []),
    "order": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [10, 4]),
    "twice": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 4]),
    "too large": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 20]),
    "zero": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [0, 4]),
    "fraction": lambda lib, x, t: lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [1.5, 4]),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name):
    parity.agree(lambda lib: WRONG[name](lib, lib.tensor(X), lib.tensor(TARGET)), text=True)
