"""Levels: one run of a function whose inputs are differentiated for, apart from every graph around it.

Its inputs enter as tensors of their own, each with an `Entrance` on the tape: gradients for the level are those that
arrive there, and what is differentiated outside goes on through it. So levels nest, and tensors from outside that the
function uses keep their graph. A `Watch` is told of the tensors written in the run, since a new value that depends on the
level must not stay behind in a tensor from outside.
"""

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd import tape, walking
from jtorch.autograd.grad_mode import inference_mode


class Entrance:
    """Where a value enters a level: an identity on the tape."""

    __slots__ = ("level", "edges", "avals", "sequence", "hooks", "retains", "__weakref__")
    freed = False

    def __init__(self, level: Any, edge: tape.Edge | None, array: Any):
        self.level = level
        self.edges = [edge]
        self.avals = [(array.shape, array.dtype)]
        self.sequence = tape.next_number()
        self.hooks = self.retains = None

    def name(self) -> str:
        """What it is."""
        return "Entrance"

    @property
    def next_functions(self) -> tuple:
        """Where the value came from, if it has a graph there."""
        return tuple(edge for edge in self.edges if edge is not None)

    def pull(self, cotangents: tuple, create_graph: bool) -> tuple:
        """The gradients as they are."""
        return cotangents

    def free(self) -> None:
        """Nothing is held."""


class Watch:
    """The tensors that are written while a transform runs, as they were before; at its end the one around knows them."""

    def __init__(self):
        self.outer = state.watch
        self.before: dict[int, tuple[weakref.ref, tuple]] = {}

    def writes(self, tensor: Any) -> None:
        """Note that a tensor is about to be written."""
        self._note(tensor, tensor._snapshot())

    def _note(self, tensor: Any, snapshot: tuple) -> None:
        key = id(tensor)
        if key not in self.before:
            self.before[key] = (weakref.ref(tensor, lambda _: self.before.pop(key, None)), snapshot)

    def __enter__(self) -> "Watch":
        state.watch = self
        return self

    def __exit__(self, *_) -> None:
        outer = state.watch = self.outer
        for reference, snapshot in tuple(self.before.values()):
            tensor = reference()
            if outer is not None and tensor is not None:
                outer._note(tensor, snapshot)

    def restore(self) -> None:
        """Put back every tensor that is still there."""
        for reference, snapshot in tuple(self.before.values()):
            tensor = reference()
            if tensor is not None:
                tensor._restore(snapshot)
        self.before.clear()

    def settle(self, depends: Callable[[Any], bool], message: str) -> None:
        """Raise if a tensor that stays has a value that `depends` on what was transformed.

        Raises:
            RuntimeError: with the message. Every tensor is as it was before the run.
        """
        if any(depends(tensor) for tensor in self._written()):
            gc.collect()  # what was made inside may wait in a cycle
            if any(depends(tensor) for tensor in self._written()):
                self.restore()
                raise RuntimeError(message)

    def _written(self) -> list:
        tensors = [reference() for reference, _ in tuple(self.before.values())]
        return [tensor for tensor in tensors if tensor is not None]


class Level:
    """One run of a function that is differentiated for the tensors that `enter`."""

    def __init__(self, name: str):
        self.name = name
        self.open = False
        self.entrances: list[tape.Edge] = []
        self.outside = state.grad and state.tape  # whether what comes out may have a graph to outside

    def enter(self, tensor: Any) -> Any:
        """The tensor as the function is to see it: a leaf of this level.

        Raises:
            RuntimeError: its dtype has no gradients.
        """
        array, edge = tape.taken(tensor)
        inner = tape.make[0](array)
        inner.requires_grad_()
        inner._be_inference(False)
        inner._leaf = Entrance(self, edge, array)
        self.entrances.append((inner._leaf, 0))
        return inner

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Record what is done inside, and see that it leaves nothing behind."""
        tape_before, state.tape, self.open = state.tape, True, True
        try:
            with Watch() as watch, inference_mode(False):
                yield
        finally:
            state.tape, self.open = tape_before, False
        watch.settle(
            self._depends,
            f"{self.name}(): expected tensors from outside not to be changed in place to values that depend on the "
            "inputs, got one that was; pass it to the function and return its new value",
        )

    def _depends(self, tensor: Any) -> bool:
        ends = {id(node) for node, _ in self.entrances}
        return any(id(node) in ends for node in walking.reachable([tensor])[1])

    def reaches_outside(self, tensors: Sequence) -> bool:
        """Whether the graph of the tensors goes on outside, where it may be differentiated."""
        if not (self.outside and state.grad and state.tape):
            return False
        for node in walking.reachable(tensors)[1]:
            ends = all(edge is None for edge in node.edges)
            if ends and not (isinstance(node, Entrance) and (node.level is self or not node.level.open)):
                return True
        return False

    def leave(self, tensor: Any) -> Any:
        """A result as it is outside: without the graph of this level."""
        if tensor._edge() is None:
            return tensor
        live = self.reaches_outside([tensor])
        return tape.make[0](shown(tensor._value()), tensor._edge() if live else None)

    def gradients(self, outputs: Sequence, vectors: Sequence, retain_graph: bool = True) -> list:
        """The gradients at the entrances as tensors, None where nothing arrives; recorded if there is a graph outside."""
        create = self.reaches_outside([*outputs, *(v for v in vectors if v is not None)])
        found = walking.follow(outputs, vectors, self.entrances, retain_graph or create, create)
        return [g if create or g is None else tape.make[0](shown(g)) for g in found]


def shown(array: Any) -> Any:
    """An array that leaves a level: a constant to JAX too where gradients are off."""
    return array if state.grad or not isinstance(array, Tracer) else jax.lax.stop_gradient(array)
