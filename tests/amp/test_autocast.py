"""autocast as context and decorator: its state, its gradients, under compile, on plain arrays, and custom Functions."""

import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jtorch
import jtorch.nn.functional as F
from jtorch.ops import _autocast


def _dtypes(lib):
    """What functions see of nested regions, and what products give in them."""
    x, found = lib.ones(2, 2, dtype=lib.float32), []

    def note():
        seen = lib.is_autocast_enabled("cpu"), lib.get_autocast_dtype("cpu"), lib.is_autocast_cache_enabled()
        found.append([str(v) for v in (*seen, lib.mm(x, x).dtype, lib.mm(x, x, out=lib.empty(2, 2)).dtype)])

    @lib.autocast("cpu", dtype=lib.float16)
    def decorated():
        note()

    note()
    with lib.autocast("cpu"):
        note()
        decorated()
        with lib.autocast("cpu", enabled=False, cache_enabled=False):
            note()
        with lib.autocast(device_type="cpu", dtype=lib.float16):
            note()
        note()
    note()
    lib.set_autocast_enabled("cpu", True)
    lib.set_autocast_dtype("cpu", lib.float16)
    note()
    lib.set_autocast_enabled("cpu", False)
    lib.set_autocast_dtype("cpu", lib.bfloat16)
    return found


def test_regions_nest_as_torchs():
    with jtorch.no_grad(), torch.no_grad():
        assert _dtypes(jtorch) == _dtypes(torch)


def _calls(lib):
    a = lib.ones(3, 3, dtype=lib.float32)
    h, b, d = a.half(), a.bfloat16(), a.double()
    return {
        "half among the widest": lambda: lib.cat([b, h]),
        "float32 first": lambda: lib.stack([a, h]),
        "doubles": lambda: lib.mm(d, d),
        "doubles among the widest": lambda: lib.cat([d, b]),
        "integers": lambda: lib.mm(a.int(), a.int()),
        "mixed": lambda: lib.mm(d, a),
        "float16": lambda: lib.mm(h, h),
        "prod": lambda: b.prod(),
        "prod with a dtype": lambda: a.prod(dtype=lib.bfloat16),
        "in place": lambda: a.clone().addmm_(a, a),
        "in place, mixed": lambda: a.clone().addmm_(b, a),
        "method": lambda: a.matmul(b),
        "operator": lambda: a @ b,
        "doubles in a loss": lambda: lib.nn.functional.mse_loss(d, d),
    }


@pytest.mark.parametrize("name", _calls(torch))
def test_what_is_cast(name):
    outcomes = []
    for lib in (torch, jtorch):
        with lib.autocast("cpu"):
            try:
                outcomes.append(str(_calls(lib)[name]().dtype))
            except RuntimeError:
                outcomes.append("RuntimeError")
    assert outcomes[1] == outcomes[0]


def test_refused_on_a_gpu(monkeypatch):
    monkeypatch.setattr(_autocast, "_device_of", lambda values: "cuda")
    _autocast.running.set("cuda", enabled=True)
    try:
        with pytest.raises(RuntimeError, match=r"binary_cross_entropy\(\): expected a call outside autocast"):
            F.binary_cross_entropy(jtorch.ones(2), jtorch.ones(2))
    finally:
        _autocast.running.set("cuda", enabled=False)


def test_gradients_are_those_of_torch_in_the_dtypes_of_the_parameters():
    grads = []
    for lib in (torch, jtorch):
        w = lib.arange(6, dtype=lib.float32).reshape(2, 3).requires_grad_()
        x = lib.ones(4, 3, dtype=lib.float32)
        with lib.autocast("cpu"):
            loss = lib.nn.functional.mse_loss(lib.nn.functional.linear(x, w), lib.zeros(4, 2, dtype=lib.float32))
        loss.backward()
        assert loss.dtype == lib.float32 and w.grad.dtype == lib.float32
        grads.append(np.asarray(w.grad.tolist()))
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-2)


def test_plain_arrays_and_second_gradients():
    @jax.jit
    def loss(w, x):
        with jtorch.autocast("cpu"):
            return F.mse_loss(F.linear(x, w), jnp.zeros((4, 2), jnp.float32))

    w, x = jnp.ones((2, 3), jnp.float32), jnp.ones((4, 3), jnp.float32)
    assert jax.grad(loss)(w, x).dtype == w.dtype
    with jtorch.autocast("cpu"):
        assert F.linear(x, w).dtype == jax.vmap(lambda row: F.linear(row, w))(x).dtype == jnp.bfloat16
    t = jtorch.ones(3, 3, requires_grad=True)
    with jtorch.autocast("cpu"):
        out = (t @ t).float().pow(2).sum()
    (first,) = jtorch.autograd.grad(out, t, create_graph=True)
    (second,) = jtorch.autograd.grad(first.sum(), t)
    assert first.dtype == second.dtype == t.dtype and second.sum().item() > 0


def test_compiled_functions_follow_the_region():
    product = jtorch.compile(lambda a: a @ a)
    a = jtorch.ones(2, 2, requires_grad=True)
    for _ in range(2):
        assert product(a).dtype == a.dtype
        with jtorch.autocast("cpu"):
            out = product(a)
        assert out.dtype == jtorch.bfloat16
        out.sum().backward()
        with jtorch.autocast("cpu", dtype=jtorch.float16):
            assert product(a).dtype == jtorch.float16
    assert product.traces == 3 and a.grad.dtype == a.dtype


def test_off_costs_nothing_to_speak_of(compilations):
    """No program is made anew by a region around, and those of ops on no list are the same inside."""
    a = jtorch.ones(2, 2)
    (a @ a, a + a)
    with jtorch.autocast("cpu"):
        a @ a
        assert compilations(lambda: (a + a)._value()) == 0
    assert compilations(lambda: ((a @ a)._value(), (a + a)._value())) == 0


def test_each_thread_has_its_own():
    found = []
    with jtorch.autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(jtorch.is_autocast_enabled("cpu")))
        thread.start()
        thread.join()
    assert found == [False]


def test_an_error_inside_ends_the_region():
    with pytest.raises(ZeroDivisionError), jtorch.autocast("cpu"):
        1 / 0  # noqa: B018
    assert not jtorch.is_autocast_enabled("cpu")


MISTAKES = {
    "device": lambda lib: lib.autocast("nowhere"),
    "no device": lambda lib: lib.autocast(3),
    "no function": lambda lib: lib.autocast("cpu")(3),
    "state of what": lambda lib: lib.is_autocast_enabled(3),
    "dtype of what": lambda lib: lib.get_autocast_dtype("nowhere"),
    "forward": lambda lib: lib.amp.custom_fwd(device_type=3),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    outcomes = []
    for lib in (torch, jtorch):
        with pytest.raises(Exception) as caught:
            MISTAKES[name](lib)
        outcomes.append(caught.type)
    assert outcomes[0] is outcomes[1] or issubclass(outcomes[0], AttributeError)


OLD = {
    "autocast": lambda lib: lib.cpu.amp.autocast(),
    "cuda autocast": lambda lib: lib.cuda.amp.autocast(enabled=False),
    "scaler": lambda lib: lib.cuda.amp.GradScaler(enabled=False),
    "forward": lambda lib: lib.cuda.amp.custom_fwd(lambda ctx: None),
    "backward": lambda lib: lib.cuda.amp.custom_bwd(lambda ctx: None),
    "enabled": lambda lib: lib.is_autocast_cpu_enabled(),
    "dtype": lambda lib: lib.get_autocast_gpu_dtype(),
    "set": lambda lib: lib.set_autocast_cpu_dtype(lib.bfloat16),
    "float32": lambda lib: lib.autocast("cpu", dtype=lib.float32),
    "no gpu": lambda lib: lib.autocast("cuda"),
}


@pytest.mark.parametrize("name", OLD)
def test_warnings(name):
    kinds = []
    for lib in (torch, jtorch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            OLD[name](lib)
        kinds.append([w.category for w in caught])
    assert kinds[1] == kinds[0] != []


def _function(lib, cast_inputs):
    """A product with a backward of its own; notes the dtypes that it sees."""
    seen = []

    class Product(lib.autograd.Function):
        @staticmethod
        @lib.amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs and getattr(lib, cast_inputs))
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            out = a.mm(b)
            seen.append((str(a.dtype), str(out.dtype), lib.is_autocast_enabled("cpu")))
            return out

        @staticmethod
        @lib.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            seen.append((str(g.dtype), str(g.mm(g).dtype), lib.is_autocast_enabled("cpu")))
            return g.float() @ b.float().T, a.float().T @ g.float()

    for on in (True, False):
        a, b = (lib.ones(2, 2, dtype=lib.float32).requires_grad_() for _ in range(2))
        with lib.autocast("cpu", enabled=on):
            out = Product.apply(a, b)
        out.sum().backward()
        seen.append((str(out.dtype), str(a.grad.dtype), a.grad.tolist()))
    return seen


@pytest.mark.parametrize("cast_inputs", [None, "float32", "bfloat16"])
def test_functions(cast_inputs):
    assert _function(jtorch, cast_inputs) == _function(torch, cast_inputs)


LAYERS = {
    "LSTM": (lambda nn: nn.LSTM(3, 4), (5, 2, 3), 1),
    "GRU": (lambda nn: nn.GRU(3, 4), (5, 2, 3), 1),
    "RNN": (lambda nn: nn.RNN(3, 4), (5, 2, 3), 1),
    "GRUCell": (lambda nn: nn.GRUCell(3, 4), (2, 3), 1),
    "attention": (lambda nn: nn.MultiheadAttention(4, 2), (3, 2, 4), 3),
    "encoder": (lambda nn: nn.TransformerEncoderLayer(4, 2, 8), (3, 2, 4), 1),
    "batch norm": (lambda nn: nn.BatchNorm2d(3), (2, 3, 4, 4), 1),
    "layer norm": (lambda nn: nn.LayerNorm(4), (3, 4), 1),
}


def _layer(lib, name, dtype):
    make, shape, count = LAYERS[name]
    layer = make(lib.nn).float()
    with lib.autocast("cpu"):
        out = layer(*[lib.ones(*shape, dtype=getattr(lib, dtype))] * count)
    outs = out if isinstance(out, tuple) else (out,)
    outs[0].float().sum().backward()
    return [str(x.dtype) for x in (*outs[:1], *(p.grad for p in layer.parameters()))]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype):
    try:
        theirs = _layer(torch, name, dtype)
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        pytest.skip(f"torch has no 16-bit form of it for this processor: {str(error).splitlines()[0]}")
    assert _layer(jtorch, name, dtype) == theirs
