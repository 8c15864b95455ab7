"""Steps inside `jtorch.compile`, and eager ones: the same numbers, and new programs only where something changed."""

import copy
import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optim.twins import leaf

import jtorch
from jtorch import optim
from jtorch.nn import functional as F

MAKERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1, weight_decay=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.2),
    "nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: optim.Adam(params, lr=0.1, weight_decay=0.1, amsgrad=True),
    "AdamW": lambda params: optim.AdamW([{"params": params[:1], "lr": 0.2}, {"params": params[1:]}]),
    "rate in a tensor": lambda params: optim.Adam(params, lr=jtorch.tensor(0.1)),
    "from_optax": lambda params: optim.from_optax(optax.adamw(0.1), params),
}


class Run:
    """A small regression, trained by an optimizer; `train` is one step of it, compiled or not."""

    def __init__(self, make, compiled: bool):
        random = np.random.default_rng(0)
        self.x, self.y = (jtorch.tensor(random.standard_normal((4, 3))) for _ in range(2))
        self.params = [leaf(random.standard_normal((3,))) for _ in range(3)]
        self.used = [True] * 3
        self.optimizer = make(self.params)
        self.compiled = jtorch.compile(self.step) if compiled else None

    def train(self):
        """One step."""
        return (self.compiled or self.step)(tuple(self.used))

    def step(self, used: tuple[bool, ...] = (True, True, True)):
        """One step with the parameters that are used."""
        self.optimizer.zero_grad()
        losses = [F.mse_loss(self.x * p, self.y) for p, use in zip(self.params, used, strict=True) if use]
        loss = sum(losses[1:], losses[0])
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def values(self) -> list[np.ndarray]:
        return [np.asarray(p.detach()) for p in self.params]


def _pair(make) -> tuple[Run, Run]:
    return Run(make, False), Run(make, True)


def _agree(*runs: Run) -> None:
    for values in zip(*(run.values() for run in runs), strict=True):
        np.testing.assert_allclose(values[1], values[0], rtol=1e-12)


@pytest.mark.parametrize("name", MAKERS)
def test_compiled_and_eager_steps_agree(name):
    runs = _pair(MAKERS[name])
    for _ in range(6):
        losses = [run.train().item() for run in runs]
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    _agree(*runs)
    assert runs[1].compiled.traces == 1
    for p, q in zip(*(run.params for run in runs), strict=True):
        mine, other = (run.optimizer.state[x] for run, x in zip(runs, (p, q), strict=True))
        assert list(mine) == list(other)
        for key in mine:
            np.testing.assert_allclose(np.asarray(other[key]), np.asarray(mine[key]), rtol=1e-12)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_changed_numbers_compile_nothing(name, compiled, compilations):
    run = Run(MAKERS[name], compiled)
    run.train()
    run.train()
    reference = Run(MAKERS[name], not compiled)
    reference.train()
    reference.train()
    own = {
        "momentum": {"momentum": 0.5, "dampening": 0.4},
        "Adam": {"eps": 1e-3, "weight_decay": 0.3, "betas": (0.1, 0.2)},
    }
    for changes in ({"lr": 0.01}, {"lr": 1}, own[name]):
        for each in (run, reference):
            each.optimizer.param_groups[0].update(changes)
        assert compilations(lambda: run.train()._value()) == 0
        reference.train()
    _agree(reference, run)


def test_a_rate_in_a_tensor_may_change():
    runs = _pair(MAKERS["rate in a tensor"])
    for rate in (0.1, 0.01, 0.3):
        for run in runs:
            run.optimizer.param_groups[0]["lr"].fill_(rate)
            run.train()
    _agree(*runs)
    assert runs[1].compiled.traces == 1


def test_optimizers_of_one_kind_and_size_share_a_program(compilations):
    Run(MAKERS["Adam"], False).train()
    other = Run(MAKERS["Adam"], False)
    assert compilations(lambda: other.train()._value()) == 0


@pytest.mark.parametrize("name", ["momentum", "Adam", "AdamW"])
def test_programs_follow_what_changes(name):
    """Flags, groups, absent gradients, loaded and deleted state between compiled steps."""
    runs = _pair(MAKERS[name])
    saved = []

    def both(change):
        for run in runs:
            change(run)
        for run in runs:
            run.train()
            run.train()
        _agree(*runs)

    both(lambda run: None)
    both(lambda run: saved.append(copy.deepcopy(run.optimizer.state_dict())))
    both(lambda run: run.optimizer.param_groups[0].update(maximize=True, weight_decay=0.0))
    both(lambda run: run.used.__setitem__(1, False))
    both(lambda run: run.used.__setitem__(1, True))
    both(lambda run: run.optimizer.load_state_dict(saved[0]))
    both(lambda run: run.optimizer.state.pop(run.params[0]))
    both(lambda run: run.optimizer.state[run.params[1]].update(copy.deepcopy(run.optimizer.state[run.params[2]])))
    both(_add_a_parameter)


def _add_a_parameter(run: Run) -> None:
    run.params.append(leaf(np.ones(3)))
    run.used.append(True)
    run.optimizer.add_param_group({"params": [run.params[-1]], "lr": 0.05})


def test_counts_of_steps_in_compiled_programs():
    """They are written, and come apart, between compiled steps as between others."""
    runs = _pair(MAKERS["Adam"])
    for change in (
        lambda steps: None,
        lambda steps: steps[0].add_(5),
        lambda steps: steps[1].fill_(2),
        lambda steps: None,
    ):
        for run in runs:
            if run.optimizer.state:
                change([run.optimizer.state[p]["step"] for p in run.params])
            run.train()
    _agree(*runs)
    counts = [[run.optimizer.state[p]["step"].item() for p in run.params] for run in runs]
    assert counts[0] == counts[1] == [9, 4, 4]


@pytest.mark.parametrize("name", ["momentum", "Adam"])
def test_two_steps_in_one_program(name):
    """Of which the second leaves a parameter out that has stepped with the others so far."""
    runs = _pair(MAKERS[name])
    for run in runs:
        run.step()
    for run in runs:

        def twice(run=run):
            run.step()
            run.step((True, True, False))

        train = twice if run is runs[0] else jtorch.compile(twice)
        for _ in range(4):
            train()
    _agree(*runs)


def test_step_alone_compiled():
    """Gradients come from outside."""
    runs = _pair(MAKERS["Adam"])
    step = jtorch.compile(lambda: runs[1].optimizer.step())
    for _ in range(4):
        for run in runs:
            run.optimizer.zero_grad()
            sum(F.mse_loss(run.x * p, run.y) for p in run.params).backward()
        runs[0].optimizer.step()
        step()
    _agree(*runs)


def test_eager_and_compiled_steps_take_turns(compilations):
    runs = _pair(MAKERS["Adam"])
    for _ in range(2):
        for run in runs:
            run.train()
        for run in runs:
            run.step()
    assert compilations(lambda: (runs[1].train()._value(), runs[1].step()._value())) == 0
    for _ in range(2):
        runs[0].step()
    _agree(*runs)


def test_step_in_a_foreign_trace_is_refused():
    """Under jax.jit the state would be lost."""
    p = leaf(np.ones(3))
    optimizer = optim.Adam([p])

    def step(value, gradient):
        p.data, p.grad = jtorch.Tensor(value), jtorch.Tensor(gradient)
        optimizer.step()

    with pytest.raises(RuntimeError, match="got one from outside a jax"):
        jax.jit(step)(jnp.ones(3), jnp.ones(3))


def test_the_program_is_as_lean_as_one_written_by_hand():
    """As many arithmetic instructions as Optax's Adam over the same parameters, and one count for all of them."""
    params = [leaf(np.ones((4, 4 + i))) for i in range(6)]
    optimizer = optim.Adam(params)
    for p in params:
        p.grad = jtorch.ones(p.shape, dtype=p.dtype)
    optimizer.step()
    (plan,) = optimizer._last_plan.parts
    flat = [[t._value() for t in tensors] for tensors in (params, [p.grad for p in params], plan.states)]
    mine = plan.program.call.lower(*flat, optimizer._values(plan)).compile().as_text()
    reference = optax.adam(1e-3)
    state = reference.init(flat[0])

    def by_hand(values, grads, state):
        updates, state = reference.update(grads, state)
        return optax.apply_updates(values, updates), state

    theirs = jax.jit(by_hand, donate_argnums=(0, 2)).lower(flat[0], flat[1], state).compile().as_text()
    arithmetic = r"= f\d+\[\d[^ ]* (?:add|subtract|multiply|divide|sqrt|rsqrt|power)\("  # on arrays that are no scalars
    assert len(re.findall(arithmetic, mine)) <= len(re.findall(arithmetic, theirs)) > 0
    assert mine.count(" fusion(") <= theirs.count(" fusion(") > 0
    assert mine.count(" exponential-minus-one(") <= 2
    assert len(plan.states) == 1 + 2 * len(params)


PLACED = """
import jax
import jax.numpy as jnp
import jtorch
from jtorch import optim

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kw: compiled.append(event) if event == "/jax/core/compile/backend_compile_duration" else None
)
one, two = jax.devices()
halves = jax.sharding.NamedSharding(jax.sharding.Mesh((one, two), "x"), jax.sharding.PartitionSpec("x"))
for homes in ((one, two), (two, two), (halves, halves)):
    params = [jtorch.Tensor(jax.device_put(jnp.ones(4), home)).requires_grad_() for home in homes]
    for p in params:
        p.grad = jtorch.Tensor(p.jax() * 1)
    optimizer = optim.Adam(params, lr=0.5)
    optimizer.step()
    before = len(compiled)
    optimizer.step()
    assert len(compiled) == before
    for p, home in zip(params, homes, strict=True):
        devices = home.device_set if home is halves else {home}
        assert p.jax().devices() == optimizer.state[p]["exp_avg"].jax().devices() == devices
        assert (abs(p.jax()) < 1e-6).all() and optimizer.state[p]["step"].item() == 2
print("done")
"""


def test_parameters_on_several_devices():
    """Each stays where it is, with its state; parameters put on a device do not make the second step compile again."""
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    root = pathlib.Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", PLACED], env=flags, cwd=root, capture_output=True, text=True)
    assert run.stdout.strip() == "done", run.stderr
