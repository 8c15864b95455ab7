"""The program of an optimizer step: an Optax chain on every parameter of every group, from flat lists of arrays.

Which settings of a group are numbers (inputs of the program) and which are part of it is a `Form`. Nothing here knows
tensors; those are taken apart and put together in `_algorithm`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jtorch.ops import _args, _op

STEP = "step"
"""The state entry that counts the steps of a parameter. Parameters that step together share one as an input."""


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
    boxed: bool  # given as a tensor

    @property
    def width(self) -> int:
        """How many numbers the program gets for it: also what is left of 1, for a decay that is no tensor."""
        return 1 + (self.decay and not self.boxed)

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
        """The chain for these numbers, in the order of `inputs`."""
        at: dict[str, Any] = dict(self.fixed)
        for each in self.inputs:
            value = next(numbers)
            if each.decay:
                value = Decay(value, 1 - value if each.boxed else next(numbers))
            at[each.name] = value if each.place is None else (*at.get(each.name, ()), value)
        return self.chain(SimpleNamespace(**at))


# one parameter


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


@functools.lru_cache(maxsize=1024)
def shapes(form: Form, shape: tuple[int, ...], dtype: Any) -> dict[str, tuple[int, ...]]:
    """The names of a parameter's state entries in the order of the program, and their shapes in it."""
    wide = jax.eval_shape(_widened, jax.ShapeDtypeStruct(shape, dtype))
    entries = named(jax.eval_shape(form.transform(itertools.repeat(0.5)).init, wide))
    return {name: entry.shape for name, entry in entries.items()}


def _update(form: Form, param: Any, grad: Any, entries: Sequence, count: Any, numbers: Sequence) -> tuple:
    """One parameter after the step, its state in the order of `entries`, and the count of steps if it came apart."""
    transform = form.transform(iter(numbers))
    value = _widened(param)
    template = jax.eval_shape(transform.init, value)
    names = [name for name in named(template) if count is None or name != STEP]
    before = dict(zip(names, map(_widened, entries), strict=True))
    if count is not None:
        before[STEP] = count
    updates, state = transform.update(_widened(grad), _filled(template, before), value)
    after = named(state)
    value = optax.apply_updates(value, updates)
    news = [_narrowed(after[name], old) for name, old in zip(names, entries, strict=True)]
    return _narrowed(value, param), news, None if count is None else _narrowed(after[STEP], count)


# all of them


class Pass(NamedTuple):
    """The updates that one group asks for."""

    form: Form
    places: tuple[int, ...]  # of the parameters; twice where one is in the group twice
    counts: tuple[int | None, ...]  # the place of the count for each; None where its state has one of its own


class Program:
    """The step over all parameters.

    Its arrays are the parameters, their gradients, the states (first the shared counts, then `widths` many for each
    parameter) and the numbers. `run` is traced by its caller; `call` is compiled and donates parameters and states.
    """

    def __init__(self, passes: tuple[Pass, ...], widths: tuple[int, ...], counts: int):
        # compiled by themselves so that parameters of one shape are traced once; XLA inlines them
        self.passes = [(p, jax.jit(functools.partial(_update, p.form))) for p in passes]
        self.widths = widths
        self.counts = counts
        self.call = jax.jit(self.run, donate_argnums=(0, 2))

    def run(self, params: Sequence, grads: Sequence, states: Sequence, numbers: Sequence) -> tuple[list, list]:
        """The new parameters and the new states."""
        values, rest, left = list(params), iter(states), iter(numbers)
        counts = list(itertools.islice(rest, self.counts))
        entries = [list(itertools.islice(rest, n)) for n in self.widths]
        counted = list(counts)
        for (form, places, own_counts), update in self.passes:
            own = list(itertools.islice(left, sum(each.width for each in form.inputs)))
            for i, c in zip(places, own_counts, strict=True):
                count = None if c is None else counts[c]
                values[i], entries[i], count = update(values[i], grads[i], entries[i], count, own)
                if c is not None:
                    counted[c] = count
        return values, [*counted, *(x for each in entries for x in each)]

    @functools.cached_property
    def op(self) -> _op.Program:
        """The step as an op of one flat list of arrays: what the tape records."""
        count, end = len(self.widths), 2 * len(self.widths) + self.counts + sum(self.widths)

        def step(*flat):
            values, states = self.run(flat[:count], flat[count : 2 * count], flat[2 * count : end], flat[end:])
            return (*values, *states)

        return _op.Program(step, "step")


program = functools.lru_cache(maxsize=256)(Program)
"""The program for these passes, widths and counts. Optimizers of one kind and size share it."""
