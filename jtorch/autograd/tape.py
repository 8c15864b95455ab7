"""The tape: what an op leaves behind for gradients. `walking` goes back along it.

A `Node` holds an op's compiled pullback and the *edges* to where its inputs came from. An edge is a pair (node, place
of the value among the node's outputs); the tensors that gradients end in have a `Leaf` node. Nothing here knows the
class Tensor but by the attributes it uses; Tensor puts its constructor into `make`.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.core import Tracer

from jtorch._capture import state
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

UNSAVED = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation "
    "tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use "
    "`torch.no_grad()` instead of `torch.inference_mode()`."
)

_TORCH_NAMES = {
    "true_divide": "div", "power": "pow", "power_of": "pow", "short_power": "pow", "matmul": "mm", "reshape": "view",
    "max_of_all": "max.1", "min_of_all": "min.1",
    "gather_index": "index", "linear": "addmm", "cross_entropy": "nll_loss", "l1_loss": "mean",
    "choose": "where", "layer_norm": "native_layer_norm", "rms_norm": "mul", "group_norm": "native_group_norm",
    "_batch_norm_training": "native_batch_norm", "_batch_norm_evaluation": "native_batch_norm",
    "_instance_norm": "view", "local_response_norm": "div", "_times_reciprocal": "mul",
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
        flat = [*self.flat, *(c._value() for c in cotangents)]
        edges = [edge if used else None for edge, used in zip(edges, program.uses(flat), strict=True)]
        outs, node = run(program, flat, edges)
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
        if type(x) not in VALUED:
            flat, valued = _looked_at(flat)
            break
    if valued:
        return record_valued(program, flat, wanted, edges)
    if not wanted:
        return program.forward(*flat), None
    out, pullback = program.recorded(wanted)(*flat)
    avals = _avals(out)
    return out, Node(program, wanted, None, pullback, flat, edges, avals) if avals else None


def record_valued(
    program: Program, flat: Sequence, wanted: tuple[int, ...], edges: list[Edge]
) -> tuple[Any, Node | None]:
    """`record`, for a program that is not eager, inputs of types in `VALUED`, and nothing being lifted."""
    if not wanted:
        return program.forward(*flat), None
    recording = program.recording(wanted)
    out, kept = recording.forward(*flat)
    avals = _avals(out)
    return out, Node(program, wanted, recording, (out, kept), flat, edges, avals) if avals else None


def _avals(out: Any) -> list:
    """Shape and dtype of each output that can carry a gradient."""
    if type(out) is tuple:
        return [(x.shape, x.dtype) for x in out if _args.is_inexact(x.dtype)]
    return [(out.shape, out.dtype)] if _args.is_inexact(out.dtype) else []


VALUED: set[type] = {type(None)}
"""The types that were seen among inputs and are arrays with values; and None."""


def _looked_at(flat: Sequence) -> tuple[Sequence, bool]:
    """The inputs, with arrays for numbers, and whether there are no tracers among them."""
    kinds = {*map(type, flat)} - NUMBERS
    if not kinds <= VALUED:
        VALUED.update(kind for kind in kinds if issubclass(kind, jax.Array) and not issubclass(kind, Tracer))
        if not kinds <= VALUED:
            return flat, False
    return [boxed(x) if type(x) is int or type(x) is float else x for x in flat], True


def taken(tensor: Any) -> tuple[Any, Edge | None]:
    """A tensor's array and, where gradients are recorded, its edge: for what uses them otherwise than by `run`."""
    array, edge = tensor._value(), tensor._edge() if state.grad and state.tape else None
    if edge is not None and state.lifting is not None:
        (array,), (edge,) = state.lifting.taken((array,), (edge,))
    return array, edge


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
