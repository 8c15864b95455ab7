"""The transforms of `torch.func` beside torch's: derivatives and batching of functions, nested in each other and in graphs."""

import jax
import jax.numpy as jnp
import parity
import pytest

import jtorch

pytestmark = pytest.mark.x64_off

SCRIPTS: list = []
MISTAKES: list = []
script, mistake = parity.scripts(SCRIPTS), parity.scripts(MISTAKES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    parity.agree(script)


@pytest.mark.parametrize("script", MISTAKES, ids=lambda f: f.__name__)
def test_mistake(script):
    parity.agree(script)


def _x(torch):
    return torch.tensor([0.5, 1.0, 2.0])


def _plain(tree):
    """The tree with lists in place of dictionaries."""
    if isinstance(tree, dict):
        return [list(tree), [_plain(x) for x in tree.values()]]
    return [_plain(x) for x in tree] if isinstance(tree, tuple | list) else tree


def _w(torch):
    return torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


# derivatives


@script
def third_derivative(torch):
    grad = torch.func.grad
    return grad(grad(grad(torch.sin)))(torch.tensor(0.3))


@script
def an_inner_gradient_is_not_confused_with_the_outer(torch):
    grad = torch.func.grad
    return grad(lambda x: x * grad(lambda y: x * y)(torch.tensor(2.0)))(torch.tensor(3.0))


@script
def several_arguments_and_aux(torch):
    f = lambda x, y: ((x * y * y).sum(), x + 1)
    x = _x(torch)
    return [
        torch.func.grad(f, argnums=(0, 1), has_aux=True)(x, x),
        torch.func.grad_and_value(f, argnums=1, has_aux=True)(x, x),
    ]


@script
def dictionaries_keep_their_order(torch):
    x = _x(torch)
    g = torch.func.grad(lambda d: (d["b"] * d["a"].exp()).sum())({"b": x, "a": x})
    return [list(g), g["b"], g["a"]]


@script
def what_comes_out_has_the_graph_of_outside(torch):
    x, p = _x(torch), torch.ones(3, requires_grad=True)
    both = [
        torch.func.grad(lambda x: (x * x).sum())(x),
        torch.func.grad(lambda x: (x * x * p).sum())(x),
        torch.func.grad(lambda x: (x * x).sum())(p),
        torch.func.vjp(torch.sin, x)[0],
        torch.func.vjp(torch.sin, p)[0],
        torch.func.jvp(torch.sin, (x,), (x,))[1],
        torch.func.vmap(torch.sin)(p),
    ]
    with torch.no_grad():
        both.append(torch.func.grad(lambda x: (x * x * p).sum())(x))
    return [[x.requires_grad for x in both], both[1]]


@script
def inside_it_is_a_leaf(torch):
    seen = []

    def f(x):
        seen.extend((x.requires_grad, x.is_leaf))
        with torch.no_grad():
            c = x * 2
        return (x * c).sum()

    return [torch.func.grad(f)(_x(torch)), seen]


@script
def pullback_is_called_again(torch):
    x = _x(torch)
    out, pull = torch.func.vjp(lambda x, y: (x * y, {"sum": x.sum()}), x, x)
    one = {"sum": torch.tensor(1.0)}
    return _plain([out, pull((x, one)), pull((x * 2, one))])


@script
def forward_mode(torch):
    x, v, f = _x(torch), torch.ones(3), torch.func
    return [
        f.jvp(lambda x: (x.exp(), x.sum()), (x,), (v,)),
        f.jvp(lambda x: f.jvp(torch.sin, (x,), (v,))[1], (x,), (v,)),
        f.jvp(f.grad(lambda x: x.exp().prod()), (x,), (v,))[1],
        f.jvp(lambda x: v, (x,), (v,)),
    ]


@script
def linear_parts(torch):
    x = _x(torch)
    out, push = torch.func.linearize(lambda x: x.sin() * 2, x)
    return [out, push(x), push(x * 2)]


@script
def jacobians(torch):
    x, f = _x(torch), torch.func
    function = lambda x, y: (x.exp() * y.sum(), {"a": (x * y).sum()})
    return _plain(
        [
            f.jacrev(function, argnums=(0, 1))(x, x),
            f.jacfwd(function, argnums=(0, 1))(x, x),
            f.jacrev(lambda x: (x.exp(), x), has_aux=True, chunk_size=2)(x),
        ]
    )


@script
def hessians(torch):
    x, f = _x(torch), torch.func
    function = lambda x: x.exp().prod()
    return [f.hessian(function)(x), f.jacrev(f.jacrev(function))(x)]


@script
def jacobians_with_a_graph(torch):
    found = []
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        p = torch.ones(3, requires_grad=True)
        j = transform(lambda x, p=p: torch.exp(x * p))(_x(torch))
        j.pow(2).sum().backward()
        found += [j, p.grad]
    return found


@script
def user_written_functions(torch):
    class Tripled(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x.exp()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            return 3 * g * ctx.saved_tensors[0]

    return torch.func.grad(lambda x: Tripled.apply(x).sum())(_x(torch))


# batches


@script
def dimensions_in_and_out(torch):
    x, w = _x(torch), _w(torch)
    vmap = torch.func.vmap
    return _plain(
        [
            vmap(lambda d, y: (d["a"] * y, d["b"][0]), in_dims=({"a": 0, "b": None}, 1), out_dims=(1, 0))(
                {"a": x, "b": [w]}, w
            ),
            vmap(vmap(lambda a, b: a * b, in_dims=(0, None)), in_dims=(None, 0))(x, x),
            vmap(lambda a: a.sum(-1), in_dims=-1)(w),
            vmap(lambda a: x, out_dims=None)(w),
            vmap(lambda a: a * 2, chunk_size=2)(x),
            vmap(lambda a: {"b": a, "a": a + 1})(x),
        ]
    )


@script
def ops_of_many_kinds_in_a_batch(torch):
    w = _w(torch)
    F = torch.nn.functional
    return torch.func.vmap(
        lambda a: (
            a.view(3, 1).t().expand(2, 3).sum(0).relu(),
            a.max(0)[0],
            a.sort().indices,
            F.layer_norm(a, (3,)),
            torch.stack([a[0], a[1:].sum()]),
        )
    )(w)


@script
def writing_in_a_batch(torch):
    w, counter = _w(torch), torch.zeros(2)

    def f(a):
        counter.add_(1)
        b = a.clone()
        b[0] = a[1]
        b[1:] *= 2
        return b

    out = torch.func.vmap(f)(w.requires_grad_())
    (out**2).sum().backward()
    return [out, counter, w.grad]


@script
def writing_the_arguments_of_a_batch(torch):
    w = _w(torch)
    return [torch.func.vmap(lambda a: a.add_(1), in_dims=1)(w), w]


@script
def derivatives_of_batches(torch):
    x, w, f = _x(torch), _w(torch), torch.func
    rows = torch.stack([x, x * 2])
    loss = lambda w: f.vmap(lambda v: torch.tanh(w @ v).sum())(rows).sum()
    return [
        f.vmap(f.grad(f.grad(torch.sin)))(x),
        f.grad(lambda x: f.vmap(f.grad(torch.sin))(x).sum())(x),
        f.grad(loss)(w),
        f.jacrev(f.grad(loss))(w),
        f.vmap(lambda v: f.jvp(lambda x: w @ x.exp(), (x,), (v,))[1])(torch.eye(3)),
    ]


@script
def graphs_through_batches(torch):
    w, p = _w(torch), torch.ones(3, requires_grad=True)
    (g,) = torch.autograd.grad(torch.func.vmap(lambda x: (x * p * p * p).sum())(w).pow(2).sum(), p, create_graph=True)
    g.sum().backward()
    return [g, p.grad]


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_random_numbers_in_a_batch(randomness):
    drawn = jtorch.vmap(lambda x: x + jtorch.rand(4), randomness=randomness)(jtorch.zeros(2))
    assert jtorch.equal(drawn[0], drawn[1]) == (randomness == "same")
    p = jtorch.ones(8, requires_grad=True)
    out = jtorch.vmap(lambda a: jtorch.nn.functional.dropout(a * p), randomness=randomness)(jtorch.ones(2, 8))
    out.sum().backward()  # the draws of the run that is differentiated are those of the result
    assert jtorch.equal(p.grad, out.sum(0)) and bool(((out == 0) | (out == 2)).all())


# models


@script
def gradients_for_each_example(torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    torch.manual_seed(0)
    for p in model.parameters():
        torch.nn.init.uniform_(p)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        return ((torch.func.functional_call(model, parameters, (x,)) - y) ** 2).sum()

    x, y = _w(torch), _w(torch)[:, :2]
    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    return [list(found), list(found.values()), [p.grad for p in model.parameters()]]


@script
def ensembles(torch):
    torch.manual_seed(0)
    models = [torch.nn.Linear(3, 2) for _ in range(2)]
    for model in models:
        torch.nn.init.uniform_(model.weight)
    parameters, buffers = torch.func.stack_module_state(models)
    call = lambda p, b, x: torch.func.functional_call(models[0], (p, b), (x,))
    out = torch.func.vmap(call, in_dims=(0, 0, None))(parameters, buffers, _w(torch))
    out.sum().backward()
    return [out, parameters["weight"].grad, [p.is_leaf for p in parameters.values()]]


@script
def functional_calls(torch):
    model = torch.nn.BatchNorm1d(3)
    state = {**dict(model.named_parameters()), **{n: b.clone() for n, b in model.named_buffers()}}
    out = torch.func.functional_call(model, state, _w(torch))
    return [out, state["running_mean"], model.running_mean]


# mistakes


@mistake
def a_result_that_is_no_scalar(torch):
    torch.func.grad(lambda x: x)(_x(torch))


@mistake
def a_result_that_is_no_tensor(torch):
    torch.func.grad(lambda x: 1.0)(_x(torch))


@mistake
def gradients_for_integers(torch):
    torch.func.grad(lambda x: (x * 1.0).sum())(torch.tensor([1, 2]))


@mistake
def no_such_argument(torch):
    torch.func.grad(lambda x: x.sum(), argnums=2)(_x(torch))


@mistake
def writing_the_argument(torch):
    torch.func.grad(lambda x: x.mul_(2).sum())(_x(torch))


@script
def writing_outside(torch):
    kept = torch.zeros(3)
    errors = []
    for f in (torch.func.grad(lambda x: kept.add_(x).sum()), torch.func.vmap(lambda x: kept.add_(x))):
        try:
            f(_x(torch))
        except RuntimeError:
            errors.append("refused")
    return [errors, kept]


@mistake
def jacobians_of_integers(torch):
    torch.func.jacrev(lambda x: x.long())(_x(torch))


@mistake
def cotangents_of_another_shape(torch):
    torch.func.vjp(lambda x: x * 2, _x(torch))[1](torch.ones(2))


@mistake
def cotangents_of_another_structure(torch):
    torch.func.vjp(lambda x: x * 2, _x(torch))[1]((torch.ones(3),))


@mistake
def tangents_of_another_shape(torch):
    torch.func.jvp(lambda x: x * 2, (_x(torch),), (torch.ones(2),))


@mistake
def primals_that_are_no_tuple(torch):
    torch.func.jvp(lambda x: x * 2, _x(torch), _x(torch))


@mistake
def batches_of_two_sizes(torch):
    torch.func.vmap(lambda x, y: x + y)(torch.ones(3), torch.ones(2))


@mistake
def no_dimension_to_map(torch):
    torch.func.vmap(lambda x: x, in_dims=None)(_x(torch))


@mistake
def a_dimension_out_of_range(torch):
    torch.func.vmap(lambda x: x, in_dims=2)(_x(torch))


@mistake
def dimensions_of_another_structure(torch):
    torch.func.vmap(lambda x: x, in_dims=(0, 0))(_x(torch))


@mistake
def a_batch_of_numbers(torch):
    torch.func.vmap(lambda x: 1.0)(_x(torch))


@mistake
def drawing_without_leave(torch):
    torch.func.vmap(lambda x: x + torch.rand(1))(_x(torch))


@mistake
def unknown_randomness(torch):
    torch.func.vmap(lambda x: x, randomness="some")(_x(torch))


@mistake
def values_in_a_batch(torch):
    torch.func.vmap(lambda x: x if x > 0 else -x)(_x(torch))


# arrays and compiled code


def test_arrays_stay_arrays():
    x = jnp.array([1.0, 2.0])
    f = jtorch.func
    tree = f.grad(lambda d: (d["b"] * d["a"] ** 2).sum())({"b": x, "a": x})
    assert list(tree) == ["b", "a"] and isinstance(tree["a"], jax.Array)
    assert tree["a"].tolist() == [2.0, 8.0]
    assert f.vmap(f.grad(jtorch.square))(x).tolist() == [2.0, 4.0]
    assert f.hessian(lambda x: (x**3).sum())(x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    assert jax.jit(f.jacfwd(jtorch.square))(x).tolist() == [[2.0, 0.0], [0.0, 4.0]]
    out, pull = f.vjp(jtorch.square, x)
    assert pull(x).tolist() == [2.0, 8.0] and isinstance(out, jax.Array)


def test_jax_differentiates_through_a_gradient_of_tensors():
    square = lambda a: jtorch.func.grad(lambda x: (x**3).sum())(jtorch.Tensor(a)).sum().jax()
    assert jax.grad(square)(jnp.array([1.0, 2.0])).tolist() == [6.0, 12.0]


def test_in_compiled_code():
    w, x = jtorch.ones(2, requires_grad=True), jtorch.tensor([1.0, 2.0])

    def step(x):
        rows = jtorch.vmap(jtorch.func.grad(lambda x: w.dot(x**2)))(jtorch.stack([x, x * 2]))
        rows.pow(2).sum().backward()
        found, w.grad = w.grad, None
        return found

    assert jtorch.equal(jtorch.compile(step)(x), step(x))
    forward = jtorch.compile(lambda x: jtorch.vmap(lambda v: w * v)(jtorch.stack([x, x])))
    forward(x).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_user_written_function_that_jax_would_differentiate_is_refused():
    class Same(jtorch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    x = jtorch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="Same"):
        jtorch.vmap(Same.apply)(x)
    assert jtorch.vmap(jtorch.func.grad(lambda v: Same.apply(v)))(x.detach()).tolist() == [2.0, 2.0, 2.0]


def test_after_an_error_nothing_from_inside_is_left():
    kept = jtorch.zeros(3)

    def f(x):
        def inner(y):
            kept.mul_(y.detach())
            raise ZeroDivisionError

        return jtorch.func.grad(inner)(x)

    with pytest.raises(ZeroDivisionError):
        jtorch.vmap(f)(jtorch.ones(2, 3))
    assert kept.tolist() == [0.0, 0.0, 0.0]
