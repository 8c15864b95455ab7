"""GradScaler follows torch's scales over gradients that overflow, and compiles into the step."""

import copy
import pickle

import numpy as np
import optax
import pytest
import torch
from optim.twins import theirs

import jtorch

OVERFLOWS = {2, 3, 9, 17, 18}
SETTINGS = {"init_scale": 1024.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 3}


class Run:
    """A training run of two optimizers with a scaler, in torch or here; at some steps the gradients overflow."""

    def __init__(self, lib, compiled=False):
        self.lib, self.scaler = lib, lib.amp.GradScaler("cpu", **SETTINGS)
        self.params = [lib.ones(3, dtype=lib.float32).requires_grad_() for _ in range(3)]
        self.optimizers = [
            lib.optim.Adam(self.params[:2], lr=0.1),
            lib.optim.SGD(self.params[2:], lr=0.1, momentum=0.9),
        ]
        self.call = jtorch.compile(self.train) if compiled else self.train

    def train(self, factors):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        losses = [((p - 2) ** 2 * f).sum() for p, f in zip(self.params, factors, strict=True)]
        for loss in self.scaler.scale(losses):
            loss.backward()
        self.scaler.unscale_(self.optimizers[0])
        self.lib.nn.utils.clip_grad_norm_(self.params[:2], 1.0)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()

    def step(self, i):
        """One step; every other overflow is in the second optimizer's gradients alone."""
        factors = [1.0 + 0.1 * i] * 3
        if i in OVERFLOWS:
            factors[2 if i % 2 else 0] = float("inf")
        self.call(self.lib.tensor(factors, dtype=self.lib.float32))
        return self.scaler.state_dict()


def _agree(mine, other):
    for p, q in zip(mine.params, other.params, strict=True):
        np.testing.assert_allclose(np.asarray(p.detach()), q.detach().numpy(), rtol=1e-5)
    count, want = (run.optimizers[0].state[run.params[0]]["step"].item() for run in (mine, other))
    assert count == want


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_scales_are_torchs(compiled):
    mine, other = Run(jtorch, compiled), Run(torch)
    for i in range(24):
        assert mine.step(i) == other.step(i)
        _agree(mine, other)
    if compiled:
        assert mine.call.traces == 1


def test_state_goes_between_the_libraries_in_the_middle_of_a_run():
    runs = [Run(jtorch), Run(torch)]
    for run in runs:
        for i in range(11):
            run.step(i)
    mine, other = Run(jtorch), Run(torch)
    for target, source, convert in ((mine, runs[1], lambda x: x), (other, runs[0], theirs)):
        target.scaler.load_state_dict(source.scaler.state_dict())
        for p, q in zip(target.params, source.params, strict=True):
            p.data = target.lib.tensor(q.tolist())
        for a, b in zip(target.optimizers, source.optimizers, strict=True):
            a.load_state_dict(convert(copy.deepcopy(b.state_dict())))
    for i in range(11, 20):
        states = [run.step(i) for run in (mine, other, *runs)]
        assert states == [states[0]] * 4
    _agree(mine, runs[1])
    _agree(mine, other)


def test_settings_change_without_a_new_program():
    mine, other = Run(jtorch, compiled=True), Run(torch)
    for run in (mine, other):
        run.step(0)
        run.scaler.set_growth_interval(2)
        run.scaler.set_growth_factor(5.0)
        run.scaler.set_backoff_factor(0.5)
    for i in range(1, 6):
        assert mine.step(i) == other.step(i)
    for run in (mine, other):
        run.scaler.update(7.0)
    assert mine.step(6) == other.step(6)
    assert mine.call.traces == 1


def _scripts(lib):
    """Calls in a wrong order or with wrong arguments."""
    p = lib.ones(2).requires_grad_()
    optimizer, scaler = lib.optim.SGD([p], lr=0.1), lib.amp.GradScaler("cpu")

    def backward():
        scaler.scale((p * 1).sum()).backward()

    def twice(name):
        backward()
        for _ in range(2):
            getattr(scaler, name)(optimizer)

    return {
        "no scale": lambda: scaler.step(optimizer),
        "no scale, update": lambda: scaler.update(),
        "no checks": lambda: (scaler.scale(p), scaler.update()),
        "no gradients": lambda: (scaler.scale(p), scaler.step(optimizer)),
        "unscaled twice": lambda: twice("unscale_"),
        "stepped twice": lambda: twice("step"),
        "unscaled after a step": lambda: (backward(), scaler.step(optimizer), scaler.unscale_(optimizer)),
        "closure": lambda: (backward(), scaler.step(optimizer, closure=lambda: 0)),
        "factor": lambda: lib.amp.GradScaler("cpu", growth_factor=1.0),
        "backoff": lambda: lib.amp.GradScaler("cpu", backoff_factor=1.5),
        "outputs": lambda: scaler.scale(3.0),
        "empty": lambda: scaler.load_state_dict({}),
        "pickled between": lambda: (backward(), scaler.unscale_(optimizer), pickle.dumps(scaler)),
        "new scale": lambda: (scaler.scale(p), scaler.update(lib.ones(2))),
        "float16": lambda: (_half(lib, p), scaler.scale(p), scaler.unscale_(optimizer)),
    }


def _half(lib, p):
    p.data = p.data.half()
    p.grad = p.data * 1


@pytest.mark.parametrize("name", _scripts(torch))
def test_mistakes(name):
    outcomes = []
    for lib in (torch, jtorch):
        with pytest.raises(Exception) as caught:
            _scripts(lib)[name]()
        outcomes.append(caught.type)
    assert outcomes[1] is outcomes[0]


def test_switched_off():
    p = jtorch.ones(2, requires_grad=True)
    optimizer = jtorch.optim.SGD([p], lr=0.5)
    with pytest.warns(UserWarning, match="expected a GPU"):
        scaler = jtorch.amp.GradScaler()
    assert not scaler.is_enabled() and scaler.state_dict() == {} and scaler.get_scale() == 1.0
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.5, 0.5]
    with pytest.warns(FutureWarning, match="deprecated"):
        assert jtorch.cpu.amp.GradScaler().is_enabled()


def test_pickled():
    run = Run(jtorch)
    run.step(0)
    assert pickle.loads(pickle.dumps(run.scaler)).state_dict() == run.scaler.state_dict()


def test_half_of_an_iteration_in_a_compiled_function_is_an_error():
    run = Run(jtorch)

    def part(factors):
        run.scaler.scale((run.params[2] * factors).sum()).backward()
        run.scaler.step(run.optimizers[1])

    jtorch.compile(part)(jtorch.ones(3))
    with pytest.raises(AssertionError, match="No inf checks"):
        run.scaler.update()


def test_optimizers_of_users_and_of_optax():
    """Steps that are written with tensor ops are left out in compiled functions too."""

    class Plain(jtorch.optim.Optimizer):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                with jtorch.no_grad():
                    p.sub_(p.grad * 0.5)

    params = [jtorch.ones(2, requires_grad=True) for _ in range(2)]
    optimizers = [Plain([params[0]], {}), jtorch.optim.from_optax(optax.sgd(0.5, momentum=0.9), [params[1]])]
    scaler = jtorch.amp.GradScaler("cpu", init_scale=2.0)

    @jtorch.compile
    def step(factor):
        for p, optimizer in zip(params, optimizers, strict=True):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            scaler.step(optimizer)
        scaler.update()

    for factor in (1.0, float("nan"), 1.0):
        step(jtorch.tensor(factor))
    assert params[0].tolist() == [0.0, 0.0]
    assert params[1].tolist() == pytest.approx([-0.45, -0.45])
    assert scaler.get_scale() == 1.0 and step.traces == 1
