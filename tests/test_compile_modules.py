"""Modules whose forward sets attributes, compiled: each call leaves the module as the same call does in eager mode."""

import copy

import pytest

import jtorch
from jtorch import nn

pytestmark = pytest.mark.x64_off


class Base(nn.Module):
    """A layer, and what the subclasses keep beside it."""

    def __init__(self):
        super().__init__()
        jtorch.manual_seed(0)
        self.layer = nn.Linear(3, 3)


class Recurrent(Base):
    """Keeps its state from call to call."""

    state = None

    def forward(self, x):
        h = jtorch.tanh(self.layer(x) + (0 if self.state is None else self.state))
        self.state = h.detach()
        return h


class Pair(Base):
    """Keeps a tuple, and hands the older one on."""

    def __init__(self):
        super().__init__()
        self.kept = (jtorch.zeros(2, 3), jtorch.ones(2, 3))

    def forward(self, x):
        old, new = self.kept
        self.kept = (new, self.layer(x).detach() + old)
        return self.kept[1] * 2


class Counting(Base):
    """A Python number decides what is computed."""

    steps = 0

    def forward(self, x):
        self.steps += 1
        return self.layer(x) * self.steps


class Toggling(Base):
    """Two programs take turns."""

    on = False

    def forward(self, x):
        self.on = not self.on
        return self.layer(x) if self.on else -self.layer(x)


class Averaging(Base):
    """Assigns a buffer rather than writing into it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", jtorch.zeros(3))

    def forward(self, x):
        before = self.mean
        self.mean = 0.5 * before + 0.5 * self.layer(x).mean(0).detach()
        return self.layer(x) - before


class Appending(Base):
    """Fills a list, and a dictionary of settings."""

    def __init__(self):
        super().__init__()
        self.seen, self.settings = [], {"scale": 1.0}

    def forward(self, x):
        y = self.layer(x) * self.settings["scale"]
        self.seen.append(y.sum().detach())
        self.settings["scale"] += 1.0
        return y + len(self.seen)


class Clearing(Base):
    """Makes its list anew."""

    def forward(self, x):
        self.seen = []
        for _ in range(2):
            x = self.layer(x)
            self.seen.append(x.detach())
        self.shape = tuple(x.shape)
        return x


class Writing(Base):
    """Writes into a tensor that is no buffer, and then keeps another."""

    def __init__(self):
        super().__init__()
        self.total = jtorch.zeros(3)

    def forward(self, x):
        self.total.add_(x.sum(0))
        self.last = x
        return self.layer(x) + self.total


KINDS = [Recurrent, Pair, Counting, Toggling, Averaging, Appending, Clearing, Writing]


def numbers(value):
    """Nested values with tensors as lists."""
    if isinstance(value, jtorch.Tensor):
        return [round(x, 4) for x in value.detach().flatten().tolist()]
    if isinstance(value, list | tuple):
        return [numbers(x) for x in value]
    return value


def attributes(module):
    """What a module has beside its layer."""
    plain = {k: numbers(v) for k, v in vars(module).items() if not k.startswith("_")}
    return plain, {k: numbers(v) for k, v in module.named_buffers()}


def inputs():
    """A few batches."""
    return [jtorch.arange(6.0).view(2, 3) / (i + 1) for i in range(4)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole", [True, False], ids=["step", "module"])
def test_each_call_does_what_the_eager_one_does(kind, whole):
    eager, compiled = kind(), kind()
    call = jtorch.compile(lambda x: compiled(x).detach()) if whole else jtorch.compile(compiled)
    for x in inputs():
        expected, got = eager(x), call(x)
        assert numbers(got) == pytest.approx(numbers(expected), abs=2e-4)
        assert attributes(compiled) == attributes(eager)


def test_programs_are_few_where_only_tensors_change():
    module = Recurrent()
    call = jtorch.compile(lambda x: module(x).detach())
    for x in inputs():
        call(x)
    assert call.traces == 2  # without a state, with one


def test_state_that_is_replaced_from_outside_is_taken_up():
    eager, compiled = Recurrent(), Recurrent()
    call = jtorch.compile(lambda x: compiled(x).detach())
    for x in inputs():
        assert numbers(call(x)) == pytest.approx(numbers(eager(x)), abs=2e-4)
        eager.state, compiled.state = eager.state * 2, compiled.state * 2
    assert call.traces == 2


def test_gradient_goes_through_a_state_that_was_kept():
    eager, compiled = Recurrent(), Recurrent()
    jtorch.compile(compiled)
    for module in (eager, compiled):
        start = jtorch.ones(2, 3, requires_grad=True)
        module.state = start * 2
        module(inputs()[0]).sum().backward()
        module.start = start.grad
    assert numbers(compiled.start) == pytest.approx(numbers(eager.start), abs=1e-5)


def test_list_of_settings_changed_outside_makes_another_program():
    module = Base()
    module.scales = [1.0]
    module.forward = lambda x: module.layer(x) * module.scales[0]
    call = jtorch.compile(lambda x: module(x).detach())
    x = inputs()[0]
    first = numbers(call(x))
    module.scales[0] = 2.0
    assert numbers(call(x)) == pytest.approx([2 * v for v in first], abs=2e-4)


def test_error_in_the_run_leaves_the_module_as_it_was():
    module = Appending()
    before = copy.deepcopy(attributes(module))

    def step(x):
        module(x)
        raise ValueError("after the forward")

    with pytest.raises(ValueError, match="after the forward"):
        jtorch.compile(step)(inputs()[0])
    assert attributes(module) == before
    module(inputs()[0])


def test_parameter_made_inside_is_refused():
    module = Base()

    def step(x):
        module.extra = nn.Linear(3, 3)
        return module.extra(x).detach()

    with pytest.raises(RuntimeError, match="make layers and parameters before"):
        jtorch.compile(step)(inputs()[0])
    assert not hasattr(module, "extra")
