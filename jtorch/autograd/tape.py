"""The tape: what an op leaves behind for gradients, and walking it backward.

A `Node` holds an op's compiled pullback and the *edges* to where its inputs came from. An edge is a pair (node, place
of the value among the node's outputs); the tensors that gradients end in have a `Leaf` node. Nothing here knows the
class Tensor but by the attributes it uses; Tensor puts its constructor into `make`.
"""

import functools
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd.grad_mode import set_grad_enabled
from jtorch.ops import _args
from jtorch.ops._hints import NUMBERS
from jtorch.ops._placing import boxed
from jtorch.ops._program import Program, pull, pulled

Edge = tuple[Any, int]

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)

_TORCH_NAMES = {
    "true_divide": "div", "power": "pow", "power_of": "pow", "short_power": "pow", "matmul": "mm", "reshape": "view",
    "max_of_all": "max.1", "min_of_all": "min.1",
    "gather_index": "index", "linear": "addmm", "cross_entropy": "nll_loss", "l1_loss": "mean",
    "choose": "where", "layer_norm": "native_layer_norm", "rms_norm": "mul", "group_norm": "native_group_norm",
    "_batch_norm_training": "native_batch_norm", "_batch_norm_evaluation": "native_batch_norm",
    "_instance_norm": "view", "local_response_norm": "div",
}  # fmt: skip
"""What torch calls the node of an op, where the op has another name; its number after a dot."""

_counter = itertools.count()
next_number = _counter.__next__
"""The place of the next node in the order of recording."""
make: list[Callable[..., Any]] = []
"""`make[0](array, edge=None)` builds a Tensor; the tensor module puts it here."""


class Leaf:
    """The end of the tape at a tensor that was asked to have gradients: what arrives is added to its `.grad`."""

    __slots__ = ("tensor", "sequence", "hooks", "__weakref__")
    edges = ()
    freed = False

    def __init__(self, tensor: Any):
        self.tensor = tensor
        self.sequence = -1
        self.hooks: dict[int, dict] | None = None

    def name(self) -> str:
        """torch's name."""
        return "torch::autograd::AccumulateGrad"

    @property
    def variable(self) -> Any:
        """The tensor."""
        return self.tensor

    @property
    def next_functions(self) -> tuple:
        """Nothing comes after a leaf."""
        return ()


class Node:
    """One recorded op.

    Attributes: `edges` (one for each input that wants a gradient), `avals` (shape and dtype of each output that can
    carry one), `sequence` (the order of recording).
    """

    __slots__ = (
        "program",
        "wanted",
        "recording",
        "pullback",
        "flat",
        "edges",
        "avals",
        "sequence",
        "hooks",
        "retains",
        "__weakref__",
    )

    def __init__(self, program: Program, wanted: tuple, recording: Any, pullback: Any, flat: Sequence, edges: list[Edge],
                 avals: list):  # fmt: skip
        self.program = program
        self.wanted = wanted
        self.recording = recording  # None where the pullback is whole by itself
        self.pullback = pullback
        self.flat: Sequence | None = flat
        self.edges = edges
        self.avals = avals
        self.sequence = next_number()
        self.hooks: dict[int, dict] | None = None
        self.retains: dict[int, Any] | None = None

    def name(self) -> str:
        """torch's name, such as `AddBackward0`."""
        name, _, number = _TORCH_NAMES.get(self.program.name, self.program.name).partition(".")
        return "".join(w[:1].upper() + w[1:] for w in name.split("_")) + f"Backward{number or 0}"

    @property
    def freed(self) -> bool:
        """Whether a backward has walked here without keeping the graph."""
        return self.pullback is None

    @property
    def next_functions(self) -> tuple:
        """The (node, place) pairs that gradients go to."""
        return tuple(self.edges)

    def pull(self, cotangents: tuple, create_graph: bool) -> Sequence:
        """The gradients for the edges: arrays, or tensors where the graph of the gradient is wanted too."""
        if self.pullback is None or self.flat is None:
            raise RuntimeError(FREED)
        if not create_graph:
            if self.recording is not None:
                return self.recording.pull(self.flat, *self.pullback, cotangents)
            return (pulled if self.program.eager else pull)(self.pullback, cotangents)
        program = self.program.pullback(self.wanted, len(self.flat))
        edges: list[Edge | None] = [None] * len(self.flat)
        for place, edge in zip(self.wanted, self.edges, strict=True):
            edges[place] = edge
        edges += [c._edge() for c in cotangents]
        outs, node = run(program, [*self.flat, *(c._value() for c in cotangents)], edges)
        return [make[0](x, None if node is None else (node, i)) for i, x in enumerate(outs)]

    def free(self) -> None:
        """Drop what the pullback holds."""
        self.pullback = self.flat = None

    def __repr__(self):
        return f"<{self.name()} object at {id(self):#x}>"


def run(program: Program, flat: Sequence, edges: Sequence[Edge | None]) -> tuple[Any, Node | None]:
    """Run a program on arrays, recording it for the inputs that have an edge: (outputs, node or None)."""
    if state.lifting is not None:
        flat, edges = state.lifting.taken(flat, edges)
    wanted = tuple(i for i, edge in enumerate(edges) if edge is not None)
    return _record(program, flat, wanted, [edges[i] for i in wanted])  # type: ignore[misc]


def record(program: Program, flat: Sequence, wanted: tuple[int, ...], edges: list[Edge]) -> tuple[Any, Node | None]:
    """`run`, with the edges of the inputs at the places `wanted` and no others."""
    if wanted and state.lifting is not None:
        found = dict(zip(wanted, edges, strict=True))
        return run(program, flat, [found.get(i) for i in range(len(flat))])
    return _record(program, flat, wanted, edges)


def _record(program: Program, flat: Sequence, wanted: tuple[int, ...], edges: list[Edge]) -> tuple[Any, Node | None]:
    valued = not program.eager
    for x in flat if valued else ():
        if type(x) not in _ARRAYS:
            flat, valued = _looked_at(flat)
            break
    if not wanted:
        return program.forward(*flat), None
    recording = program.recording(wanted) if valued else None
    out, kept = (program.recorded(wanted) if recording is None else recording.forward)(*flat)
    if type(out) is not tuple:
        avals = [(out.shape, out.dtype)] if _args.is_inexact(out.dtype) else []
    else:
        avals = [(x.shape, x.dtype) for x in out if _args.is_inexact(x.dtype)]
    if not avals:
        return out, None
    return out, Node(program, wanted, recording, kept if recording is None else (out, kept), flat, edges, avals)


_ARRAYS: set[type] = {type(None)}
"""The types that were seen among inputs and are arrays with values; and None."""


def _looked_at(flat: Sequence) -> tuple[Sequence, bool]:
    """The inputs, with arrays for numbers, and whether there are no tracers among them."""
    kinds = {*map(type, flat)} - NUMBERS
    if not kinds <= _ARRAYS:
        _ARRAYS.update(kind for kind in kinds if issubclass(kind, jax.Array) and not issubclass(kind, Tracer))
        if not kinds <= _ARRAYS:
            return flat, False
    return [boxed(x) if type(x) is int or type(x) is float else x for x in flat], True


# walking backward

_add = jax.jit(jnp.add)


walking: list[Any] = []
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
            slots[place] = before + gradient if self.create_graph else _add(before, gradient)

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
        walking.append(self)
        try:
            self._run()
        finally:
            walking.pop()

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


def taken(tensor: Any) -> tuple[Any, Edge | None]:
    """A tensor's array and, where gradients are recorded, its edge: for what uses them otherwise than by `run`."""
    array, edge = tensor._value(), tensor._edge() if state.grad and state.tape else None
    if edge is not None and state.lifting is not None:
        (array,), (edge,) = state.lifting.taken((array,), (edge,))
    return array, edge


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


class Freed:
    """What is left of a graph that a compiled program has walked: the name of its last node."""

    __slots__ = ("_name", "sequence", "hooks", "retains")
    edges = ()
    freed = True
    next_functions = ()

    def __init__(self, name: str):
        self._name = name
        self.sequence = next_number()
        self.hooks = self.retains = None

    def name(self) -> str:
        """The name of the node."""
        return self._name

    def pull(self, cotangents: tuple, create_graph: bool) -> Any:
        """Refuse."""
        raise RuntimeError(FREED)


class Handle:
    """What registering a hook returns; `remove()` takes the hook away again."""

    _next = itertools.count()

    def __init__(self, hooks: dict, hook: Callable):
        self.hooks = hooks
        self.id = next(Handle._next)
        hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook away."""
        self.hooks.pop(self.id, None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()
