"""Every module of torch's module database that jtorch.nn has, with the same weights: a step, its traces, and its looks."""

import copy
import pickle

import cases
import numpy as np
import parity
import pytest
import torch
from not_yet import MODULES_NOT_YET

import jtorch

pytestmark = pytest.mark.parity
RANDOM = {"FractionalMaxPool2d", "FractionalMaxPool3d", "RReLU"}


def pytest_generate_tests(metafunc):
    full = metafunc.config.getoption("full")
    makers = {"case": lambda: cases.module_cases(full), "error": cases.module_error_cases, "kind": _constructions}
    for name in makers.keys() & set(metafunc.fixturenames):
        metafunc.parametrize(name, makers[name](), ids=str)


def _constructions():
    """The first and the last way of every module."""
    found = {}
    for case in cases.module_cases(False):
        found.setdefault(case.entry.module_cls, []).append(case)
    return [case for each in found.values() for case in {str(c): c for c in (each[0], each[-1])}.values()]


def _constructor(library, case):
    given = case.sample().constructor_input
    args, kwargs = given.args, given.kwargs
    if library is jtorch:
        args, kwargs = parity.to_jtorch((args, kwargs))
    kind = getattr(library.nn, case.entry.module_cls.__name__)
    return lambda: kind(*args, **kwargs)


def _pair(case):
    """(ours, theirs) with the same weights and buffers, in the case's dtype and mode."""
    torch.manual_seed(0)
    theirs = _constructor(torch, case)().to(case.dtype).train(case.training)
    ours = _constructor(jtorch, case)().to(parity.to_jtorch(case.dtype)).train(case.training)
    if not hasattr(theirs, "has_uninitialized_params"):
        ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))
    return ours, theirs


def _is_random(case) -> bool:
    return case.entry.module_cls.__name__ in RANDOM


@pytest.mark.x64_off
def test_module(case):
    """Outputs, gradients of inputs and parameters, and the buffers after the step."""
    ours, theirs = _pair(case)
    given, values = case.sample().forward_input, not _is_random(case)
    if hasattr(theirs, "has_uninitialized_params"):  # a lazy one gets its weights in its first call
        theirs(*given.args, **given.kwargs)
        ours.load_state_dict(parity.to_jtorch(dict(theirs.state_dict())))
    exact = copy.deepcopy(theirs).double()
    parity.check(ours, theirs, *given.args, kwargs=given.kwargs, values=values, tolerance=case.tolerance(), exact=exact)
    parity.same(_by_name(ours.named_buffers()), _by_name(theirs.named_buffers()), "buffers", values)
    parity.check(
        _weight_gradients(ours, jtorch), _weight_gradients(theirs, torch), *given.args,
        kwargs=given.kwargs, values=values, gradients=False, tolerance=case.tolerance(),
        exact=_weight_gradients(exact, torch),
    )  # fmt: skip


def _by_name(pairs):
    pairs = sorted(pairs, key=lambda pair: pair[0])
    return [name for name, _ in pairs] + [value for _, value in pairs]


def _weight_gradients(module, library):
    """A function that runs a step and gives the gradients that `backward` left on the parameters, by name."""

    def step(*args, **kwargs):
        module.zero_grad()
        for out in parity.tensors(module(*args, **kwargs), library.Tensor):
            if out.requires_grad:
                weights = (
                    np.linspace(0.5, 1.5, max(out.numel(), 1)).reshape(tuple(out.shape))
                    if out.numel()
                    else np.zeros(tuple(out.shape))
                )
                out.backward(library.tensor(weights).to(out.dtype), retain_graph=True)
        return _by_name((name, p.grad) for name, p in module.named_parameters() if p.grad is not None)

    return step


def test_looks(kind):
    """State dict, parameters, buffers, repr, copies and pickles."""
    ours, theirs = _pair(kind)
    assert repr(ours) == repr(theirs)
    if hasattr(theirs, "has_uninitialized_params"):
        return
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert ours.state_dict()._metadata == theirs.state_dict()._metadata
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(twin) == repr(ours) and type(twin) is type(ours)
        parity.same(dict_values(twin), [v.detach() for v in theirs.state_dict().values()], "copy")


def dict_values(module):
    """The values of a module's state dict."""
    return [v.detach() for v in module.state_dict().values()]


def test_initial_weights(kind):
    """Drawn from torch's distributions: the same constants, and random weights of about the same spread."""
    _, theirs = _pair(kind)
    jtorch.manual_seed(0)
    ours = _constructor(jtorch, kind)()
    if hasattr(theirs, "has_uninitialized_params"):
        return
    for (name, mine), (_, yours) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        mine, yours = np.asarray(mine.detach().numpy(), np.float64), yours.detach().double().numpy()
        assert mine.shape == yours.shape, name
        if yours.size and np.ptp(yours) == 0:
            np.testing.assert_array_equal(mine, yours, err_msg=name)
        elif yours.size >= 16:
            slack = 6 / np.sqrt(2 * yours.size)
            assert abs(np.log(mine.std() / yours.std())) < 2 * slack, f"{name}: spread {mine.std()} for {yours.std()}"
            assert abs(mine.mean() - yours.mean()) < 6 * np.sqrt(2 / yours.size) * yours.std(), name


def test_module_error(error):
    module_input, in_constructor = error.sample()
    name = error.entry.module_cls.__name__

    def use(library):
        def call(construct, forward):
            module = getattr(library.nn, name)(*construct[0], **construct[1])
            return None if in_constructor else module(*forward[0], **forward[1])

        return call

    parts = [
        (p.args, p.kwargs) if p is not None else ((), {})
        for p in (module_input.constructor_input, module_input.forward_input)
    ]
    parity.check(use(jtorch), use(torch), *parts)


def test_what_is_missing_is_listed():
    assert cases.missing_modules() == MODULES_NOT_YET
