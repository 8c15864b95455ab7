"""Averaged weights, their schedule and batch statistics beside torch's."""

import numpy as np
import parity
import pytest
import torch

import jtorch

AVERAGES = {
    "mean": lambda swa: {},
    "ema": lambda swa: {"avg_fn": swa.get_ema_avg_fn(0.9)},
    "ema of many": lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.9), "use_buffers": True},
    "mean of many": lambda swa: {"multi_avg_fn": swa.get_swa_multi_avg_fn()},
    "own": lambda swa: {"avg_fn": lambda average, new, count: 0.5 * average + 0.5 * new},
}


def _averaged(library, name, compiled=False):
    """What an average of a model is after some steps of training."""
    library.manual_seed(0)
    nn, swa = library.nn, library.optim.swa_utils
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    average = swa.AveragedModel(model, **AVERAGES[name](swa))
    optimizer = library.optim.SGD(model.parameters(), lr=0.1)
    x = library.randn(8, 3)

    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        average.update_parameters(model)

    step = jtorch.compile(step) if compiled else step
    for _ in range(4):
        step(x)
    swa.update_bn([x, (x * 2, None)], average)
    return [*average.state_dict().values(), average(x).detach()]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name, compiled):
    parity.same(_averaged(jtorch, name, compiled), _averaged(torch, name), name)


@pytest.mark.parametrize("options", [{"swa_lr": 0.05}, {"swa_lr": [0.2, 0.01], "anneal_epochs": 5, "anneal_strategy": "linear"}, {"swa_lr": 0.3, "anneal_epochs": 0}], ids=str)  # fmt: skip
def test_schedule(options):
    def rates(library):
        params = [{"params": [library.ones(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.5)]
        optimizer = library.optim.SGD(params)
        scheduler = library.optim.swa_utils.SWALR(optimizer, **options)
        found = []
        for _ in range(15):
            optimizer.step()
            scheduler.step()
            found.append(scheduler.get_last_lr())
        return found

    np.testing.assert_allclose(rates(jtorch), rates(torch), rtol=1e-12)


def test_mistakes():
    for library in (torch, jtorch):
        swa, model = library.optim.swa_utils, library.nn.Linear(1, 1)
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=r"\[0,1\] range"):
            swa.get_ema_avg_fn(2)
        with pytest.raises(AssertionError, match="Only one of avg_fn"):
            swa.AveragedModel(model, avg_fn=swa.get_swa_avg_fn(), multi_avg_fn=swa.get_swa_multi_avg_fn())
        with pytest.raises(ValueError, match="anneal_strategy"):
            swa.SWALR(optimizer, 0.1, anneal_strategy="other")
        with pytest.raises(ValueError, match="anneal_epochs"):
            swa.SWALR(optimizer, 0.1, anneal_epochs=-1)
