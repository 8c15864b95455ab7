"""The tape beside torch's: backward and its errors, grad and its options, hooks, grad modes, user-written functions."""

import parity
import pytest
import torch as pytorch

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


def _leaf(torch, *values):
    return torch.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


# backward


@script
def accumulates(torch):
    x = _leaf(torch)
    (x * x).sum().backward()
    first = x.grad.clone()
    (x * 3).sum().backward()
    return [first, x.grad]


@script
def accumulates_in_the_same_tensor(torch):
    x = _leaf(torch)
    x.sum().backward()
    kept = x.grad
    (x * 2).sum().backward()
    return [kept, kept is x.grad]


@script
def gradient_argument(torch):
    x = _leaf(torch)
    (x * x).backward(torch.tensor([1.0, 0.5, 0.25]))
    return x.grad


@script
def retain_graph(torch):
    x = _leaf(torch)
    y = (x**3).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@script
def only_some_inputs(torch):
    x, y = _leaf(torch), _leaf(torch)
    (x * y).sum().backward(inputs=[x])
    return [x.grad, y.grad]


@script
def several_roots(torch):
    x = _leaf(torch)
    torch.autograd.backward([x.sum(), (x * x)], [None, torch.ones(3)])
    return x.grad


@script
def diamond(torch):
    x = _leaf(torch)
    a = x.exp()
    b, c = a * 2, a.sin()
    (b * c + a).sum().backward()
    return x.grad


@script
def deep_chain(torch):
    x = _leaf(torch)
    y = x
    for _ in range(300):
        y = y * 1.01
    y.sum().backward()
    return x.grad


@script
def unused_output_of_many(torch):
    x = _leaf(torch)
    a, b, c = x.unbind()
    (a * c).backward()
    return x.grad


@script
def integer_paths_carry_nothing(torch):
    x = _leaf(torch)
    i = x.argmax()
    return [i.requires_grad, (x > 1).requires_grad, x.long().requires_grad, x[i].requires_grad]


@script
def mixed_dtypes(torch):
    x = torch.tensor([1.0, 2.0], dtype=torch.float16, requires_grad=True)
    (x.float() * torch.tensor([2.0, 3.0])).sum().backward()
    return x.grad


@script
def broadcast_is_summed(torch):
    x, y = torch.ones(3, 1, requires_grad=True), torch.ones(2, requires_grad=True)
    (x * y * 2).sum().backward()
    return [x.grad, y.grad]


@script
def as_strided_of_a_view_that_gets_the_gradient(torch):
    transposed = torch.arange(12.0).reshape(3, 4).t().detach().requires_grad_()
    every_other = torch.arange(12.0)[::2].detach().requires_grad_()
    w = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    detached = (w * 2).detach()
    part = detached[1:]
    detached.mul_(w)
    results = [transposed.as_strided((2, 2), (1, 2), 1), transposed.as_strided((2, 3), (0, 1)),
               every_other.as_strided((2, 2), (1, 2), 1), detached.as_strided((2,), (1,), 1), part.as_strided((2,), (2,))]  # fmt: skip
    values = [[y.detach().clone(), y.requires_grad, y.stride(), y.storage_offset()] for y in results]
    sum((y**3).sum() for y in results).backward()
    with torch.no_grad():
        results[2].mul_(2)
        later = part.as_strided((2,), (1,), 1)
    return [values, transposed.grad, every_other.grad, w.grad, every_other.detach(), later.detach()]


def test_as_strided_of_a_view_with_a_graph_of_its_own_is_not_written_recorded_or_used_later():
    leaf = jtorch.arange(12.0)[::2].detach().requires_grad_()
    part = leaf.as_strided((2,), (1,), 1)
    with pytest.raises(RuntimeError, match="clone"):
        part.mul_(2)
    with jtorch.no_grad():
        leaf.mul_(2)
    with pytest.raises(RuntimeError, match="clone"):
        part * 2


@wrong
def out_of_what_requires_grad(torch):
    torch.mul(_leaf(torch), 2, out=torch.zeros(3))


@wrong
def out_that_requires_grad(torch):
    torch.mul(torch.ones(3), 2, out=_leaf(torch))


@wrong
def one_of_two_outs_that_requires_grad(torch):
    torch.max(torch.ones(3, 1), 1, out=(_leaf(torch), torch.zeros(3, dtype=torch.int64)))


@script
def out_under_no_grad(torch):
    out = torch.zeros(3)
    with torch.no_grad():
        torch.mul(_leaf(torch), 2, out=out)
    return out


@wrong
def backward_twice(torch):
    y = (_leaf(torch) ** 2).sum()
    y.backward()
    y.backward()


@wrong
def backward_of_many(torch):
    (_leaf(torch) * 2).backward()


@wrong
def backward_without_graph(torch):
    torch.ones(1).sum().backward()


@wrong
def backward_to_no_inputs(torch):
    _leaf(torch).sum().backward(inputs=[])


@wrong
def gradient_of_other_shape(torch):
    (_leaf(torch) * 2).backward(torch.ones(2))


@wrong
def grad_assigned_wrong_shape(torch):
    _leaf(torch).grad = torch.ones(2)


@wrong
def grad_assigned_no_tensor(torch):
    _leaf(torch).grad = 3


# autograd.grad


@script
def grad_of_grad_to_third_order(torch):
    x = _leaf(torch)
    y = (x**4).sum()
    found = []
    for _ in range(3):
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        found.append(g)
        y = g.sum()
    return [g.detach() for g in found]


@script
def backward_create_graph(torch):
    x = _leaf(torch)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    x.grad = None
    (g * g).sum().backward()
    return x.grad


@script
def gradient_penalty(torch):
    w, x = torch.ones(3, 3, requires_grad=True), torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
    y = torch.tanh(x @ w).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    ((g.norm(2, dim=1) - 1) ** 2).mean().backward()
    return [w.grad, x.grad]


@script
def hessian_by_rows(torch):
    x = _leaf(torch)
    (g,) = torch.autograd.grad((x.prod() * x.sum()), x, create_graph=True)
    return [torch.autograd.grad(g[i], x, retain_graph=True)[0] for i in range(3)]


@script
def allow_unused(torch):
    x, y = _leaf(torch), _leaf(torch)
    g = torch.autograd.grad(x.sum(), [x, y], allow_unused=True)
    return [g[0], g[1] is None, torch.autograd.grad(x.sum(), [y], materialize_grads=True)[0]]


@script
def grad_leaves_grad_alone(torch):
    x = _leaf(torch)
    torch.autograd.grad(x.sum(), x)
    return x.grad is None


@script
def grad_of_an_intermediate(torch):
    x = _leaf(torch)
    h = x * 2
    return torch.autograd.grad((h**2).sum(), [h, x])


@script
def batched_vectors(torch):
    x = _leaf(torch)
    return torch.autograd.grad(x**2, x, torch.eye(3), is_grads_batched=True)[0]


@wrong
def unused_input(torch):
    torch.autograd.grad(_leaf(torch).sum(), _leaf(torch))


@wrong
def input_without_grad(torch):
    torch.autograd.grad(_leaf(torch).sum(), torch.ones(1))


@script
def grad_leaves_the_graph_below_alone(torch):
    x = _leaf(torch)
    h = x.exp()
    (g,) = torch.autograd.grad((h**2).sum(), h)
    h.sum().backward()
    return [g, x.grad]


@wrong
def materialized_and_not_allowed(torch):
    torch.autograd.grad(_leaf(torch).sum(), _leaf(torch), materialize_grads=True, allow_unused=False)


def test_gradients_without_a_graph_are_constants_in_compiled_functions():
    def by_grad(x):
        (g,) = jtorch.autograd.grad((x**3).sum(), x)
        return (g * x).sum()

    def by_backward(x):
        y = x * 2
        y.retain_grad()
        (y**2).sum().backward(inputs=[y])
        return (y.grad * x).sum()

    for function in (by_grad, by_backward):
        found = []
        for run in (function, jtorch.compile(function)):
            x = _leaf(jtorch)
            run(x).backward()
            found.append(x.grad.tolist())
        assert found[0] == found[1]


# hooks


@script
def tensor_hooks(torch):
    x, seen = _leaf(torch), []
    h = x * 2
    h.register_hook(lambda g: seen.append(g.clone()))
    handle = h.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    (h**2).sum().backward(retain_graph=True)
    handle.remove()
    (h**2).sum().backward()
    return [x.grad, *seen]


@script
def post_accumulate_hook(torch):
    x, seen = _leaf(torch), []
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.clone()))
    (x * 2).sum().backward()
    return seen


@script
def retain_grad(torch):
    x = _leaf(torch)
    h = x * 2
    h.retain_grad()
    (h**2).sum().backward()
    return [h.grad, h.retains_grad, x.retains_grad, x.grad]


@wrong
def hook_without_grad(torch):
    torch.ones(1).register_hook(lambda g: g)


@wrong
def retain_grad_without_grad(torch):
    torch.ones(1).retain_grad()


@script
def second_gradient_where_the_first_is_infinite(torch):
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    (first,) = torch.autograd.grad(torch.special.entr(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    return [first, second]


# grad modes


@script
def no_grad_forms(torch):
    x, found = _leaf(torch), []
    with torch.no_grad():
        found.append((x * 2).requires_grad)
        with torch.enable_grad():
            found.append((x * 2).requires_grad)
        with torch.set_grad_enabled(True):
            found.append((x * 2).requires_grad)

    @torch.no_grad()
    def decorated(y):
        return y * 2

    @torch.no_grad
    def bare(y):
        return y * 2

    @torch.enable_grad()
    def wanted(y):
        return y * 2

    found += [decorated(x).requires_grad, bare(x).requires_grad, (x * 2).requires_grad, torch.is_grad_enabled()]
    with torch.no_grad():
        found.append(wanted(x).requires_grad)
    torch.set_grad_enabled(False)
    found.append((x * 2).requires_grad)
    torch.set_grad_enabled(True)
    return found


@script
def no_grad_in_generators(torch):
    @torch.no_grad()
    def produce(x):
        yield (x * 2).requires_grad
        yield torch.is_grad_enabled()

    found = []
    for value in produce(_leaf(torch)):
        found += [value, torch.is_grad_enabled()]
    return found


@script
def grad_mode_after_an_error(torch):
    try:
        with torch.no_grad():
            raise KeyError
    except KeyError:
        return torch.is_grad_enabled()


@script
def inference_mode(torch):
    with torch.inference_mode():
        y = _leaf(torch) * 2
        inside = torch.is_inference_mode_enabled()
    return [y.requires_grad, y.is_inference(), inside, torch.is_inference_mode_enabled()]


@script
def leaf_made_inside_no_grad(torch):
    with torch.no_grad():
        x = torch.ones(2, requires_grad=True)
    return [x.requires_grad, x.is_leaf]


@script
def views_made_inside_no_grad(torch):
    x, plain = _leaf(torch), torch.ones(2)
    computed = x * 3
    with torch.no_grad():
        views = [x[:1], x.view(-1)[:1], computed[:1], *x.unbind(0), x.detach()[:1], plain[:1]]
        views.append(views[0][:1])
    found = [[v.requires_grad, v.is_leaf, v.grad_fn] for v in views]
    with torch.inference_mode():
        found.append(x[:1].requires_grad)
    (views[0] * 3).sum().backward()
    return [*found, views[0].grad, x.grad]


@script
def a_view_made_inside_no_grad_has_no_gradient(torch):
    x = _leaf(torch)
    with torch.no_grad():
        view = x[:1]
        view.mul_(2)
    found = [view.is_leaf, view.grad_fn, x.detach().clone()]
    for use in (lambda: view.mul_(2), lambda: view * 2):
        try:
            use()
        except RuntimeError:
            found.append("refused")
    return found


def _tries(*uses):
    """What uses of a view give, or that they are refused."""
    found = []
    for use in uses:
        try:
            found.append(use())
        except RuntimeError:
            found.append("refused")
    return found


def _written_later(torch, made):
    x = torch.ones(2, 3, requires_grad=True) * 1
    with torch.no_grad():
        view = made(x)
    x.mul_(2)
    uses = (
        lambda: (view * 2).detach(),
        lambda: view[..., 1:].detach(),
        lambda: view.mul_(3).detach(),
        lambda: view.is_leaf,
        lambda: view.detach() * 2,
    )
    found = _tries(*uses)
    with torch.no_grad():
        found += _tries(*uses)
    return [*found, *_tries(lambda: (x * view.sum()).sum()), x.detach(), view.detach(), "Invalid" in repr(view)]


@script
def views_made_inside_no_grad_whose_base_was_written(torch):
    kinds = (
        lambda t: t[0],
        lambda t: t.view(-1),
        lambda t: t.unbind(0)[0],
        lambda t: t.detach()[0],
        lambda t: t[0].detach(),
    )
    return [_written_later(torch, made) for made in kinds]


@script
def views_of_a_detached_tensor_share_its_graph(torch):
    found = []
    for made in (lambda t: t.detach(), lambda t: t.data, lambda t: t[:2].detach()):
        x, scale = torch.ones(3, 2, requires_grad=True) * 1, _leaf(torch, 5.0)
        apart = made(x)
        one, other = apart[0], apart[:, 1][1:]
        apart.mul_(scale)
        found.append(other * 2)  # torch writes to a view of the new graph only once that has been asked for
        other.mul_(scale)
        found += [x.detach(), *(v.requires_grad for v in (x, apart, one, other))]
        for v in (apart, one, other):
            found += [v, *torch.autograd.grad(v.sum(), scale, retain_graph=True)]
        apart.unsqueeze_(0)
        one.mul_(scale)
        found += [apart, *torch.autograd.grad(apart.sum(), scale), x.grad_fn is None]
    return found


def _given_out(torch, forward):
    class Given(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return forward(x)

        @staticmethod
        def backward(ctx, *gradients):
            return torch.ones(2, 3) * gradients[-1].sum()

    x = _leaf(torch)
    base = torch.ones(2, 3) * x
    out = Given.apply(base)
    out = out[-1] if isinstance(out, tuple) else out
    found = [*torch.autograd.grad(out.sum(), x, retain_graph=True), *_tries(lambda: out.mul_(2))]
    base.mul_(2)
    found += [base, out.detach(), *_tries(lambda: out * 2, lambda: out[0])]
    with torch.no_grad():
        out.mul_(3)
    return [*found, base.detach(), out.detach()]


@script
def what_a_function_gives_out_of_other_memory(torch):
    kinds = (lambda x: x[0], lambda x: x, lambda x: (x * 2).view(-1), lambda x: x * 2, lambda x: (x * 2, x * 1))
    return [_given_out(torch, forward) for forward in kinds]


@script
def views_of_a_detached_leaf_are_not_written(torch):
    leaf = _leaf(torch).detach().requires_grad_()
    view = _leaf(torch)[:2].detach()[:1].requires_grad_()
    with torch.no_grad():
        plain = _leaf(torch).detach()[:1]
    return _tries(
        lambda: leaf.mul_(2), lambda: leaf[0].mul_(2), lambda: view.mul_(2), lambda: view[0].mul_(2), lambda: plain.mul_(2),
        lambda: plain.mul_(_leaf(torch)[:1]), lambda: plain.detach_(), lambda: leaf.detach_().mul_(2),
    )  # fmt: skip


@script
def a_tensor_given_another_shape_in_place_keeps_its_views_graph(torch):
    x, y = torch.ones(3), _leaf(torch)
    x.unsqueeze_(0)
    view = x[..., 0]
    x += y
    return [view, *torch.autograd.grad(view.sum(), [x, y])]


def test_a_leaf_with_views_keeps_its_shape():
    x = _leaf(jtorch)
    view = x[:1]
    with jtorch.no_grad():
        with pytest.raises(RuntimeError, match="leaf without views"):
            x.unsqueeze_(0)
        del view
        x.unsqueeze_(0)
    later = x[0]
    with jtorch.no_grad():
        x.mul_(2)
    assert x.shape == (1, 3) and x.is_leaf
    (later * later).sum().backward()
    assert x.grad.tolist() == [[4.0, 8.0, 12.0]]


# the graph


@script
def graph_can_be_walked(torch):
    x = _leaf(torch)
    y = (x * 2 + 1).sum()
    names, node = [], y.grad_fn
    while node is not None:
        names.append(node.name())
        node = node.next_functions[0][0] if node.next_functions else None
    return names


@script
def variable(torch):
    x = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    return [x, x.requires_grad, isinstance(x, torch.Tensor)]


# functions of one's own


def _cube(torch):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x**3 * factor

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 3 * x**2 * ctx.factor * g, None

    return Cube.apply


@script
def function(torch):
    x = _leaf(torch)
    y = _cube(torch)(x, 2.0)
    y.sum().backward()
    return [y.detach(), x.grad, y.grad_fn.name()]


@script
def function_differentiated_twice(torch):
    x = _leaf(torch)
    (g,) = torch.autograd.grad(_cube(torch)(x, 2.0).sum(), x, create_graph=True)
    return torch.autograd.grad(g.sum(), x)[0]


def _exp(torch):
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y, None)
            return y

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    return Exp.apply


@script
def function_that_saves_its_output_differentiated_twice(torch):
    x = _leaf(torch)
    (g,) = torch.autograd.grad(_exp(torch)(x).sum(), x, create_graph=True)
    return torch.autograd.grad(g.sum(), x)[0]


@script  # the text names the tensor otherwise
def function_whose_saved_tensor_is_changed(torch):
    y = _exp(torch)(_leaf(torch))
    z = y.sum()
    y.mul_(2)
    z.backward()


@wrong
def function_whose_saved_tensors_are_freed(torch):
    y = _exp(torch)(_leaf(torch))
    y.sum().backward()
    y.grad_fn.saved_tensors  # noqa: B018


@script
def function_with_setup_context(torch):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y, x + y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.needs = ctx.needs_input_grad

        @staticmethod
        def backward(ctx, g, h):
            x, y = ctx.saved_tensors
            return g * y + h, (g * x + h) if ctx.needs[1] else None

    x, y = _leaf(torch), torch.ones(3) * 2
    a, b = Scale.apply(x, y)
    (a + b * 3).sum().backward()
    return [a.detach(), b.detach(), x.grad, y.requires_grad]


@script
def function_of_a_straight_through_estimator(torch):
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, g):
            return g

    x = torch.tensor([0.4, 1.6], requires_grad=True)
    (Round.apply(x * 2) ** 2).sum().backward()
    return x.grad


@script
def function_marks(torch):
    class Top(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            value, place = x.max(0)
            ctx.mark_non_differentiable(place)
            ctx.save_for_backward(place)
            ctx.size = x.shape[0]
            return value, place

        @staticmethod
        def backward(ctx, g, _):
            (place,) = ctx.saved_tensors
            out = torch.zeros(ctx.size)
            out[place] = g
            return out

    x = _leaf(torch)
    value, place = Top.apply(x)
    value.backward()
    return [value.detach(), place, place.requires_grad, x.grad]


@wrong
def function_with_too_few_gradients(torch):
    class Add(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, g):
            return g

    Add.apply(_leaf(torch), _leaf(torch)).sum().backward()


@script
def once_differentiable(torch):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    x = _leaf(torch)
    Square.apply(x).sum().backward()
    return x.grad


def test_anomalies_of_gradients_at_special_points():
    """Where the obvious formula has NaN or half a gradient; see `TRAPS` for torch's choices."""
    points = {
        "abs": ([0.0], lambda t, x: x.abs()),
        "clamp": ([1.0, -1.0], lambda t, x: x.clamp(-1, 1)),
        "relu": ([0.0], lambda t, x: t.relu(x)),
        "leaky_relu": ([0.0], lambda t, x: t.nn.functional.leaky_relu(x, 0.1)),
        "hardtanh": ([1.0, -1.0], lambda t, x: t.nn.functional.hardtanh(x)),
        "norm": ([0.0, 0.0], lambda t, x: x.norm()),
        "std": ([2.0, 2.0], lambda t, x: x.std()),
        "pow_zero": ([0.0], lambda t, x: x**0),
        "max": ([1.0, 1.0, 0.0], lambda t, x: x.max()),
        "max_dim": ([1.0, 1.0, 0.0], lambda t, x: x.max(0).values),
        "amax": ([1.0, 1.0, 0.0], lambda t, x: x.amax()),
        "maximum": ([1.0, 0.0], lambda t, x: t.maximum(x, t.ones(2))),
        "median": ([1.0, 1.0, 0.0, 3.0], lambda t, x: x.median()),
        "prod": ([0.0, 2.0, 0.0], lambda t, x: x.prod()),
        "cumprod": ([0.0, 2.0, 3.0], lambda t, x: x.cumprod(0)),
        "atan2": ([0.0], lambda t, x: t.atan2(x, t.zeros(1))),
        "xlogy": ([0.0], lambda t, x: t.xlogy(x, x)),
        "sort": ([1.0, 1.0], lambda t, x: x.sort().values),
        "sqrt": ([0.0], lambda t, x: x.sqrt()),
        "softplus": ([50.0, -50.0], lambda t, x: t.nn.functional.softplus(x)),
        "normalize": ([0.0, 0.0], lambda t, x: t.nn.functional.normalize(x, dim=0)),
    }
    for values, function in points.values():

        def differentiate(torch, values=values, function=function):
            x = torch.tensor(values, requires_grad=True)
            function(torch, x).sum().backward()
            return x.grad

        parity.agree(differentiate)


def test_detect_nothing_twice():
    """A walk frees what it walked, and only that."""
    x = jtorch.ones(2, requires_grad=True)
    shared = x * 2
    one, two = (shared + 1).sum(), (shared * 3).sum()
    one.backward()
    with pytest.raises(RuntimeError, match="second time"):
        two.backward()
    y = pytorch.ones(2, requires_grad=True)
    assert y.grad is None


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("size", [1, 2])
def test_gradients_start_by_themselves_at_real_numbers_alone(dtype, size):
    def differentiated(lib, how):
        x = lib.tensor([2.0] * size, dtype=getattr(lib, dtype), requires_grad=True)
        how(lib, x * x)
        return x.grad

    for how in (
        lambda lib, y: y.backward(),
        lambda lib, y: lib.autograd.backward([y]),
        lambda lib, y: y.sum().backward(),
    ):
        parity.agree(lambda lib: differentiated(lib, how), text=True)  # noqa: B023
    parity.agree(lambda lib: differentiated(lib, lambda lib, y: y.backward(lib.ones_like(y))))
