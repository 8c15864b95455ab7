"""`jtorch.compile`: a step as one program does what the same step does eagerly, and leaves everything usable."""

import gc
import warnings

import numpy as np
import pytest

import jtorch
import jtorch.nn.functional as F

pytestmark = pytest.mark.x64_off


def arrays(*values):
    """Copies of the values of tensors, None for None."""
    return [None if v is None else np.array(v.detach().numpy()) for v in values]


def equal(one, two, exactly=False):
    """Assert that nested lists of arrays are equal."""
    for a, b in zip(one, two, strict=True):
        if a is None or b is None:
            assert a is b
        else:
            np.testing.assert_allclose(a, b, rtol=0 if exactly else 1e-5, atol=0 if exactly else 1e-6)


class Net:
    """A small model of plain tensors: two layers, one of them used twice."""

    def __init__(self):
        stream = np.random.default_rng(0)
        draw = lambda *shape: jtorch.tensor(stream.normal(size=shape).astype(np.float32) * 0.5).requires_grad_()
        self.w, self.v, self.b = draw(4, 4), draw(4, 1), draw(4)
        self.parameters = [self.w, self.v, self.b]

    def __call__(self, x):
        for _ in range(2):
            x = jtorch.tanh(x @ self.w + self.b)
        return x @ self.v


def data(count=8):
    """Inputs and targets."""
    stream = np.random.default_rng(1)
    return jtorch.tensor(stream.normal(size=(count, 4)).astype(np.float32)), jtorch.tensor(
        stream.normal(size=(count, 1)).astype(np.float32)
    )


def sgd_step(net, lr=0.1, clear=True, momentum=None):
    """A whole training step, by hand."""

    def step(x, y):
        for p in net.parameters if clear else ():
            p.grad = None
        loss = F.mse_loss(net(x), y)
        loss.backward()
        with jtorch.no_grad():
            for i, p in enumerate(net.parameters):
                if momentum is not None:
                    momentum[i].mul_(0.9).add_(p.grad)
                    p.sub_(momentum[i] * lr)
                else:
                    p -= p.grad * lr
        return loss.detach()

    return step


@pytest.mark.parametrize("momentum", [False, True])
def test_step_equals_eager(momentum):
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        net = Net()
        boxes = [jtorch.zeros_like(p) for p in net.parameters] if momentum else None
        step = wrap(sgd_step(net, momentum=boxes))
        losses = [step(*data()) for _ in range(5)]
        results.append(arrays(*losses, *net.parameters, *(p.grad for p in net.parameters), *(boxes or [])))
    equal(*results)


def test_accumulation_over_steps():
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        net = Net()

        def accumulate(x, y, net=net):
            F.mse_loss(net(x), y).backward()

        run = wrap(accumulate)
        for _ in range(3):
            run(*data())
        results.append(arrays(*(p.grad for p in net.parameters)))
        for p in net.parameters:
            p.grad = None
        run(*data())
        results[-1] += arrays(*(p.grad for p in net.parameters))
    equal(*results)


def test_traces_only_when_needed():
    net = Net()
    step = jtorch.compile(sgd_step(net))
    for _ in range(4):
        step(*data())
    assert step.traces <= 2  # .grad is None at first, and not afterwards
    before = step.traces
    step(*data(16))
    assert step.traces == before + 1
    step(*data(8))
    step(*data(16))
    assert step.traces == before + 1


def test_nothing_compiles_once_warm(compilations):
    net = Net()
    step = jtorch.compile(sgd_step(net))
    x, y = data()
    for _ in range(3):
        step(x, y)
    assert compilations(lambda: step(x, y).jax()) == 0


def test_python_numbers_among_the_arguments():
    calls = []

    @jtorch.compile
    def scale(x, factor, double=False):
        calls.append(factor)
        return x * factor * (2 if double else 1)

    x = jtorch.ones(2)
    assert scale(x, 2.0).tolist() == [2.0, 2.0] and scale(x, 3.0).tolist() == [3.0, 3.0]
    assert scale(x, 2.0, double=True).tolist() == [4.0, 4.0]
    seen = len(calls)
    scale(x, 2.0)
    assert len(calls) == seen


def test_closure_tensor_is_lifted_not_baked_in():
    rate = jtorch.tensor(2.0)
    scale = jtorch.compile(lambda x: x * rate)
    x = jtorch.ones(2)
    assert scale(x).tolist() == [2.0, 2.0]
    rate.fill_(5.0)
    assert scale(x).tolist() == [5.0, 5.0] and scale.traces == 1


def test_freezing_and_thawing_makes_programs_of_their_own():
    net = Net()
    optimizer = jtorch.optim.SGD(net.parameters, lr=0.1, momentum=0.9)

    @jtorch.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    step(*data())
    before, other = arrays(net.w)[0], arrays(net.v)[0]
    net.w.requires_grad_(False)
    step(*data())
    equal(arrays(net.w), [before], exactly=True)
    assert net.w.grad is None and not np.array_equal(arrays(net.v)[0], other)
    net.w.requires_grad_()
    step(*data())
    assert not np.array_equal(arrays(net.w)[0], before)
    assert step.traces == 2


def test_step_that_ends_with_zero_grad():
    """No gradients are left; those that somebody else leaves are added to, by a program of their own."""
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        net = Net()
        optimizer = jtorch.optim.SGD(net.parameters, lr=0.1, momentum=0.9)

        def step(x, y, net=net, optimizer=optimizer):
            F.mse_loss(net(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

        run = wrap(step)
        for left in (False, False, True, False):
            if left:
                net(data()[0]).sum().backward()
            run(*data())
            assert [p.grad for p in net.parameters] == [None] * 3
        results.append(arrays(*net.parameters))
    equal(*results)
    assert run.traces == 2


def test_tied_weights():
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        net = Net()
        net.parameters = [net.w, net.w.detach().requires_grad_()]
        net.parameters[1] = net.w  # the same object twice

        def step(x, net=net):
            net.w.grad = None
            ((x @ net.parameters[0]) @ net.parameters[1].t()).pow(2).mean().backward()
            with jtorch.no_grad():
                net.w -= 0.1 * net.w.grad

        run = wrap(step)
        for _ in range(3):
            run(data()[0])
        results.append(arrays(net.w, net.w.grad))
    equal(*results)


def test_same_tensor_given_twice():
    multiply = jtorch.compile(lambda x, y: x.mul_(2) + y)
    x, y = jtorch.ones(2), jtorch.ones(2)
    assert multiply(x, y).tolist() == [3.0, 3.0]
    assert multiply(x, x).tolist() == [8.0, 8.0]
    assert x.tolist() == [4.0, 4.0] and y.tolist() == [1.0, 1.0]


def test_dropout_is_fresh_and_seeded():
    drop = jtorch.compile(lambda x: F.dropout(x, 0.5))
    x = jtorch.ones(64)
    jtorch.manual_seed(1)
    first, second = drop(x).tolist(), drop(x).tolist()
    assert first != second and drop.traces == 1
    jtorch.manual_seed(1)
    assert [drop(x).tolist(), drop(x).tolist()] == [first, second]


def test_exception_while_tracing_leaves_everything_usable():
    net = Net()
    x, y = data()
    before = arrays(*net.parameters)

    def failing(x, y):
        net.w.data.mul_(3)
        loss = F.mse_loss(net(x), y)
        loss.backward()
        raise KeyError("stop")

    broken = jtorch.compile(failing)
    for _ in range(2):
        with pytest.raises(KeyError):
            broken(x, y)
    equal(arrays(*net.parameters), before, exactly=True)
    assert all(p.grad is None and p.is_leaf for p in net.parameters)
    eager = sgd_step(net)(x, y).item()
    assert np.isfinite(eager) and np.isfinite(jtorch.compile(sgd_step(net))(x, y).item())


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: t.sum().item(),
        lambda t: bool(t.sum() > 0),
        lambda t: t.tolist(),
        lambda t: float(t.sum()),
        lambda t: t.numpy(),
        lambda t: t.nonzero(),
    ],
)
def test_asking_for_a_value_inside_names_the_problem(ask):
    step = jtorch.compile(lambda x: ask(x * 2))
    with pytest.raises(RuntimeError) as told:
        step(jtorch.ones(3))
    assert len(str(told.value)) > 40
    assert (jtorch.ones(3) * 2).sum().item() == 6.0


def test_shape_error_inside_is_told_as_outside():
    step = jtorch.compile(lambda x, y: x @ y)
    x, y = jtorch.ones(2, 3), jtorch.ones(2, 3)
    with pytest.raises(RuntimeError) as eager:
        x @ y
    with pytest.raises(RuntimeError) as compiled:
        step(x, y)
    assert str(eager.value).splitlines()[0] in str(compiled.value)
    assert step(x, y.t()).shape == (2, 2)


def test_returned_objects():
    x = jtorch.ones(3)
    w = jtorch.ones(3, requires_grad=True)

    @jtorch.compile
    def step(a):
        return {"same": w, "argument": a, "new": a * 2, "list": [a + 1, "text", None, 3]}

    for _ in range(2):
        out = step(x)
        assert out["same"] is w and out["argument"] is x
        assert out["new"].tolist() == [2.0] * 3 and out["list"][0].tolist() == [2.0] * 3
        assert out["list"][1:] == ["text", None, 3]


def test_forward_that_is_differentiated_outside():
    results = []
    for wrap in (lambda f: f, jtorch.compile):
        net = Net()
        run = wrap(lambda x, net=net: net(x))
        x, y = data()
        x.requires_grad_()
        for _ in range(2):
            out = run(x)
            F.mse_loss(out, y).backward()
        assert out.requires_grad and out.grad_fn is not None
        results.append(arrays(out, x.grad, *(p.grad for p in net.parameters)))
    equal(*results)


def test_results_without_a_graph_beside_one_that_has_it():
    w = jtorch.ones(2, requires_grad=True)

    def several(x):
        kept = w * x
        with jtorch.no_grad():
            shown = w * x
        return kept, kept.detach(), shown, x * 3, w.detach(), kept.view(2, 1), x.detach()

    expected = [t.requires_grad for t in several(jtorch.ones(2))]
    assert expected == [True, False, False, False, False, True, False]
    run = jtorch.compile(several)
    for _ in range(2):
        results = run(jtorch.ones(2))
        assert [t.requires_grad for t in results] == expected
        assert [t.grad_fn is not None for t in results] == expected
    with pytest.raises(RuntimeError, match="does not require grad"):
        results[1].sum().backward()
    (results[0].sum() + results[5].sum()).backward()
    assert w.grad.tolist() == [2.0, 2.0]


def test_recorded_forward_can_be_backwarded_twice_only_with_retain_graph():
    net = Net()
    run = jtorch.compile(lambda x: net(x).sum())
    out = run(data()[0])
    out.backward(retain_graph=True)
    out.backward()
    with pytest.raises(RuntimeError, match="second time"):
        out.backward()


def test_step_that_returns_its_loss_with_a_graph():
    net = Net()

    @jtorch.compile
    def step(x, y):
        loss = F.mse_loss(net(x), y)
        loss.backward()
        return loss

    loss = step(*data())
    assert loss.requires_grad
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_what_is_held_outside_survives_donation():
    net = Net()
    step = jtorch.compile(sgd_step(net))
    x, y = data()
    step(x, y)
    held, seen, copied = net.w.jax(), net.w.detach(), net.w.detach().clone()
    grad = net.w.grad
    kept = np.array(held)
    for _ in range(3):
        step(x, y)
        gc.collect()
    np.testing.assert_array_equal(np.asarray(held), kept)  # a handed-out array never changes
    np.testing.assert_array_equal(copied.numpy(), kept)
    np.testing.assert_array_equal(seen.numpy(), net.w.detach().numpy())  # a detached view sees the update
    assert not np.array_equal(kept, net.w.detach().numpy())
    assert np.isfinite(grad.numpy()).all() and np.isfinite(x.numpy()).all()


def test_memory_of_what_nobody_else_holds_is_used_again():
    net = Net()
    step = sgd_step(net)
    compiled = jtorch.compile(step)
    compiled(*data())
    before = [p.data_ptr() for p in net.parameters]
    compiled(*data())
    assert [p.data_ptr() for p in net.parameters] == before


def test_view_written_inside():
    box = jtorch.zeros(2, 3)
    row = box[1]

    @jtorch.compile
    def fill(value):
        row.add_(value)
        box[0, 0] = 7.0

    for _ in range(2):
        fill(jtorch.ones(3))
    assert box.tolist() == [[7.0, 0.0, 0.0], [2.0, 2.0, 2.0]] and row.tolist() == [2.0, 2.0, 2.0]


def test_grad_mode_is_part_of_the_key():
    net = Net()
    run = jtorch.compile(lambda x: net(x))
    x, _ = data()
    assert run(x).requires_grad
    with jtorch.no_grad():
        assert not run(x).requires_grad
    assert run(x).requires_grad


def test_compiled_inside_compiled():
    inner = jtorch.compile(lambda x: x * 2)
    outer = jtorch.compile(lambda x: inner(x) + 1)
    assert outer(jtorch.ones(2)).tolist() == [3.0, 3.0]


def test_forms_of_the_decorator():
    @jtorch.compile(fullgraph=True)
    def one(x):
        """Its words."""
        return x + 1

    assert one.__name__ == "one" and one.__doc__ == "Its words." and one(jtorch.ones(1)).tolist() == [2.0]
    assert jtorch.compile(lambda x: x, disable=True)(3) == 3

    class Holder:
        factor = 3.0

        @jtorch.compile
        def scale(self, x):
            return x * self.factor

    assert Holder().scale(jtorch.ones(2)).tolist() == [3.0, 3.0]


def test_many_programs_warn():
    run = jtorch.compile(lambda x, n: x * n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(12):
            run(jtorch.ones(1), n)
    assert any("programs" in str(w.message) for w in caught)


def test_second_order_inside():
    w = jtorch.tensor([1.0, 2.0], requires_grad=True)

    def penalty(x):
        w.grad = None
        (g,) = jtorch.autograd.grad((w * x).sin().sum(), w, create_graph=True)
        (g**2).sum().backward()

    x = jtorch.tensor([0.3, 0.7])
    penalty(x)
    eager = arrays(w.grad)
    jtorch.compile(penalty)(x)
    equal(arrays(w.grad), eager)


def test_numpy_and_arrays_as_arguments():
    run = jtorch.compile(lambda x: jtorch.as_tensor(x) * 2)
    assert run(np.ones(2, np.float32)).tolist() == [2.0, 2.0]
    assert run(jtorch.ones(2).jax()).tolist() == [2.0, 2.0]
