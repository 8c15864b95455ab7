"""Hooks of modules: forward, backward and shared ones. Each case runs in torch and in jtorch alike."""

import pytest
import torch
from nn.both import check, plain, scale

import jtorch


def two_outputs(lib):
    class Two(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = lib.nn.Parameter(lib.ones(2))

        def forward(self, x, y=None, k=1.0):
            return x * 2 * k * self.w, (x + y if y is not None else x)

    return Two()


def test_forward_hooks():
    def case(lib):
        log, module = [], scale(lib)

        def pre(m, args):
            log.append(("pre", args))
            return args[0] * 2

        def pre_with(m, args, kwargs):
            log.append(("pre_with", args, kwargs))
            return args, {"more": 5.0}

        def post(m, args, out):
            log.append(("post", args, out))
            return out + 1

        handles = [
            module.register_forward_pre_hook(pre),
            module.register_forward_pre_hook(pre_with, with_kwargs=True, prepend=True),
            module.register_forward_hook(post),
            module.register_forward_hook(lambda m, a, k, o: log.append(("with", k, o)), with_kwargs=True, prepend=True),
        ]
        first = module(lib.ones(2))
        for handle in handles:
            handle.remove()
        return (
            first,
            plain(log),
            module(lib.ones(2)),
            len(module._forward_hooks),
            len(module._forward_hooks_with_kwargs),
        )

    check(case)


@pytest.mark.parametrize("always", [True, False])
@pytest.mark.parametrize("fails", ["forward", "hook", "nothing"])
def test_hooks_that_are_always_called(fails, always):
    def case(lib):
        log = []

        class Fails(lib.nn.Module):
            def forward(self, x):
                if fails == "forward":
                    raise ValueError("no")
                return x

        module = Fails()
        module.register_forward_hook(lambda m, a, o: log.append(o), always_call=always)
        if fails == "hook":
            module.register_forward_hook(lambda m, a, o: 1 / 0, always_call=always)
        try:
            return module(1), log
        except (ValueError, ZeroDivisionError) as error:
            return repr(error), log

    check(case)


def test_pre_hook_must_return_both():
    def case(lib):
        module = scale(lib)
        module.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
        module(lib.ones(2))

    check(case)


ARGUMENTS = {
    "both": (lambda r, t: ((r, r), {}), (0, 1)),
    "one wants": (lambda r, t: ((r, t), {}), (0, 1)),
    "number": (lambda r, t: ((r, 3.0), {}), (0, 1)),
    "keyword": (lambda r, t: ((r,), {"y": t}), (0, 1)),
    "none wants": (lambda r, t: ((t, t), {}), (0,)),
    "one output": (lambda r, t: ((r, t), {}), (0,)),
    "other output": (lambda r, t: ((t, r), {}), (1,)),
}


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_backward_hooks(arguments):
    make, outs = ARGUMENTS[arguments]

    def case(lib):
        log, module = [], two_outputs(lib)
        module.register_full_backward_pre_hook(lambda m, out: log.append(("pre", out)))
        module.register_full_backward_hook(lambda m, into, out: log.append(("post", into, out)))
        wants = lib.ones(2, requires_grad=True)
        args, kwargs = make(wants, lib.ones(2))
        result = module(*args, **kwargs)
        sum(result[i].sum() for i in outs).backward()
        return log, wants.grad, module.w.grad

    check(case)


@pytest.mark.parametrize(
    "hook",
    [
        lambda m, into, out: tuple(None if g is None else g * 10 for g in into),
        lambda m, into, out: into[0] * 10,
        lambda m, into, out: (1, 2, 3),
    ],
)
def test_backward_hooks_that_replace(hook):
    def case(lib):
        module, x = scale(lib), lib.ones(2, requires_grad=True)
        module.register_full_backward_pre_hook(lambda m, out: (out[0] * 3,))
        module.register_full_backward_hook(hook)
        module(x).sum().backward()
        return x.grad, module.factor.grad

    check(case)


@pytest.mark.parametrize("kind", [dict, list])
def test_backward_hooks_need_tensors(kind):
    def case(lib):
        log = []

        class Odd(lib.nn.Module):
            def forward(self, x):
                return {"a": x * 2} if kind is dict else [x * 2]

        module, x = Odd(), lib.ones(2, requires_grad=True)
        module.register_full_backward_hook(lambda *a: log.append(a))
        (value,) = module(x).values() if kind is dict else module(x)
        value.sum().backward()
        return log, x.grad

    check(case)


def test_global_hooks():
    def case(lib):
        log, shared = [], lib.nn.modules.module if lib is torch else jtorch.nn.hooks
        module, x = scale(lib), lib.ones(2, requires_grad=True)
        handles = [
            shared.register_module_forward_pre_hook(lambda m, a: log.append(("pre", a))),
            shared.register_module_forward_hook(lambda m, a, o: log.append(("post", o))),
            shared.register_module_full_backward_pre_hook(lambda m, o: log.append(("back pre", o))),
            shared.register_module_full_backward_hook(lambda m, i, o: log.append(("back", i, o))),
            shared.register_module_parameter_registration_hook(lambda m, n, p: log.append(n)),
            shared.register_module_buffer_registration_hook(lambda m, n, b: log.append(n)),
            shared.register_module_module_registration_hook(lambda m, n, c: log.append(n)),
        ]
        try:
            module(x).sum().backward()
            scale(lib).add_module("child", lib.nn.Identity())
        finally:
            for handle in handles:
                handle.remove()
        module(x)
        return log

    check(case)
