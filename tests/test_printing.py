"""How tensors print: digit for digit what torch prints, for a table of tensors under a table of options."""

import numpy as np
import parity
import pytest
import torch as pytorch

import jtorch

pytestmark = pytest.mark.x64_off

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "scalar": np.float32(3.14159),
    "whole": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fractions": np.linspace(-1, 1, 10, dtype=np.float32),
    "integers": np.array([[1, -20], [300, 4]]),
    "bools": np.array([True, False, True]),
    "empty": np.zeros((0,), np.float32),
    "empty_2d": np.zeros((0, 3), np.float32),
    "empty_long": np.zeros((2, 0), np.int64),
    "wide_range": np.array([1e-5, 1.0, 1e5], np.float32),
    "large": np.array([1e10, 2e10], np.float32),
    "large_whole": np.array([123456789.0, 1.0], np.float32),
    "small": np.array([1e-6, 2e-6], np.float32),
    "special": np.array([np.nan, np.inf, -np.inf, 1.5], np.float32),
    "special_only": np.array([np.nan, np.inf], np.float32),
    "special_whole": np.array([np.nan, 2.0, -np.inf], np.float32),
    "zeros": np.zeros((2, 2), np.float32),
    "negative_zero": np.array([-0.0, 0.0, 1.25], np.float32),
    "long_row": np.arange(40, dtype=np.float32) / 7,
    "cube": RANDOM.normal(size=(2, 3, 4)).astype(np.float32),
    "four_dimensions": RANDOM.normal(size=(2, 1, 2, 2)).astype(np.float32),
    "summary": np.arange(2000, dtype=np.float32),
    "summary_2d": RANDOM.normal(size=(40, 50)).astype(np.float32),
    "summary_long_columns": np.arange(1200).reshape(300, 4),
    "summary_3d": RANDOM.normal(size=(11, 11, 11)).astype(np.float32),
    "half": np.array([1.5, 2.25], np.float16),
    "half_fractions": np.array([0.1, 1000.5], np.float16),
    "int8": np.array([1, -2], np.int8),
    "uint8": np.array([1, 255], np.uint8),
    "complex": np.array([1 + 2j, -0.5 - 1j], np.complex64),
    "complex_whole": np.array([1 + 2j, 3 - 1j], np.complex64),
    "complex_scalar": np.complex64(1.5 - 2j),
    "int_scalar": np.int64(7),
    "double": np.array([0.1, 0.2], np.float64),
    "int32": np.array([5, 6], np.int32),
    "complex_double": np.array([0.5 + 1j], np.complex128),
    "one_in_each": np.ones((1, 1, 1), np.float32),
}
WIDE = {"double", "int32", "complex_double"}
OPTIONS = {
    "default": {},
    "precision": {"precision": 2},
    "precise": {"precision": 7},
    "science": {"sci_mode": True},
    "no_science": {"sci_mode": False},
    "narrow": {"linewidth": 40},
    "short": {"profile": "short"},
    "edge": {"edgeitems": 1, "threshold": 10},
}


@pytest.fixture
def options(request):
    for library in (pytorch, jtorch):
        library.set_printoptions(**OPTIONS[request.param])
    yield request.param
    for library in (pytorch, jtorch):
        library.set_printoptions(profile="default")


@pytest.mark.parametrize("options", OPTIONS, indirect=True)
@pytest.mark.parametrize("name", ARRAYS)
def test_repr(name, options):
    if name in WIDE and jtorch.tensor(ARRAYS["double"]).dtype is jtorch.float32:
        return  # without x64 these dtypes are not there to print
    theirs = repr(pytorch.tensor(ARRAYS[name])).replace("int64", parity.dtype_here(pytorch.int64))
    assert repr(jtorch.tensor(ARRAYS[name])) == theirs


GRAPHS = {
    "leaf": lambda torch, x: x,
    "mul": lambda torch, x: x * 2,
    "add": lambda torch, x: x + 1,
    "sub": lambda torch, x: x - 1,
    "div": lambda torch, x: x / 2,
    "number_over": lambda torch, x: 2 / x,
    "neg": lambda torch, x: -x,
    "pow": lambda torch, x: x**2,
    "sum": lambda torch, x: x.sum(),
    "mean": lambda torch, x: x.mean(),
    "exp": lambda torch, x: x.exp(),
    "relu": lambda torch, x: torch.relu(x),
    "sigmoid": lambda torch, x: torch.sigmoid(x),
    "tanh": lambda torch, x: x.tanh(),
    "mm": lambda torch, x: x @ x,
    "view": lambda torch, x: x.view(-1),
    "transpose": lambda torch, x: x.t(),
    "select": lambda torch, x: x[0],
    "slice": lambda torch, x: x[:1],
    "index": lambda torch, x: x[[0]],
    "unsqueeze": lambda torch, x: x.unsqueeze(0),
    "squeeze": lambda torch, x: x.squeeze(),
    "cat": lambda torch, x: torch.cat([x, x]),
    "stack": lambda torch, x: torch.stack([x, x]),
    "clone": lambda torch, x: x.clone(),
    "softmax": lambda torch, x: x.softmax(1),
    "log_softmax": lambda torch, x: x.log_softmax(1),
    "linear": lambda torch, x: torch.nn.functional.linear(x, x, x[0]),
    "nll_loss": lambda torch, x: torch.nn.functional.nll_loss(x, torch.tensor([0, 1])),
    "cross_entropy": lambda torch, x: torch.nn.functional.cross_entropy(x, torch.tensor([0, 1])),
    "mse_loss": lambda torch, x: torch.nn.functional.mse_loss(x, x * 2),
    "l1_loss": lambda torch, x: torch.nn.functional.l1_loss(x, x * 2),
    "max": lambda torch, x: x.max(),
    "max_dim": lambda torch, x: x.max(0).values,
    "inplace": lambda torch, x: (x * 2).add_(1),
    "detach": lambda torch, x: x.detach(),
    "expand": lambda torch, x: x[:1].expand(3, 2),
    "where": lambda torch, x: torch.where(x > 0, x, x),
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_repr_names_the_graph(graph):
    values = [[1.0, -2.0], [3.5, 4.0]]
    mine, yours = (repr(GRAPHS[graph](t, t.tensor(values, requires_grad=True))) for t in (jtorch, pytorch))
    assert mine == yours


def test_small_types_print_as_torchs():
    for text in ("t.float32", "t.int64", "t.bool", "t.device('cpu')", "t.Size([2, 3])", "t.strided", "t.channels_last",
                 "t.finfo(t.float32)", "t.iinfo(t.int8)", "t.ones(2).device", "t.ones(2).type()"):  # fmt: skip
        assert repr(eval(text, {"t": jtorch})) == repr(eval(text, {"t": pytorch})), text
