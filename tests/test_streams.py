"""The same seed gives PyTorch's numbers: draws, initial weights, states that travel, and whole training runs."""

import numpy as np
import parity
import pytest
import torch

import jtorch

FLOATS = ("float32", "float64", "float16", "bfloat16")
WHOLE = ("int64", "int32", "int16", "int8", "uint8", "bool")


def every(dtypes, draw):
    """A script that draws for each dtype."""
    return lambda t: [draw(t, getattr(t, name)) for name in dtypes]


DRAWS = {
    "rand": every((*FLOATS, "complex64"), lambda t, dtype: t.rand(3, 17, dtype=dtype)),
    "randn": every((*FLOATS, "complex64"), lambda t, dtype: t.randn(3, 17, dtype=dtype)),
    "randn_few": every(FLOATS, lambda t, dtype: [t.randn(5, dtype=dtype), t.randn(2, dtype=dtype)]),
    "randint": every(("int64", "float32"), lambda t, dtype: [t.randint(n, (9,), dtype=dtype) for n in (2, 2**23)]),
    "randint_of_64_bits": lambda t: [t.randint(-n, n, (9,)) for n in (2**26, 2**27, 2**40, 2**62)],
    "randperm": lambda t: [t.randperm(n) for n in (0, 1, 2, 3, 100, 5000)],
    "like": lambda t: [t.rand_like(t.ones(3)), t.randn_like(t.ones(20)), t.randint_like(t.ones(9), 5)],
    "normal": lambda t: [t.normal(1.0, 2.0, (20,)), t.normal(t.arange(20.0), t.full((20,), 0.5))],
    "uniform_": every((*FLOATS, "complex64"), lambda t, dtype: t.empty(500, dtype=dtype).uniform_(-0.123, 0.2)),
    "normal_": every(FLOATS, lambda t, dtype: t.empty(33, dtype=dtype).normal_(1, 0.02)),
    "random_": every((*FLOATS, *WHOLE), lambda t, dtype: t.empty(9).to(dtype).random_()),
    "random_below": lambda t: [t.empty(9).random_(5), t.empty(9, dtype=t.int64).random_(-5, 5)],
    "random_from": every(("int64", "int32", "float32"), lambda t, dtype: t.empty(9).to(dtype).random_(3, None)),
    "random_from_the_lowest": every(
        WHOLE[:4], lambda t, dtype: [t.empty(9).to(dtype).random_(n, None) for n in (t.iinfo(dtype).min, -5)]
    ),
    "bernoulli": every(FLOATS[:2], lambda t, dtype: t.bernoulli(t.full((40,), 0.3, dtype=dtype))),
    "bernoulli_": lambda t: [t.empty(40).bernoulli_(0.3), t.empty(2, 4).bernoulli_(t.full((4,), 0.3))],
    "exponential_": every(FLOATS, lambda t, dtype: t.empty(40, dtype=dtype).exponential_(2.0)),
    "cauchy_": lambda t: t.empty(9).cauchy_(1, 2),
    "log_normal_": lambda t: t.empty(20).log_normal_(0.5, 0.3),
    "geometric_": lambda t: t.empty(40).geometric_(0.2),
    "multinomial": lambda t: [t.multinomial(t.tensor([[0.1, 0.2, 0.7], [1, 0, 1]]), n) for n in (1, 2)],
    "multinomial_again": lambda t: t.multinomial(t.tensor([0.1, 0.2, 0.7]), 30, replacement=True),
    "dropout": lambda t: [t.nn.functional.dropout(t.ones(3, 9), p) for p in (0.1, 0.7)],
    "dropout_of_channels": lambda t: t.nn.functional.dropout2d(t.ones(4, 5, 2, 2), 0.4),
    "alpha_dropout": lambda t: t.nn.functional.alpha_dropout(t.ones(3, 9), 0.4, True),
    "in_memory_order": lambda t: [t.empty(8, 4).t().uniform_(), t.empty(8, 4).t().normal_(), t.zeros(6, 6)[::2].normal_()],
    "by_a_generator": lambda t: [t.rand(3, generator=(g := t.Generator().manual_seed(5))), t.empty(9).normal_(generator=g)],
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_draws(name):
    def script(library):
        library.manual_seed(11)
        return [DRAWS[name](library), library.rand(2)]  # the second tells how much of the stream the first took

    expected, got = script(torch), script(jtorch)
    pairs = zip(parity.tensors(got, jtorch.Tensor), parity.tensors(expected, torch.Tensor), strict=True)
    exact = {} if name == "alpha_dropout" else {"rtol": 4e-16, "atol": 0}  # the logarithms of two C libraries
    for mine, yours in pairs:
        parity.same(mine, yours, name, tolerance=exact)


def _blocks(nn):
    layers = [nn.Conv2d(3, 16, 7, 2, 3, bias=False), nn.BatchNorm2d(16)]
    for before, after in ((16, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(*layers, nn.Linear(64, 10))


MODELS = {
    "Linear": lambda nn: nn.Linear(7, 5),
    "Conv1d": lambda nn: nn.Conv1d(3, 4, 3),
    "Conv3d": lambda nn: nn.Conv3d(2, 4, 2, groups=2),
    "ConvTranspose2d": lambda nn: nn.ConvTranspose2d(3, 4, 3),
    "LSTM": lambda nn: nn.LSTM(5, 6, 2, bidirectional=True, proj_size=3),
    "GRUCell": lambda nn: nn.GRUCell(5, 6),
    "Bilinear": lambda nn: nn.Bilinear(3, 4, 5),
    "Embedding": lambda nn: nn.Embedding(10, 7, padding_idx=2),
    "MultiheadAttention": lambda nn: nn.MultiheadAttention(8, 2, add_bias_kv=True),
    "AdaptiveLogSoftmaxWithLoss": lambda nn: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10]),
    "Transformer": lambda nn: nn.Transformer(16, 4, 1, 1, 32, batch_first=True),
    "residual": _blocks,
}


@pytest.mark.parametrize("name", MODELS)
def test_initial_weights(name):
    for seed in range(10):
        states = []
        for library in (torch, jtorch):
            library.manual_seed(seed)
            states.append(MODELS[name](library.nn).state_dict())
        theirs, ours = states
        assert theirs.keys() == ours.keys()
        for key in theirs:
            assert np.array_equal(theirs[key].numpy(), np.asarray(ours[key])), f"{key} with seed {seed}"


INITIALISERS = ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
                "kaiming_normal_", "orthogonal_", "sparse_", "eye_"]  # fmt: skip


@pytest.mark.parametrize("name", INITIALISERS)
def test_initialisers(name):
    def script(library):
        library.manual_seed(4)
        weight = library.empty(20, 30)
        getattr(library.nn.init, name)(weight, *((0.3,) if name == "sparse_" else ()))
        return [weight, library.rand(2)]

    exact = {} if name == "orthogonal_" else {"rtol": 2.4e-7, "atol": 0}  # 2 ulp
    parity.same(script(jtorch), script(torch), name, tolerance=exact)


def test_states_travel_to_torch_and_back():
    for library in (torch, jtorch):
        library.manual_seed(2**40 + 7)
    assert jtorch.get_rng_state().tolist() == torch.get_rng_state().tolist()
    for count in (3, 700, 20):  # the first leaves a spare normal number
        jtorch.randn(count)
        torch.manual_seed(0)
        torch.set_rng_state(parity.to_torch(jtorch.get_rng_state()))
        state = torch.get_rng_state()
        expected = [torch.randn(2), torch.rand(3)]
        parity.same([jtorch.randn(2), jtorch.rand(3)], expected, "there")
        jtorch.manual_seed(0)
        jtorch.set_rng_state(parity.to_jtorch(state))
        parity.same([jtorch.randn(2), jtorch.rand(3)], expected, "and back")
        assert jtorch.initial_seed() == torch.initial_seed() == 2**40 + 7


def test_a_state_holds_the_key_of_compiled_code_too():
    drop = jtorch.compile(lambda x: jtorch.nn.functional.dropout(x, 0.5))
    drop(jtorch.ones(16))
    with jtorch.random.fork_rng():
        first = drop(jtorch.ones(16)).tolist()
        assert drop(jtorch.ones(16)).tolist() != first
    assert drop(jtorch.ones(16)).tolist() == first


def test_a_damaged_state_is_refused():
    state, before = jtorch.get_rng_state(), jtorch.get_rng_state().tolist()
    for bad, error in ((state[:16], TypeError), (state.to(jtorch.int64), TypeError), (state * 0, RuntimeError)):
        with pytest.raises(error, match="set_state"):
            jtorch.set_rng_state(bad)
    assert jtorch.get_rng_state().tolist() == before


class _Recurrent:
    """An LSTM over a sequence and a layer on its last output, written for either library."""

    def __new__(cls, nn):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm, self.out = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

            def forward(self, x):
                return self.out(self.lstm(x)[0][:, -1])

        return Model()


RUNS = {
    "mlp": (lambda nn: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), (16, 6)),
    "cnn": (lambda nn: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), (16, 1, 8, 8)),
    "lstm": (_Recurrent, (16, 5, 6)),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_training_run_follows_from_the_seed_alone(name):
    make, shape = RUNS[name]

    def losses(library):
        library.manual_seed(1)
        model = make(library.nn)
        optimizer = library.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        data, labels = library.randn(64, *shape[1:]), library.randint(0, 3, (64,))

        def step(x, y):
            optimizer.zero_grad()
            loss = library.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = jtorch.compile(step) if library is jtorch else step
        found = []
        for _ in range(20):
            chosen = library.randperm(64)[: shape[0]]
            found.append(step(data[chosen], labels[chosen]).item())
        return found

    np.testing.assert_allclose(losses(jtorch), losses(torch), rtol=1e-4)
