"""The contract of optimizers: groups, checks, state in and out, hooks, closures, and classes that users write."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from optim.twins import Twins, leaf, ours, theirs

import jtorch
from jtorch import optim

LIBRARIES = ((torch, torch.optim), (jtorch, optim))


def _param(library, shape=(2,)):
    return library.tensor(np.ones(shape), requires_grad=True)


def _outcome(call, *args):
    """What a call raises, as (exception type, message), or None."""
    try:
        call(*args)
    except Exception as error:
        return type(error), str(error)
    return None


# checks

BAD_SETTINGS = [
    ("SGD", {"lr": -1}),
    ("SGD", {"momentum": -0.1}),
    ("SGD", {"weight_decay": -0.1}),
    ("SGD", {"nesterov": True}),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
    ("SGD", {"fused": True, "foreach": True}),
    ("SGD", {"fused": True, "differentiable": True}),
    ("SGD", {"lr": torch.ones(2)}),
    ("Adam", {"lr": -1}),
    ("Adam", {"eps": -1}),
    ("Adam", {"betas": (1.0, 0.9)}),
    ("Adam", {"betas": (0.9, -0.1)}),
    ("Adam", {"betas": (0, 0.9)}),
    ("Adam", {"betas": (torch.tensor(0.9), 0.9)}),
    ("Adam", {"weight_decay": -1}),
    ("Adam", {"lr": torch.tensor(0.1), "foreach": True}),
    ("Adam", {"lr": torch.ones(2)}),
    ("Adam", {"betas": (torch.tensor(0.9), torch.tensor(0.9)), "foreach": True}),
    ("Adam", {"fused": True, "foreach": True}),
    ("AdamW", {"fused": True, "differentiable": True}),
    ("AdamW", {"weight_decay": -1.0}),
]


@pytest.mark.parametrize("name, settings", BAD_SETTINGS, ids=str)
def test_bad_settings(name, settings):
    want = _outcome(lambda: getattr(torch.optim, name)([_param(torch)], **settings))
    assert want is not None
    assert _outcome(lambda: getattr(optim, name)([_param(jtorch)], **ours(settings))) == want


@pytest.mark.parametrize(
    ("name", "settings", "error"),
    [
        ("AdamW", {"betas": (0.9, 0.9, 0.9)}, ValueError),
        ("Rprop", {"step_sizes": (0.1,)}, ValueError),
        ("ASGD", {"alpha": [0.1]}, TypeError),
        ("ASGD", {"t0": (0.1, 0.2)}, TypeError),
    ],
)
def test_settings_of_the_wrong_length(name, settings, error):
    param = _param(jtorch)
    optimizer = getattr(optim, name)([param], **settings)
    param.sum().backward()
    with pytest.raises(error, match=f"expected {next(iter(settings))} to be"):
        optimizer.step()
    assert param.tolist() == [1, 1] and not optimizer.state


@pytest.mark.parametrize("eps", [[None, 1e-3], (1e-4, 1e-2), [1e-4, 1e-2]])
def test_lists_for_tuples(eps):
    stepped = []
    for library, module in LIBRARIES:
        param = _param(library, (2, 3))
        optimizer = module.Adafactor([param], eps=eps)
        (param**2).sum().backward()
        optimizer.step()
        stepped.append(param.detach().numpy())
    np.testing.assert_allclose(*stepped, rtol=1e-6)


BAD_PARAMETERS = {
    "a tensor": lambda library: _param(library).float(),
    "nothing": lambda library: [],
    "numbers": lambda library: [1.0],
    "a set in a group": lambda library: [{"params": {_param(library)}}],
    "a tensor that was computed": lambda library: [_param(library) * 2],
    "arrays": lambda library: [np.ones(2)],
    "some without names": lambda library: [("a", _param(library)), _param(library)],
    "groups with and without names": lambda library: [
        {"params": [("a", _param(library))]},
        {"params": [_param(library)]},
    ],
    "one in two groups": lambda library: [{"params": [p := _param(library)]}, {"params": [p]}],
    "a group that is none": lambda library: [{"params": [_param(library)]}, 3],
}


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters(case):
    want, got = (_outcome(lambda m=m, lib=lib: m.SGD(BAD_PARAMETERS[case](lib))) for lib, m in LIBRARIES)
    assert want is not None
    assert got == want


def test_required_settings():
    required = optim.optimizer.required

    class Needy(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": required})

    Needy([{"params": [_param(jtorch)], "lr": 1}])
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        Needy([_param(jtorch)])
    assert repr(required) == "<required parameter>"


def test_the_same_parameter_twice_warns_and_steps_twice():
    found = []
    for library, module in LIBRARIES:
        p, other = _param(library), _param(library)
        with pytest.warns(UserWarning, match="contains a parameter group with duplicate parameters"):
            optimizer = module.Adam([p, other, p], lr=0.1)
        for i in range(3):
            p.grad = other.grad = library.tensor(np.full(2, 1.0 + i))
            optimizer.step()
        places = optimizer.state_dict()["param_groups"][0]["params"]
        found.append([places, *(np.asarray(x.detach()) for x in (p, other, optimizer.state[p]["step"]))])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_groups_are_added_later():
    twins = Twins("Adam", {"lr": 0.1})
    twins.step(3)
    new = np.arange(3.0)
    twins.their_params.append(torch.tensor(new, requires_grad=True))
    twins.our_params.append(leaf(new))
    twins.theirs.add_param_group({"params": twins.their_params[-1], "lr": 0.01})
    twins.ours.add_param_group({"params": twins.our_params[-1], "lr": 0.01})
    twins.step(3)
    twins.check(rtol=1e-12)


def test_frozen_parameters():
    p, frozen = _param(jtorch), jtorch.ones(3)
    optimizer = optim.Adam([p, frozen])
    p.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    assert list(optimizer.state) == [p]
    np.testing.assert_array_equal(np.asarray(frozen), np.ones(3))


def test_text():
    want, got = (
        repr(module.AdamW([{"params": [_param(library)], "lr": 0.1}, {"params": _param(library)}], weight_decay=0.5))
        for library, module in LIBRARIES
    )
    assert got == want


# gradients


def test_zero_grad():
    p, other = _param(jtorch), _param(jtorch)
    optimizer = optim.SGD([p, other])
    p.grad = gradient = jtorch.ones(2, dtype=p.dtype)
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient and other.grad is None
    np.testing.assert_array_equal(np.asarray(gradient), np.zeros(2))
    p.grad = (p * 2).detach().requires_grad_()
    optimizer.zero_grad(set_to_none=False)
    assert not p.grad.requires_grad
    optimizer.zero_grad()
    assert p.grad is None


def test_a_gradient_of_a_graph_is_used_without_it():
    p = _param(jtorch)
    p.grad = p * 3
    optim.SGD([p], lr=1.0).step()
    assert p.is_leaf and p.requires_grad
    np.testing.assert_array_equal(np.asarray(p.detach()), np.full(2, -2.0))


def test_closure():
    p = _param(jtorch)
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p)[0]
        loss.backward()
        return loss

    with jtorch.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 1.0 and loss.requires_grad
    np.testing.assert_array_equal(np.asarray(p.detach()), [0.0, 1.0])
    assert optimizer.step() is None


# state in and out


@pytest.mark.parametrize(
    "name, settings",
    [
        ("SGD", {"momentum": 0.9, "dampening": 0.2}),
        ("SGD", {}),
        ("Adam", {"amsgrad": True}),
        ("AdamW", {"fused": True}),
    ],
)
@pytest.mark.parametrize("direction", ["from torch", "to torch", "own"])
def test_state_dicts_are_exchanged_without_a_kink(name, settings, direction):
    twins = Twins(name, {"lr": 0.1, **settings})
    twins.step(5)
    other = Twins(name, {"lr": 7.0, **settings})
    for target, params, source in (
        (twins.theirs, other.their_params, twins.their_params),
        (twins.ours, other.our_params, twins.our_params),
    ):
        assert target.state_dict()["param_groups"][0]["lr"] == 0.1
        for p, q in zip(params, source, strict=True):
            p.data = q.detach().clone()
    their_state, our_state = map(copy.deepcopy, (twins.theirs.state_dict(), twins.ours.state_dict()))
    other.theirs.load_state_dict(theirs(our_state) if direction == "to torch" else their_state)
    other.ours.load_state_dict(their_state if direction == "from torch" else our_state)
    for each in (twins, other):
        each.random = np.random.default_rng(5)
        each.step(5)
        each.check(rtol=1e-12, atol=1e-13)
    if direction == "own":
        for p, q in zip(twins.our_params, other.our_params, strict=True):
            np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))


def test_state_dict_holds_the_tensors_themselves():
    p = _param(jtorch)
    optimizer = optim.Adam([p])
    p.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    entries = optimizer.state_dict()["state"][0]
    assert entries["exp_avg"] is optimizer.state[p]["exp_avg"]
    before = np.asarray(entries["exp_avg"])
    optimizer.step()
    assert entries["step"].item() == 2
    assert not np.array_equal(np.asarray(entries["exp_avg"]), before)


def test_state_is_cast_to_the_parameter():
    p = jtorch.ones(2, dtype=jtorch.float32, requires_grad=True)
    optimizer = optim.Adam([p])
    saved = optim.Adam([q := _param(jtorch)])
    q.grad = jtorch.ones(2, dtype=q.dtype)
    saved.step()
    saved.state[q]["step"] = jtorch.tensor(3.0, dtype=jtorch.float64)
    optimizer.load_state_dict(saved.state_dict())
    entries = optimizer.state[p]
    assert entries["exp_avg"].dtype == jtorch.float32
    assert entries["step"].dtype == jtorch.float64 and entries["step"].item() == 3
    assert entries["exp_avg"] is not saved.state[q]["exp_avg"]


def test_bfloat16_state_of_torch():
    theirs_p = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    theirs_p.grad = torch.full((3,), 0.3).bfloat16()
    reference = torch.optim.Adam([theirs_p])
    reference.step()
    p = jtorch.ones(3, dtype=jtorch.bfloat16, requires_grad=True)
    optimizer = optim.Adam([p])
    optimizer.load_state_dict(reference.state_dict())
    want = reference.state[theirs_p]["exp_avg"].float().numpy()
    assert optimizer.state[p]["exp_avg"].dtype == jtorch.bfloat16
    np.testing.assert_array_equal(np.asarray(optimizer.state[p]["exp_avg"].float()), want)


def test_old_checkpoints():
    """Without the settings of later versions, and with the step as a number."""
    p = _param(jtorch)
    optimizer = optim.Adam([p])
    moments = {"exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}
    group = {"lr": 0.5, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0, "params": [0]}
    optimizer.load_state_dict({"state": {0: {"step": 4, **moments}}, "param_groups": [group]})
    p.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    assert optimizer.state[p]["step"].item() == 5
    assert optimizer.param_groups[0]["amsgrad"] is False


@pytest.mark.parametrize("change", ["groups", "sizes", "state"])
def test_a_failing_load_changes_nothing(change):
    p, q = _param(jtorch), _param(jtorch)
    optimizer = optim.Adam([p, q], lr=0.1)
    p.grad = q.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0]["lr"] = 9.0
    if change == "groups":
        saved["param_groups"] *= 2
    elif change == "sizes":
        saved["param_groups"][0]["params"].pop()
    else:
        saved["state"][1] = {"step": jtorch.tensor(1.0), "exp_avg": _Unreadable()}
    state, groups, exp_avg = optimizer.state, optimizer.param_groups, optimizer.state[p]["exp_avg"]
    with pytest.raises((ValueError, TypeError)):
        optimizer.load_state_dict(saved)
    assert optimizer.state is state and optimizer.param_groups is groups
    assert groups[0]["lr"] == 0.1 and state[p]["exp_avg"] is exp_avg


class _Unreadable:
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


def test_state_of_a_wrong_shape():
    p = _param(jtorch)
    optimizer = optim.Adam([p])
    p.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["exp_avg"] = jtorch.ones(1)
    optimizer.load_state_dict(saved)
    with pytest.raises(RuntimeError, match=r"expected state 'exp_avg' of shape \[2\], got \[1\]"):
        optimizer.step()


def test_names_of_parameters():
    p = _param(jtorch)
    optimizer = optim.SGD([("weight", p)])
    assert optimizer.param_groups[0]["param_names"] == ["weight"]
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["param_names"] == ["weight"]
    del saved["param_groups"][0]["param_names"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["param_names"] == ["weight"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("settings", [{"momentum": 0.9, "dampening": 0.5}, {"amsgrad": True}])
def test_copies_go_on_alone(copied, settings):
    make = optim.Adam if "amsgrad" in settings else optim.SGD
    optimizer = make([leaf(np.ones(2)), leaf(np.zeros(3))], lr=0.1, **settings)
    _step(optimizer, 3)
    twin = copied(optimizer)
    mine, other = optimizer.param_groups[0]["params"], twin.param_groups[0]["params"]
    assert mine[0] is not other[0]
    _step(twin, 2)
    assert optimizer.state[mine[0]].get("step", 3) == 3
    _step(optimizer, 2)
    for p, q in zip(mine, other, strict=True):
        np.testing.assert_array_equal(np.asarray(p.detach()), np.asarray(q.detach()))
        assert {type(x) for x in twin.state[q].values()} <= {type(x) for x in optimizer.state[p].values()}


def _step(optimizer, count):
    for i in range(count):
        for p in optimizer.param_groups[0]["params"]:
            p.grad = jtorch.ones(p.shape, dtype=p.dtype) * (1.0 + i)
        optimizer.step()


# the count of steps


def test_each_parameter_has_a_step_of_its_own():
    """They are one tensor inside; nothing outside must tell."""
    twins = Twins("Adam", {"lr": 0.1})
    twins.step(3)
    for library, optimizer, params in (
        (torch, twins.theirs, twins.their_params),
        (jtorch, twins.ours, twins.our_params),
    ):
        optimizer.state[params[0]]["step"] += 10
        optimizer.state[params[1]]["step"].fill_(1)
        optimizer.state[params[2]]["step"] = library.tensor(5.0)
    twins.check(rtol=1e-12)
    twins.step(3)
    twins.check(rtol=1e-12)
    twins.step(2, absent=(3,))
    twins.step(2, absent=(1, 3))
    twins.check(rtol=1e-12)
    kept = twins.ours.state[twins.our_params[0]]["step"]
    twins.step()
    assert kept.item() == twins.theirs.state[twins.their_params[0]]["step"].item()
    assert type(copy.deepcopy(kept)) is jtorch.Tensor
    assert type(pickle.loads(pickle.dumps(kept))) is jtorch.Tensor


def test_state_may_be_cleared():
    twins = Twins("Adam", {"lr": 0.1})
    twins.step(2)
    for optimizer in (twins.theirs, twins.ours):
        optimizer.state.clear()
    twins.step(2)
    twins.check(rtol=1e-12)
    for optimizer, params in ((twins.theirs, twins.their_params), (twins.ours, twins.our_params)):
        del optimizer.state[params[1]]
    twins.step(2)
    twins.check(rtol=1e-12)


def test_arrays_that_others_hold_survive_the_step():
    """The step gives its memory back to XLA; not where a tensor, an array or NumPy still looks at it."""
    p = _param(jtorch, (1000,))
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = jtorch.ones(1000, dtype=p.dtype)
    optimizer.step()
    array, snapshot = p.jax(), p.detach().clone()
    viewed, moments = p.detach().numpy(), optimizer.state[p]["exp_avg"].jax()
    expected = np.array(snapshot.numpy())
    window = p.detach()[10:20]
    for _ in range(3):
        optimizer.step()
    for kept in (array, viewed, snapshot.numpy()):
        np.testing.assert_array_equal(np.asarray(kept), expected)
    np.testing.assert_allclose(np.asarray(moments), 0.1)
    np.testing.assert_array_equal(window.numpy(), np.asarray(p.detach())[10:20])


def test_a_graph_from_before_the_step_still_gives_its_gradients():
    p = _param(jtorch)
    optimizer = optim.SGD([p], lr=1.0)
    loss = p * p
    p.grad = jtorch.ones(2, dtype=p.dtype)
    optimizer.step()
    p.grad = None
    loss.backward(jtorch.ones(2, dtype=p.dtype))
    np.testing.assert_array_equal(np.asarray(p.grad), [2.0, 2.0])


# hooks


def test_hooks():
    p = _param(jtorch)
    optimizer = optim.SGD([p], lr=0.1)
    seen = []
    handles = [
        optimizer.register_step_pre_hook(
            lambda o, args, kwargs: seen.append(("pre", o is optimizer, args[1:], kwargs))
        ),
        optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("post", args[1:], kwargs))),
        optim.optimizer.register_optimizer_step_pre_hook(lambda o, *_: seen.append("every pre")),
        optim.optimizer.register_optimizer_step_post_hook(lambda o, *_: seen.append("every post")),
    ]
    optimizer.step()
    assert seen == ["every pre", ("pre", True, (), {}), ("post", (), {}), "every post"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(seen) == 4
    optimizer.register_step_pre_hook(lambda o, args, kwargs: ((*args, lambda: 7), kwargs))
    assert optimizer.step() == 7
    optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"):
        optimizer.step()


def test_hooks_run_once_where_a_step_calls_its_parent():
    class Mine(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    optimizer, seen = Mine([_param(jtorch)]), []
    optimizer.register_step_pre_hook(lambda *_: seen.append(1))
    optimizer.step()
    assert seen == [1]


def test_hooks_of_state_dicts():
    optimizer, seen = optim.SGD([_param(jtorch)], lr=0.1), []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("before"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: d | {"more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, d: seen.append(d.pop("more")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    saved = optimizer.state_dict()
    assert seen == ["first", "before"] and saved["more"] == 1
    optimizer.load_state_dict(saved)
    assert seen[2:] == [1, "loaded"] and saved["more"] == 1


# classes that users write


class Momentum(optim.Optimizer):
    """The way torch's documentation shows it."""

    def __init__(self, params, lr=0.1, beta=0.9):
        super().__init__(params, {"lr": lr, "beta": beta})

    @jtorch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = jtorch.tensor(0.0)
                    state["velocity"] = jtorch.zeros_like(p)
                state["step"] += 1
                state["velocity"].mul_(group["beta"]).add_(p.grad)
                p.add_(state["velocity"], alpha=-group["lr"])


def _run_momentum(step, optimizer, p, rates):
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        p.grad = jtorch.ones(3, dtype=p.dtype)
        step()
    return np.asarray(p.detach())


def test_a_class_that_users_write():
    reference = leaf(np.zeros(3))
    want = _run_momentum((o := optim.SGD([reference], momentum=0.9)).step, o, reference, (0.1, 0.1, 0.2))
    p = leaf(np.zeros(3))
    optimizer = Momentum([p])
    np.testing.assert_allclose(_run_momentum(optimizer.step, optimizer, p, (0.1, 0.1, 0.2)), want, rtol=1e-12)
    assert optimizer.state[p]["step"].item() == 3
    again = Momentum([q := leaf(np.zeros(3))])
    again.load_state_dict(optimizer.state_dict())
    assert again.state[q]["step"].item() == 3


def test_a_class_that_users_write_under_compile():
    """Its settings are constants of the program, which is made anew when they change; its state has to exist."""
    reference, p = leaf(np.zeros(3)), leaf(np.zeros(3))
    rates = (0.1, 0.1, 0.1, 0.2, 0.2)
    want = _run_momentum((o := optim.SGD([reference], momentum=0.9)).step, o, reference, rates)
    optimizer = Momentum([p])
    step = jtorch.compile(lambda: optimizer.step())
    p.grad = jtorch.ones(3, dtype=p.dtype)
    with pytest.raises(RuntimeError, match="expected state that lives in tensors made outside compile, got 'step'"):
        step()
    assert not optimizer.state[p]
    _run_momentum(optimizer.step, optimizer, p, rates[:1])
    np.testing.assert_allclose(_run_momentum(step, optimizer, p, rates[1:]), want, rtol=1e-12)
    assert step.traces == 2


def test_saving_to_a_file_of_pickle():
    """A state_dict is made of dictionaries, numbers and plain tensors."""
    twins = Twins("Adam", {"lr": 0.1})
    twins.step(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = io.BytesIO(pickle.dumps(twins.ours.state_dict()))
    loaded = pickle.load(file)
    assert {type(v) for entries in loaded["state"].values() for v in entries.values()} == {jtorch.Tensor}
    twins.ours.load_state_dict(loaded)
    twins.step(2)
    twins.check(rtol=1e-12)


class Clipped(optim.Adam):
    """An algorithm with something before its step, and a setting that is read as a number."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad.mul_(group["lr"])
        return super().step(closure)


def test_a_class_that_users_derive_from_an_algorithm_under_compile():
    p, q = leaf(np.ones(3)), leaf(np.ones(3))
    optimizer, other = Clipped([p]), Clipped([q])
    step = jtorch.compile(lambda: optimizer.step())
    np.testing.assert_allclose(
        _run_momentum(step, optimizer, p, (0.1, 0.1, 0.3)),
        _run_momentum(other.step, other, q, (0.1, 0.1, 0.3)),
        rtol=1e-12,
    )
    assert step.traces == 2
    assert optimizer.state[p]["step"].item() == 3
