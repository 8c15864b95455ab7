"""`jtorch.compile`: a torch-style step, or a module, as one XLA program whose state is found by itself.

The function runs twice in Python when it is compiled. A first, abstract run notes every tensor from outside that it
reads or writes (parameters, buffers, optimizer state, `.grad`, the random state) and every number that the optimizers
lift. The second run traces the program with those as inputs in one flat list. Later calls fetch the arrays, run the
program and put the new arrays back; what is written and held by nobody else is donated, so that XLA reuses its memory.

If the outputs still want gradients afterwards (a forward, as opposed to a whole step), the program is recorded on the
tape as one op, with a compiled pullback.
"""

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jtorch._capture import Boundary, Capture, Source, in_foreign_trace, state, untaped
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import tape
from jtorch.autograd.grad_mode import no_grad
from jtorch.nn._graph import epoch
from jtorch.nn.module import Module, compiler
from jtorch.ops import _args
from jtorch.ops._program import Program

RETRACE_LIMIT = 8
"""How many programs a compiled function may have before it warns."""


def compile(model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = None,
            mode: str | None = None, options: dict | None = None, disable: bool = False) -> Any:  # fmt: skip
    """A function or module that runs as one XLA program for each combination of shapes, dtypes and modes.

    Parameters, buffers, optimizer state and random state that it uses are found by themselves. Python side effects
    happen when it is compiled (twice), not on later calls; Python numbers among the arguments are constants of the
    program.
    Learning rates and other optimizer settings may change between calls. `fullgraph`, `dynamic`, `backend`, `mode` and
    `options` are accepted for torch's sake.

    Raises:
        RuntimeError: from the function, when it asks for a value that is not known yet (`.item()`, `if tensor:`).

    Example:
        >>> import jtorch
        >>> w = jtorch.ones(2, requires_grad=True)
        >>> @jtorch.compile
        ... def step(x):
        ...     loss = (w * x).sum()
        ...     loss.backward()
        ...     return loss.detach()
        >>> step(jtorch.tensor([1., 2.]))
        tensor(3.)
        >>> w.grad
        tensor([1., 2.])
    """
    if model is None:
        return functools.partial(compile, disable=disable)
    if disable:
        return model
    if isinstance(model, Module):
        model.compile()
        return model
    return Compiled(model)


class Compiled:
    """A compiled function. Calling it runs the program that fits, compiling one if there is none.

    Attributes:
        function: the function as written.
        traces: how often it was traced.
    """

    def __init__(self, function: Callable):
        functools.update_wrapper(self, function)
        self.function = function
        self.traces = 0
        self._entries: dict[Any, list[_Entry]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.session is not None or in_foreign_trace():
            return self.function(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_tensor)
        inputs = [x for x in leaves if _is_array(x)]
        key = (tree, tuple(_signature(x) for x in leaves), _aliases(inputs), state.grad, state.inference)
        entries = self._entries.setdefault(key, [])
        for entry in entries:
            if entry.fits():
                break
        else:
            entry = _Entry(self.function, leaves, tree)
            self.traces += 1
            entries.append(entry)
            self._warn()
        return entry.run(inputs)

    def _warn(self) -> None:
        if self.traces == RETRACE_LIMIT + 1:
            name = getattr(self.function, "__qualname__", repr(self.function))
            warnings.warn(
                f"compile(): expected few different calls of {name}, got {self.traces} programs so far; shapes, "
                "dtypes, Python numbers among the arguments and training flags each make a program of their own",
                stacklevel=3,
            )

    def __get__(self, instance: Any, owner: Any = None):
        return self if instance is None else functools.partial(self, instance)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | jax.Array | np.ndarray)


def _signature(leaf: Any) -> Any:
    """What of an argument the program depends on."""
    if isinstance(leaf, Tensor):
        array, edge = leaf._value(), leaf._edge()
        return (array.shape, array.dtype, None if edge is None else leaf._node is None)
    if isinstance(leaf, jax.Array | np.ndarray):
        return (leaf.shape, leaf.dtype)
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return (type(leaf), leaf)


def _aliases(inputs: list) -> tuple[int, ...]:
    """For each input the place of the first that is the same object: `f(x, x)` is another program than `f(x, y)`."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(x), i) for i, x in enumerate(inputs))


class _Result:
    """One leaf of what the function returned, and how to make it again: see `_Entry._describe`."""

    __slots__ = ("kind", "at", "name")

    def __init__(self, kind: str, at: Any, name: str = ""):
        self.kind = kind  # "tensor", "array", "same" (an object from outside), "argument", "static"
        self.at = at  # its place among the outputs; the object; the place of the argument; the value
        self.name = name  # of the freed graph, for a tensor that had one


class _Entry:
    """One program with what it reads, writes and depends on.

    Its inputs are the arrays of the arguments, of the sources that stay and of those that are replaced (donated). Its
    outputs are the arrays among the results, then the new values of written tensors and of gradients.
    """

    def __init__(self, function: Callable, leaves: list, tree: Any):
        self.function = function
        self.tree = tree
        self.static = [None if _is_array(x) else x for x in leaves]
        self.places = [i for i, x in enumerate(leaves) if _is_array(x)]
        inputs = [leaves[i] for i in self.places]
        self.aliases = _aliases(inputs)
        self.boxed = [_box_kind(x) for x in inputs]
        self.inside = True  # whether ops record inside the program
        self.known: list[Source] | None = None
        self._discover([_array(x) for x in inputs])
        self._build()

    def _discover(self, arrays: list) -> None:
        """The abstract run: which tensors from outside there are, and what becomes of them."""
        jax.eval_shape(lambda values: self._run_once(Capture(), values, self._plan), arrays)

    def _plan(self, capture: Capture, boxes: list, leaves: list) -> list:
        """Decide from the first run what the program's outputs are and how it is called."""
        self.sources = capture.sources
        self.guards = capture.guards
        self.modules = tuple(capture.modules.values())
        self.epoch = -1  # of the modules, when they were last found to be as they were
        self.checks = _checks_of_arguments(capture, self._starts)
        self.captured = {id(s.owner): s for s in self.sources if s.slot == "self"}
        live = [x for x in leaves if isinstance(x, Tensor) and x._edge() is not None and not x._edge()[0].freed]
        reached, _ = tape.reachable(live)
        self.wanted_inputs = [i for i, box in enumerate(boxes) if id(box) in reached]
        self.wanted_sources = [i for i, s in enumerate(self.sources) if s.slot == "self" and id(s.owner) in reached]
        self.records = bool(self.wanted_inputs or self.wanted_sources)
        self.inside = capture.ran_backward or not self.records
        return self._collect(capture, boxes, leaves)

    def _collect(self, capture: Capture, boxes: list, leaves: list) -> list:
        """The arrays that a run puts out; what they are is noted in `results`, `writes`, `grads` and `box_grads`."""
        outs: list = []
        self.results = [self._describe(x, capture, boxes, outs) for x in leaves]
        self.count = len(outs)
        self.writes = [
            i for i, (s, v) in enumerate(zip(capture.sources, capture.values, strict=True)) if _written(s, v)
        ]
        outs += [_no_graph(capture.sources[i]) for i in self.writes]
        self.box_writes = []
        for i, (box, start) in enumerate(zip(boxes, self._starts, strict=True)):
            if isinstance(box, Tensor) and self.aliases[i] == i and box._raw_value is not start:
                self.box_writes.append(i)
                outs.append(box._raw_value)
        self.grads = [(t, _grad_place(t, before, capture, outs)) for t, before in capture.grads.values()]
        self.box_grads = []
        for i, box in enumerate(boxes):
            if isinstance(box, Tensor) and self.aliases[i] == i and box._grad is not None:
                self.box_grads.append(i)
                outs.append(box._grad._raw_value)
        return outs

    def _describe(self, leaf: Any, capture: Capture, boxes: list, outs: list) -> _Result:
        if isinstance(leaf, Tensor):
            for place, box in enumerate(boxes):
                if leaf is box:
                    return _Result("argument", place)
            if id(leaf) in capture.saved:
                return _Result("same", leaf)
            edge = leaf._edge()
            outs.append(leaf._value())
            return _Result("tensor", len(outs) - 1, edge[0].name() if edge is not None and edge[0].freed else "")
        if isinstance(leaf, Tracer):
            outs.append(leaf)
            return _Result("array", len(outs) - 1)
        return _Result("static", leaf)

    def _run_once(self, capture: Capture, arrays: list, then: Callable) -> list:
        """Run the function on tracers. Every tensor is as it was afterwards, whatever happens."""
        boxes: list = []
        for place, (kind, array) in enumerate(zip(self.boxed, arrays, strict=True)):
            first = self.aliases[place]
            boxes.append(boxes[first] if first != place else _boxed(kind, array))
        self._starts = arrays
        leaves = list(self.static)
        for place, box in zip(self.places, boxes, strict=True):
            leaves[place] = box
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        try:
            with capture, contextlib.nullcontext() if self.inside else untaped():
                result = self.function(*args, **kwargs)
                found, self.result_tree = jax.tree.flatten(result, is_leaf=_is_tensor)
                return then(capture, boxes, found)
        finally:
            capture.restore()

    def _build(self) -> None:
        written = set(self.writes) if not self.records else set()
        self.donated = [s for i, s in enumerate(self.sources) if i in written and s.slot != "number"]
        self.kept = [s for i, s in enumerate(self.sources) if i not in written or s.slot == "number"]
        order = {id(s): i for i, s in enumerate([*self.kept, *self.donated])}
        self._order = [order[id(s)] for s in self.sources]
        if self.records:
            self.program = Program(
                lambda *flat: self._traced(flat[: len(self.places)], flat[len(self.places) :]), self._name()
            )
        else:
            call = lambda inputs, kept, donated: self._traced(inputs, (*kept, *donated))  # noqa: E731
            call.__name__ = self._name()
            self.jitted = jax.jit(call, donate_argnums=(2,))

    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _traced(self, arrays: Any, state_arrays: Any) -> tuple:
        """The run that makes the program."""
        before = (len(self.results), self.writes, self.box_writes, self.box_grads, len(self.grads))
        capture = Capture(self.sources, [state_arrays[i] for i in self._order])
        outs = self._run_once(capture, list(arrays), self._collect)
        after = (len(self.results), self.writes, self.box_writes, self.box_grads, len(self.grads))
        _args.check(
            before == after, "compile(): expected the function to do the same each time it is traced", RuntimeError
        )
        return tuple(outs)

    def fits(self) -> bool:
        """Whether the program is right for the state as it is now."""
        if epoch[0] != self.epoch:
            if any(module._signature() != before for module, before in self.modules):
                return False
            self.epoch = epoch[0]
        return all(fetch() == value for fetch, value in self.guards)

    def run(self, inputs: list) -> Any:
        """Run the program on the arguments and the state as it is now, and put the new state in place."""
        if self.box_writes or self.captured:
            self._check_aliases(inputs)
        arrays = [_array(x) for x in inputs]
        for op, places, traced, static in self.checks:
            op.check(tuple(arrays[places[i]] if i in places else x for i, x in enumerate(traced)), static)
        node = None
        if self.records:
            outs, node = self._run_recorded(inputs, arrays)
        else:
            outs = self.jitted(arrays, [s.array() for s in self.kept], self._donations())
        results = [self._result(r, outs, node, inputs) for r in self.results]
        self._put_back(inputs, outs)
        return jax.tree.unflatten(self.result_tree, results)

    def _donations(self) -> list:
        """The arrays to be replaced; a copy of each that something else holds too, since donating deletes it."""
        arrays = [s.array() for s in self.donated]
        for i in range(len(arrays)):
            if sys.getrefcount(arrays[i]) > _HELD_ONCE:
                arrays[i] = jnp.array(arrays[i], copy=True)
        return arrays

    def _run_recorded(self, inputs: list, arrays: list) -> tuple:
        flat = [*arrays, *(s.array() for s in self.kept)]
        edges: list = [None] * len(flat)
        if state.grad:
            for i in self.wanted_inputs:
                edges[i] = inputs[i]._edge()
            for i in self.wanted_sources:
                edges[len(arrays) + self._order[i]] = self.sources[i].owner._edge()
        return tape.run(self.program, flat, edges)

    def _result(self, result: _Result, outs: tuple, node: Any, inputs: list) -> Any:
        if result.kind == "tensor":
            array = outs[result.at]
            if node is not None and _args.is_inexact(array.dtype):
                place = sum(_args.is_inexact(x.dtype) for x in outs[: result.at])
                return from_array(array, (node, place))
            return from_array(array, (tape.Freed(result.name), 0) if result.name else None)
        if result.kind == "array":
            return outs[result.at]
        return inputs[result.at] if result.kind == "argument" else result.at

    def _put_back(self, inputs: list, outs: tuple) -> None:
        at = self.count
        for i in self.writes:
            source = self.sources[i]
            box = source.owner if source.slot == "self" else source.owner._grad
            box._raw_value = outs[at]
            box._version += 1
            at += 1
        for i in self.box_writes:
            inputs[i]._rebind(outs[at])
            at += 1
        for tensor, (kind, place) in self.grads:
            if kind != "kept":
                tensor._grad = from_array(outs[place]) if kind == "new" else place
        for place, i in enumerate(self.box_grads, len(outs) - len(self.box_grads)):
            with no_grad():
                inputs[i]._accumulate(from_array(outs[place]))

    def _check_aliases(self, inputs: list) -> None:
        """An argument that the function also reaches by another way must not be written by either."""
        for i, x in enumerate(inputs):
            source = self.captured.get(id(x if not isinstance(x, Tensor) or x._base is None else x._root()))
            if source is not None and (i in self.box_writes or any(self.sources[w] is source for w in self.writes)):
                raise RuntimeError(
                    f"compile(): expected argument {i} not to be a tensor that the function also reaches by itself and "
                    "writes, got one; pass a clone(), or do not pass it"
                )


def _checks_of_arguments(capture: Capture, starts: list) -> list:
    """The checks that need values of arguments only: each as (op, {place: argument}, traced values, static ones)."""
    found = []
    for op, traced, static in capture.checks:
        places = {
            i: next(n for n, start in enumerate(starts) if x is start)
            for i, x in enumerate(traced)
            if any(x is start for start in starts) and not _args.is_inexact(x.dtype)
        }
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) if isinstance(x, Tracer) else x for x in traced]
        if places and all(x is None or i in places or _is_shape(x) for i, x in enumerate(shapes)):
            found.append((op, places, shapes, static))
    return found


def _is_shape(value: Any) -> bool:
    return isinstance(value, jax.ShapeDtypeStruct | int | float)


def _array(value: Any) -> Any:
    return value._value() if isinstance(value, Tensor) else value


def _box_kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return "array"
    edge = value._edge()
    return "plain" if edge is None else "leaf" if value._node is None else "graph"


def _boxed(kind: str, array: Any) -> Any:
    """An argument as the function sees it: a tensor of its own that holds the tracer."""
    if kind == "array":
        return array
    box = from_array(array)
    if kind == "leaf":
        box._requires_grad = True
    elif kind == "graph":
        box._node = Boundary(box)
    return box


def _written(source: Source, value: Any) -> bool:
    if source.slot == "number":
        return False
    box = source.owner if source.slot == "self" else source.box
    return box._raw_value is not value


def _no_graph(source: Source) -> Any:
    """The new array of a written tensor, which must not carry a graph out of the program."""
    box = source.owner if source.slot == "self" else source.box
    edge = box._edge()
    if box._node is not None and not edge[0].freed and not isinstance(edge[0], Boundary):
        raise RuntimeError(
            "compile(): expected tensors from outside to be written without a graph, got one with "
            f"grad_fn=<{edge[0].name()}>; write under no_grad() or write x.detach()"
        )
    return box._raw_value


def _grad_place(tensor: Any, before: Any, capture: Capture, outs: list) -> tuple[str, Any]:
    """What becomes of a tensor's `.grad`: ("kept", None), ("set", object or None), ("new", place of its array)."""
    grad = tensor._grad
    if grad is before:
        return "kept", None
    if grad is None or id(grad) in capture.saved:
        return "set", grad
    outs.append(grad._value())
    return "new", len(outs) - 1


def _held_once() -> int:
    """What getrefcount says of an array that only its tensor holds, counted the way `_donations` does."""

    class Box:
        _raw_value = None

    box = Box()
    box._raw_value = np.zeros(1)  # type: ignore[assignment]
    arrays = [Source(box, "self").array()]
    return max(sys.getrefcount(arrays[i]) for i in range(len(arrays)))


_HELD_ONCE = _held_once()
compiler.append(Compiled)
