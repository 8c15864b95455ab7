"""Many steps of a compiled function as one program: a loop in XLA around the program of one step.

Where a step takes less time than Python needs to call it, the loop is what makes it fast. See `Compiled.scan`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jtorch._entry import Entry, array_of, is_array, is_tensor
from jtorch._tensor import Tensor, from_array
from jtorch.ops import _args


def length_of(leaves: list) -> int:
    """How many steps the stacked arguments are for.

    Raises:
        ValueError: there is no array among them, or they do not agree.
    """
    sizes = {x.shape[0] if x.ndim else 0 for x in leaves if is_array(x)}
    _args.check(
        len(sizes) == 1 and 0 not in sizes,
        f"scan(): expected arguments with one leading dimension of the same size, got {sorted(sizes)}",
        ValueError,
    )
    return next(iter(sizes))


def step_of(leaves: list, place: int) -> list:
    """The arguments of one step."""
    return [_at(x, place) if is_array(x) else x for x in leaves]


def _at(stack: Any, place: int) -> Any:
    return from_array(stack._value()[place]) if isinstance(stack, Tensor) else stack[place]


def stacked(results: list) -> Any:
    """What steps returned one by one, as the loop returns it."""
    first, tree = jax.tree.flatten(results[0], is_leaf=is_tensor)
    rest = [jax.tree.leaves(r, is_leaf=is_tensor) for r in results[1:]]
    columns = [[x, *(r[i] for r in rest)] for i, x in enumerate(first)]
    return jax.tree.unflatten(tree, [_column(c) if is_array(c[0]) else c[0] for c in columns])


def _column(values: list) -> Any:
    stack = jnp.stack([array_of(v) for v in values])
    return from_array(stack) if isinstance(values[0], Tensor) else stack


class Loop:
    """The steps of one entry as a program.

    What a step leaves behind (new values of tensors and gradients) goes round as the carry, and what it returns is
    stacked.

    Raises:
        RuntimeError: the step does what cannot go round: it leaves a graph, writes its arguments, sets attributes of
            modules, or returns a tensor that was there before.
    """

    def __init__(self, entry: Entry):
        self.entry = entry
        self._refuse()
        places = {id(tensor): place for tensor, (kind, place) in entry.grads if kind == "new"}
        self._round: dict[int, int] = {i: entry.count + n for n, i in enumerate(entry.writes)}
        for i, source in enumerate(entry.sources):
            if source.slot == "grad" and id(source.owner) in places:
                self._round[i] = places[id(source.owner)]
        self.jitted = jax.jit(self._loop, donate_argnums=(2,), compiler_options=entry.options)

    def _refuse(self) -> None:
        entry = self.entry
        faults = {
            "to leave no graph behind (return loss.detach())": entry.records,
            "to leave its arguments as they are": entry.box_writes or entry.box_grads,
            "to set no attributes of modules": entry.changes,
            "to return what it computed": any(
                getattr(r, "kind", "array") not in ("tensor", "array") for r in entry.results
            ),
        }
        for wish, fault in faults.items():
            _args.check(not fault, f"scan(): expected a step {wish}, got one that does otherwise", RuntimeError)

    def run(self, stacks: list) -> Any:
        """Run the steps on the state as it is now, and put the last state in place."""
        entry = self.entry
        entry.check_arguments(stacks)
        arrays = [array_of(x) for x in stacks]
        for i in range(len(arrays[0]) if entry.checks else 0):
            entry.check_values([a[i] for a in arrays])
        outs = self.jitted(arrays, [s.array() for s in entry.kept], entry.donations())
        return entry.finished(stacks, outs, None)

    def _loop(self, stacks: list, kept: list, donated: list) -> tuple:
        entry = self.entry
        start = [*kept, *donated]
        order = entry.order
        split = len(kept)
        shapes = jax.eval_shape(entry.inner, [x[0] for x in stacks], kept, donated)
        after = [jnp.zeros(x.shape, x.dtype) for x in shapes[entry.count :]]
        for i, place in self._round.items():
            after[place - entry.count] = start[order[i]]

        def step(after, inputs):
            state = list(start)
            for i, place in self._round.items():
                state[order[i]] = after[place - entry.count]
            outs = entry.inner(list(inputs), state[:split], state[split:])  # as it was traced before
            return list(outs[entry.count :]), list(outs[: entry.count])

        after, results = jax.lax.scan(step, after, stacks)
        return (*results, *after)
