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

from jtorch._capture import state
from jtorch.autograd.grad_mode import set_grad_enabled
from jtorch.ops import _args
from jtorch.ops._op import registry
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
        "pullback",
        "flat",
        "edges",
        "avals",
        "sequence",
        "hooks",
        "retains",
        "__weakref__",
    )

    def __init__(self, program: Program, wanted: tuple, pullback: Any, flat: Sequence, edges: list[Edge], avals: list):
        self.program = program
        self.wanted = wanted
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
    wanted = tuple(i for i, edge in enumerate(edges) if edge is not None)
    if not wanted:
        return program.forward(*flat), None
    out, pullback = program.recorded(wanted)(*flat)
    outs = out if type(out) is tuple else (out,)
    avals = [(x.shape, x.dtype) for x in outs if _args.is_inexact(x.dtype)]
    if not avals:
        return out, None
    return out, Node(program, wanted, pullback, flat, [edges[i] for i in wanted], avals)  # type: ignore[misc]


# walking backward

_add = jax.jit(jnp.add)


class _Walk:
    """One walk from the outputs: gradients wait at their nodes until everything recorded later has delivered."""

    def __init__(self, retain_graph: bool, create_graph: bool, inputs: dict[Edge, Any] | None):
        self.retain_graph = retain_graph
        self.create_graph = create_graph
        self.inputs = inputs  # edges whose gradient is asked for; None: all leaves
        self.found: dict[Edge, Any] = {}
        self.waiting: dict[Any, dict[int, Any]] = {}
        self.queue: list[tuple[int, int, Any]] = []

    def deliver(self, edge: Edge, gradient: Any) -> None:
        """Add a gradient to what waits at an edge."""
        node, place = edge
        slots = self.waiting.get(node)
        if slots is None:
            slots = self.waiting[node] = {}
            heapq.heappush(self.queue, (-node.sequence, id(node), node))
        before = slots.get(place)
        if before is None:
            slots[place] = gradient
        else:
            slots[place] = before + gradient if self.create_graph else _add(before, gradient)

    def run(self) -> None:
        """Walk until nothing waits."""
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
                    node.tensor._accumulate(self._tensor(slots[0]))
            else:
                self._through(node, slots)

    def _through(self, node: Any, slots: dict[int, Any]) -> None:
        if getattr(node, "retains", None):
            for place, tensor in node.retains.items():
                if place in slots and self.inputs is None:
                    tensor._accumulate(self._tensor(slots[place]))
        gradients = node.pull(self._full(node, slots), self.create_graph)
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
                result = hook(self._tensor(slots[place]))
                if result is not None:
                    slots[place] = result if self.create_graph else result._value()

    def _tensor(self, gradient: Any) -> Any:
        return gradient if self.create_graph else make[0](gradient)


@functools.lru_cache(maxsize=256)
def _ones(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    with jax.ensure_compile_time_eval():
        return jnp.ones(shape, dtype)


def _start(outputs: Sequence, gradients: Sequence, walk: _Walk, name: str) -> None:
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


def _sequence(value: Any) -> Sequence:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _gradient_list(gradients: Any, count: int) -> Sequence:
    return (None,) * count if gradients is None else _sequence(gradients)


def _walk(outputs: Sequence, gradients: Any, walk: _Walk, name: str) -> None:
    if state.session is not None:
        state.session.ran_backward = True
    with set_grad_enabled(walk.create_graph):
        _start(outputs, _gradient_list(gradients, len(outputs)), walk, name)
        walk.run()


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they were computed from.

    Args:
        grad_tensors: the vector of the vector-Jacobian product for each tensor; None for scalars.
        retain_graph: keep what is needed for another backward. None means: as `create_graph`.
        create_graph: record the gradients too, for gradients of gradients.
        inputs: the only tensors whose `.grad` is to be touched. None means all leaves.

    Raises:
        RuntimeError: a tensor has no graph, is not a scalar and has no gradient given, or its graph was freed.
    """
    outputs = _sequence(tensors)
    grad_tensors = grad_variables if grad_tensors is None else grad_tensors
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        return _walk(outputs, grad_tensors, _Walk(retain, create_graph, None), "backward")
    targets = _sequence(inputs)
    if not targets:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    for target, gradient in zip(targets, _gradients(outputs, targets, grad_tensors, retain, create_graph), strict=True):
        if gradient is not None:
            target._accumulate(gradient)
    return None


def _gradients(outputs, inputs, grad_outputs, retain, create_graph) -> list:
    edges = [x._edge() for x in inputs]
    if any(edge is None for edge in edges):
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    walk = _Walk(retain, create_graph, dict.fromkeys(edges))
    _walk(outputs, grad_outputs, walk, "grad")
    found = [walk.found.get(edge) for edge in edges]
    return [None if g is None else walk._tensor(g) for g in found]


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple:
    """The gradients of the sum of `outputs` with respect to `inputs`, as a tuple. Nothing is written to `.grad`.

    Args:
        grad_outputs: the vector of the vector-Jacobian product for each output; None for scalars.
        allow_unused: give None for inputs that the outputs do not depend on, rather than raise.
        is_grads_batched: `grad_outputs` have a leading batch dimension, and so have the results.
        materialize_grads: zeros in place of None.

    Raises:
        RuntimeError: an input has no part in the outputs' graph and `allow_unused` is not set.
    """
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain, create_graph, allow_unused, materialize_grads)
    found = _gradients(outputs, inputs, grad_outputs, retain, create_graph)
    if materialize_grads:
        return tuple(
            make[0](jnp.zeros(x.shape, x._value().dtype)) if g is None else g
            for g, x in zip(found, inputs, strict=True)
        )
    for place, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"The differentiated Tensor at index {place} appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
    return tuple(found)


def _batched_grad(outputs, inputs, grad_outputs, retain, create_graph, allow_unused, materialize) -> tuple:
    vectors = _sequence(grad_outputs)
    count = vectors[0].shape[0]
    rows = [
        grad(outputs, inputs, [v[i] for v in vectors], retain or i + 1 < count, create_graph,
             allow_unused=allow_unused, materialize_grads=materialize)
        for i in range(count)
    ]  # fmt: skip
    stack = registry["stack"]
    return tuple(None if column[0] is None else stack(column) for column in zip(*rows, strict=True))


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
