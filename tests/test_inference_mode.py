"""`inference_mode` beside torch's: what is an inference tensor, where it may be written or recorded, and the modes inside."""

import copy
import io
import pickle
import threading

import parity
import pytest
import torch as pytorch

import jtorch
from jtorch import nn

pytestmark = pytest.mark.x64_off

SCRIPTS: list = []
script = parity.scripts(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda f: f.__name__)
def test_script(script):
    given = parity._told(script, pytorch)
    assert not isinstance(given, Exception), given  # what is to raise is caught inside
    parity.agree(script)


def _told(scope, uses):
    """What each of some expressions gives, or the first sentence of its error; what has a graph comes without it."""
    found = []
    for use in uses.split(";"):
        try:
            value = eval(use.strip(), globals(), dict(scope))
        except RuntimeError as error:
            found.append(f"{type(error).__name__}: {str(error).partition('.')[0]}")
        else:
            recorded = getattr(value, "grad_fn", None) is not None
            found.append([value.detach(), value.is_inference()] if recorded else value)
    return found


def _marks(*tensors):
    return [t.is_inference() for t in tensors]


def _marked(scope, made):
    """Which of the tensors that some expressions give are inference tensors, by the expressions."""
    return [f"{one.strip()}: {eval(one.strip(), globals(), dict(scope)).is_inference()}" for one in made.split(";")]


def _leaf(torch):
    return torch.tensor([1.0, 2.0, 3.0], requires_grad=True)


def _made(torch, *values):
    """An inference tensor."""
    with torch.inference_mode():
        return torch.tensor(values or [1.0, 2.0, 3.0])


# which tensors are inference tensors


@script
def made_inside(torch):
    x, w = torch.ones(2, 3), torch.ones(2, 3, requires_grad=True)
    with torch.inference_mode():
        return _marked(
            locals(),
            """
            x * 2; w * 2; x.sum(); x.clone(); x.half(); x.max(0).values; x.max(0).indices; x[[0, 1]];
            torch.cat([x, x]); torch.tensor(1.0); torch.ones(2); torch.zeros_like(w); torch.Tensor(2, 2);
            torch.Tensor([1.0]); torch.randn(2); torch.from_numpy(x.numpy()); x.new_zeros(2); torch.as_tensor([1.0]);
            copy.deepcopy(x); torch.eye(2); torch.nn.Parameter(torch.ones(3)); torch.nn.Linear(2, 2).weight;
            torch.nn.Buffer(torch.ones(2)); torch.nn.BatchNorm1d(2).running_mean
        """,
        )


@script
def views_made_inside(torch):
    x, w = torch.ones(2, 3), torch.ones(2, 3, requires_grad=True)
    with torch.inference_mode():
        made = torch.ones(2, 3)
        return _marked(
            locals(),
            """
            x.detach(); x[0]; x[:, 1:]; x.view(-1); x.t(); x.expand(4, 2, 3); x.unbind(0)[1]; x.data; x.unsqueeze(0);
            x.contiguous(); x.float(); x.cpu(); torch.as_tensor(x); x.add_(1); x.requires_grad_();
            torch.nn.Parameter(x); x.reshape(3, 2); x.flatten(); x.t().reshape(6); x.t().contiguous();
            x.t().flatten(); x.t()[0].reshape(2); w.detach(); w[0]; w.data; made[0]; made.t().reshape(6);
            made.detach(); made.data
        """,
        )


@script
def made_outside_of_inference_tensors(torch):
    x = _made(torch)
    return _marked(
        locals(),
        """
        x * 2; x.clone(); x.sum(); x.half(); torch.ones_like(x); x.new_zeros(2); copy.deepcopy(x); x[[0, 1]];
        torch.stack([x, x]); torch.tensor(x); torch.from_numpy(x.numpy()); copy.copy(x);
        x.to(torch.float32, copy=True)
    """,
    )


@script
def views_made_outside_of_inference_tensors(torch):
    x, normal = _made(torch), torch.ones(2, 3)
    with torch.inference_mode():
        m = torch.ones(2, 3)
    return _marked(
        locals(),
        """
        x.detach(); x[0]; x[1:]; x.view(3, 1); x.reshape(3, 1); x.data; x.unbind()[0]; x.expand(2, 3); x.squeeze();
        x.contiguous(); x.float(); x.cpu(); torch.as_tensor(x); torch.nn.Parameter(x, requires_grad=False); m.t();
        m.T; m.flatten(); m.t()[0]; m[0][1:]; m.diagonal(); m.unfold(1, 2, 1); torch.nn.Buffer(x); m.t().reshape(6);
        m.t().contiguous(); m.t().flatten(); m.t().reshape(6)[0]; normal[0]
    """,
    )


@script
def of_the_top_level(torch):
    x = _made(torch)
    return [torch.is_inference(x), torch.is_inference(x.clone()), torch.is_inference(input=x[0])]


@script
def given_as_data(torch):
    x, y, w = _made(torch), torch.zeros(3), _leaf(torch)
    y.add_(1)
    y.data = x
    found = [y.is_inference(), y._version, y.add_(1).clone(), y._version, x.clone(), w.is_inference()]
    w.data = _made(torch)
    found += [w.is_inference(), w.requires_grad, (w * 2).requires_grad]
    with torch.inference_mode():
        w.data = torch.ones(3)
    x.data = torch.zeros(3)
    return [*found, w.is_inference(), w.requires_grad, x.is_inference(), *_told(locals(), "x.add_(1); w.mul_(2)")]


@script
def saved_and_copied(torch):
    x, module, file = _made(torch), torch.nn.Linear(2, 2), io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    found = [torch.load(file), pickle.loads(pickle.dumps(x))]
    file.seek(0)
    with torch.inference_mode():
        found += [torch.load(file), copy.deepcopy(module).weight, pickle.loads(pickle.dumps(module.weight))]
        made = torch.nn.Linear(2, 2)
    found.append(copy.deepcopy(made).weight)
    return [*_marks(*found), found[-1].requires_grad, repr(x), repr(x[0])]


# gradients


@script
def ops_outside_that_record_nothing(torch):
    x = _made(torch)
    y = x * torch.ones(3)
    y.add_(1)
    return [y, y.is_inference(), y._version, y.requires_grad, y.is_leaf]


@script
def ops_recorded_outside(torch):
    x, w, F = _made(torch), _leaf(torch), torch.nn.functional
    matrix = torch.ones(2, 3)
    return _told(
        locals(),
        """
        w + x; w - x; torch.add(w, x, alpha=2); torch.sub(x, w); torch.cat([w, x]); w * x; x * w; w / x; x / w; w @ x;
        w**x; torch.outer(w, x); torch.maximum(w, x); torch.atan2(w, x); torch.lerp(w, x, 0.5); torch.fmod(w, x);
        torch.addcmul(w, x, x); w.expand_as(x); w.clone().copy_(x); w.type_as(x); torch.where(x > 1, w, 0.0);
        torch.where(w > 1, w, x); w.masked_fill(x > 1, 0.0); F.mse_loss(w, x); F.l1_loss(w, x); torch.hypot(w, x);
        F.smooth_l1_loss(w, x); F.cosine_similarity(w, x, 0); F.kl_div(w, x, log_target=True); torch.dist(w, x);
        F.linear(x, matrix.clone().requires_grad_()); F.linear(w, matrix, x[:2]); (w * 1).mul_(x); (w * 1).add_(x);
        torch.ones(3).mul_(w).add_(x); F.binary_cross_entropy_with_logits(w, x)
    """,
    )


@script
def integers_and_masks_recorded_outside(torch):
    w, table, F = _leaf(torch), torch.ones(3, 2, requires_grad=True), torch.nn.functional
    with torch.inference_mode():
        i, mask, one = torch.tensor([0, 2]), torch.tensor([True, False, True]), torch.tensor(1)

    def written():
        z = w * 1
        z[i] = w[:2]
        return z

    return _told(
        locals(),
        """
        w[i]; w[mask]; table[:, i[:1]]; w.index_select(0, i); w.gather(0, i); w.take(i); torch.where(mask, w, w);
        w.masked_fill(mask, 0.0); F.embedding(i, table); w.index_add(0, i, w[:2]); w.scatter(0, i, 1.0); w * i[:1];
        w * one; written(); F.cross_entropy(table, i[[0, 0, 0]] * 1);
        F.cross_entropy(table, i.view(2, 1).expand(2, 3)[0]); w[one]; w[one:]; w + one; w * 2 ** i[0]; w[1];
        w[[0, 1]]
    """,
    )


@script
def no_grad_outside(torch):
    x, w = _made(torch), _leaf(torch)
    with torch.no_grad():
        return _told(locals(), "w * x; w[x > 1]; w.mul_(x); x.add_(1); x.mul_(w); x.requires_grad_()")


@script
def asked_for_gradients_outside(torch):
    x = _made(torch)

    def assign():
        x.requires_grad = True

    return _told(
        locals(),
        """
        x.requires_grad_(False).requires_grad; x.requires_grad_(); assign(); x[0].requires_grad_();
        x.detach().requires_grad_(); x.data.requires_grad_(); torch.nn.Parameter(x);
        x.clone().requires_grad_().requires_grad; torch.tensor(x, requires_grad=True).requires_grad;
        torch.nn.Parameter(x, requires_grad=False).requires_grad; x.requires_grad
    """,
    )


@script
def asked_for_gradients_inside(torch):
    with torch.inference_mode():
        x, y = torch.ones(3, requires_grad=True), torch.ones(3).requires_grad_()
        z = x * 2
        found = [x.requires_grad, y.requires_grad, z.requires_grad, x.is_leaf, z.is_leaf, x.is_inference()]
    (x * 2).sum().backward()
    found += [x.grad, x.grad.is_inference(), (x + 1).requires_grad]
    return [*found, *_told(locals(), "x.requires_grad_(); x.requires_grad_(False).requires_grad")]


@script
def a_clone_is_normal(torch):
    x = _made(torch)
    y = x.clone()
    y.add_(1)
    y.requires_grad_()
    (y * y).sum().backward()
    return [x, y.is_inference(), y.grad]


@script
def backward_inside(torch):
    w = _leaf(torch)
    y, z = (w * w).sum(), (w * 3).sum()
    with torch.inference_mode():
        y.backward()
        asked = torch.autograd.grad(z, w)[0]
    found = [w.grad.clone(), w.grad.is_inference(), w.grad.requires_grad, asked, asked.is_inference()]
    return [*found, *_told(locals(), "(w * 2).sum().backward()")]


@script
def backward_of_what_was_made_inside(torch):
    w = _leaf(torch)
    with torch.inference_mode():
        y = (w * w).sum()
    return _told(locals(), "y.backward(); torch.autograd.grad(y, w)")


@script
def gradients_given_as_inference_tensors(torch):
    w, x = _leaf(torch), _made(torch)
    (w * 2).backward(x)
    found = [w.grad, w.grad.is_inference()]
    w.grad = _made(torch)
    x.grad = torch.ones(3)
    return [*found, x.grad, *_told(locals(), "(w * 2).sum().backward(); x.backward(); x.register_hook(print)")]


@script
def transforms(torch):
    w, x = torch.tensor([1.0, 2.0, 3.0]), _made(torch)

    def cubed(t):
        return (t * t * t).sum()

    found = [
        torch.func.grad(cubed)(x),
        torch.func.grad(lambda t: (t * x).sum())(w),
        torch.func.vmap(lambda t: t * 2)(x),
    ]
    with torch.inference_mode():
        found += [torch.func.grad(cubed)(w), torch.func.hessian(cubed)(w), *torch.func.jvp(cubed, (w,), (x,))]
        found += [torch.func.jacrev(cubed)(x), torch.func.vjp(cubed, w)[0]]
    return found


# writes


@script
def writes_outside(torch):
    x, F = _made(torch), torch.nn.functional

    def item():
        x[0] = 1.0

    def items():
        x[x > 1] = 0.0

    def augmented():
        y = x
        y += 1

    found = _told(
        locals(),
        """
        x.add_(1); x.zero_(); x.fill_(1); x.copy_(torch.ones(3)); item(); items(); augmented(); x.uniform_();
        x.random_(); x[1:].add_(1); x.t_(); x.unsqueeze_(0); x.resize_(2); x.squeeze_(); F.relu(x, inplace=True);
        torch.relu_(x); x.clamp_(0, 1); x.masked_fill_(x > 1, 0.0); x.index_fill_(0, torch.tensor([0]), 1.0);
        torch.nn.init.zeros_(x); F.dropout(x, inplace=True); x.polygamma_(1);
        x.index_put_((torch.tensor([0]),), torch.tensor([1.0])); x.scatter_(0, torch.tensor([0]), 1.0)
    """,
    )
    return found  # torch refuses when it has written


@script
def writes_to_detached_inference_tensors(torch):
    x = _made(torch)
    x.detach().add_(1)
    x.data.mul_(2)
    torch.nn.Parameter(x, requires_grad=False).sub_(1)
    return [x, x.detach()._version, x.data._version]


@script
def outputs_given(torch):
    x, y = _made(torch), torch.zeros(3)
    with torch.inference_mode():
        z, empty = torch.zeros(3), torch.empty(0)
    found = _told(
        locals(),
        """
        torch.add(x, 1, out=y).is_inference(); torch.add(y, 1, out=z); torch.mul(x, x, out=z[:3]);
        torch.add(y, 1, out=empty)
    """,
    )
    with torch.inference_mode():
        found += _told(locals(), "torch.add(y, 1, out=z); torch.add(x, 1, out=y).is_inference()")
    return [*found, y, y._version]


@script
def writes_inside_to_normal_tensors(torch):
    x, w = torch.ones(3), _leaf(torch)
    y = w * 2
    with torch.inference_mode():
        x.add_(1)
        x[0] = 5.0
        x[1:].mul_(3)
        w.mul_(2)
        y.add_(1)
        inside = [*_marks(x, w, y), x._version, w._version, y._version]
    return [inside, x, w.detach(), y.detach(), w.requires_grad, y.requires_grad, w.is_leaf, x._version]


@script
def versions(torch):
    x = _made(torch)
    with torch.inference_mode():
        x.add_(1)
        found = _told(locals(), "x._version; x.detach()._version")
    return [*found, x, *_told(locals(), "x._version; x[0]._version; x.detach()._version; (x + 1)._version")]


@script
def views_made_inside_are_written_later(torch):
    x, w = torch.ones(3), _leaf(torch)
    with torch.inference_mode():
        view = x[1:]
        view.add_(1)
        part, detached = w[1:], w.detach()
    view.add_(1)
    found = [part.grad_fn, part.is_leaf, part.is_inference()]
    detached.mul_(2)
    return [*found, x, view.is_inference(), view._version, x._version, detached, part.detach().clone()]


@script
def views_made_inside_are_not_recorded_later(torch):
    w = _leaf(torch)
    y, x = w * 2, torch.ones(3)
    with torch.inference_mode():
        view, first, plain = y[1:], y.unbind(0)[0], x[1:]
    found = []
    for use in (lambda: view.add_(1), lambda: first.add_(1), lambda: plain.mul_(w[1:])):
        try:
            use()
        except RuntimeError:
            found.append("refused")
    plain.mul_(2)
    y.add_(1)
    try:
        view * 2
    except RuntimeError:
        found.append("refused")
    return [*found, x, y.detach(), view.detach()]


@script
def copies_both_ways(torch):
    x, y, w = _made(torch), torch.zeros(3), _leaf(torch)
    found = _told(locals(), "y.copy_(x).is_inference(); x.copy_(y); (w * 1).copy_(x)")
    y[0] = x[1]
    with torch.inference_mode():
        x.copy_(w * 5)
        w.copy_(x)
    return [*found, x, y, w.detach(), x.requires_grad, w.requires_grad, w._version, y._version]


# modes


@script
def modes_inside(torch):
    w, found = _leaf(torch), []

    def note():
        y = w * 2
        found.append(
            [torch.is_grad_enabled(), torch.is_inference_mode_enabled(), y.requires_grad, y.is_inference(), y.is_leaf]
        )

    with torch.inference_mode():
        note()
        with torch.enable_grad():
            note()
            with torch.no_grad():
                note()
            with torch.inference_mode():
                note()
            note()
            w.mul_(1.0)
        note()
        torch.set_grad_enabled(True)
        note()
        with torch.set_grad_enabled(False):
            note()
        note()
        with torch.inference_mode(False):
            note()
            with torch.no_grad():
                note()
        note()
    note()
    with torch.no_grad(), torch.inference_mode(False):
        note()
    return found


@script
def off_inside(torch):
    w = _leaf(torch)
    with torch.inference_mode():
        x = torch.ones(3)
        with torch.inference_mode(mode=False):
            (w * 2).sum().backward()
            found = _told(locals(), "x.add_(1); w * x")
    return [*found, w.grad, w.grad.is_inference()]


@script
def decorators(torch):
    @torch.inference_mode
    def bare(x):
        return x * 2

    @torch.inference_mode()
    def called(x):
        return x * 2

    @torch.inference_mode(False)
    def off(x):
        return x * 2

    @torch.inference_mode(mode=True)
    def steps(x):
        yield x * 2
        yield x * 3

    class Owner:
        @torch.inference_mode()
        def method(self, x):
            return x * 2

    w, found = _leaf(torch), []
    found += [[y.is_inference(), y.requires_grad] for y in (bare(w), called(w), off(w), Owner().method(w))]
    found += [[y.is_inference(), torch.is_inference_mode_enabled()] for y in steps(w)]
    return [*found, bare.__name__, called.__name__, off(w).is_inference(), torch.inference_mode().mode]


@script
def nested_and_left_by_an_error(torch):
    found, mode = [], torch.inference_mode()
    with mode, torch.inference_mode():
        found.append(torch.is_inference_mode_enabled())
    with mode:
        with torch.inference_mode():
            found.append(torch.is_inference_mode_enabled())
        found.append(torch.is_inference_mode_enabled())
        try:
            with torch.inference_mode(False):
                raise KeyError
        except KeyError:
            found.append(torch.is_inference_mode_enabled())
    return [*found, torch.is_inference_mode_enabled(), torch.is_grad_enabled()]


@script
def other_threads(torch):
    found = []

    def run():
        found.extend([torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.ones(2).is_inference()])

    with torch.inference_mode():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    return found


# modules, optimizers, functions


def _filled(torch, module):
    with torch.inference_mode():
        for p in module.parameters():
            p.fill_(0.5)
    return module


@script
def modules_used_inside(torch):
    layer, norm, x = _filled(torch, torch.nn.Linear(3, 2)), torch.nn.BatchNorm1d(3), torch.ones(4, 3)
    with torch.inference_mode():
        y = layer(x)
        norm(x)
    found = [*_marks(layer.weight, y, norm.running_mean), layer.weight.requires_grad, y.requires_grad, y]
    layer(x).sum().backward()
    norm(x)
    return [*found, layer.weight.grad, norm.running_mean, norm.num_batches_tracked]


@script
def modules_made_inside(torch):
    with torch.inference_mode():
        layers, norm = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)), torch.nn.BatchNorm1d(3)
    _filled(torch, layers)
    x = torch.ones(4, 3)
    return _told(
        locals(),
        """
        [[p.is_inference(), p.requires_grad, p.is_leaf] for p in layers.parameters()]; layers(x);
        layers[0](x).requires_grad; norm(x); norm.eval()(x); layers.requires_grad_(False)(x);
        layers.requires_grad_(True); layers[0].weight.add_(1); layers.half()[0].weight.is_inference();
        layers.float()[0].weight.requires_grad
    """,
    )


@script
def modules_converted_inside(torch):
    layer = _filled(torch, torch.nn.Linear(3, 2))
    with torch.inference_mode():
        layer.half()
        layer.float()
    (layer.weight * 2).sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.25).step()
    return [layer.weight.is_inference(), layer.weight.detach(), layer.weight.grad]


@script
def lazy_modules(torch):
    layer = torch.nn.LazyLinear(2)
    with torch.inference_mode():
        inside = torch.nn.LazyLinear(2)
        inside(torch.ones(1, 3))
    layer(torch.ones(1, 3))
    return _marks(inside.weight, layer.weight)


@script
def features_of_a_frozen_network(torch):
    body, head = _filled(torch, torch.nn.Linear(3, 2)), _filled(torch, torch.nn.Linear(2, 1))
    with torch.inference_mode():
        features = body(torch.ones(1, 3))
    head(features.clone()).sum().backward()
    return [head.weight.grad, *_told(locals(), "head(features); head(features.detach())")]


@script
def states_loaded(torch):
    layer = torch.nn.Linear(3, 2)
    with torch.inference_mode():
        made, values = torch.nn.Linear(3, 2), {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    layer.load_state_dict(values)
    layer(torch.ones(1, 3)).sum().backward()
    found = [layer.weight.detach(), layer.weight.grad, layer.weight.is_inference(), layer.weight.requires_grad]
    with torch.inference_mode():
        layer.load_state_dict({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
        found += _marks(layer.weight, layer.state_dict()["weight"])
    for load in (lambda: made.load_state_dict(values), lambda: layer.load_state_dict(values, assign=True)):
        try:
            load()
        except RuntimeError as error:
            found.append(
                [text in str(error) for text in ("Inplace update to inference tensor", "Setting requires_grad=True")]
            )
    return [*found, layer.weight.detach()]


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}], ids=["alone", "momentum"])
def test_steps_inside(settings):
    def steps(torch):
        w = _leaf(torch)
        (w * w).sum().backward()
        optimizer = torch.optim.SGD([w], lr=0.1, **settings)
        with torch.inference_mode():
            optimizer.step()
        found = [w.detach().clone(), w.is_inference(), w._version, _marks(*optimizer.state[w].values())]
        return [*found, *_told(locals(), "optimizer.step()"), w.detach(), w.grad]

    parity.agree(steps)


@script
def steps_on_inference_tensors(torch):
    with torch.inference_mode():
        w = torch.nn.Parameter(torch.ones(3))
    one, other = torch.optim.SGD([w], lr=0.1), torch.optim.Adam([w], lr=0.1)
    (w * 2).sum().backward()
    return [*_told(locals(), "one.step(); other.step()"), w.grad, w.shape]


@script
def steps_with_inference_gradients(torch):
    w = _leaf(torch)
    optimizer = torch.optim.SGD([w], lr=0.1)
    w.grad = _made(torch)
    optimizer.step()
    clip = torch.nn.utils.clip_grad_norm_
    return [
        w.detach(),
        *_told(locals(), "optimizer.zero_grad(set_to_none=False); clip([w], 0.1)"),
        optimizer.zero_grad(),
    ]


@script
def random_state(torch):
    torch.manual_seed(3)
    generator = torch.Generator()
    with torch.inference_mode():
        generator.manual_seed(0)
        found = [torch.rand(2, generator=generator), torch.rand(2)]
    return [*found, torch.rand(2, generator=generator), torch.rand(2), *_marks(torch.get_rng_state(), *found)]


def _doubling(torch, kept, seen):
    class Doubling(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, other):
            seen.append([x.is_inference(), torch.is_inference_mode_enabled(), list(ctx.needs_input_grad)])
            ctx.save_for_backward(*(x, other)[:kept])
            return x * other

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 2, None

    return Doubling


@script
def functions(torch):
    w, x = _leaf(torch), _made(torch)
    seen = []
    one, both = _doubling(torch, 1, seen), _doubling(torch, 2, seen)
    y = one.apply(w, x)
    y.sum().backward()
    with torch.inference_mode():
        made = both.apply(w, torch.ones(3))
    found = [w.grad, *_marks(y, made, one.apply(x, torch.ones(3))), made.requires_grad, made.is_leaf]
    return [*found, seen, *_told(locals(), "both.apply(w, x); both.apply(x, x).requires_grad")]


@script
def functions_that_return_or_write_inference_tensors(torch):
    class Second(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w, x):
            return x

        @staticmethod
        def backward(ctx, gradient):
            return gradient, None

    class Written(Second):
        @staticmethod
        def forward(ctx, w, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

    w, x = _leaf(torch), _made(torch)
    return _told(locals(), "Second.apply(w, x).clone(); Written.apply(w, x)")


# what is jtorch's alone


def test_a_refused_write_changes_nothing():
    x = _made(jtorch)
    for write in (lambda: x.add_(1), lambda: x.unsqueeze_(0), lambda: jtorch.add(x, 1, out=x), lambda: x[1:].zero_()):
        with pytest.raises(RuntimeError, match="clone"):
            write()
    assert x.shape == (3,)
    assert x.tolist() == [1, 2, 3]


def test_a_refused_step_changes_nothing():
    w = _leaf(jtorch)
    optimizer = jtorch.optim.Adam([w], lr=0.1)
    (w * w).sum().backward()
    with jtorch.inference_mode():
        optimizer.step()
    before = w.tolist()
    with pytest.raises(RuntimeError, match="inference tensor"):
        optimizer.step()
    assert w.tolist() == before
    with jtorch.inference_mode():
        optimizer.step()
    assert w.tolist() != before


def test_generators_first_used_inside_are_used_outside():
    generator = jtorch.Generator()
    with jtorch.inference_mode():
        generator.next_key()
    generator.next_key()


# compiled


def _both(function):
    return function, jtorch.compile(function)


def test_compiled_in_inference_mode():
    layer = nn.Linear(3, 2)
    results = []
    for run in _both(lambda x: (layer(x), layer.weight * 2)):
        with jtorch.inference_mode():
            results.append(run(jtorch.ones(1, 3)))
        outside = run(jtorch.ones(1, 3))
        assert [t.is_inference() for t in (*results[-1], *outside)] == [True, True, False, False]
        assert [t.requires_grad for t in (*results[-1], *outside)] == [False, False, True, True]
    assert results[0][0].tolist() == results[1][0].tolist()


def test_compiled_with_the_mode_inside():
    w = _leaf(jtorch)

    def step(x):
        with jtorch.inference_mode():
            made = x * w
            grad, mode = jtorch.is_grad_enabled(), jtorch.is_inference_mode_enabled()
        return made, made.detach(), made.clone(), w + made, grad, mode

    for run in _both(step):
        for _ in range(2):
            made, detached, clone, total, grad, mode = run(jtorch.ones(3))
            assert [t.is_inference() for t in (made, detached, clone, total)] == [True, True, False, False]
            assert (made.requires_grad, total.requires_grad, grad, mode) == (False, True, False, True)
            with pytest.raises(RuntimeError, match="Inplace update"):
                made.add_(1)
            assert total.tolist() == [2, 4, 6]


def test_compiled_on_inference_tensors():
    w, x = _leaf(jtorch), _made(jtorch)
    for run in _both(lambda x: w * x):
        assert run(jtorch.ones(3)).requires_grad
        for _ in range(2):
            with pytest.raises(RuntimeError, match="cannot be saved for backward"):
                run(x)
    for run in _both(lambda x: x.add_(1)):
        with pytest.raises(RuntimeError, match="Inplace update"):
            run(x)
        with jtorch.inference_mode():
            assert run(x) is x
        x.data.sub_(1)
    assert x.tolist() == [1, 2, 3]


def test_compiled_writes_of_inference_tensors():
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        captured, given = _made(jtorch), _made(jtorch)

        def step(given, captured=captured):
            with jtorch.inference_mode():
                captured.mul_(2)
                given.add_(captured)

        run = wrap(step)
        for _ in range(3):
            run(given)
        with pytest.raises(RuntimeError, match="Inplace update"):
            captured.add_(1)
        results.append([captured.tolist(), given.tolist(), captured.is_inference()])
    assert results[0] == results[1] == [[8, 16, 24], [15, 30, 45], True]


def test_compiled_steps_explain_inference_tensors():
    double = jtorch.compile(lambda x: x * 2)
    double(jtorch.ones(3))
    double(_made(jtorch))
    assert "made in inference mode" in str(double.explain())
