"""Initial values: the distributions that are drawn from, constants against torch's, generators, and what is refused."""

import math

import jax
import numpy as np
import parity
import pytest

import jtorch
from jtorch import nn

DRAWN = {
    "uniform_": (lambda w: nn.init.uniform_(w, -1, 3), 1.0, 4 / math.sqrt(12), (-1, 3)),
    "normal_": (lambda w: nn.init.normal_(w, 2.0, 0.5), 2.0, 0.5, None),
    "trunc_normal_": (lambda w: nn.init.trunc_normal_(w), 0.0, 0.8796, (-2, 2)),
    "trunc_normal_ of a tail": (lambda w: nn.init.trunc_normal_(w, 0.0, 1.0, 1.0, 2.0), 1.3831, 0.2717, (1, 2)),
    "xavier_uniform_": (lambda w: nn.init.xavier_uniform_(w, 2.0), 0.0, 2 * math.sqrt(2 / 500), None),
    "xavier_normal_": (lambda w: nn.init.xavier_normal_(w), 0.0, math.sqrt(2 / 500), None),
    "kaiming_uniform_": (lambda w: nn.init.kaiming_uniform_(w, 1.0), 0.0, math.sqrt(1 / 200), None),
    "kaiming_normal_": (lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"), 0.0, math.sqrt(2 / 300), None),
    "orthogonal_": (lambda w: nn.init.orthogonal_(w, 2.0), 0.0, 2 / math.sqrt(300), None),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_distribution(name):
    fill, mean, std, bounds = DRAWN[name]
    weight = nn.Parameter(jtorch.empty(300, 200))
    assert fill(weight) is weight and weight.requires_grad and weight.grad_fn is None
    values = np.asarray(weight.detach(), np.float64)
    assert abs(values.mean() - mean) < 6 * std / math.sqrt(values.size)
    assert abs(values.std() / std - 1) < 0.02
    assert bounds is None or (bounds[0] <= values.min() and values.max() <= bounds[1])


@pytest.mark.parametrize("name", DRAWN)
def test_generators_and_seeds_decide(name):
    fill = getattr(nn.init, name.split()[0])
    draw = lambda: np.asarray(fill(jtorch.empty(8, 6), generator=jtorch.Generator().manual_seed(3)))
    np.testing.assert_array_equal(draw(), draw())
    before = jtorch.random.get_rng_state()
    draw()
    assert bool((jtorch.random.get_rng_state() == before).all())


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 2)])
def test_orthogonal(shape):
    weight = np.asarray(nn.init.orthogonal_(jtorch.empty(shape))).reshape(shape[0], -1)
    small = weight if weight.shape[0] <= weight.shape[1] else weight.T
    np.testing.assert_allclose(small @ small.T, np.eye(len(small)), atol=1e-5)


def test_sparse():
    weight = np.asarray(nn.init.sparse_(jtorch.empty(10, 400), 0.25, 0.5))
    assert ((weight == 0).sum(0) == 3).all() and len({tuple(c) for c in (weight == 0).T}) > 50
    assert abs(weight[weight != 0].std() - 0.5) < 0.05


def test_truncated_in_programs():
    values = jax.jit(lambda key: nn.Parameter(_filled(key)).detach().jax())(jax.random.key(0))
    assert abs(float(values.std()) - 0.8796) < 0.02 and float(abs(values).max()) <= 2


def _filled(key):
    with jtorch.random.keyed(key):
        return nn.init.trunc_normal_(jtorch.zeros(100, 100))


SAME = {
    "eye": lambda lib: lib.nn.init.eye_(lib.empty(3, 5)),
    "dirac": lambda lib: [lib.nn.init.dirac_(lib.empty(s), g) for s, g in (((4, 2, 3), 1), ((6, 2, 3, 4), 3), ((2, 4, 1, 2, 3), 2))],
    "constants": lambda lib: [lib.nn.init.constant_(lib.empty(2), 0.3), lib.nn.init.ones_(lib.empty(2)), lib.nn.init.zeros_(lib.empty(2))],
    "gains": lambda lib: [lib.nn.init.calculate_gain(n) for n in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu", "leaky_relu")],
    "gain of a slope": lambda lib: [lib.nn.init.calculate_gain("leaky_relu", p) for p in (None, 0, 0.2, 2)],
    "nothing": lambda lib: [f(lib.empty(0, 3)) for f in (lib.nn.init.kaiming_uniform_, lib.nn.init.kaiming_normal_, lib.nn.init.orthogonal_)],
    "unknown gain": lambda lib: lib.nn.init.calculate_gain("gelu"),
    "slope": lambda lib: lib.nn.init.calculate_gain("leaky_relu", True),
    "eye of a vector": lambda lib: lib.nn.init.eye_(lib.empty(3)),
    "dirac of a matrix": lambda lib: lib.nn.init.dirac_(lib.empty(3, 3)),
    "dirac in groups": lambda lib: lib.nn.init.dirac_(lib.empty(3, 3, 3), 2),
    "fan of a vector": lambda lib: lib.nn.init.xavier_normal_(lib.empty(3)),
    "mode": lambda lib: lib.nn.init.kaiming_normal_(lib.empty(3, 3), mode="fan"),
    "orthogonal vector": lambda lib: lib.nn.init.orthogonal_(lib.empty(3)),
    "sparse vector": lambda lib: lib.nn.init.sparse_(lib.empty(3), 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_agrees(name):
    parity.agree(SAME[name], text=True)


OLD = ("uniform", "normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "eye")


@pytest.mark.parametrize("name", OLD)
def test_old_names_warn(name):
    with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
        assert getattr(nn.init, name)(jtorch.empty(3, 3)).shape == (3, 3)


def test_old_names_with_arguments_warn():
    for name, shape, argument in (("constant", (3,), 2.0), ("dirac", (2, 2, 3), 1), ("sparse", (3, 3), 0.3)):
        with pytest.warns(FutureWarning, match="deprecated"):
            getattr(nn.init, name)(jtorch.empty(shape), argument)


def test_far_means_warn():
    with pytest.warns(UserWarning, match="more than 2 std"):
        nn.init.trunc_normal_(jtorch.empty(10), mean=10.0)
