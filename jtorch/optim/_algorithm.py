"""How an algorithm steps: the flat lists that go into its program, and what comes out put back into the tensors.

An `Algorithm` says which of a group's settings are numbers (inputs of the program: a new learning rate compiles
nothing) and which are flags (part of it), and builds an Optax chain from them. What a step does is worked out once,
as a `Plan`, and again when something other than values has changed. The chains themselves are in `algorithms`.
"""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import jax
import optax

from jtorch._capture import state as running
from jtorch._donating import arrays_of, donatable, put
from jtorch._tensor import Tensor
from jtorch.autograd import tape
from jtorch.autograd.grad_mode import enable_grad
from jtorch.ops import _args
from jtorch.ops._binding import freeze
from jtorch.optim import _entries
from jtorch.optim._entries import Count
from jtorch.optim._program import STEP, Form, Input, Pass, Program, program
from jtorch.optim.optimizer import Optimizer

_PAIRS = ("betas", "etas", "step_sizes")  # settings of two numbers


class Part(NamedTuple):
    """What a step does on one set of devices."""

    places: list[int]  # of the parameters that step, among all
    params: list[Tensor]
    states: list[Tensor]
    counts: list[tuple[Count, int]]  # and how many had left each
    inputs: list[tuple[int, Input]]  # the numbers, with their groups
    program: Program
    unusual: bool  # whether inference tensors are among the parameters and states


class Plan(NamedTuple):
    """What a step does as long as nothing but values changes."""

    layout: list  # of the optimizer, when this was made
    absent: tuple[int, ...]  # which gradients were None
    parts: list[Part]


def _elsewhere(params: list[Tensor], absent: set[int]) -> list[set[int]]:
    """For each set of devices that parameters are on, the places of those that are not."""
    homes = [None if i in absent else _entries.home(p) for i, p in enumerate(params)]
    found = dict.fromkeys(home for i, home in enumerate(homes) if i not in absent)
    return [{i for i, other in enumerate(homes) if other != home} for home in found]


class Algorithm(Optimizer):
    """An optimizer whose step is an Optax chain on each parameter.

    A subclass names its settings in `_numbers` (`_decays` among them are needed as 1 - x too, `_parts` among them leave
    out a part of the chain where they are 0) and `_flags`, and builds the chain; `_added` has the settings that groups of
    old checkpoints lack. The transformations of the chain keep their state in dictionaries by torch's names.
    """

    _numbers: tuple[str, ...] = ("lr", "weight_decay")
    _decays: tuple[str, ...] = ()
    _parts: tuple[str, ...] = ("weight_decay",)
    _flags: tuple[str, ...] = ("maximize",)
    _added: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """The chain for a group with these settings: traced numbers, decays as `Decay`, None for parts to leave out."""
        raise NotImplementedError

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._add_settings(**self._added)

    def step(self, closure: Callable | None = None) -> Any:
        """Update the parameters that have a gradient. `closure` computes the loss anew; its value is returned.

        Raises:
            RuntimeError: the state of a parameter has another shape than the algorithm gives it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        step = self._step_recorded if self.defaults.get("differentiable") else self._step
        parts, grads = self._plan()
        for part in parts:
            step(part, [grads[i] for i in part.places])
        return loss

    def _step(self, part: Part, grads: list[Tensor]) -> None:
        for tensor in (*part.params, *part.states) if part.unusual else ():
            tensor._check_counted()
        numbers = [x._value() if isinstance(x, Tensor) else x for x in self._values(part)]
        if running.session is None and not isinstance(part.params[0]._value(), jax.core.Tracer):
            arrays = donatable(part.params), arrays_of(grads), donatable(part.states), numbers
            values, states = part.program.call(*arrays)
            direct = not isinstance(values[0], jax.core.Tracer)
        else:
            values, states = part.program.run(arrays_of(part.params), arrays_of(grads), arrays_of(part.states), numbers)
            direct = False
        put(part.params, values, direct)
        put(part.states, states, direct)

    def _guarded(self, step: Callable, args: Any, kwargs: dict) -> Any:
        own = step is _OWN_STEP
        return step(self, *args, **kwargs) if own else super()._guarded(step, args, kwargs)

    def _step_recorded(self, part: Part, grads: list[Tensor]) -> None:
        """The step as one op on the tape."""
        with enable_grad():
            for param in part.params:
                param._check_inplace()
            flat = [*part.params, *grads, *part.states, *self._values(part)]
            edges = [x._edge() if isinstance(x, Tensor) else None for x in flat]
            outs, node = tape.run(part.program.op, [x._value() if isinstance(x, Tensor) else x for x in flat], edges)
            for i, (tensor, array) in enumerate(zip([*part.params, *part.states], outs, strict=True)):
                tensor._assign(array, None if node is None else (node, i))

    def _written(self) -> list[Tensor]:
        return [t for part in self._plan()[0] for t in (*part.params, *part.states)]

    # numbers

    def _form(self, group: dict) -> Form:
        inputs, fixed = [], [(name, freeze(group[name])) for name in self._flags]
        for name in self._numbers:
            value, decay = group[name], name in self._decays
            if isinstance(value, tuple | list):
                if name not in _PAIRS:
                    _args.fail(f"expected {name} to be a number, got {value}", TypeError)
                if len(value) != 2:
                    _args.fail(f"expected {name} to be two numbers, got {value}")
                inputs += [Input(name, i, decay, isinstance(x, Tensor)) for i, x in enumerate(value)]
            elif isinstance(value, Tensor) or value != 0 or name not in self._parts:
                inputs.append(Input(name, None, decay, isinstance(value, Tensor)))
            else:
                fixed.append((name, None))
        return Form(type(self).chain, tuple(inputs), tuple(fixed))

    def _values(self, part: Part) -> list:
        """The numbers of all groups at this moment, in the order of the program: Python numbers, tensors, tracers."""
        values: list[Any] = []
        for at, each in part.inputs:
            value = each.of(self.param_groups[at])
            if each.boxed:
                values.append(value if value.ndim == 0 else value.reshape(()))
            elif running.session is not None:
                values += [self._lifted(at, each, rest) for rest in (False, True)[: 1 + each.decay]]
            else:
                values += [float(value), 1 - float(value)] if each.decay else [float(value)]
        return values

    def _lifted(self, at: int, each: Input, rest: bool) -> Any:
        """A number, or what it leaves of 1, as an input of the program that `compile` makes."""

        def fetch() -> float:
            value = float(each.of(self.param_groups[at]))
            return 1 - value if rest else value

        return running.session.number((id(self), at, each, rest), fetch)  # type: ignore[union-attr]

    # the plan

    def _layout(self) -> list:
        """What a plan depends on besides gradients: settings that are no inputs, parameters, the state's tensors."""
        parts: list[Any] = []
        for group in self.param_groups:
            parts += [self._form(group), [*map(id, group["params"])]]
        return [*parts, *map(id, itertools.chain.from_iterable(map(dict.values, self.state.values())))]

    def _fits(self, plan: Plan) -> bool:
        """Whether a plan is still right for all but the gradients."""
        together = all(count.departures == n for part in plan.parts for count, n in part.counts)
        return together and plan.layout == self._layout()

    def _plan(self) -> tuple[list[Part], list]:
        """What to do in this step, and the gradients of all parameters."""
        params = [p for group in self.param_groups for p in group["params"]]
        grads = [p._grad for p in params] if running.session is None else [p.grad for p in params]
        absent = tuple([i for i, g in enumerate(grads) if g is None])
        plan = self.__dict__.get("_last_plan")
        if plan is None or plan.absent != absent or not self._fits(plan):
            parts = [self._part({*absent, *others}) for others in _elsewhere(params, set(absent))]
            plan = self._last_plan = Plan(self._layout(), absent, parts)
        if running.session is not None:
            running.session.guard(lambda: self._fits(plan), "the state of an optimizer")
        return plan.parts, grads

    def _part(self, missing: set[int]) -> Part:
        """What to do for the parameters that are not missing."""
        first = 0
        places: dict[Tensor, int] = {}
        groups: list[tuple[Form, list[Tensor]]] = []
        found: dict[Tensor, dict[str, Tensor]] = {}
        for group in self.param_groups:
            form = self._form(group)
            here = {i: p for i, p in enumerate(group["params"], first) if i not in missing}
            first += len(group["params"])
            groups.append((form, list(here.values())))
            for i, p in here.items():
                if places.setdefault(p, i) == i:
                    found[p] = self._entries(p, group, form)
        counts = self._counts(found, any(len(set(params)) < len(params) for _, params in groups))
        return self._assembled(places, groups, found, counts)

    def _entries(self, param: Tensor, group: dict, form: Form) -> dict[str, Tensor]:
        begun = self.__dict__.setdefault("_begun_flags", {})
        return _entries.entries(self.state, param, group, form, begun)

    def _counts(self, found: dict[Tensor, dict[str, Tensor]], twice: bool) -> dict[Tensor, Count | None]:
        """The Count that each parameter shares with others; none if some parameter steps twice."""
        counting = {p: self.state[p] for p, entries in found.items() if STEP in entries}
        if twice:
            for slots in counting.values():
                _entries.part(slots)
            return {}
        others = [slots for p, slots in self.state.items() if p not in counting]
        return dict(zip(counting, _entries.join([*counting.values()], others, next(iter(found))), strict=True))

    def _assembled(self, places: dict, groups: list, found: dict, counts: dict) -> Part:
        """From the parameters that step, their entries and their counts."""
        at = {p: n for n, p in enumerate(places)}
        shared = {id(c): c for c in counts.values() if c is not None}
        count_at = {key: n for n, key in enumerate(shared)}
        own = [[t for n, t in found[p].items() if n != STEP or counts.get(p) is None] for p in places]
        passes = tuple(
            Pass(form, tuple(at[p] for p in params), tuple(count_at.get(id(counts.get(p))) for p in params))
            for form, params in groups
        )
        states = [*shared.values(), *(t for each in own for t in each)]
        return Part(
            places=list(places.values()),
            params=list(places),
            states=states,
            counts=[(c, c.departures) for c in shared.values()],
            inputs=[(i, each) for i, (form, _) in enumerate(groups) for each in form.inputs],
            program=program(passes, tuple(map(len, own)), len(shared)),
            unusual=not all(t._usual for t in (*places, *states)),
        )


_OWN_STEP = Algorithm.step.__wrapped__  # type: ignore[attr-defined]
