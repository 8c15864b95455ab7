"""Every algorithm gives torch's parameters and state over many steps, to the last digits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from optim.twins import Twins, leaf

import jtorch
from jtorch import optim
from jtorch.optim import algorithms

EXACT = {"rtol": 1e-12, "atol": 1e-13}


def _combinations(**choices):
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def _label(value):
    return "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


SGD = [
    {"lr": 0.1, **c}
    for c in _combinations(
        momentum=(0, 0.9), dampening=(0, 0.3), weight_decay=(0, 0.1), nesterov=(False, True), maximize=(False, True)
    )
    if not c["nesterov"] or (c["momentum"] and not c["dampening"])
]
ADAM = [{"lr": 0.1, **c} for c in _combinations(weight_decay=(0, 0.1), amsgrad=(False, True), maximize=(False, True))]
OTHER = [
    ("SGD", {}),
    ("Adam", {}),
    ("AdamW", {}),
    ("SGD", {"lr": torch.tensor(0.1), "weight_decay": torch.tensor(0.1)}),
    ("SGD", {"lr": torch.tensor([0.1]), "momentum": 0.9, "foreach": False}),
    ("Adam", {"lr": torch.tensor(0.1, dtype=torch.float64), "eps": 1e-3}),
    ("Adam", {"betas": (0.0, 0.5), "lr": 1}),
    ("Adam", {"betas": tuple(torch.tensor(b, dtype=torch.float64) for b in (0.8, 0.9))}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.2}),
    ("AdamW", {"foreach": True}),
    ("AdamW", {"fused": True, "amsgrad": True}),
    ("SGD", {"fused": True, "momentum": 0.5, "dampening": 0.5}),
]
CASES = [("SGD", s) for s in SGD] + [("Adam", s) for s in ADAM] + [("AdamW", s) for s in ADAM[4:]] + OTHER


@pytest.mark.parametrize("name, settings", CASES, ids=_label)
def test_twenty_steps(name, settings):
    twins = Twins(name, settings)
    twins.step(20)
    twins.check(**EXACT)


@pytest.mark.parametrize("name, settings", [("SGD", {"momentum": 0.9, "dampening": 0.1}), ("Adam", {"amsgrad": True})])
def test_parameters_without_gradient_are_left_alone(name, settings):
    twins = Twins(name, settings)
    for absent in ((1,), (), (0, 3), (), (0, 1, 2, 3), (2,)):
        twins.step(2, absent)
    twins.check(**EXACT)


@pytest.mark.parametrize(
    "name, groups",
    [
        ("SGD", ({"lr": 0.1, "momentum": 0.9}, {"lr": 0.2, "weight_decay": 0.1}, {})),
        ("Adam", ({"lr": 0.1, "betas": (0.5, 0.6)}, {"amsgrad": True, "eps": 1e-4}, {"maximize": True})),
        ("AdamW", ({"weight_decay": 0}, {"lr": 0.3})),
    ],
)
def test_groups_have_settings_of_their_own(name, groups):
    twins = Twins(name, {}, groups)
    twins.step(10)
    for mine, other in zip(twins.ours.param_groups, twins.theirs.param_groups, strict=True):
        mine["lr"] = other["lr"] = other["lr"] / 3
        mine["weight_decay"] = other["weight_decay"] = 0.05
    twins.step(10)
    twins.check(**EXACT)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
@pytest.mark.parametrize(
    "name, settings", [("SGD", {"momentum": 0.9, "lr": 0.1}), ("Adam", {"amsgrad": True}), ("AdamW", {})]
)
def test_dtypes(name, settings, dtype):
    twins = Twins(name, settings, dtype=dtype)
    twins.step(20)
    twins.check(**(EXACT if dtype is np.complex128 else {"rtol": 2e-5, "atol": 2e-6}))


@pytest.mark.x64_off
@pytest.mark.parametrize("name, settings", [("SGD", {"momentum": 0.9}), ("Adam", {"lr": 0.1}), ("AdamW", {"lr": 0.1})])
def test_float32_without_double_precision(name, settings):
    """1 - 0.999**t at the first steps, where float32 alone would be off by 1e-5."""
    twins = Twins(name, settings, dtype=np.float32)
    for _ in range(5):
        twins.step()
        twins.check(rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_sixteen_bits_are_rounded_once(name):
    start, gradients = np.linspace(-1, 1, 7), np.random.default_rng(0).standard_normal((10, 7))
    theirs = torch.tensor(start, dtype=torch.bfloat16, requires_grad=True)
    mine = jtorch.tensor(start, dtype=jtorch.bfloat16, requires_grad=True)
    settings = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    theirs_optimizer = getattr(torch.optim, name)([theirs], fused=True, **settings)
    optimizer = getattr(optim, name)([mine], **settings)
    for gradient in gradients:
        theirs.grad, mine.grad = torch.tensor(gradient).bfloat16(), jtorch.tensor(gradient, dtype=jtorch.bfloat16)
        theirs_optimizer.step()
        optimizer.step()
    assert mine.dtype == jtorch.bfloat16
    got, want = np.asarray(mine.detach().float()), theirs.detach().float().numpy()
    np.testing.assert_allclose(got, want, rtol=2**-7, atol=2**-9)


def test_float32_parameters_stay_in_float32_programs():
    """With x64 on, numbers must not pull the arithmetic of float32 parameters up to float64."""
    p = jtorch.ones(1000, dtype=jtorch.float32, requires_grad=True)
    optimizer = optim.AdamW([p], weight_decay=0.1, amsgrad=True)
    p.grad = jtorch.ones(1000, dtype=jtorch.float32)
    optimizer.step()
    (plan,) = optimizer._last_plan.parts
    arrays = [[t._value() for t in tensors] for tensors in ([p], [p.grad], plan.states)]
    text = plan.program.call.lower(*arrays, optimizer._values(plan)).as_text()
    assert "tensor<1000xf32>" in text
    assert "tensor<1000xf64>" not in text


@pytest.mark.parametrize(
    "name, settings, steps",
    [("SGD", {"momentum": 0.9}, 3), ("SGD", {"weight_decay": 0.1}, 3), ("Adam", {"weight_decay": 0.1}, 1)],
)
def test_differentiable_steps_give_gradients_through_them(name, settings, steps):
    """One step of Adam, for torch cannot go back through more; and there it has float32 for the bias correction."""
    start, gradient = np.array([1.0, -2.0, 3.0]), np.array([0.3, 0.2, -0.4])
    found = []
    for library, module in ((torch, torch.optim), (jtorch, optim)):
        origin, rate = library.tensor(start, requires_grad=True), library.tensor(gradient, requires_grad=True)
        p = origin.clone()
        optimizer = getattr(module, name)([p], lr=0.1, differentiable=True, **settings)
        for _ in range(steps):
            p.grad = rate * origin
            optimizer.step()
        (p * library.tensor(start)).backward(library.tensor(np.ones(3)))
        found.append([np.asarray(x.detach()) for x in (p, origin.grad, rate.grad)])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, **(EXACT if name == "SGD" else {"rtol": 2e-6, "atol": 1e-8}))


def test_differentiable_step_refuses_leaves():
    p = leaf(np.ones(2))
    p.grad = jtorch.ones(2)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        optim.SGD([p], differentiable=True).step()


def test_transformations_work_on_any_tree():
    """In plain JAX, on a whole tree; torch's Adam is the same as Optax's where its correction has its digits."""
    first, second = (algorithms.Decay(b, 1 - b) for b in (0.9, 0.999))
    chain = optax.chain(algorithms.scale_by_adam(first, second, 1e-8), optax.scale_by_learning_rate(0.1))
    reference = optax.adam(0.1)
    params = other = {"a": jnp.ones(3), "b": [jnp.zeros((2, 2))]}
    state, other_state = chain.init(params), reference.init(params)
    for _ in range(3):
        gradients = jax.tree.map(lambda x: 2 * x + 0.1, params)
        updates, state = jax.jit(chain.update)(gradients, state)
        params = optax.apply_updates(params, updates)
        updates, other_state = reference.update(gradients, other_state)
        other = optax.apply_updates(other, updates)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), params, other)


def test_from_optax():
    transform = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))
    start = [np.ones(3), np.zeros((2, 2))]
    mine, arrays = [leaf(x) for x in start], [jnp.asarray(x) for x in start]
    optimizer, state = optim.from_optax(transform, mine), transform.init(arrays)
    for i in range(5):
        gradients = [jnp.asarray(x) + i for x in start]
        updates, state = transform.update(gradients, state, arrays)
        arrays = optax.apply_updates(arrays, updates)
        for p, gradient in zip(mine, gradients, strict=True):
            p.grad = jtorch.tensor(gradient)
        optimizer.step()
        if i == 2:
            saved = optimizer.state_dict()
            optimizer = optim.from_optax(transform, mine)
            optimizer.load_state_dict(saved)
    for p, array in zip(mine, arrays, strict=True):
        np.testing.assert_allclose(np.asarray(p.detach()), array, rtol=1e-12)
    mine[1].grad = None
    with pytest.raises(RuntimeError, match="expected a gradient for every parameter, got None for parameter 1"):
        optimizer.step()
