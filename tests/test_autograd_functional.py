"""torch.autograd.functional, batched gradients, checks of gradients, looking for NaN and at the graph, beside torch's."""

import parity
import pytest

import jtorch

pytestmark = pytest.mark.x64_off

SCRIPTS: list = []
ERRORS: list = []
script, wrong = parity.scripts(SCRIPTS), parity.scripts(ERRORS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


@pytest.mark.parametrize("script", ERRORS, ids=lambda f: f.__name__)
def test_error_text(script):
    parity.agree(script, text=True)


def _x(torch):
    return torch.tensor([0.5, 1.0, 2.0])


@script
def jacobians(torch):
    x, f = _x(torch), torch.autograd.functional
    function = lambda x, y: (x * y.exp(), x.sum())
    return [
        f.jacobian(function, (x, x)),
        f.jacobian(function, (x, x), vectorize=True),
        f.jacobian(function, (x, x), vectorize=True, strategy="forward-mode"),
        f.jacobian(lambda x: x.detach(), x),
    ]


@script
def hessians(torch):
    x, f = _x(torch), torch.autograd.functional
    return [
        f.hessian(lambda x, y: (x * y.exp()).sum() * x[0], (x, x)),
        f.hessian(lambda x: x.exp().prod(), x, vectorize=True),
    ]


@script
def products(torch):
    x, f = _x(torch), torch.autograd.functional
    cube = lambda x: (x**3).sum()
    return [
        f.vjp(lambda x, y: (x * y, x.sum()), (x, x), (x, torch.tensor(2.0))),
        f.vjp(cube, x),
        f.jvp(lambda x, y: (x * y, x.sum()), (x, x), (x, x)),
        f.hvp(lambda x, y: (x**3 * y).sum(), (x, x), (x, x)),
        f.vhp(cube, x, x),
    ]


@script
def graphs_of_the_results(torch):
    x, f = _x(torch).requires_grad_(), torch.autograd.functional
    j = f.jacobian(torch.exp, x, create_graph=True)
    rows = f.jacobian(torch.exp, x, create_graph=True, vectorize=True)
    (j.pow(2).sum() + rows.sum()).backward()
    return [j.requires_grad, x.grad, f.jacobian(torch.exp, x).requires_grad, f.vjp(torch.exp, x, x)[0].requires_grad]


@script
def batched_gradients(torch):
    x, y = _x(torch).requires_grad_(), _x(torch).requires_grad_()
    out = (x * y).exp()
    first = torch.autograd.grad(out, (x, y), torch.eye(3), is_grads_batched=True, create_graph=True)
    second = torch.autograd.grad(first[0].sum(), (x, y))
    unused = torch.autograd.grad(x * 2, (x, y), torch.eye(3), is_grads_batched=True, allow_unused=True)
    return [first, second, unused[0], unused[1]]


@wrong
def batched_gradients_free_the_graph(torch):
    x = _x(torch).requires_grad_()
    out = x.exp()
    torch.autograd.grad(out, x, torch.eye(3), is_grads_batched=True)
    torch.autograd.grad(out, x, torch.eye(3), is_grads_batched=True)


@wrong
def strict_outputs(torch):
    torch.autograd.functional.jacobian(lambda x: x.detach(), _x(torch), strict=True)


@wrong
def strict_inputs(torch):
    torch.autograd.functional.jacobian(lambda x, y: x * 2, (_x(torch), _x(torch)), strict=True)


@wrong
def strict_and_vectorized(torch):
    torch.autograd.functional.jacobian(lambda x: x, _x(torch), strict=True, vectorize=True)


@wrong
def hessian_of_many(torch):
    torch.autograd.functional.hessian(lambda x: x, _x(torch))


@wrong
def no_tensor_in(torch):
    torch.autograd.functional.jacobian(lambda x: x, 1.0)


@wrong
def no_vector(torch):
    torch.autograd.functional.vjp(lambda x: x * 2, _x(torch))


@wrong
def a_vector_of_another_shape(torch):
    torch.autograd.functional.vjp(lambda x: x * 2, _x(torch), torch.ones(1))


@wrong
def nan_in_a_gradient(torch):
    x = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly():
        (torch.sqrt(x * 1) * 0).backward()


@script
def nan_where_nobody_looks(torch):
    x = torch.zeros(1, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True), torch.autograd.set_detect_anomaly(False):
        (torch.sqrt(x * 1) * 0).backward()
    return x.grad


@script
def edges_of_the_graph(torch):
    x = _x(torch).requires_grad_()
    y = x * 2
    edge = torch.autograd.graph.get_gradient_edge(y)
    (g,) = torch.autograd.grad((y * y).sum(), edge, retain_graph=True)
    return [g, torch.autograd.grad(edge, x, torch.ones(3)), isinstance(y.grad_fn, torch.autograd.graph.Node)]


@script
def hooks_on_several_tensors(torch):
    x, y, z = (_x(torch).requires_grad_() for _ in range(3))
    seen, first = [], []
    handle = torch.autograd.graph.register_multi_grad_hook((x, y, z), seen.append)
    any_handle = torch.autograd.graph.register_multi_grad_hook((x, y), first.append, mode="any")
    (x * y).sum().backward()
    (x * y * z).sum().backward()
    handle.remove()
    any_handle.remove()
    (x * y).sum().backward()
    return [len(seen), [[g is None for g in each] for each in seen], len(first)]


@script
def contexts_about_what_is_saved(torch):
    x = torch.ones(2, requires_grad=True)
    with torch.autograd.graph.save_on_cpu(), torch.autograd.graph.allow_mutation_on_saved_tensors():
        y = x.clone()
        out = (y**2).sum()
        y.sin_()
        out.backward()
    return x.grad


@wrong
def hooks_where_they_are_disabled(torch):
    with torch.autograd.graph.disable_saved_tensors_hooks("no hooks"), torch.autograd.graph.save_on_cpu():
        pass


def _wrong_double(torch):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    return Double.apply


def test_gradients_checked_in_double_precision():
    check, check2 = jtorch.autograd.gradcheck, jtorch.autograd.gradgradcheck
    x = jtorch.tensor([0.5, 1.5], dtype=jtorch.float64, requires_grad=True)
    double = x.dtype == jtorch.float64
    options = {} if double else {"eps": 1e-2, "atol": 1e-2, "rtol": 1e-2}
    z = jtorch.complex(x.detach(), x.detach() * 2).requires_grad_()
    assert check(lambda x, n: (x.sin() * n, x.sum()), (x, 2), **options)
    assert check(lambda z: z * z.conj() + z.exp(), (z,), **options)
    assert check2(lambda x: x.exp() * x[0], (x,), **options)
    assert not check(_wrong_double(jtorch), (x,), raise_exception=False)


@wrong
def a_wrong_gradient(torch):
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    try:
        torch.autograd.gradcheck(_wrong_double(torch), (x,))
    except RuntimeError as error:
        raise RuntimeError(str(error).partition(",\n")[0]) from error


@wrong
def nothing_to_check(torch):
    torch.autograd.gradcheck(torch.sin, (_x(torch),))
