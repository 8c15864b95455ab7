"""Clipping of gradients, compared with torch; one program each, compiled or not."""

import pytest
from nn.both import filled
from parity import agree

import jtorch
from jtorch.nn.utils import clip_grad_norm_

SCALES = [0.01, 3.0, float("nan"), float("inf")]


def parameters(lib, scale=3.0, dtypes=("float32", "float32", "float64")):
    found = []
    for i, dtype in enumerate(dtypes):
        p = lib.nn.Parameter(lib.ones(2, i + 1, dtype=getattr(lib, dtype)))
        p.grad = lib.arange(2 * i + 2, dtype=getattr(lib, dtype)).reshape(2, i + 1) * scale - 1
        found.append(p)
    return [*found, lib.nn.Parameter(lib.ones(3))]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm_type", [2.0, 1, 0, 0.5, 3, float("inf")])
def test_norm(norm_type, scale):
    def script(lib):
        found = parameters(lib, scale)
        total = lib.nn.utils.clip_grad_norm_(found, 1.0, norm_type)
        return [total, [p.grad for p in found]]

    agree(script)


@pytest.mark.parametrize("dtypes", [("float16",) * 2, ("bfloat16",) * 3, ("float16", "float32")])
@pytest.mark.parametrize("given", ["list", "generator", "one"])
def test_dtypes_and_forms(given, dtypes):
    def script(lib):
        found = parameters(lib, dtypes=dtypes)
        form = {"list": found, "generator": (p for p in found), "one": found[0]}[given]
        total = lib.nn.utils.clip_grad_norm_(form, 0.5, foreach=True)
        return [total, [p.grad for p in found]]

    agree(script)


@pytest.mark.parametrize("scale", SCALES)
def test_error_if_nonfinite(scale):
    agree(lambda lib: lib.nn.utils.clip_grad_norm_(parameters(lib, scale), 1.0, error_if_nonfinite=True), text=True)


@pytest.mark.parametrize("scale", SCALES)
def test_value(scale):
    def script(lib):
        found = parameters(lib, scale)
        assert lib.nn.utils.clip_grad_value_(iter(found), 1.5) is None
        return [p.grad for p in found]

    agree(script)


def test_total_norm_and_clipping_by_it():
    def script(lib):
        found = parameters(lib)
        total = lib.nn.utils.get_total_norm([p.grad for p in found if p.grad is not None])
        lib.nn.utils.clip_grads_with_norm_(found, 2.0, total)
        return [total, [p.grad for p in found], lib.nn.utils.get_total_norm([])]

    agree(script)


def test_nothing_to_clip():
    agree(lambda lib: lib.nn.utils.clip_grad_norm_([], 1.0))
    jtorch.nn.utils.clip_grad_value_(jtorch.nn.Parameter(jtorch.ones(1)), 1.0)
    with pytest.warns(UserWarning, match="empty generator"):
        clip_grad_norm_((p for p in []), 1.0)


def test_deprecated_spelling():
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        jtorch.nn.utils.clip_grad_norm(parameters(jtorch), 1.0)


def test_the_same_tensors_are_written():
    def script(lib):
        found = parameters(lib)
        grad, view = found[0].grad, found[1].grad[0]
        lib.nn.utils.clip_grad_norm_(found, 1.0)
        return [grad is found[0].grad, grad, view]

    agree(script)


def test_no_program_for_each_parameter_or_bound(compilations):
    layer = jtorch.nn.Sequential(*(jtorch.nn.Linear(5, 5) for _ in range(4)))
    layer(jtorch.ones(2, 5)).sum().backward()
    assert compilations(lambda: clip_grad_norm_(layer.parameters(), 1.0)) <= 2
    assert compilations(lambda: clip_grad_norm_(layer.parameters(), 2.0)) == 0


def test_in_a_compiled_step():
    def step(lib):
        model = filled(lib.nn.Linear(3, 2))
        optimizer = lib.optim.SGD(model.parameters(), lr=0.5)

        def run(x):
            optimizer.zero_grad()
            loss = model(x).pow(2).sum()
            loss.backward()
            norm = lib.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return norm

        run = jtorch.compile(run) if lib is jtorch else run
        return [*(run(lib.ones(2, 3) * k) for k in (1.0, 2.0)), *model.parameters()]

    agree(step)
