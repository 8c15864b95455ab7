"""Recurrent layers beside torch's: packed batches, all options, gradients, dropout, compiled and under JAX, errors."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import parity
import pytest
import torch
from flax import nnx

import jtorch

KINDS = ("RNN", "LSTM", "GRU")
LENGTHS = (2, 5, 3, 5)


def pair(kind, *args, dtype="float32", **options):
    """(ours, theirs) with the same weights."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(*args, **options).to(getattr(torch, dtype))
    ours = getattr(jtorch.nn, kind)(*args, **options).to(getattr(jtorch, dtype))
    ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))
    return ours, theirs


def given(*shape, dtype=torch.float32, seed=0):
    """Numbers that require gradients."""
    values = np.random.default_rng(seed).uniform(-1, 1, shape)
    return torch.tensor(values, dtype=dtype).requires_grad_()


def states_for(module, count, **options):
    """First states that fit a module of torch's."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    h = given(rows, count, module.proj_size or module.hidden_size, seed=1, **options)
    return (h, given(rows, count, module.hidden_size, seed=2, **options)) if module.mode == "LSTM" else h


def parameter_gradients(module):
    """What `backward` left on the parameters."""
    return [p.grad for p in module.parameters()]


def step(library, module, lengths=None, batch_first=False, enforce_sorted=False):
    """A function that runs a module, on a packed batch if there are lengths, and gives outputs and weight gradients."""
    rnn = library.nn.utils.rnn

    def run(x, hx=None):
        if lengths is not None:
            x = rnn.pack_padded_sequence(x, lengths, batch_first, enforce_sorted)
        out, last = module(x, hx)
        padded = rnn.pad_packed_sequence(out, batch_first, 2.0) if lengths is not None else out
        module.zero_grad()
        whole = [out.data if lengths is not None else out, *(last if isinstance(last, tuple) else (last,))]
        sum((each**2).sum() for each in whole).backward(retain_graph=True)
        return out, padded, last, parameter_gradients(module)

    return run


OPTIONS = [
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "bias": False, "batch_first": True},
    {"bidirectional": True, "batch_first": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o))
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_options(kind, packed, options):
    ours, theirs = pair(kind, 3, 4, **options)
    shape = (4, 6, 3) if options.get("batch_first") else (6, 4, 3)
    lengths = LENGTHS if packed else None
    mine, yours = (step(lib, m, lengths, m.batch_first) for lib, m in ((jtorch, ours), (torch, theirs)))
    parity.check(mine, yours, given(*shape), states_for(theirs, 4))


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_projection(packed):
    ours, theirs = pair("LSTM", 3, 5, num_layers=2, bidirectional=True, proj_size=2)
    mine, yours = (step(lib, m, LENGTHS if packed else None) for lib, m in ((jtorch, ours), (torch, theirs)))
    parity.check(mine, yours, given(6, 4, 3), states_for(theirs, 4))
    parity.check(mine, yours, given(6, 4, 3))


def test_relu_and_sorted():
    ours, theirs = pair("RNN", 3, 4, nonlinearity="relu", bidirectional=True)
    lengths = sorted(LENGTHS, reverse=True)
    mine, yours = (step(lib, m, lengths, enforce_sorted=True) for lib, m in ((jtorch, ours), (torch, theirs)))
    parity.check(mine, yours, given(6, 4, 3))


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(kind, dtype):
    """16-bit results are as near to the exact ones as torch's are."""
    ours, theirs = pair(kind, 3, 4, num_layers=2, dtype=dtype)
    exact = getattr(torch.nn, kind)(3, 4, num_layers=2, dtype=torch.float64)
    exact.load_state_dict({k: v.double() for k, v in theirs.state_dict().items()})
    x = given(6, 4, 3, dtype=getattr(torch, dtype))
    mine, yours, best = (
        step(lib, m)(value)
        for lib, m, value in (
            (jtorch, ours, parity.to_jtorch(x)),
            (torch, theirs, parity.fresh(x)),
            (torch, exact, x.detach().double().requires_grad_()),
        )
    )
    for m, y, b in zip(*(parity.tensors(r, lib.Tensor) for r, lib in ((mine, jtorch), (yours, torch), (best, torch))), strict=True):  # fmt: skip
        assert str(m.dtype) == str(y.dtype)
        off, allowed = (parity.to_torch(m.detach()).double() - b).abs().max(), (y.detach().double() - b).abs().max()
        assert off <= 2 * allowed + 1e-12


def test_second_derivatives_and_forward_mode():
    ours, theirs = pair("LSTM", 2, 3, bidirectional=True, proj_size=2, dtype="float64")
    x = given(4, 2, 2, dtype=torch.float64)
    parity.check_second_order(lambda x: ours(x)[0], lambda x: theirs(x)[0], x, kwargs={}, tolerance={})
    for kind in KINDS:
        ours, _ = pair(kind, 2, 3, dtype="float64")
        array = jnp.asarray(x.detach().numpy())
        f = lambda a, m=ours: (m(a)[0] ** 2).sum()
        forward = jax.jvp(f, (array,), (jnp.ones_like(array),))[1]
        np.testing.assert_allclose(forward, jax.grad(f)(array).sum(), rtol=1e-10)
        np.testing.assert_allclose(jax.hessian(f)(array), jax.jacrev(jax.grad(f))(array), rtol=1e-9, atol=1e-12)


def test_state_dicts_are_exchanged():
    for kind in KINDS:
        ours, theirs = pair(kind, 3, 4, 2, bidirectional=True)
        x = given(5, 2, 3).detach()
        back = getattr(torch.nn, kind)(3, 4, 2, bidirectional=True)
        back.load_state_dict({k: parity.to_torch(v) for k, v in ours.state_dict().items()})
        expected = theirs(x)[0].detach()
        np.testing.assert_allclose(ours(parity.to_jtorch(x))[0].detach().numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(back(x)[0].detach(), expected, atol=1e-7)


def test_members():
    ours, theirs = pair("LSTM", 3, 4, 2, bidirectional=True, proj_size=2)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [[w.shape for w in ws] for ws in ours.all_weights] == [[w.shape for w in ws] for ws in theirs.all_weights]
    assert ours._flat_weights_names == theirs._flat_weights_names
    assert ours.flatten_parameters() is None
    ours.weight_hh_l0 = jtorch.nn.Parameter(jtorch.zeros(16, 2))
    assert ours._flat_weights[1] is ours.weight_hh_l0
    ours._flat_weights = list(ours.parameters())


# dropout


def test_dropout_between_layers():
    jtorch.manual_seed(0)
    module = jtorch.nn.LSTM(4, 50, 2, dropout=0.4)
    with jtorch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.weight_ih_l0.fill_(0.1)
        module.weight_ih_l1[:50] = jtorch.eye(50) * 40  # the input gate of the second layer tells what got through
        module.bias_ih_l1[100:150] = 5
    x = jtorch.ones(1, 400, 4)
    first, second = module(x)[0], module(x)[0]
    assert (first != second).any()
    levels, counts = np.unique(first.detach().numpy().round(3), return_counts=True)
    assert len(levels) == 2
    assert abs(counts[0] / counts.sum() - 0.4) < 0.02
    assert (module.eval()(x)[0] == module(x)[0]).all()


def test_dropout_of_one_and_in_one_layer():
    ours, theirs = pair("GRU", 3, 4, 2, dropout=1.0)
    parity.check(step(jtorch, ours), step(torch, theirs), given(5, 2, 3))
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        jtorch.nn.GRU(3, 4, dropout=0.5)


def test_dropout_is_torchs_in_evaluation():
    ours, theirs = pair("LSTM", 3, 4, 2, dropout=0.9)
    ours.eval(), theirs.eval()
    parity.check(step(jtorch, ours), step(torch, theirs), given(5, 2, 3))


# compiled and under JAX


def sequences():
    return [jtorch.tensor(given(n, 3, seed=n).detach().numpy()) for n in LENGTHS]


def test_compiled_step_on_packed_sequences():
    module, _ = pair("LSTM", 3, 4, 2, bidirectional=True)
    rnn = jtorch.nn.utils.rnn

    def train(*parts):
        packed = rnn.pack_sequence(parts, enforce_sorted=False)
        out, _ = module(packed)
        padded, lengths = rnn.pad_packed_sequence(out)
        (padded**2).sum().backward()
        return padded.detach(), lengths, packed.batch_sizes + 1

    expected = train(*sequences())
    gradients = parameter_gradients(module)
    module.zero_grad()
    got = jtorch.compile(train)(*sequences())
    for m, y in zip((*got, *parameter_gradients(module)), (*expected, *gradients), strict=True):
        np.testing.assert_allclose(m.numpy(), y.numpy(), rtol=1e-5, atol=1e-6)


def test_packed_sequence_goes_through_compiled_functions():
    module, _ = pair("GRU", 3, 4)
    rnn = jtorch.nn.utils.rnn
    packed = rnn.pack_sequence(sequences(), enforce_sorted=False)
    expected, _ = module(packed)
    forward = jtorch.compile(lambda p: (module(p)[0], p.batch_sizes * 2))
    for _ in range(2):
        got, doubled = forward(packed)
        assert type(got) is rnn.PackedSequence
        assert got.batch_sizes.tolist() == packed.batch_sizes.tolist() == (doubled // 2).tolist()
        np.testing.assert_allclose(got.data.detach().numpy(), expected.data.detach().numpy(), atol=1e-6)
    assert forward.traces == 1
    got.data.sum().backward()
    assert module.weight_hh_l0.grad is not None
    forward(rnn.pack_sequence(sequences()[:3], enforce_sorted=False))
    assert forward.traces == 2
    with pytest.raises(RuntimeError, match="expected lengths whose values are known"):
        jtorch.compile(rnn.pack_padded_sequence)(jtorch.zeros(3, 2, 1), jtorch.tensor([3, 2]))


def test_arrays_under_jax():
    module, _ = pair("LSTM", 3, 4, 2, bidirectional=True)
    rnn = jtorch.nn.utils.rnn
    tensors = rnn.pack_sequence(sequences(), enforce_sorted=False)
    arrays = rnn.pack_sequence([s.jax() for s in sequences()], enforce_sorted=False)
    assert isinstance(arrays.data, jax.Array) and isinstance(arrays.sorted_indices, jax.Array)
    expected = module(tensors)[0].data.detach().numpy()
    for got in (
        module(arrays)[0],
        jax.jit(lambda p: module(p)[0])(arrays),
        nnx.jit(lambda m, p: m(p)[0])(module, arrays),
    ):
        assert type(got) is rnn.PackedSequence and isinstance(got.data, jax.Array)
        np.testing.assert_allclose(got.data, expected, atol=1e-6)
    padded, lengths = rnn.pad_packed_sequence(got)
    assert padded.shape == (5, 4, 8) and lengths.tolist() == list(LENGTHS)
    batch = jnp.ones((3, 5, 2, 3), np.float32)
    np.testing.assert_allclose(jax.vmap(lambda x: module(x)[0])(batch)[1], module(batch[1])[0], atol=1e-6)


def test_nnx_draws_afresh_and_learns():
    module = jtorch.nn.GRU(3, 4, 2, dropout=0.5)
    x = jnp.ones((5, 2, 3), np.float32)
    call = nnx.jit(lambda m: m(x)[0])
    assert (call(module) != call(module)).any()
    module.eval()
    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)

    @nnx.jit
    def learn(module, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: (m(x)[0] ** 2).mean())(module)
        optimizer.update(module, grads)
        return loss

    assert learn(module, optimizer) > learn(module, optimizer)


def test_one_program_whatever_the_length():
    """The traced program of a long sequence is as large as that of a short one."""
    module, _ = pair("LSTM", 3, 4, 2, bidirectional=True)
    sizes = [
        str(jax.make_jaxpr(lambda x: module(x)[0])(jnp.zeros((n, 1, 3), np.float32))).count("\n") for n in (5, 500)
    ]
    assert sizes[0] == sizes[1]


# functions


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_functions(name):
    kind = {"lstm": "LSTM", "gru": "GRU"}.get(name, "RNN")
    _, theirs = pair(kind, 3, 4, 2, bidirectional=True)
    params = [p.detach().requires_grad_() for p in theirs.parameters()]
    x, hx = given(5, 2, 3), states_for(theirs, 2)
    settings = (params, True, 2, 0.0, False, True)
    parity.check(getattr(jtorch, name), getattr(torch, name), x, hx, *settings, False)
    data, sizes = given(7, 3), torch.tensor([2, 2, 2, 1])
    parity.check(getattr(jtorch, name), getattr(torch, name), data, sizes, hx, *settings)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(kind):
    for bias, shape in itertools.product((True, False), ((3,), (2, 3))):
        ours, theirs = pair(kind, 3, 4, bias=bias)
        hx = given(*shape[:-1], 4, seed=1)
        hx = (hx, given(*shape[:-1], 4, seed=2)) if kind == "LSTMCell" else hx
        parity.check(ours, theirs, given(*shape), hx)
        parity.check(ours, theirs, given(*shape))
        assert repr(ours) == repr(theirs)


# packing


@pytest.mark.parametrize("batch_first", [False, True])
def test_packing(batch_first):
    for lengths, is_sorted in (((5, 5, 3, 2), True), (LENGTHS, False)):
        x = given(4, 6, 2) if batch_first else given(6, 4, 2)

        def there_and_back(lib, x, lengths=lengths, is_sorted=is_sorted):
            rnn = lib.nn.utils.rnn
            packed = rnn.pack_padded_sequence(x, lib.tensor(lengths), batch_first, is_sorted)
            padded = [
                *rnn.pad_packed_sequence(packed, batch_first),
                *rnn.pad_packed_sequence(packed, not batch_first, -1.0, 8),
            ]
            return tuple(packed), padded, rnn.unpack_sequence(packed), rnn.invert_permutation(packed.sorted_indices)

        parity.check(lambda x: there_and_back(jtorch, x), lambda x: there_and_back(torch, x), x)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(side):
    parts = [given(n, 2, seed=n) for n in (3, 5, 1)]
    for batch_first in (False, True):

        def padded(lib, *parts, batch_first=batch_first):
            rnn = lib.nn.utils.rnn
            out = rnn.pad_sequence(parts, batch_first, 0.5, side)
            return out, rnn.unpad_sequence(out.clone(), lib.tensor([3, 5, 1]), batch_first), rnn.pad_sequence(out)

        parity.check(lambda *p: padded(jtorch, *p), lambda *p: padded(torch, *p), *parts)
    numbers = [torch.arange(3), torch.arange(2)]
    parity.check(
        lambda *p: jtorch.nn.utils.rnn.pack_sequence(p), lambda *p: torch.nn.utils.rnn.pack_sequence(p), *numbers
    )


def test_packed_sequence_is_torchs():
    def looks(lib):
        rnn = lib.nn.utils.rnn
        packed = rnn.pack_sequence([lib.tensor([1.0]), lib.tensor([2.0, 3.0])], enforce_sorted=False)
        again = rnn.PackedSequence(packed.data, packed.batch_sizes, packed.sorted_indices)
        return (
            repr(packed), isinstance(packed, tuple), packed.to(lib.float32) is packed, packed.cpu() is packed,
            [getattr(packed, n)().data for n in ("double", "float", "half", "long", "int", "short", "char", "byte")],
            packed.is_cuda, packed.is_pinned(), tuple(again), tuple(packed._replace(data=lib.ones(3))),
            tuple(packed.to(lib.int64)), packed._fields,
        )  # fmt: skip

    parity.agree(looks)


# errors

ERRORS = {
    "lengths of zero": lambda lib: pack(lib, lib.zeros(4, 3, 2), [4, 3, 0]),
    "not sorted": lambda lib: pack(lib, lib.zeros(4, 3, 2), [3, 4, 1]),
    "too few lengths": lambda lib: pack(lib, lib.zeros(4, 3, 2), [3, 2]),
    "one dimension": lambda lib: pack(lib, lib.zeros(4), [3]),
    "nothing": lambda lib: pack(lib, lib.zeros(4, 0, 2), []),
    "lengths in two dimensions": lambda lib: pack(lib, lib.zeros(4, 3, 2), lib.tensor([[3, 2, 1]])),
    "no sequence": lambda lib: lib.nn.utils.rnn.pad_sequence(3),
    "no sequences": lambda lib: lib.nn.utils.rnn.pad_sequence([]),
    "other sizes": lambda lib: lib.nn.utils.rnn.pad_sequence([lib.zeros(2, 3), lib.zeros(2, 4)]),
    "no length": lambda lib: lib.nn.utils.rnn.pad_sequence([lib.tensor(1.0)]),
    "no side": lambda lib: lib.nn.utils.rnn.pad_sequence([lib.zeros(2)], padding_side="up"),
    "too short": lambda lib: lib.nn.utils.rnn.pad_packed_sequence(packed(lib), total_length=1),
    "growing": lambda lib: lib.nn.utils.rnn.pad_packed_sequence(
        lib.nn.utils.rnn.PackedSequence(lib.zeros(5, 2), lib.tensor([2, 3]))
    ),
    "fewer data": lambda lib: lib.nn.LSTM(2, 3)(lib.nn.utils.rnn.PackedSequence(lib.zeros(5, 2), lib.tensor([3, 3]))),
    "other packed size": lambda lib: lib.nn.GRU(4, 3)(packed(lib)),
    "one number": lambda lib: lib.nn.LSTM(2, 3)(lib.zeros(2)),
    "four dimensions": lambda lib: lib.nn.RNN(2, 3)(lib.zeros(1, 1, 1, 2)),
    "other size": lambda lib: lib.nn.LSTM(2, 3)(lib.zeros(4, 1, 3)),
    "no times": lambda lib: lib.nn.GRU(2, 3)(lib.zeros(0, 2, 2)),
    "other dtype": lambda lib: lib.nn.GRU(2, 3)(lib.zeros(4, 1, 2, dtype=lib.float16)),
    "states of two dimensions": lambda lib: lib.nn.GRU(2, 3)(lib.zeros(4, 1, 2), lib.zeros(1, 3)),
    "states of three dimensions": lambda lib: lib.nn.RNN(2, 3)(lib.zeros(4, 2), lib.zeros(1, 1, 3)),
    "pair of three dimensions": lambda lib: lib.nn.LSTM(2, 3)(lib.zeros(4, 2), (lib.zeros(1, 1, 3),) * 2),
    "other states": lambda lib: lib.nn.GRU(2, 3)(lib.zeros(4, 1, 2), lib.zeros(2, 1, 3)),
    "other cell states": lambda lib: lib.nn.LSTM(2, 3, proj_size=1)(lib.zeros(4, 1, 2), (lib.zeros(1, 1, 1),) * 2),
    "hidden size": lambda lib: lib.nn.LSTM(2, 0),
    "hidden type": lambda lib: lib.nn.LSTM(2, 1.5),
    "input size": lambda lib: lib.nn.GRU(0, 2),
    "layers": lambda lib: lib.nn.GRU(1, 2, 0),
    "bias": lambda lib: lib.nn.GRU(1, 2, bias=1),
    "batch_first": lambda lib: lib.nn.GRU(1, 2, batch_first=1),
    "dropout": lambda lib: lib.nn.GRU(1, 2, dropout=1.5),
    "dropout of True": lambda lib: lib.nn.GRU(1, 2, dropout=True),
    "projection": lambda lib: lib.nn.LSTM(1, 2, proj_size=2),
    "negative projection": lambda lib: lib.nn.LSTM(1, 2, proj_size=-1),
    "projected GRU": lambda lib: lib.nn.GRU(1, 2, proj_size=1),
    "projected RNN": lambda lib: lib.nn.RNN(1, 2, proj_size=1),
    "nonlinearity": lambda lib: lib.nn.RNN(1, 2, nonlinearity="gelu"),
}
OTHER_WORDS = {
    "one dimension", "nothing", "lengths in two dimensions", "other sizes", "no length", "growing", "fewer data",
    "other packed size", "not sorted", "no sequence",
}  # fmt: skip


def pack(lib, *args):
    return lib.nn.utils.rnn.pack_padded_sequence(*args)


def packed(lib):
    return lib.nn.utils.rnn.pack_sequence([lib.zeros(2, 2), lib.zeros(1, 2)])


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parity.agree(ERRORS[name], text=name not in OTHER_WORDS)


def test_a_length_beyond_the_padding_is_an_error():
    with pytest.raises(RuntimeError, match="expected lengths of at most 4"):
        pack(jtorch, jtorch.zeros(4, 2, 1), [5, 2])
