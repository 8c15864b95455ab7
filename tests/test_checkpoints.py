"""Checkpoints: a killed run resumes as if nothing had happened, and what is loaded is what was saved."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jtorch
from jtorch import nn

HERE = Path(__file__).parent


def parts():
    """A model with random layers, its optimizer and its scheduler."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = jtorch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = jtorch.optim.lr_scheduler.StepLR(optimizer, 2)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def train(model, optimizer, scheduler, steps=3):
    """Some steps, and the weights after them."""
    for _ in range(steps):
        optimizer.zero_grad()
        model(jtorch.randn(5, 3)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return [np.array(p.detach()) for p in model.state_dict().values()]


@pytest.mark.x64_off
def test_a_run_resumes_where_it_was(tmp_path):
    ours = parts()
    train(**ours)
    jtorch.save_checkpoint(tmp_path, 3, **ours, epoch=1)
    expected, drawn = train(**ours), jtorch.rand(2)
    jtorch.manual_seed(9)
    others = parts()
    train(**others, steps=1)
    assert jtorch.load_checkpoint(tmp_path, **others) == {"step": 3, "epoch": 1}
    for got, want in zip(train(**others), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert jtorch.equal(jtorch.rand(2), drawn)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_plain_data_of_every_kind(tmp_path, asynchronous):
    names = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "int64", "int8", "uint16", "bool", "complex64"]  # fmt: skip
    tensors = {name: jtorch.tensor([0, 1, 1]).to(getattr(jtorch, name)) for name in names}
    array = np.arange(3.0)
    data = {
        "tensors": tensors, "tied": [tensors["bool"], tensors["bool"]], "empty": jtorch.empty(0, 3).half(),
        "odd keys/and. names": {1: jtorch.ones(()), "1": jtorch.zeros(1), "a.b": jtorch.ones(2), "a": {"b": array}},
        "others": (1, 2.5, None, True, "text", 2**70, float("inf"), jtorch.Size([2]), jtorch.float16),
        "jax": jax.numpy.ones(2),
    }  # fmt: skip
    jtorch.save_checkpoint(tmp_path, 0, data=data, rng=False, asynchronous=asynchronous)
    array[:] = -1  # too late
    assert jtorch.latest_step(tmp_path) == 0
    back = jtorch.load_checkpoint(tmp_path)["data"]
    assert back.keys() == data.keys() and back["others"] == data["others"] and isinstance(back["jax"], jax.Array)
    for name, tensor in tensors.items():
        assert back["tensors"][name].dtype == tensor.dtype and jtorch.equal(back["tensors"][name], tensor)
    assert back["empty"].shape == (0, 3) and back["empty"].dtype == jtorch.float16
    odd = back["odd keys/and. names"]
    assert odd[1].shape == () and odd["1"].tolist() == [0] and odd["a.b"].tolist() == [1, 1]
    assert odd["a"]["b"].tolist() == [0, 1, 2] and isinstance(odd["a"]["b"], np.ndarray)


def test_a_compiled_step_goes_on_while_a_checkpoint_is_written(tmp_path):
    model = nn.Linear(300, 300)
    step = jtorch.compile(lambda: model.weight.data.add_(1))
    step()
    for i in range(3):
        expected = model.weight.detach().clone()
        jtorch.save_checkpoint(tmp_path, i, model=model, asynchronous=True, max_to_keep=1)
        for _ in range(20):
            step()
        jtorch.load_checkpoint(tmp_path, model=model)
        assert jtorch.equal(model.weight, expected)
    with pytest.raises(FileNotFoundError, match=r"\[2\], got 1"):
        jtorch.load_checkpoint(tmp_path, 1)


def test_mistakes(tmp_path):
    ours = parts()
    with pytest.raises(FileNotFoundError, match="got none"):
        jtorch.load_checkpoint(tmp_path / "nowhere", **ours)
    assert jtorch.latest_step(tmp_path / "nowhere") is None and not (tmp_path / "nowhere").exists()
    jtorch.save_checkpoint(tmp_path, 3, model=ours["model"])
    for step in (3, 2):
        with pytest.raises(ValueError, match="after 3"):
            jtorch.save_checkpoint(tmp_path, step, **ours)
    for name, error in (("plain", ValueError), ("metrics", ValueError)):
        with pytest.raises(error, match="other names"):
            jtorch.save_checkpoint(tmp_path, 4, **{name: ours["model"]})
    with pytest.raises(pickle.UnpicklingError, match="nothing but data"):
        jtorch.save_checkpoint(tmp_path, 4, function=print)
    with pytest.raises(RuntimeError, match=r"\['model'\], got 'optimizer'"):
        jtorch.load_checkpoint(tmp_path, **ours)
    with pytest.raises(RuntimeError, match="size mismatch"):
        jtorch.load_checkpoint(
            tmp_path, model=nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        )
    assert jtorch.latest_step(tmp_path) == 3


def test_without_orbax(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"jtorch-jax\[files\]"):
        jtorch.latest_step(tmp_path)


def program(code: str, *arguments, **environment) -> str:
    """What a program of its own prints."""
    variables = os.environ | {"PYTHONPATH": str(HERE.parent), "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SPREAD = """
import sys, jax, jtorch
from jax.sharding import NamedSharding, PartitionSpec as P
mesh = jax.make_mesh((2,), ("data",))
def made():
    model = jtorch.nn.Linear(2, 4)
    for p, spec in ((model.weight, P("data")), (model.bias, P())):
        p.data = jtorch.Tensor(jax.device_put(p.detach().jax(), NamedSharding(mesh, spec)))
    return model
model, other = made(), made()
jtorch.save_checkpoint(sys.argv[1], 1, model=model)
jtorch.load_checkpoint(sys.argv[1], model=other)
assert other.weight.jax().sharding == NamedSharding(mesh, P("data")) and jtorch.equal(other.weight, model.weight)
jtorch.save_checkpoint(sys.argv[1], 2, model=model, asynchronous=True)
print(model.weight.sum().item())
"""


def test_arrays_spread_over_devices(tmp_path):
    """Each part of an array is read onto its device; and the end of a program waits for what is being written."""
    total = float(program(SPREAD, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2"))
    alone = nn.Linear(2, 4)
    assert jtorch.load_checkpoint(tmp_path, model=alone)["step"] == 2
    assert abs(alone.weight.sum().item() - total) < 1e-6
    assert jtorch.load_checkpoint(tmp_path)["model"]["weight"].shape == (4, 2)  # devices that are not here


# killed


class Jobs:
    """Processes that are killed: see `killed.py`."""

    def __init__(self):
        command = [sys.executable, str(HERE / "killed.py")]
        variables = os.environ | {"PYTHONPATH": str(HERE.parent), "JAX_PLATFORMS": "cpu"}
        variables.setdefault("JAX_COMPILATION_CACHE_DIR", str(HERE.parent / ".jax_cache"))
        self._process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, what, folder, seconds=None):
        """How one ended."""
        self._process.stdin.write(json.dumps([what, str(folder), seconds]) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self):
        """End them."""
        self._process.stdin.close()
        assert self._process.wait() == 0


@pytest.fixture
def jobs():
    """Something that runs processes and kills them."""
    made = Jobs()
    yield made
    made.close()


def test_a_killed_training_run_resumes(jobs, tmp_path, request):
    """The weights at the end are those of a run that nobody killed, bit for bit; no checkpoint is half of one."""
    kills, stream, runs = 20 if request.config.getoption("full") else 5, random.Random(0), 0
    (tmp_path / "at once").mkdir()
    assert jobs.run("train at once", tmp_path / "at once") == "done"
    expected = jtorch.load(tmp_path / "at once" / "weights.pt")
    while kills:
        runs += 1
        folder = tmp_path / str(runs)
        folder.mkdir()
        while kills:
            ended = jobs.run("train", folder, stream.uniform(0, 1.5))
            assert ended in ("killed", "done")
            kills -= ended == "killed"
            if ended == "done":
                break
        else:
            assert jobs.run("train", folder) == "done"
        got = jtorch.load(folder / "weights.pt")
        assert got.keys() == expected.keys()
        for name in got:
            np.testing.assert_array_equal(got[name], expected[name])


def test_save_killed_leaves_a_whole_file(jobs, tmp_path, request):
    kills, stream = 20 if request.config.getoption("full") else 6, random.Random(0)
    for _ in range(kills):
        assert jobs.run("save", tmp_path, stream.uniform(0, 0.4)) == "killed"
    found = jtorch.load(tmp_path / "x.pt")
    assert (found["x"] == found["i"]).all() and found["i"] >= int((tmp_path / "told").read_text()) > 0
