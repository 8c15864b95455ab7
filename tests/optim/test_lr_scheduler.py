"""Every schedule sets torch's rates and momenta, and holds torch's state."""

import warnings

import numpy as np
import pytest
import torch
from optim.twins import leaf, ours

import jtorch
from jtorch import optim


class Halving:
    """A function of the epoch that has a state."""

    def __init__(self):
        self.base = 0.5

    def __call__(self, epoch):
        return self.base**epoch


CASES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]),
    "LambdaLR one": lambda s, o: s.LambdaLR(o, Halving()),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "StepLR": lambda s, o: s.StepLR(o, 3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], gamma=0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=4),
    "ConstantLR default": lambda s, o: s.ConstantLR(o),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0.1, end_factor=0.8, total_iters=6),
    "LinearLR default": lambda s, o: s.LinearLR(o),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=7, power=2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 5, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.001),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], step_size_up=3, step_size_down=4),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=3, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 2, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "CyclicLR function": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 2, scale_fn=Halving(), scale_mode="iterations"),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, [0.1, 0.3], total_steps=200),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(o, 0.1, epochs=40, steps_per_epoch=5, anneal_strategy="linear"),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(o, 0.1, 200, three_phase=True, cycle_momentum=False),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=4), s.CosineAnnealingLR(o, 6), s.StepLR(o, 2)], [4, 12]
    ),
    "SequentialLR nested": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 2), s.ChainedScheduler([s.ExponentialLR(o, 0.9), s.StepLR(o, 3)], o)], [300]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)]),
}


def _optimizers(name: str = "SGD", rates=(0.5, 0.2)) -> tuple:
    """An optimizer of each library, of two groups."""
    settings = {"momentum": 0.9} if name == "SGD" else {}
    theirs = [{"params": [torch.ones(2, requires_grad=True)], "lr": r} for r in rates]
    mine = [{"params": [leaf(np.ones(2))], "lr": ours(r)} for r in rates]
    return getattr(torch.optim, name)(theirs, **settings), getattr(optim, name)(mine, **settings)


def _settings(optimizer) -> list:
    names = ("lr", "momentum", "betas", "initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum")
    return [{n: _plain(g[n]) for n in names if n in g} for g in optimizer.param_groups]


def _plain(value):
    if isinstance(value, torch.Tensor | jtorch.Tensor):
        return value.item()
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def _close(got, want):
    if isinstance(want, dict):
        assert set(got) == set(want)
        for k in want:
            _close(got[k], want[k])
    elif isinstance(want, tuple | list):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            _close(a, b)
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-12, abs=1e-15)
    else:
        assert got == want


def _step(pair: list) -> None:
    for optimizer, schedule in pair:
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("case", CASES)
def test_rates(case, name):
    optimizers = _optimizers(name)
    pair = [
        (o, CASES[case](library.lr_scheduler, o))
        for o, library in zip(optimizers, (torch.optim, optim), strict=True)
    ]  # fmt: skip
    _close(_settings(optimizers[1]), _settings(optimizers[0]))
    steps, resumed = (200, 73) if name == "SGD" else (20, 7)
    for i in range(steps):
        _step(pair)
        _close(_settings(optimizers[1]), _settings(optimizers[0]))
        _close(pair[1][1].get_last_lr(), pair[0][1].get_last_lr())
        if i == resumed:
            _resume(case, pair)


def _resume(case: str, pair: list) -> None:
    """Go on with new schedules that load the state of the old ones; ours loads torch's."""
    want, got = (schedule.state_dict() for _, schedule in pair)
    if "_scale_fn_ref" not in want and case != "OneCycleLR":
        _close(_state(got), _state(want))
    for place, (optimizer, old) in enumerate(pair):
        groups = [dict(g) for g in optimizer.param_groups]
        library = optim if place else torch.optim
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule = CASES[case](library.lr_scheduler, optimizer)
        schedule.load_state_dict(want if place else old.state_dict())
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.update(before)
        pair[place] = (optimizer, schedule)


def _state(saved: dict) -> dict:
    """What both libraries hold. Notes that torch makes during a step are no state."""
    passing = ("_get_lr_called_within_step", "_is_initial", "_schedulers", "mode_worse")
    own = {k: v for k, v in saved.items() if k not in passing}
    if "_schedulers" in saved:
        own["_schedulers"] = [_state(part) for part in saved["_schedulers"]]
    return own


@pytest.mark.parametrize("mode, threshold_mode", [("min", "rel"), ("max", "rel"), ("min", "abs"), ("max", "abs")])
def test_plateau(mode, threshold_mode):
    optimizers = _optimizers()
    metrics = np.random.default_rng(0).standard_normal(40).cumsum()
    schedules = [
        library.lr_scheduler.ReduceLROnPlateau(
            o, mode, 0.5, patience=2, threshold=0.01, threshold_mode=threshold_mode, cooldown=1, min_lr=[0.01, 0.001]
        )
        for o, library in zip(optimizers, (torch.optim, optim), strict=True)
    ]
    for i, metric in enumerate(metrics):
        for optimizer, schedule, library in zip(optimizers, schedules, (torch, jtorch), strict=True):
            optimizer.step()
            schedule.step(library.tensor(metric) if i % 2 else metric)
        _close(_settings(optimizers[1]), _settings(optimizers[0]))
        _close(_state(schedules[1].state_dict()), _state(schedules[0].state_dict()))
    assert optimizers[1].param_groups[0]["lr"] < 0.5


@pytest.mark.parametrize("case", ["LambdaLR", "StepLR", "CosineAnnealingLR", "OneCycleLR", "SequentialLR"])
def test_rates_in_tensors(case):
    rates = (torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64))
    optimizers = _optimizers("SGD", rates)
    pair = [
        (o, CASES[case](library.lr_scheduler, o))
        for o, library in zip(optimizers, (torch.optim, optim), strict=True)
    ]  # fmt: skip
    kept = optimizers[1].param_groups[0]["lr"]
    for _ in range(8):
        _step(pair)
        _close(_settings(optimizers[1]), _settings(optimizers[0]))
    assert optimizers[1].param_groups[0]["lr"] is kept
    assert pair[1][1].get_last_lr()[0] is not kept


BAD = {
    "no optimizer": lambda s, o: s.StepLR(3, 1),
    "functions": lambda s, o: s.LambdaLR(o, [lambda e: 1]),
    "no function": lambda s, o: s.MultiplicativeLR(o, [3, 4]),
    "factor": lambda s, o: s.ConstantLR(o, 1.5),
    "start": lambda s, o: s.LinearLR(o, 0.0),
    "end": lambda s, o: s.LinearLR(o, 0.5, 2.0),
    "T_0": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "T_mult": lambda s, o: s.CosineAnnealingWarmRestarts(o, 1, 0),
    "eta_min": lambda s, o: s.CosineAnnealingWarmRestarts(o, 1, 1, "a"),
    "epoch": lambda s, o: s.CosineAnnealingWarmRestarts(o, 1).step(-1),
    "cycle mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
    "rates": lambda s, o: s.CyclicLR(o, 0.1, [0.1]),
    "no steps": lambda s, o: s.OneCycleLR(o, 0.1),
    "steps": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    "epochs": lambda s, o: s.OneCycleLR(o, 0.1, epochs=1.5, steps_per_epoch=1),
    "part": lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0),
    "strategy": lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="sin"),
    "too many": lambda s, o: [(o.step(), c.step()) for c in [s.OneCycleLR(o, 0.1, 2)] for _ in range(5)],
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, "mean"),
    "plateau threshold": lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="square"),
    "plateau rates": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[1]),
    "no schedules": lambda s, o: s.ChainedScheduler([]),
    "milestones": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [1]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    outcomes = []
    for optimizer, library in zip(_optimizers(), (torch.optim, optim), strict=True):
        with pytest.raises(Exception) as caught:
            BAD[case](library.lr_scheduler, optimizer)
        outcomes.append((caught.type, str(caught.value)))
    assert outcomes[1] == outcomes[0]


def test_other_refusals():
    (_, optimizer), (_, other) = _optimizers(), _optimizers()
    s = optim.lr_scheduler
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified in param_groups"):
        s.StepLR(optimizer, 1, last_epoch=3)
    plateau = s.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="does not support `ReduceLROnPlateau`"):
        s.ChainedScheduler([plateau])
    with pytest.raises(ValueError, match="expects all schedulers to belong to the same optimizer"):
        s.SequentialLR(optimizer, [s.StepLR(optimizer, 1), s.StepLR(other, 1)], [1])
    adagrad_like = optim.Optimizer([leaf(np.ones(1))], {"lr": 0.1})
    with pytest.raises(ValueError, match="optimizer must support momentum or beta1"):
        s.OneCycleLR(adagrad_like, 0.1, 10)


def test_inside_a_compiled_function():
    """There the Python would run once, and the rate stand still."""
    _, optimizer = _optimizers()
    schedule = optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(RuntimeError, match=r"StepLR.step\(\): expected a call outside compiled functions"):
        jtorch.compile(lambda: schedule.step())()
    assert schedule.last_epoch == 0


def test_compiled_steps_follow_the_schedule():
    p, q = leaf(np.ones(2)), leaf(np.ones(2))
    one, other = optim.Adam([p], lr=0.1), optim.Adam([q], lr=0.1)
    schedules = [optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=10) for o in (one, other)]
    step = jtorch.compile(lambda: other.step())
    for _ in range(9):
        p.grad, q.grad = jtorch.ones(2, dtype=p.dtype), jtorch.ones(2, dtype=p.dtype)
        one.step()
        step()
        for schedule in schedules:
            schedule.step()
    np.testing.assert_allclose(np.asarray(p.detach()), np.asarray(q.detach()), rtol=1e-12)
    assert step.traces == 1


def test_order_of_steps():
    _, optimizer = _optimizers()
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        schedule.step()
    _, optimizer = _optimizers()
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        schedule.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        schedule.step(5)
    assert schedule.get_last_lr() == pytest.approx([0.5 * 0.9**5, 0.2 * 0.9**5])
