"""Random numbers: seeds repeat, states travel, draws have torch's distributions, keys go where the user says."""

import jax
import numpy as np
import parity
import pytest
import torch as pytorch

import jtorch
import jtorch.nn.functional as F

pytestmark = pytest.mark.x64_off
COUNT = 20_000


def test_seed_repeats():
    jtorch.manual_seed(3)
    first = [jtorch.rand(4), jtorch.randn(4), jtorch.randint(9, (4,)), jtorch.randperm(5)]
    jtorch.manual_seed(3)
    second = [jtorch.rand(4), jtorch.randn(4), jtorch.randint(9, (4,)), jtorch.randperm(5)]
    assert [x.tolist() for x in first] == [x.tolist() for x in second]
    assert jtorch.rand(4).tolist() != jtorch.rand(4).tolist()
    assert jtorch.initial_seed() == 3


def test_state_travels():
    state = jtorch.get_rng_state()
    first = jtorch.rand(3).tolist()
    jtorch.set_rng_state(state)
    assert jtorch.rand(3).tolist() == first
    with jtorch.random.fork_rng():
        jtorch.rand(10)
    after = jtorch.rand(3).tolist()
    jtorch.set_rng_state(state)
    jtorch.rand(3)
    assert jtorch.rand(3).tolist() == after


def test_generator_is_a_stream_of_its_own():
    one, two = jtorch.Generator().manual_seed(5), jtorch.Generator().manual_seed(5)
    before = jtorch.get_rng_state().tolist()
    assert jtorch.randn(3, generator=one).tolist() == jtorch.randn(3, generator=two).tolist()
    assert jtorch.randn(3, generator=one).tolist() == jtorch.randn(3, generator=two).tolist()
    assert jtorch.get_rng_state().tolist() == before
    assert one.initial_seed() == 5


DRAWS = {
    "rand": lambda t: t.rand(COUNT),
    "randn": lambda t: t.randn(COUNT),
    "randint": lambda t: t.randint(-3, 9, (COUNT,)),
    "normal": lambda t: t.normal(2.0, 3.0, (COUNT,)),
    "normal_of_tensors": lambda t: t.normal(t.zeros(COUNT), t.full((COUNT,), 2.0)),
    "bernoulli": lambda t: t.bernoulli(t.full((COUNT,), 0.3)),
    "poisson": lambda t: t.poisson(t.full((COUNT,), 4.0)),
    "multinomial": lambda t: t.multinomial(t.tensor([1.0, 2.0, 3.0]), COUNT, replacement=True),
    "uniform_": lambda t: t.empty(COUNT).uniform_(-2, 5),
    "normal_": lambda t: t.empty(COUNT).normal_(1, 2),
    "bernoulli_": lambda t: t.empty(COUNT).bernoulli_(0.7),
    "exponential_": lambda t: t.empty(COUNT).exponential_(2.0),
    "geometric_": lambda t: t.empty(COUNT).geometric_(0.3),
    "cauchy_": lambda t: t.empty(COUNT).cauchy_().clamp(-50, 50),
    "log_normal_": lambda t: t.empty(COUNT).log_normal_(0.0, 0.5),
    "random_": lambda t: t.empty(COUNT).random_(0, 10),
    "rand_like": lambda t: t.rand_like(t.empty(COUNT)),
    "randn_like": lambda t: t.randn_like(t.empty(COUNT)),
    "randint_like": lambda t: t.randint_like(t.empty(COUNT), 5),
    "dropout": lambda t: t.nn.functional.dropout(t.ones(COUNT), 0.3),
    "alpha_dropout": lambda t: t.nn.functional.alpha_dropout(t.ones(COUNT), 0.3, training=True),
    "rrelu": lambda t: t.nn.functional.rrelu(-t.ones(COUNT), training=True),
    "gumbel_softmax": lambda t: t.nn.functional.gumbel_softmax(t.zeros(COUNT, 2))[:, 0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_distribution(name):
    """The same range, and deciles as close as two samples of this size are."""
    jtorch.manual_seed(0)
    pytorch.manual_seed(0)
    mine, yours = DRAWS[name](jtorch), DRAWS[name](pytorch)
    assert str(mine.dtype).removeprefix("torch.") == parity.dtype_here(yours.dtype)
    mine, yours = (np.sort(np.round(np.asarray(x.tolist(), np.float64), 5)) for x in (mine, yours))
    assert mine.shape == yours.shape
    places = np.linspace(0.05, 0.95, 10)
    rank = np.abs([np.searchsorted(mine, np.quantile(yours, p), side) / COUNT - np.searchsorted(yours, np.quantile(yours, p), side) / COUNT
                   for p in places for side in ("left", "right")])  # fmt: skip
    assert rank.max() < 4 * np.sqrt(2 * 0.25 / COUNT), f"cumulative distributions differ by {rank.max()}"


def test_permutations_and_draws_without_replacement():
    assert sorted(jtorch.randperm(50).tolist()) == list(range(50))
    drawn = jtorch.multinomial(jtorch.tensor([[0.0, 1.0, 2.0, 3.0]] * 20), 3)
    assert all(sorted(row) == [1, 2, 3] for row in drawn.tolist())


@pytest.mark.parametrize(
    "name, shape",
    [("dropout", (30, 40)), ("dropout1d", (4, 20, 5)), ("dropout2d", (4, 20, 3, 3)), ("dropout3d", (4, 20, 2, 2, 2))],
)
def test_dropout_keeps_scales_and_differentiates(name, shape):
    x = jtorch.ones(*shape, requires_grad=True)
    y = getattr(F, name)(x, 0.25)
    y.sum().backward()
    found = set(np.unique(y.detach().numpy()).tolist())
    assert found == {0.0, float(np.float32(1 / 0.75))}
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())
    if name != "dropout":  # whole channels
        assert np.ptp(y.detach().numpy().reshape(shape[0], shape[1], -1), axis=-1).max() == 0
    assert getattr(F, name)(x, 0.25, training=False).tolist() == x.tolist()


def test_arrays_need_a_key():
    x = jax.numpy.ones(8)
    key = jax.random.key(0)
    assert np.array_equal(F.dropout(x, key=key), F.dropout(x, key=key))
    with jtorch.random.keyed(key):
        first, second = F.dropout(x), F.dropout(x)
    assert not np.array_equal(first, second)
    with jtorch.random.keyed(key):
        assert np.array_equal(F.dropout(x), first)


def test_draw_inside_a_foreign_trace_raises():
    with pytest.raises(RuntimeError, match="key"):
        jax.jit(lambda x: F.dropout(x))(jax.numpy.ones(3))

    def keyed(x, key):
        with jtorch.random.keyed(key):
            return F.dropout(x)

    drawn = [jax.jit(keyed)(jax.numpy.ones(64), jax.random.key(i)) for i in range(2)]
    assert not np.array_equal(*drawn)


def test_random_from_a_negative_number_covers_the_dtype():
    """Also from a key, as in compiled code."""
    fill = jtorch.compile(lambda: [jtorch.zeros(4000, dtype=jtorch.int8).random_(low, None) for low in (-128, -5, 3)])
    for low, drawn in zip((-128, -5, 3), fill(), strict=True):
        assert set(drawn.tolist()) == set(range(low, 128))
    with pytest.raises(RuntimeError, match="from"):
        jtorch.zeros(3, dtype=jtorch.uint8).random_(-1, None)
