"""How an algorithm steps: its Optax chain on every parameter of every group, as one compiled program.

An `Algorithm` says which of a group's settings are numbers (inputs of the program: a new learning rate compiles
nothing) and which are flags (part of the program), and builds a chain from them. The rest is here: state made when a
parameter first has a gradient, the flat lists that go into the program, and the same step inside `jtorch.compile`. The
chains themselves are in `algorithms`.
"""

import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jtorch._capture import state as running
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import tape
from jtorch.autograd.grad_mode import enable_grad
from jtorch.ops import _args, _op
from jtorch.optim.optimizer import Optimizer


class Decay(NamedTuple):
    """The factor of a running average, `keep * old + take * new`: a number and what is left of 1.

    `take` is made where there is double precision: in float32, 1 - 0.999 has lost four digits.
    """

    keep: Any
    take: Any


class Input(NamedTuple):
    """One number that goes into the program: the setting it is, and in which form."""

    name: str
    place: int | None  # in a tuple of numbers, such as betas
    decay: bool
    boxed: bool  # given as a Tensor

    def of(self, group: dict) -> Any:
        """The value at this moment."""
        value = group[self.name]
        return value if self.place is None else value[self.place]


class Form(NamedTuple):
    """What of one group is part of the program, beside shapes and dtypes."""

    chain: Callable[[SimpleNamespace], optax.GradientTransformation]
    inputs: tuple[Input, ...]
    fixed: tuple[tuple[str, Any], ...]  # flags; None for a number whose 0 leaves something out

    def transform(self, numbers: Iterator) -> optax.GradientTransformation:
        """The chain for these numbers, in the order of `inputs`, two for each decay."""
        at: dict[str, Any] = dict(self.fixed)
        for name, place, decay, boxed in self.inputs:
            value = next(numbers)
            if decay:
                value = Decay(value, 1 - value if boxed else next(numbers))
            at[name] = value if place is None else (*at.get(name, ()), value)
        return self.chain(SimpleNamespace(**at))


# an update of one parameter, traced


def named(state: Any) -> dict[str, Any]:
    """The arrays in the state of a chain, by the names that its transformations give them."""
    if isinstance(state, dict):
        return state
    return {k: v for part in state for k, v in named(part).items()}


def _filled(state: Any, arrays: dict[str, Any]) -> Any:
    """The same state with other arrays."""
    if isinstance(state, dict):
        return {k: arrays[k] for k in state}
    parts = [_filled(part, arrays) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _widened(array: Any) -> Any:
    """An array to calculate with: complex as pairs of real numbers, 16-bit floats as float32."""
    if _args.is_complex(array.dtype):
        return jnp.stack([array.real, array.imag], -1)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _narrowed(array: Any, like: Any) -> Any:
    if _args.is_complex(like.dtype):
        array = jax.lax.complex(array[..., 0], array[..., 1])
    return array.astype(like.dtype)


def _update(form: Form, param: Any, grad: Any, entries: Sequence, numbers: Sequence) -> tuple[Any, list]:
    """One parameter after the step, and its state in the order of `entries`."""
    transform = form.transform(iter(numbers))
    value = _widened(param)
    template = jax.eval_shape(transform.init, value)
    names = list(named(template))
    state = _filled(template, dict(zip(names, map(_widened, entries), strict=True)))
    updates, state = transform.update(_widened(grad), state, value)
    after = named(state)
    value = optax.apply_updates(value, updates)
    return _narrowed(value, param), [_narrowed(after[n], old) for n, old in zip(names, entries, strict=True)]


# the program of a step


class Pass(NamedTuple):
    """The updates that one group asks for: of which parameters (twice where a parameter is there twice)."""

    form: Form
    places: tuple[int, ...]


class Program:
    """The step over all parameters. `widths` is the number of state arrays of each parameter.

    `run` is traced by whoever calls it; `call` is compiled and donates parameters and state.
    """

    def __init__(self, passes: tuple[Pass, ...], widths: tuple[int, ...]):
        # compiled by themselves so that parameters of one shape are traced once; XLA inlines them
        self.passes = [(p, jax.jit(functools.partial(_update, p.form))) for p in passes]
        self.widths = widths
        self.call = jax.jit(self.run, donate_argnums=(0, 2))

    def run(self, params: Sequence, grads: Sequence, states: Sequence, numbers: Sequence) -> tuple[list, list]:
        """The new parameters and the new states, from flat lists."""
        values, rest, left = list(params), iter(states), iter(numbers)
        entries = [list(itertools.islice(rest, n)) for n in self.widths]
        for (form, places), update in self.passes:
            own = list(itertools.islice(left, sum(1 + (i.decay and not i.boxed) for i in form.inputs)))
            for i in places:
                values[i], entries[i] = update(values[i], grads[i], entries[i], own)
        return values, [x for each in entries for x in each]

    @functools.cached_property
    def op(self) -> _op.Program:
        """The step as an op of one flat list, the parameters, gradients, states and numbers: what the tape records."""
        count, end = len(self.widths), 2 * len(self.widths) + sum(self.widths)

        def step(*flat):
            values, states = self.run(flat[:count], flat[count : 2 * count], flat[2 * count : end], flat[end:])
            return (*values, *states)

        return _op.Program(step, "step")


program = functools.lru_cache(maxsize=256)(Program)
"""The program for these passes and widths. Optimizers of one kind and size share it."""


class Plan(NamedTuple):
    """What a step does as long as nothing but values changes."""

    layout: list  # of the optimizer, when this was made
    absent: tuple[int, ...]  # which gradients were None
    places: list[int]  # of the parameters that step, among all
    params: list[Tensor]
    states: list[Tensor]
    inputs: list[tuple[int, Input]]  # the numbers, with their groups
    program: Program


# arrays out of tensors, and back


def _arrays(tensors: list[Tensor]) -> list:
    if running.session is not None:
        return [t._value() for t in tensors]
    return [t._raw_value if t._base is None else t._value() for t in tensors]  # spares a call for each


def _held_once() -> int:
    """What getrefcount says of an array that only its tensor holds, counted the way `_donatable` does."""
    tensors = [from_array(np.zeros(1))]
    arrays = _arrays(tensors)
    return max(sys.getrefcount(arrays[i]) for i in range(len(arrays)))


_HELD_ONCE = _held_once()


def _donatable(tensors: list[Tensor]) -> list:
    """The arrays of the tensors, a copy of each that something else holds too, since donating deletes it."""
    arrays = _arrays(tensors)
    for i in range(len(arrays)):
        if sys.getrefcount(arrays[i]) > _HELD_ONCE:
            arrays[i] = jnp.array(arrays[i], copy=True)
    return arrays


def _put(tensors: list[Tensor], arrays: Sequence) -> None:
    """Give each tensor its new array."""
    direct = running.session is None and not any(isinstance(x, jax.core.Tracer) for x in arrays)
    for tensor, array in zip(tensors, arrays, strict=True):
        if direct and tensor._base is None:
            tensor._raw_value = array
            tensor._version += 1
        else:
            tensor._rebind(array)


# the state of one parameter

BEGUN = "_begun"
"""A state entry that is 0 before the first step, then 1. No dictionary has it: state that was loaded has begun."""


@functools.lru_cache(maxsize=1024)
def _shapes(form: Form, shape: tuple[int, ...], dtype: Any) -> dict[str, tuple[int, ...]]:
    """The names of the state entries of a parameter, in the order of the program, and their shapes there."""
    wide = jax.eval_shape(_widened, jax.ShapeDtypeStruct(shape, dtype))
    entries = named(jax.eval_shape(form.transform(itertools.repeat(0.5)).init, wide))
    return {name: entry.shape for name, entry in entries.items()}


def _fresh(transform: optax.GradientTransformation, param: Tensor) -> dict[str, Tensor]:
    """New state. Under `compile` it is made outside the program, which then has it as input."""
    array = param._raw_value if param._base is None else param._value()
    with jax.ensure_compile_time_eval():
        if isinstance(array, jax.core.Tracer):
            array = jnp.zeros(array.shape, array.dtype)
        made = named(transform.init(array))
        return {name: from_array(jnp.asarray(entry)) for name, entry in made.items() if name != BEGUN}


def _fitting(slots: dict, name: str, shape: tuple[int, ...]) -> Tensor:
    """A state entry that is there, made a tensor if it is a number, as old checkpoints have it."""
    entry = slots[name]
    if not isinstance(entry, Tensor):
        entry = slots[name] = from_array(jnp.asarray(entry, _args.default_float()))
    found = (*entry.shape, 2) if entry.dtype.is_complex else tuple(entry.shape)
    message = f"step(): expected state {name!r} of shape {list(shape)}, got {list(found)}"
    _args.check(found == tuple(shape), message, RuntimeError)
    return entry


class Algorithm(Optimizer):
    """An optimizer whose step is an Optax chain on each parameter.

    A subclass names its settings in `_numbers` (`_decays` among them are needed as 1 - x too, `_parts` among them leave
    out a part of the chain where they are 0) and `_flags`, and builds the chain. The transformations of the chain keep
    their state in dictionaries by torch's names.
    """

    _numbers: tuple[str, ...] = ("lr", "weight_decay")
    _decays: tuple[str, ...] = ()
    _parts: tuple[str, ...] = ("weight_decay",)
    _flags: tuple[str, ...] = ("maximize",)

    @staticmethod
    def chain(at: SimpleNamespace) -> optax.GradientTransformation:
        """The chain for a group with these settings: traced numbers, decays as `Decay`, None for parts to leave out."""
        raise NotImplementedError

    def step(self, closure: Callable | None = None) -> Any:
        """Update the parameters that have a gradient. `closure` computes the loss anew; its value is returned.

        Raises:
            RuntimeError: the state of a parameter has another shape than the algorithm gives it.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        plan, grads = self._plan()
        if self.defaults.get("differentiable"):
            self._step_recorded(plan, grads)
        elif plan.params:
            traced = running.session is not None or isinstance(plan.params[0]._value(), jax.core.Tracer)
            fetch, run = (_arrays, plan.program.run) if traced else (_donatable, plan.program.call)
            numbers = [x._value() if isinstance(x, Tensor) else x for x in self._values(plan)]
            values, states = run(fetch(plan.params), _arrays(grads), fetch(plan.states), numbers)
            _put(plan.params, values)
            _put(plan.states, states)
        return loss

    def _guarded(self, step: Callable, args: Any, kwargs: dict) -> Any:
        return step(self, *args, **kwargs)

    def _step_recorded(self, plan: Plan, grads: list[Tensor]) -> None:
        """The step as one op on the tape."""
        with enable_grad():
            for param in plan.params:
                param._check_inplace()
            flat = [*plan.params, *grads, *plan.states, *self._values(plan)]
            edges = [x._edge() if isinstance(x, Tensor) else None for x in flat]
            outs, node = tape.run(plan.program.op, [x._value() if isinstance(x, Tensor) else x for x in flat], edges)
            for i, (tensor, array) in enumerate(zip([*plan.params, *plan.states], outs, strict=True)):
                tensor._assign(array, None if node is None else (node, i))

    # numbers

    def _form(self, group: dict) -> Form:
        inputs, fixed = [], [(name, group[name]) for name in self._flags]
        for name in self._numbers:
            value, decay = group[name], name in self._decays
            if isinstance(value, tuple | list):
                inputs += [Input(name, i, decay, isinstance(x, Tensor)) for i, x in enumerate(value)]
            elif isinstance(value, Tensor) or value != 0 or name not in self._parts:
                inputs.append(Input(name, None, decay, isinstance(value, Tensor)))
            else:
                fixed.append((name, None))
        return Form(type(self).chain, tuple(inputs), tuple(fixed))

    def _values(self, plan: Plan) -> list:
        """The numbers of all groups at this moment, in the order of the program: Python numbers, tensors, tracers."""
        values: list[Any] = []
        for at, each in plan.inputs:
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

    def _plan(self) -> tuple[Plan, list[Tensor]]:
        """The plan for this step, and the gradients of the parameters that step."""
        params = [p for group in self.param_groups for p in group["params"]]
        grads = [p._grad for p in params] if running.session is None else [p.grad for p in params]
        absent = tuple([i for i, g in enumerate(grads) if g is None])
        plan = self.__dict__.get("_last_plan")
        if plan is None or plan.absent != absent or plan.layout != self._layout():
            plan = self._last_plan = self._new_plan(params, absent)
        if running.session is not None:
            running.session.guard(self._layout)
        return plan, grads if len(plan.places) == len(params) else [grads[i] for i in plan.places]  # type: ignore[return-value]

    def _new_plan(self, params: list[Tensor], absent: tuple[int, ...]) -> Plan:
        missing, found = set(absent), {}  # found: the place of each parameter among those that step
        states: list[Tensor] = []
        widths, passes, inputs, places, first = [], [], [], [], 0
        for at, group in enumerate(self.param_groups):
            form = self._form(group)
            here = [i for i in range(first, first + len(group["params"])) if i not in missing]
            for i in here:
                if id(params[i]) not in found:
                    found[id(params[i])] = len(places)
                    places.append(i)
                    entries = self._entries(params[i], group, form)
                    widths.append(len(entries))
                    states += entries
            first += len(group["params"])
            passes.append(Pass(form, tuple(found[id(params[i])] for i in here)))
            inputs += [(at, each) for each in form.inputs]
        made = program(tuple(passes), tuple(widths))
        return Plan(self._layout(), absent, places, [params[i] for i in places], states, inputs, made)

    def _entries(self, param: Tensor, group: dict, form: Form) -> list[Tensor]:
        """The tensors of a parameter's state in the order of the program; those that are missing are made."""
        shapes = _shapes(form, tuple(param.shape), param._value().dtype)
        if not shapes:
            return []
        slots = self.state[param]
        known = {n: v for n, v in slots.items() if v is not None}
        if not shapes.keys() - {BEGUN} <= known.keys():
            numbers = [each.of(group) for each in form.inputs for _ in range(1 + (each.decay and not each.boxed))]
            slots.update(_fresh(form.transform(iter(numbers)), param))
            slots.update(known)
        entries = {n: _fitting(slots, n, shape) for n, shape in shapes.items() if n != BEGUN}
        if BEGUN in shapes:
            entries[BEGUN] = self._begun(next(iter(entries.values())), bool(known))
        return [entries[n] for n in shapes]

    def _begun(self, entry: Tensor, before: bool) -> Tensor:
        """The tensor that says whether the state with this entry has been through a step."""
        flags = self.__dict__.setdefault("_begun_flags", {})
        if entry not in flags:
            with jax.ensure_compile_time_eval():
                flags[entry] = from_array(jnp.asarray(float(before), _args.default_float()))
        return flags[entry]
