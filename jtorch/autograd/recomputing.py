"""A function whose inner values are not kept for its gradients but computed again: what checkpoints are made of.

On the tape it is one node, which runs the function again when gradients arrive. Where JAX differentiates the whole, as in
a compiled forward, it is `jax.checkpoint`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd import tape, walking
from jtorch.autograd.batching import Lifting
from jtorch.autograd.grad_mode import inference_mode
from jtorch.autograd.levels import Watch
from jtorch.ops import _args


class _Replay:
    """Has the function see the values that it saw, in place of what is there now, and records what it does."""

    differentiated = False

    def __init__(self, values: dict[tape.Edge, Any]):
        self.values = values

    def taken(self, flat: Sequence, edges: Sequence) -> tuple[Sequence, Sequence]:
        """The values with the earlier ones in their place, and the edges as they are."""
        return [x if e is None else self.values.get(e, x) for x, e in zip(flat, edges, strict=True)], edges


class Recomputed:
    """One call of such a function on the tape."""

    def __init__(self, function: Callable, again: Callable[[], AbstractContextManager], values: dict, avals: list):
        self.function: Callable | None = function
        self.again = again
        self.values = values
        self.edges = list(values)
        self.avals = avals
        self.sequence = tape.next_number()
        self.hooks: dict | None = None
        self.retains: dict | None = None

    @property
    def freed(self) -> bool:
        """Whether a backward has walked here without keeping the graph."""
        return self.function is None

    def name(self) -> str:
        """torch's name."""
        return "CheckpointFunctionBackward"

    @property
    def next_functions(self) -> tuple:
        """The (node, place) pairs that gradients go to."""
        return tuple(self.edges)

    def pull(self, cotangents: tuple, create_graph: bool) -> list:
        """Run the function again, recorded, and walk back through it."""
        if self.function is None:
            raise RuntimeError(tape.FREED)
        vectors = [x._value() for x in cotangents] if create_graph else list(cotangents)
        values = dict(zip(self.edges, _apart(list(self.values.values()), vectors), strict=True))
        start, outer = tape.next_number(), state.lifting
        state.lifting = _Replay(values)
        try:
            with self.again(), inference_mode(False):
                outs = _carriers(self.function())
        finally:
            state.lifting = outer
        _args.check(
            [(x.shape, x.dtype) for x in map(_array, outs)] == self.avals,
            "checkpoint(): expected the same outputs when the function runs again, got others; its result must depend on "
            "its arguments and the random state only",
            RuntimeError,
        )
        vectors = cotangents if create_graph else [tape.make[0](x) for x in cotangents]
        return walking.follow(outs, vectors, self.edges, create_graph, create_graph, since=start)

    def free(self) -> None:
        """Drop the inputs."""
        self.function = None
        self.values = {}


def _apart(values: list, cotangents: list) -> list:
    """The values, in compiled code such that what is computed of them waits for the cotangents and is not shared."""
    if not any(isinstance(x, Tracer) for x in (*values, *cotangents)):
        return values
    return jax.lax.optimization_barrier((values, cotangents))[0]


def _array(tensor: Any) -> Any:
    return tensor._value()


def _carriers(outs: Sequence) -> list:
    """The outputs that can carry a gradient."""
    return [x for x in outs if hasattr(x, "_edge") and _args.is_inexact(x._value().dtype)]


def recomputed(function: Callable[[], Sequence], again: Callable[[], AbstractContextManager]) -> list:
    """The outputs of `function()`, which is run again in the context `again()` for gradients of those that are tensors."""
    if not state.grad or state.lifting is not None:
        return list(function())
    if not state.tape:
        return _by_jax(function)
    state.lifting = lifting = Lifting({}, False)
    try:
        outs = list(function())
        arrays = [tape.taken(x)[0] if hasattr(x, "_edge") else None for x in outs]
    finally:
        state.lifting = None
    if not lifting.found:
        return outs
    avals = [(x.shape, x.dtype) for x in arrays if x is not None and _args.is_inexact(x.dtype)]
    node, place = Recomputed(function, again, lifting.found, avals), 0
    for i, array in enumerate(arrays):
        if array is not None and _args.is_inexact(array.dtype):
            outs[i] = tape.make[0](array, (node, place))
            place += 1
    return outs


def _by_jax(function: Callable[[], Sequence]) -> list:
    """The same where JAX differentiates; tensors that the function writes are written with what comes out of it."""
    kept: dict[str, Any] = {}

    def run():
        with Watch() as watch:
            outs = list(function())
            written = [x for reference, _ in tuple(watch.before.values()) if (x := reference()) is not None]
            kept.update(outs=outs, written=[x for x in written if not any(x is out for out in outs)])
            arrays = [_array(x) for x in outs if hasattr(x, "_edge")], [x._raw_value for x in kept["written"]]
            watch.restore()
        return arrays

    arrays, after = jax.checkpoint(run)()
    for tensor, array in zip(kept["written"], after, strict=True):
        tensor._put(array)
    given = iter(arrays)
    return [tape.make[0](next(given)) if hasattr(x, "_edge") else x for x in kept["outs"]]
