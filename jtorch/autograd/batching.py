"""A function over a batch of its inputs as one op on the tape: what `vmap`, batched gradients and Jacobians run on.

The function sees tensors that hold JAX's tracers for one example. Tensors from outside that it uses with a graph become
inputs of the op: a run finds them by their edges, and if there are any, the function runs again with them in place. So
JAX differentiates the whole, and the op is recorded, and recorded again for gradients of gradients, as every other is.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd import tape
from jtorch.autograd.levels import Watch
from jtorch.ops import _args
from jtorch.ops._program import Program

LEFT = (
    "vmap: expected tensors from outside not to be changed in place to values that differ between examples, got one that "
    "was; its shape has no place for them: return the new value instead"
)


class Lifting:
    """One run of a function that takes what it uses of the graph outside as inputs.

    Attributes: `found` (the arrays at edges from outside that are no inputs yet), `differentiated` (whether JAX
    differentiates the run, so that only what JAX can differentiate may be in it).
    """

    def __init__(self, inputs: dict[tape.Edge, Any], differentiated: bool):
        self.inputs = inputs
        self.outer = state.lifting
        self.differentiated = differentiated or (self.outer is not None and self.outer.differentiated)
        self.found: dict[tape.Edge, Any] = {}
        self.start = tape.next_number()

    def taken(self, flat: Sequence, edges: Sequence) -> tuple[Sequence, Sequence]:
        """The values with the inputs in place of what has an edge from outside, and the edges that are left."""
        if not any(edge is not None and edge[0].sequence < self.start for edge in edges):
            return flat, edges
        flat, edges = list(flat), list(edges)
        for i, edge in enumerate(edges):
            if edge is not None and edge[0].sequence < self.start:
                if edge not in self.inputs:
                    self.found[edge] = flat[i]
                flat[i], edges[i] = self.inputs.get(edge, flat[i]), None
        return flat, edges


class _Run:
    """A function of boxed tensors made a program of arrays: first the batched inputs, then those from outside."""

    def __init__(self, function: Callable, boxed: Sequence[bool], size: int):
        self.function = function
        self.boxed = boxed
        self.size = size
        self.captured: dict[tape.Edge, Any] = {}
        self.differentiated = False
        self.modes = state.grad, state.tape
        self.done = False

    def __call__(self, *flat: Any) -> tuple:
        count = len(self.boxed)
        self.lifting = Lifting(dict(zip(self.captured, flat[count:], strict=True)), self.differentiated)
        with self._within() as watch:
            mapped = jax.vmap(lambda *arrays: self._one(watch, arrays), axis_size=self.size)
            outs = mapped(*flat[:count])
            if self.done or self.lifting.found:  # it ran before, or will run again: what it wrote is written once
                watch.restore()
        return tuple(outs)

    @contextlib.contextmanager
    def _within(self) -> Iterator[Watch]:
        """Grad modes as they were at the first run; and on an error nothing written stays."""
        lifting, modes = state.lifting, (state.grad, state.tape)
        state.lifting, (state.grad, state.tape) = self.lifting, self.modes
        with Watch() as watch:
            try:
                yield watch
            except BaseException:
                watch.restore()
                raise
            finally:
                state.lifting, (state.grad, state.tape) = lifting, modes

    def _one(self, watch: Watch, arrays: tuple) -> list:
        """One example."""
        boxes = [tape.make[0](x) if box else x for x, box in zip(arrays, self.boxed, strict=True)]
        outs = list(self.function(boxes))
        self.kinds = [not isinstance(x, jax.Array) for x in outs]
        self.written = [i for i, x in enumerate(boxes) if self.boxed[i] and x._writes]
        found = [
            x if isinstance(x, jax.Array) else tape.taken(x)[0] for x in (*outs, *(boxes[i] for i in self.written))
        ]
        del boxes, outs
        traces = {id(x._trace) for x in arrays if isinstance(x, Tracer)}
        watch.settle(lambda t: isinstance(t._raw_value, Tracer) and id(t._raw_value._trace) in traces, LEFT)
        return found


def batched(function: Callable, inputs: Sequence, size: int, name: str = "vmap") -> list:
    """`function(list of examples)`, a list of tensors or arrays, over the first dimension of every input.

    Results have the batch as their first dimension. Inputs that the function writes in place are written.
    """
    boxed = [not isinstance(x, jax.Array) for x in inputs]
    pairs = [tape.taken(x) if box else (x, None) for x, box in zip(inputs, boxed, strict=True)]
    run = _Run(function, boxed, size)
    while True:
        flat = [*(array for array, _ in pairs), *run.captured.values()]
        edges = [*(edge for _, edge in pairs), *run.captured]
        run.differentiated = not state.tape or any(edge is not None for edge in edges)
        out, node = tape.run(Program(run, name, eager=True), flat, edges)
        if not run.lifting.found:
            break
        run.captured |= run.lifting.found
    run.done = True
    outs = _boxed_outputs(out, [*run.kinds, *(True for _ in run.written)], node)
    results = outs[: len(run.kinds)]
    for i, value in zip(run.written, outs[len(run.kinds) :], strict=True):
        inputs[i]._check_inplace()
        inputs[i]._assign(value._value(), value._edge())
    return results


def _boxed_outputs(arrays: tuple, kinds: Sequence[bool], node: Any) -> list:
    results, place = [], 0
    for array, boxed in zip(arrays, kinds, strict=True):
        carries = node is not None and _args.is_inexact(array.dtype)
        results.append(tape.make[0](array, (node, place) if carries else None) if boxed else array)
        place += carries
    return results
