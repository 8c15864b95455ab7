"""A module as StableHLO that runs without jtorch, and the table of what a model is made of."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import jtorch
from benchmarks import models
from jtorch import nn
from jtorch.export import Dim


class Net(nn.Module):
    """Layers of many kinds, with two inputs and two outputs."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.pool = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2)
        self.block = nn.TransformerEncoderLayer(12, 2, 8, batch_first=True)
        self.embedding, self.head = nn.Embedding(5, 12), nn.Linear(36, 3)

    def forward(self, image, labels):
        x = self.pool(nn.functional.relu(self.bn(self.conv(image))))
        x = self.block(x.view(x.size(0), 3, 12)) + self.embedding(labels)[:, None]
        return {"scores": self.head(x.flatten(1)).softmax(-1), "parts": (x.mean(), labels)}


RUN = """
import sys, numpy as np, jax
from jax import export
folder = sys.argv[1]
data = np.load(f"{folder}/data.npz")
program, bare = (export.deserialize(bytearray(open(f"{folder}/{name}", "rb").read())) for name in ("program", "bare"))
weights = {name[2:]: data[name] for name in data if name.startswith("w.")}
for n in (1, 2, 7):
    image, labels = data["image"][:n], data["labels"][:n]
    for found in (program.call(image, labels), bare.call(weights, image, labels)):
        np.testing.assert_allclose(found["scores"], data[f"scores{n}"], rtol=1e-5, atol=1e-6)
        assert found["parts"][1].tolist() == labels.tolist()
assert not [name for name in sys.modules if name.partition(".")[0] in ("jtorch", "flax", "torch")]
print("well")
"""


def test_a_program_runs_without_jtorch(tmp_path):
    """In a process that never imports jtorch, for batches of several sizes, with the weights inside and outside."""
    model = Net().eval()
    labels = jtorch.randint(0, 5, (7,)).int()
    image = jtorch.randn(7, 1, 8, 8)
    batch = Dim("batch", max=64)
    shapes = {"image": {0: batch}, "labels": {0: batch}}
    program = jtorch.export.export(model, (image, labels), dynamic_shapes=shapes)
    jtorch.export.save(program, tmp_path / "program")
    with open(tmp_path / "bare", "wb") as file:
        bare = jtorch.export.export(
            model, (image, labels), dynamic_shapes=[[batch, None, None, None], [batch]], weights=False
        )
        jtorch.export.save(bare, file)
    data = {f"w.{name}": np.asarray(value.detach()) for name, value in model.state_dict().items()}
    data |= {f"scores{n}": np.asarray(model(image[:n], labels[:n])["scores"].detach()) for n in (1, 2, 7)}
    np.savez(tmp_path / "data.npz", image=image, labels=labels, **data)
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, tmp_path], env=variables, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "well\n", done.stderr
    again = jtorch.export.load(tmp_path / "program")
    out = again.module()(image[:3], labels[:3])
    assert isinstance(out["scores"], jtorch.Tensor)
    jtorch.testing.assert_close(out["scores"], model(image[:3], labels[:3])["scores"].detach(), rtol=1e-5, atol=1e-6)
    assert "stablehlo" in repr(again) and (tmp_path / "program").stat().st_size > (tmp_path / "bare").stat().st_size


def test_weights_outside_may_be_others():
    model = nn.Linear(2, 1, bias=False)
    program = jtorch.export.export(model, (jtorch.ones(1, 2),), weights=False)
    assert program.exported.call(
        {"weight": jnp.full((1, 2), 3.0, np.float32)}, jnp.ones((1, 2), np.float32)
    ).tolist() == [[6.0]]
    assert program.module()(dict(model.state_dict()), jtorch.ones(1, 2)).shape == (1, 1)


def test_mistakes_of_export():
    model, x = nn.Linear(2, 1), jtorch.ones(3, 2)
    export = jtorch.export.export
    for shapes, error in (
        ([None, None], ValueError),
        ({"x": {0: Dim("n")}}, ValueError),
        ([{2: Dim("n")}], ValueError),
        ([{0: 3}], TypeError),
    ):
        with pytest.raises(error, match=r"export\(\)"):
            export(model, (x,), dynamic_shapes=shapes)
    with pytest.raises(TypeError, match="expected tensors in argument 0"):
        export(model, ("text",))
    with pytest.raises(TypeError, match="expected a module"):
        export(print, (x,))
    with pytest.raises(ValueError, match="a name"):
        Dim("1 + 1")
    with pytest.raises(RuntimeError, match="would be lost"):
        export(nn.BatchNorm1d(2), (x,))
    with pytest.raises(RuntimeError, match="random numbers"):
        export(nn.Dropout(0.5), (x,))
    with pytest.raises(ValueError, match="b"):
        bounded = export(model, (x,), dynamic_shapes=[{0: Dim("b", min=2)}])
        bounded.module()(jtorch.ones(1, 2))


def test_summary_counts_what_torch_counts():
    ours, theirs = (models.resnet18(lib.nn, lib.nn.functional) for lib in (jtorch, torch))
    found = jtorch.summary(ours, (2, 3, 32, 32))
    with FlopCounterMode(display=False) as counter:
        theirs.eval()(torch.ones(2, 3, 32, 32))
    assert found.parameters == sum(p.numel() for p in theirs.parameters())
    convolutions = sum(line.operations for line in found.lines if line.kind in ("Conv2d", "Linear"))
    assert convolutions - 20 == counter.get_total_flops()  # the bias is added too
    assert 0 < found.operations - convolutions < 0.01 * convolutions  # torch does not count the rest
    shapes = {line.name: line.shape for line in found.lines}
    assert shapes["blocks.0.conv1"] == (2, 64, 32, 32) and shapes["fc"] == shapes[""] == (2, 10)
    assert ours.training and len(repr(found).splitlines()) == len(found.lines) + 3


def test_summary_of_other_inputs():
    model = nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 6, batch_first=True))
    found = jtorch.summary(model, (2, 5), dtypes=jtorch.int64)
    again = jtorch.summary(model, [(2, 10)], dtypes=[jtorch.int64])
    assert found.lines[1].shape == (2, 5, 4) and found.lines[2].shape == (2, 5, 6)
    assert found.lines[2].operations >= 2 * 2 * 5 * 24 * (4 + 6) and again.operations > 1.9 * found.operations
    tied = nn.Linear(3, 3)
    assert jtorch.summary(nn.Sequential(tied, tied), (1, 3)).lines[1].operations == 2 * (2 * 9 + 3)
    with pytest.raises(RuntimeError, match="call the model once"):
        jtorch.summary(nn.Sequential(nn.LazyLinear(2)), (1, 3))


def test_summary_leaves_a_model_that_counts_its_calls_alone():
    class Counting(jtorch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.calls = jtorch.nn.Linear(3, 2), 0
            self.register_buffer("seen", jtorch.zeros(1))

        def forward(self, x):
            self.calls += 1
            self.seen += len(x)
            return self.fc(x)

    model = Counting()
    assert jtorch.summary(model, (5, 3)).parameters == 8
    assert model.calls == 0 and model.seen.tolist() == [0.0]
