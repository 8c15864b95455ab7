"""Walking the tape backward, from outputs to leaves or to given edges."""

import functools
import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd.grad_mode import set_grad_enabled
from jtorch.autograd.tape import Edge, Leaf, make
from jtorch.ops import _args

add = jax.jit(jnp.add)
"""The sum of two gradients."""


running: list[Any] = []
"""The walks in progress, the innermost last."""
anomaly = [False]
"""Whether gradients are looked at for NaN."""


def _look_for_nan(node: Any, gradients: Sequence) -> None:
    for place, gradient in enumerate(gradients):
        array = gradient._value() if hasattr(gradient, "_edge") else gradient
        if array is None or isinstance(array, Tracer) or not _args.is_inexact(array.dtype):
            continue
        if bool(jnp.isnan(array).any()):
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {place}th output.")


class Walk:
    """One walk from the outputs: gradients wait at their nodes until everything recorded later has delivered."""

    def __init__(self, retain_graph: bool, create_graph: bool, inputs: dict[Edge, Any] | None, since: int = 0):
        self.since = since  # nodes recorded before this are not walked through
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.inputs = inputs  # edges whose gradient is asked for; None: all leaves
        self.ends: set[Any] = {edge[0] for edge in inputs or ()}
        self.ways: set[Any] | None = None  # the nodes that lead to `inputs`; None: all
        self.found: dict[Edge, Any] = {}
        self.waiting: dict[Any, dict[int, Any]] = {}
        self.queue: list[tuple[int, int, Any]] = []

    def deliver(self, edge: Edge, gradient: Any) -> None:
        """Add a gradient to what waits at an edge."""
        node, place = edge
        if self.ways is not None and node not in self.ways and node not in self.ends:
            return
        slots = self.waiting.get(node)
        if slots is None:
            slots = self.waiting[node] = {}
            heapq.heappush(self.queue, (-node.sequence, id(node), node))
        before = slots.get(place)
        if before is None:
            slots[place] = gradient
        else:
            slots[place] = before + gradient if self.create_graph else add(before, gradient)

    def look_ahead(self, outputs: Sequence) -> None:
        """Find the nodes on the ways to `inputs`: no others are to be walked through, nor freed."""
        self.outputs = outputs
        if self.inputs is None:
            return
        self.ways = set()
        for node in sorted(reachable(outputs)[1], key=lambda node: node.sequence):
            if node.sequence < self.since:
                continue
            if any(e is not None and (e[0] in self.ends or e[0] in self.ways) for e in node.edges):
                self.ways.add(node)

    def run(self) -> None:
        """Walk until nothing waits."""
        running.append(self)
        try:
            self._run()
        finally:
            running.pop()

    def _run(self) -> None:
        while self.queue:
            node = heapq.heappop(self.queue)[2]
            slots = self.waiting.pop(node)
            if node.hooks:
                self._run_hooks(node, slots)
            for place, gradient in slots.items():
                if self.inputs is not None and (node, place) in self.inputs:
                    self.found[node, place] = gradient
            if type(node) is Leaf:
                if self.inputs is None:
                    node.tensor._accumulate(self.tensor(slots[0]))
            elif self.ways is None or node in self.ways:
                self._through(node, slots)

    def _through(self, node: Any, slots: dict[int, Any]) -> None:
        if getattr(node, "retains", None):
            for place, tensor in node.retains.items():
                if place in slots and self.inputs is None:
                    tensor._accumulate(self.tensor(slots[place]))
        gradients = node.pull(self._full(node, slots), self.create_graph)
        if anomaly[0]:
            _look_for_nan(node, gradients)
        if not (self.retain_graph or self.create_graph):
            node.free()
        for edge, gradient in zip(node.edges, gradients, strict=True):
            if gradient is not None and edge is not None:
                self.deliver(edge, gradient)

    def _full(self, node: Any, slots: dict[int, Any]) -> tuple:
        """One cotangent for each output, zeros where nothing arrived."""
        avals = getattr(node, "avals", None)
        if avals is None or len(slots) == len(avals) == 1:
            return tuple(slots.values())
        if not getattr(node, "materialize", True):
            return tuple(slots.get(i) for i in range(len(avals)))
        zeros = (lambda a: make[0](jnp.zeros(*a))) if self.create_graph else (lambda a: jnp.zeros(*a))
        return tuple(slots[i] if i in slots else zeros(aval) for i, aval in enumerate(avals))

    def _run_hooks(self, node: Any, slots: dict[int, Any]) -> None:
        for place, hooks in node.hooks.items():
            for hook in tuple(hooks.values()) if place in slots else ():
                result = hook(self.tensor(slots[place]))
                if result is not None:
                    slots[place] = result if self.create_graph else result._value()

    def tensor(self, gradient: Any) -> Any:
        """A gradient as a tensor; one without a graph is a constant to JAX too, should it differentiate the whole."""
        if self.create_graph:
            return gradient
        return make[0](jax.lax.stop_gradient(gradient) if isinstance(gradient, Tracer) else gradient)


@functools.lru_cache(maxsize=256)
def _ones(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    with jax.ensure_compile_time_eval():
        return jnp.ones(shape, dtype)


def _start(outputs: Sequence, gradients: Sequence, walk: Walk, name: str) -> None:
    for output, gradient in zip(outputs, gradients, strict=True):
        edge = output._edge()
        if edge is None:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
        if gradient is None:
            if output.numel() != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if output.is_complex():
                raise RuntimeError(
                    f"grad can be implicitly created only for real scalar outputs but got {output.dtype}"
                )
            array = output._value()
            shape = tuple(array.shape)
            gradient = _ones(shape, array.dtype) if state.session is None else jnp.ones(shape, array.dtype)
            gradient = make[0](gradient) if walk.create_graph else gradient
        else:
            if tuple(gradient.shape) != tuple(output.shape):
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape} and output[0] has a shape of "
                    f"{output.shape}."
                )
            if not walk.create_graph:
                gradient, dtype = gradient._value(), output._value().dtype
                gradient = gradient if gradient.dtype == dtype else gradient.astype(dtype)
        walk.deliver(edge, gradient)


def listed(value: Any) -> Sequence:
    """One value or several as a sequence."""
    return tuple(value) if isinstance(value, tuple | list) and not hasattr(value, "_edge") else (value,)


def _gradient_list(gradients: Any, count: int) -> Sequence:
    return (None,) * count if gradients is None else listed(gradients)


def go(outputs: Sequence, gradients: Any, walk: Walk, name: str) -> None:
    """Walk back from the outputs, with a gradient for each, or None for ones."""
    if state.session is not None:
        state.session.ran_backward = True
    walk.look_ahead(outputs)
    with set_grad_enabled(walk.create_graph):
        _start(outputs, _gradient_list(gradients, len(outputs)), walk, name)
        walk.run()


def follow(outputs: Sequence, gradients: Sequence, edges: Sequence, retain_graph: bool, create_graph: bool,
           since: int = 0) -> list:  # fmt: skip
    """The gradients at some edges, None where nothing arrives: arrays, or tensors where their graph is wanted too.

    `outputs` without a graph add nothing. Only nodes are walked that lead to the edges and were recorded `since` then.
    """
    walk = Walk(retain_graph, create_graph, dict.fromkeys(edges), since)
    pairs = [(x, g) for x, g in zip(outputs, gradients, strict=True) if x._edge() is not None and g is not None]
    walk.look_ahead([x for x, _ in pairs])
    with set_grad_enabled(create_graph):
        _start([x for x, _ in pairs], [g for _, g in pairs], walk, "grad")
        walk.run()
    return [walk.found.get(edge) for edge in edges]


def reachable(outputs: Iterable) -> tuple[set[int], list]:
    """The ids of the tensors that the outputs' graph ends in, and the nodes on the way."""
    ends: set[int] = set()
    seen: dict[int, Any] = {}
    todo = [edge[0] for x in outputs if (edge := x._edge()) is not None]
    while todo:
        node = todo.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            if getattr(node, "tensor", None) is not None:
                ends.add(id(node.tensor))
            todo.extend(edge[0] for edge in node.edges if edge is not None)
    return ends, list(seen.values())
