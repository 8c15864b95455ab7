"""`Compiled.scan`: many steps in one program leave and return what the same steps one by one do."""

import os
import subprocess
import sys

import numpy as np
import pytest

import jtorch
import jtorch.nn.functional as F
from jtorch import nn

pytestmark = pytest.mark.x64_off


def network():
    """A model with parameters, buffers and random numbers."""
    jtorch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def training(clear=True):
    """A model and its compiled training step; without `clear` gradients add up."""
    model = network()
    optimizer = jtorch.optim.Adam(model.parameters(), lr=1e-2)

    @jtorch.compile
    def step(x, y, scale=1.0):
        if clear:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) * scale
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "scale": scale}

    return model, step


def batches(count):
    """Inputs and labels for so many steps."""
    jtorch.manual_seed(1)
    return jtorch.randn(count, 6, 4), jtorch.randint(0, 3, (count, 6))


def state(model):
    """All there is in a model."""
    tensors = {**model.state_dict(), **{f"{n}.grad": p.grad for n, p in model.named_parameters()}}
    return {name: np.array(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("clear", [True, False])
def test_scan_is_the_steps_one_by_one(clear):
    one, step = training(clear)
    many, looped = training(clear)
    x, y = batches(3)
    jtorch.manual_seed(2)
    losses = [step(x[i], y[i])["loss"].item() for i in (0, 1, 2, 0, 1, 2)]
    jtorch.manual_seed(2)
    first, second = looped.scan(x, y), looped.scan(x, y)
    assert second["scale"] == 1.0 and second["loss"].shape == (3,)
    np.testing.assert_allclose([*first["loss"].tolist(), *second["loss"].tolist()], losses, rtol=1e-6)
    for name, array in state(one).items():
        np.testing.assert_allclose(state(many)[name], array, rtol=1e-5, atol=1e-7, err_msg=name)
    assert looped.traces == step.traces


def test_the_loop_is_used_once_the_state_is_settled():
    _, step = training()
    x, y = batches(3)
    step.scan(x, y)
    calls = []
    step._entries[next(iter(step._entries))][-1].run = lambda inputs: calls.append(inputs)
    step.scan(x, y)
    assert not calls


def test_learning_rate_changes_between_loops():
    weight = jtorch.zeros(1, requires_grad=True)
    optimizer = jtorch.optim.SGD([weight], lr=1.0)

    @jtorch.compile
    def step(x):
        optimizer.zero_grad()
        (weight * x).sum().backward()
        optimizer.step()
        return weight.detach() * 1

    ones = jtorch.ones(2, 1)
    assert step.scan(ones).flatten().tolist() == [-1.0, -2.0]
    optimizer.param_groups[0]["lr"] = 0.5
    assert step.scan(ones).flatten().tolist() == [-2.5, -3.0] and step.traces == 1


def test_wrong_values_change_nothing():
    model, step = training()
    x, y = batches(2)
    step.scan(x, y)
    before = state(model)
    with pytest.raises(IndexError, match="targets from 0 to 2"):
        step.scan(x, y + 3 * jtorch.tensor([[0], [1]]))
    for name, array in state(model).items():
        np.testing.assert_array_equal(array, before[name])


def scanned_twice(function, *args):
    """Make it and then run the loop."""
    step = jtorch.compile(function)
    step.scan(*args)
    step.scan(*args)


class Keeping(nn.Module):
    """Sets an attribute."""

    def forward(self, x):
        self.last = x.detach() * 1
        return self.last


def test_steps_that_cannot_go_round_are_refused():
    weight, x = jtorch.ones(2, requires_grad=True), jtorch.ones(3, 2)
    keeping = Keeping()
    for function, wish in (
        (lambda x: weight * x, "leave no graph"),
        (lambda x: x.add_(1), "leave its arguments"),
        (lambda x: keeping(x).sum(), "set no attributes"),
        (lambda x: weight, "return what it computed"),
    ):
        with pytest.raises(RuntimeError, match=wish):
            scanned_twice(function, x)
    step = jtorch.compile(lambda x, y: x + y)
    for args in ((jtorch.ones(2, 1), jtorch.ones(3, 1)), (jtorch.ones(0, 1), jtorch.ones(0, 1)), (jtorch.ones(()), 1)):
        with pytest.raises(ValueError, match="one leading dimension"):
            step.scan(*args)


def test_explain_says_why_and_what():
    model, step = training()
    x, y = batches(1)
    step(x[0], y[0])
    step(x[0, :4], y[0, :4])
    model.eval()
    step(x[0], y[0])
    found = step.explain()
    assert [p.reason for p in found.programs] == [
        "first call",
        "argument 0 is float32[4, 4], was float32[6, 4]",
        "Sequential.training changed",
    ]
    program = found.programs[0]
    assert program.arguments[0] == "float32[6, 4]" and program.gradients == 6 and not program.differentiable
    assert program.flops > 1000 and program.captured > 20 and program.numbers >= 4
    assert "first call" in str(found) and str(found).startswith("training.<locals>.step: 3 programs")


def test_explain_names_what_changed():
    model = network()
    forward = jtorch.compile(lambda x: model(x))
    x = batches(1)[0][0]
    forward(x)
    model[0].weight.requires_grad_(False)
    forward(x)
    model[3].p = 0.5
    forward(x)
    with jtorch.no_grad():
        forward(x)
    reasons = [p.reason for p in forward.explain().programs]
    assert reasons == ["first call", "the requires_grad of a tensor changed", "Dropout.p changed", "grad mode changed"]
    assert [p.differentiable for p in forward.explain().programs] == [True, True, True, False]


CACHED = """
import sys, jtorch
for directory in sys.argv[1:]:
    jtorch.enable_compilation_cache(directory)
model = jtorch.nn.Linear(3, 2)
step = jtorch.compile(lambda x: model(x).sum().detach())
step(jtorch.ones(5, 3))
"""


def test_programs_are_kept_for_the_next_process(tmp_path):
    found = []
    for arguments, setting in (
        ([str(tmp_path / "asked")], {}),
        ([], {"JTORCH_COMPILATION_CACHE": str(tmp_path / "set")}),
    ):
        environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"} | setting
        subprocess.run([sys.executable, "-c", CACHED, *arguments], check=True, env=environment)
        where = tmp_path / ("set" if setting else "asked")
        found.append([path.name for path in where.iterdir()])
    assert all(any("lambda" in name for name in names) for names in found)


def test_the_loop_runs_no_python_again():
    runs = []
    total = jtorch.zeros(1)

    @jtorch.compile
    def step(x):
        runs.append(1)
        total.add_(x)
        return total * 2

    x = jtorch.ones(3, 1)
    step.scan(x)
    before = len(runs)
    assert step.scan(x).flatten().tolist() == [8.0, 10.0, 12.0] and len(runs) == before
