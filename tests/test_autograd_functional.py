"""torch.autograd.functional, batched gradients, and looking for NaN, beside torch's."""

import parity
import pytest

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
