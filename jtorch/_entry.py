"""One program of a compiled function: how it is made by two runs, when it fits, and what a call of it does.

See `_compile`. What a run touches is noted by `Capture`, what it changes on modules by `nn._changes`.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jtorch._capture import Boundary, Capture, Guard, Source, state, untaped
from jtorch._donating import donatable, put
from jtorch._tensor import Tensor, from_array
from jtorch.autograd import tape, walking
from jtorch.autograd.grad_mode import inference_mode, no_grad
from jtorch.nn._boxing import rebuilt
from jtorch.nn._changes import tensors_in
from jtorch.nn._graph import CONTAINERS, INTERNAL, epoch, formed, recorded
from jtorch.ops import _args
from jtorch.ops._autocast import running
from jtorch.ops._backend import compiler_options
from jtorch.ops._program import Program


def is_tensor(value: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(value, Tensor)


def is_array(value: Any) -> bool:
    """Whether it is an argument that becomes an input of the program."""
    return isinstance(value, Tensor | jax.Array | np.ndarray)


def aliases(inputs: list) -> tuple[int, ...]:
    """For each input the place of the first that is the same object: `f(x, x)` is another program than `f(x, y)`."""
    first: dict[int, int] = {}
    return tuple(first.setdefault(id(x), i) for i, x in enumerate(inputs))


class _Result:
    """A tensor or array among what the function returned or kept, and how to make it again: see `Entry._described`."""

    __slots__ = ("kind", "at", "name", "inference")

    def __init__(self, kind: str, at: Any, name: str = "", inference: bool = False):
        self.kind = kind  # "tensor", "array", "same" (an object from outside), "source" (what is in a slot), "argument"
        self.at = at  # its place among the outputs; the object; the source; the place of the argument
        self.name = name  # of the freed graph, for a tensor that had one
        self.inference = inference  # whether it is an inference tensor


class Entry:
    """One program with what it reads, writes and depends on.

    Its inputs are the arrays of the arguments, of the sources that stay and of those that are replaced (donated). Its
    outputs are the arrays among the results, then the new values of written tensors and of gradients.
    """

    def __init__(self, function: Callable, leaves: list, tree: Any, reason: str):
        self.function = function
        self.reason = reason  # why it was made
        self.number = 0  # its place in the order of making
        self.tree = tree
        self.static = [None if is_array(x) else x for x in leaves]
        self.places = [i for i, x in enumerate(leaves) if is_array(x)]
        inputs = [leaves[i] for i in self.places]
        self.aliases = aliases(inputs)
        self.boxed = [(_box_kind(x), isinstance(x, Tensor) and x._inference) for x in inputs]
        self.autocast = running.all()  # as it was for the call, however much later the program is traced again
        self.inside = True  # whether ops record inside the program
        self.settled = False  # whether it is known to fit the state that it leaves
        self.loop: Any = None  # the program of many steps, once asked for
        arrays = [array_of(x) for x in inputs]
        self.shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
        self._discover(arrays)
        self._watch()
        self._build()

    def _discover(self, arrays: list) -> None:
        """The abstract run: which tensors from outside there are, and what becomes of them."""
        jaxpr = jax.make_jaxpr(lambda values: self._run_once(Capture(), values, self._plan))(arrays)
        self.options = compiler_options(jaxpr)

    def _plan(self, capture: Capture, boxes: list, leaves: list) -> list:
        """Decide from the first run what the program's outputs are and how it is called."""
        self.sources = capture.sources
        self.guards = capture.guards
        self.modules = [snapshot.module for snapshot in capture.modules.values()]
        self.checks = _checks_of_arguments(capture, self._starts)
        self.captured = {id(s.owner): s for s in self.sources if s.slot == "self"}
        changes = _changes(capture)
        kept = [x for change in changes for x in tensors_in(change.after)]
        live = [x for x in (*leaves, *kept) if isinstance(x, Tensor) and _is_live(x)]
        reached, _ = walking.reachable(live)
        self.wanted_inputs = [i for i, box in enumerate(boxes) if id(box) in reached]
        self.wanted_sources = [i for i, s in enumerate(self.sources) if s.slot != "number" and id(s.box) in reached]
        self._make_slots(changes)
        self.live: set[int] = set()  # the places of results with a graph, of which the run to come may record none
        self.records = bool(self.wanted_inputs or self.wanted_sources)
        self.inside = capture.ran_backward or not self.records
        return self._collect(capture, boxes, leaves)

    def _collect(self, capture: Capture, boxes: list, leaves: list) -> list:
        """The arrays that a run puts out; what they are is noted in `results`, `writes`, `grads` and `box_grads`."""
        outs: list = []
        describe = lambda x: self._described(x, capture, boxes, outs)  # noqa: E731
        self.results = [describe(x) for x in leaves]
        self.changes = [(change.emptied(), describe(change.after)) for change in _changes(capture)]
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
        written = [*(capture.sources[i].box for i in self.writes), *(boxes[i] for i in self.box_writes)]
        self.infers = any(box._inference for box in written)  # whether a mode inside lets it write inference tensors
        changed = [tensor for tensor, before in capture.grads.values() if tensor._grad is not before]
        self.grads = [(tensor, _grad_place(tensor._grad, capture, outs)) for tensor in changed]
        self.box_grads = []
        for i, box in enumerate(boxes):
            if isinstance(box, Tensor) and self.aliases[i] == i and box._grad is not None:
                self.box_grads.append(i)
                outs.append(box._grad._raw_value)
        return outs

    def _described(self, value: Any, capture: Capture, boxes: list, outs: list) -> Any:
        """What a call gives back or leaves on a module, with a `_Result` for each tensor and array in it."""
        if isinstance(value, Tracer):
            outs.append(value)
            return _Result("array", len(outs) - 1)
        if not isinstance(value, Tensor):
            return rebuilt(lambda x: self._described(x, capture, boxes, outs), value)
        for place, box in enumerate(boxes):
            if value is box:
                return _Result("argument", place)
        array = value._value()  # one from outside is known as such at the latest now
        if id(value) in capture.saved:
            source = next((s for s in capture.sources if s.box is value), None)
            return _Result("same", value) if source is None or source.slot == "self" else _Result("source", source)
        edge = value._edge()
        outs.append(array)
        if _is_live(value):
            self.live.add(len(outs) - 1)
        freed = edge[0].name() if edge is not None and edge[0].freed else ""
        return _Result("tensor", len(outs) - 1, freed, value._inference)

    def _make_slots(self, changes: list) -> None:
        """Tensors on attributes that the function sets are other ones at each call: fetch them from there."""
        self.slots: dict[int, set[str]] = {}
        for change in changes:
            for i, tensor in enumerate(tensors_in(change.before)):
                tensor._value()  # one that was not read may be kept all the same
                source = next((s for s in self.sources if s.box is tensor and s.slot == "self"), None)
                if source is not None:
                    source.slot, source.fetch = "attribute", functools.partial(_on_module, *change[:3], i)
                    self.slots.setdefault(id(change.module), set()).add(change.name)

    def _watch(self) -> None:
        """Note what the tensors and modules are like that this program fits."""
        self.epoch = -1  # when they were last found to be as they were
        self.wanting = self._wanting()
        slots = [self.slots.get(id(module), frozenset()) for module in self.modules]
        self.signatures = [(m, s, m._signature(s)) for m, s in zip(self.modules, slots, strict=True)]
        for module, slots, _ in self.signatures:
            for name, value in vars(module).items():
                if type(value) in CONTAINERS and name not in INTERNAL:
                    look = functools.partial(formed if name in slots else recorded, value)
                    self.guards.append(Guard(look, look(), f"what is in {type(module).__name__}.{name}"))

    def _wanting(self) -> list[bool]:
        """Which tensors from outside ask for gradients."""
        return [source.owner._requires_grad for source in self.sources if source.slot == "self"]

    def _run_once(self, capture: Capture, arrays: list, then: Callable) -> list:
        """Run the function on tracers. Every tensor is as it was afterwards, whatever happens."""
        boxes: list = []
        for place, (kinds, array) in enumerate(zip(self.boxed, arrays, strict=True)):
            first = self.aliases[place]
            boxes.append(boxes[first] if first != place else _boxed(*kinds, array))
        self._starts = arrays
        leaves = list(self.static)
        for place, box in zip(self.places, boxes, strict=True):
            leaves[place] = box
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        around = running.all()
        try:
            running.restore(self.autocast)
            with capture, contextlib.nullcontext() if self.inside else untaped():
                result = self.function(*args, **kwargs)
                found, self.result_tree = jax.tree.flatten(result, is_leaf=is_tensor)
                return then(capture, boxes, found)
        finally:
            running.restore(around)
            capture.restore()

    def _build(self) -> None:
        self.written = [self.sources[i] for i in self.writes]
        own = all(s.slot == "self" for s in self.written)
        self.owners = [s.owner for s in self.written] if own else None  # which spares a call for each
        self.donated = [] if self.records else self.written
        donated = set(map(id, self.donated))
        self.kept = [s for s in self.sources if id(s) not in donated]
        order = {id(s): i for i, s in enumerate([*self.kept, *self.donated])}
        self.order = [order[id(s)] for s in self.sources]
        if self.records:
            self.program = Program(
                lambda *flat: self._traced(flat[: len(self.places)], flat[len(self.places) :]), self._name()
            )
        else:
            call = lambda inputs, kept, donated: self._traced(inputs, (*kept, *donated))  # noqa: E731
            call.__name__ = self._name()
            self.inner = jax.jit(call, donate_argnums=(2,))  # to be part of another program
            self.jitted = jax.jit(call, donate_argnums=(2,), compiler_options=self.options)

    def _name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def _traced(self, arrays: Any, state_arrays: Any) -> tuple:
        """The run that makes the program."""
        before = (len(self.results), self.count, self.writes, self.box_writes, self.box_grads, len(self.grads))
        capture = Capture(self.sources, [state_arrays[i] for i in self.order])
        outs = self._run_once(capture, list(arrays), self._collect)
        after = (len(self.results), self.count, self.writes, self.box_writes, self.box_grads, len(self.grads))
        _args.check(
            before == after, "compile(): expected the function to do the same each time it is traced", RuntimeError
        )
        return tuple(outs)

    def fits(self) -> bool:
        """Whether the program is right for the state as it is now."""
        if epoch[0] != self.epoch:
            if any(module._signature(slots) != before for module, slots, before in self.signatures):
                return False
            if self._wanting() != self.wanting:
                return False
            self.epoch = epoch[0]
        return all(guard.fetch() == guard.value for guard in self.guards)

    def misfit(self) -> str:
        """In words, why it does not fit."""
        for module, slots, before in self.signatures:
            if module._signature(slots) != before:
                return f"{type(module).__name__}{_names_apart(before, module._signature(slots))} changed"
        if self._wanting() != self.wanting:
            return "the requires_grad of a tensor changed"
        return next((f"{guard.what} changed" for guard in self.guards if not guard.holds()), "")

    def run(self, inputs: list) -> Any:
        """Run the program on the arguments and the state as it is now, and put the new state in place."""
        self.check_arguments(inputs)
        arrays = [array_of(x) for x in inputs]
        self.check_values(arrays)
        node = None
        if self.records:
            outs, node = self._run_recorded(inputs, arrays)
        else:
            outs = self.jitted(arrays, [s.array() for s in self.kept], self.donations())
        return self.finished(inputs, outs, node)

    def check_values(self, arrays: list) -> None:
        """Do the checks that ops make of values, as far as they are values of arguments."""
        for op, places, traced, static in self.checks:
            op.check(tuple(arrays[places[i]] if i in places else x for i, x in enumerate(traced)), static)

    def finished(self, inputs: list, outs: tuple, node: Any) -> Any:
        """Put the new state in place, and give the results."""
        give = lambda value: self._given(value, outs, node, inputs)  # noqa: E731
        results = [give(value) for value in self.results]
        kept = [give(value) for _, value in self.changes]
        put = inference_mode()(self._put_values) if self.infers else self._put_values
        put(inputs, outs)
        self._put_gradients(inputs, outs)
        for (change, _), value in zip(self.changes, kept, strict=True):
            change.apply(value)
        return jax.tree.unflatten(self.result_tree, results)

    def donations(self) -> list:
        """The arrays to be replaced."""
        return donatable(self._written_tensors())

    def _written_tensors(self) -> list[Tensor]:
        return [s.tensor() for s in self.written] if self.owners is None else self.owners

    def _run_recorded(self, inputs: list, arrays: list) -> tuple:
        flat = [*arrays, *(s.array() for s in self.kept)]
        edges: list = [None] * len(flat)
        if state.grad:
            for i in self.wanted_inputs:
                edges[i] = inputs[i]._edge()
            for i in self.wanted_sources:
                edges[len(arrays) + self.order[i]] = self.sources[i].tensor()._edge()
        return tape.run(self.program, flat, edges)

    def _given(self, result: Any, outs: tuple, node: Any, inputs: list) -> Any:
        """What `_described` described, of this call."""
        if not isinstance(result, _Result):
            return rebuilt(lambda x: self._given(x, outs, node, inputs), result)
        if result.kind == "tensor":
            array = outs[result.at]
            edge = (tape.Freed(result.name), 0) if result.name else None
            if node is not None and result.at in self.live:
                edge = node, sum(_args.is_inexact(x.dtype) for x in outs[: result.at])
            return from_array(array, edge)._be_inference(result.inference)
        if result.kind == "array":
            return outs[result.at]
        if result.kind == "source":
            return result.at.tensor()
        return inputs[result.at] if result.kind == "argument" else result.at

    def _put_values(self, inputs: list, outs: tuple) -> None:
        after = self.count + len(self.writes)
        put(self._written_tensors(), outs[self.count : after])
        for at, i in enumerate(self.box_writes, after):
            inputs[i]._rebind(outs[at])

    def _put_gradients(self, inputs: list, outs: tuple) -> None:
        for tensor, (kind, place) in self.grads:
            tensor._grad = from_array(outs[place]) if kind == "new" else place
        for place, i in enumerate(self.box_grads, len(outs) - len(self.box_grads)):
            with no_grad():
                inputs[i]._accumulate(from_array(outs[place]))

    def check_arguments(self, inputs: list) -> None:
        """An argument that the function also reaches by another way must not be written by either."""
        if not (self.box_writes or self.captured):
            return
        for i, x in enumerate(inputs):
            source = self.captured.get(id(x if not isinstance(x, Tensor) or x._base is None else x._base))
            if source is not None and (i in self.box_writes or any(self.sources[w] is source for w in self.writes)):
                raise RuntimeError(
                    f"compile(): expected argument {i} not to be a tensor that the function also reaches by itself and "
                    "writes, got one; pass a clone(), or do not pass it"
                )


def _names_apart(before: list, now: list) -> str:
    """The names of what differs between two signatures of a module, each after a dot."""
    old, new = ({entry[:-1]: entry[-1] for entry in entries} for entries in (before, now))
    apart = dict.fromkeys(key[-1] for key in (*old, *new) if key not in old or key not in new or old[key] != new[key])
    return ", ".join(f".{name}" for name in apart)


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
        known = (jax.ShapeDtypeStruct, int, float, type(None))
        if places and all(i in places or isinstance(x, known) for i, x in enumerate(shapes)):
            found.append((op, places, shapes, static))
    return found


def array_of(value: Any) -> Any:
    """The array of an argument."""
    return value._value() if isinstance(value, Tensor) else value


def _box_kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return "array"
    edge = value._edge()
    return "plain" if edge is None else "leaf" if value._node is None else "graph"


def _boxed(kind: str, inference: bool, array: Any) -> Any:
    """An argument as the function sees it: a tensor of its own that holds the tracer."""
    if kind == "array":
        return array
    box = from_array(array)._be_inference(inference)
    if kind == "leaf":
        box._requires_grad = True
    elif kind == "graph":
        box._node = Boundary(box)
    return box


def _written(source: Source, value: Any) -> bool:
    return source.slot != "number" and source.box._raw_value is not value


def _no_graph(source: Source) -> Any:
    """The new array of a written tensor, which must not carry a graph out of the program."""
    box = source.box
    if box._node is not None and not isinstance(box._edge()[0], Boundary) and not box._edge()[0].freed:
        raise RuntimeError(
            "compile(): expected tensors from outside to be written without a graph, got one with "
            f"grad_fn=<{box._edge()[0].name()}>; write under no_grad() or write x.detach()"
        )
    return box._raw_value


def _is_live(tensor: Any) -> bool:
    """Whether backward() can start at it."""
    edge = tensor._edge()
    return edge is not None and not edge[0].freed


def _changes(capture: Capture) -> list:
    """What the run changed on modules."""
    return [change for snapshot in capture.modules.values() for change in snapshot.changes()]


def _on_module(module: Any, registry: str | None, name: str, place: int) -> Any:
    """The tensor at a place in an attribute."""
    return tensors_in(vars(module)[registry][name] if registry else vars(module)[name])[place]


def _grad_place(grad: Any, capture: Capture, outs: list) -> tuple[str, Any]:
    """What a tensor's `.grad` becomes: ("set", object or None) or ("new", place of its array)."""
    if grad is None or id(grad) in capture.saved:
        return "set", grad
    outs.append(grad._value())
    return "new", len(outs) - 1
