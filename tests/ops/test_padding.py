"""pad against torch: amounts that cut, mirrors and ends of what is cut, values, and what is refused."""

import parity
import pytest
import torch

import jtorch

AMOUNTS = [
    (1, 2),
    (-2, 3),
    (-1, -1),
    (2, -1),
    (-3, 2),
    (1, -4),
    (3, -4),
    (-4, 3),
    (4, 4),
    (5, 0),
    (0, 0),
    (-3, -2),
    (-2, 1),
]


@pytest.mark.parametrize("amounts", AMOUNTS, ids=str)
@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "constant"])
def test_amounts(mode, amounts):
    if mode == "circular" and amounts in ((3, -4), (-4, 3)):  # more than what is left: torch writes into itself
        with pytest.raises(RuntimeError, match="at most"):
            jtorch.nn.functional.pad(jtorch.ones(2, 5), amounts, mode)
        return
    functions = [lib.nn.functional.pad for lib in (jtorch, torch)]
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    parity.check(*functions, x, (*amounts, 1, -1), kwargs=dict(mode=mode))
    parity.check(*functions, x[0, :, 0].detach(), amounts, kwargs=dict(mode=mode))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_wide(mode):
    """Many elements come from one: their gradients are added up."""
    x = torch.randn(2, 21, dtype=torch.float64, requires_grad=True)
    parity.check(*[lib.nn.functional.pad for lib in (jtorch, torch)], x, (20, 17), kwargs=dict(mode=mode))


@pytest.mark.parametrize("amounts", [(6, 0), (-3, -3), (-6, 3), (5, -5), (1,), (1,) * 10, (), (1.5, 1.0)], ids=str)
@pytest.mark.parametrize("mode", ["constant", "reflect", "circular", "unknown"])
def test_refused(mode, amounts):
    if (mode, amounts) != ("circular", (5, -5)):  # torch hands out memory that it never wrote
        parity.agree(lambda lib: lib.nn.functional.pad(lib.arange(10.0).view(2, 5), amounts, mode=mode))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 4, 0), (4,), (2, 3, 4), (1, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_shapes(mode, shape):
    parity.agree(lambda lib: lib.nn.functional.pad(lib.ones(shape), (0, 0, 1, 1), mode=mode))


@pytest.mark.parametrize("name, value", [("int32", 1.5), ("bool", 0.5), ("float16", 2), ("int64", None)])
def test_values(name, value):
    parity.agree(lambda lib: lib.nn.functional.pad(lib.ones(2, 3).to(getattr(lib, name)), (1, 1), value=value))


@pytest.mark.parametrize("value", [0, 1, 0.0, 2.5])
def test_only_constants_have_a_value(value):
    parity.agree(lambda lib: lib.nn.functional.pad(lib.ones(2, 3), (1, 1), "reflect", value))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_bools(mode):
    parity.agree(lambda lib: lib.nn.functional.pad(lib.ones(2, 3) > 0, (1, 1), mode))


def test_constant_pad_nd():
    x = torch.randn(2, 3, requires_grad=True)
    parity.check(jtorch.constant_pad_nd, torch.constant_pad_nd, x, (1, -1, 0, 2), 3.5)
