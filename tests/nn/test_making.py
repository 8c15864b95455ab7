"""skip_init, factory_kwargs and Container: how modules are made."""

import parity
import pytest
from nn.both import check

import jtorch

CASES = {
    "skip_init": lambda lib: [lib.nn.utils.skip_init(lib.nn.Linear, 2, out_features=3, dtype=lib.float64).weight.dtype == lib.float64],
    "skip_init of no module": lambda lib: lib.nn.utils.skip_init(int),
    "skip_init of a module without a device": lambda lib: lib.nn.utils.skip_init(lib.nn.ReLU),
    "no kwargs": lambda lib: str(lib.nn.factory_kwargs(None)),
    "kwargs": lambda lib: sorted(lib.nn.factory_kwargs({"dtype": 1, "factory_kwargs": {"device": "cpu"}})),
    "unknown kwargs": lambda lib: lib.nn.factory_kwargs({"device": "cpu", "x": 1}),
    "kwargs twice": lambda lib: lib.nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"device": "cpu"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_agrees(name):
    parity.agree(CASES[name], text=True)


def test_container():
    check(lambda lib: lib.nn.Container(a=lib.nn.Linear(1, 1), b=lib.nn.ReLU()))


def test_skip_init_draws_nothing():
    before = jtorch.random.get_rng_state()
    made = jtorch.nn.utils.skip_init(jtorch.nn.Linear, 2, 3)
    assert bool((jtorch.random.get_rng_state() == before).all()) and made.weight.shape == (3, 2)
