"""Mistakes in a training loop: each is an error of torch's type that says what is wrong, and the model trains on after it.

The same mistakes are made in eager mode, in a compiled step and in torch, whose exceptions are the specification.
"""

import re
from typing import NamedTuple

import numpy as np
import parity
import pytest
import torch as pytorch

import jtorch

pytestmark = pytest.mark.x64_off


class Loop:
    """A small classifier with its optimizer, and one good step; written for torch or for jtorch."""

    def __init__(self, library, compiled=False):
        nn = library.nn
        self.library = library
        self.compile = library.compile if compiled else lambda function: function
        library.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
        self.model.load_state_dict({k: self.ramp(v.shape).to(v.dtype) for k, v in self.model.state_dict().items()})
        self.optimizer = library.optim.Adam(self.model.parameters(), lr=0.01)
        self.x, self.y = self.ramp((5, 1, 6, 6)), library.tensor([0, 1, 2, 1, 0])
        self.good = self.compile(self.step)

    def ramp(self, shape):
        """Numbers in a row."""
        size = int(np.prod(tuple(shape)))
        return self.library.tensor(np.linspace(0.1, 1, size, dtype=np.float32).reshape(tuple(shape)))

    def step(self, x, y, reduction="mean"):
        """A step of training."""
        self.optimizer.zero_grad()
        loss = self.library.nn.functional.cross_entropy(self.model(x), y, reduction=reduction)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def doing(self, mistake):
        """A step in which `mistake(self, output)` happens after the forward."""

        def step(x, y):
            out = self.model(x)
            mistake(self, out)
            self.library.nn.functional.cross_entropy(out, y).backward()
            return out.detach()

        return self.compile(step)(self.x, self.y)


class Mistake(NamedTuple):
    """What is done, and what the message has to speak of."""

    make: object
    says: str


MISTAKES = {
    "shape of an input": Mistake(lambda t: t.good(t.ramp((5, 2, 6, 6)), t.y), r"1.*2|2.*1"),
    "size of an image": Mistake(lambda t: t.good(t.ramp((5, 1, 7, 7)), t.y), "shape|size|dimension"),
    "rank of an input": Mistake(lambda t: t.good(t.ramp((36,)), t.y), "3D|4D|dimension"),
    "count of labels": Mistake(lambda t: t.good(t.x, t.y[:3]), "5.*3|3.*5"),
    "label too large": Mistake(lambda t: t.good(t.x, t.y + 2), "[Tt]arget|class|label"),
    "label negative": Mistake(lambda t: t.good(t.x, t.y - 1), "[Tt]arget|class|label"),
    "label of float dtype": Mistake(lambda t: t.good(t.x, t.ramp((5,))), "long|int|[Ll]abel|dtype|float"),
    "input of integer dtype": Mistake(lambda t: t.good(t.x.long(), t.y), "dtype|float|[Ll]ong|int"),
    "input of another float dtype": Mistake(lambda t: t.good(t.x.half(), t.y), "dtype|type|[Hh]alf|float"),
    "backward of many": Mistake(lambda t: t.good(t.x, t.y, "none"), "scalar"),
    "backward twice": Mistake(lambda t: t.doing(lambda t, out: (out.sum().backward(), out.sum().backward())), "second time"),
    "backward without a graph": Mistake(lambda t: t.doing(lambda t, out: out.detach().sum().backward()), "require grad"),
    "matmul": Mistake(lambda t: t.doing(lambda t, out: out @ out), "5x3|shape|size"),
    "broadcast": Mistake(lambda t: t.doing(lambda t, out: out + out[:, :2]), "3.*2|2.*3"),
    "dimension": Mistake(lambda t: t.doing(lambda t, out: out.sum(4)), "4"),
    "index": Mistake(lambda t: t.doing(lambda t, out: out[7]), "7|range|bounds"),
    "view": Mistake(lambda t: t.doing(lambda t, out: out.view(4, 4)), "4, 4|15"),
    "in place on a leaf": Mistake(lambda t: t.doing(lambda t, out: t.model[0].weight.add_(1)), "leaf"),
    "reduction": Mistake(lambda t: t.good(t.x, t.y, "avg"), "avg"),
    "attribute": Mistake(lambda t: t.doing(lambda t, out: t.model.weight), "weight"),
    "argument": Mistake(lambda t: t.doing(lambda t, out: out.softmax(dimension=1)), "dimension"),
    "key of a state dict": Mistake(lambda t: t.model.load_state_dict({"0.weigth": t.ramp((4, 1, 3, 3))}), "0.weigth"),
    "shape in a state dict": Mistake(
        lambda t: t.model.load_state_dict({**t.model.state_dict(), "0.weight": t.ramp((4, 1, 5, 5))}), "size mismatch"
    ),
    "missing key of a state dict": Mistake(
        lambda t: t.model.load_state_dict({k: v + 1 for k, v in t.model.state_dict().items() if k != "0.bias"}), "Missing key"
    ),
}  # fmt: skip


def state(loop):
    """Weights, buffers and the optimizer's state, as arrays."""
    flat = [*loop.model.state_dict().values()]
    for each in loop.optimizer.state_dict()["state"].values():
        flat += each.values()
    return [np.array(t.detach()) for t in flat]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_and_training_goes_on(name, compiled):
    mistake, ours, theirs = MISTAKES[name], Loop(jtorch, compiled), Loop(pytorch)
    losses = [ours.good(ours.x, ours.y).item()]
    before = state(ours)
    with pytest.raises(Exception) as expected:
        mistake.make(theirs)
    with pytest.raises(Exception) as got:
        mistake.make(ours)
    parity.same_error(got.value, expected.value)
    assert re.search(mistake.says, str(got.value)), f"{got.value}\nfor\n{expected.value}"
    if compiled:  # nothing of a program that failed is kept
        for mine, kept in zip(state(ours), before, strict=True):
            np.testing.assert_array_equal(mine, kept)
    losses += [ours.good(ours.x, ours.y).item() for _ in range(5)]
    assert losses[-1] < losses[0]
    assert all(np.isfinite(losses))


def test_python_if_on_a_traced_value_names_the_way_out():
    loop = Loop(jtorch, compiled=True)

    def decide(loop, out):
        if out.sum() > 0:
            out.mul(2)

    with pytest.raises(RuntimeError, match=r"torch\.where"):
        loop.doing(decide)
    assert np.isfinite(loop.good(loop.x, loop.y).item())
