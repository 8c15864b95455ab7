"""What the running code may assume, per thread: grad mode and the capture in progress.

A `Capture` notes which tensors from outside a traced function it reads and writes, so that `jtorch.compile` can make
them inputs and outputs of one XLA program without anybody listing them. It knows tensors only by their attributes
(`_raw_value`, `_base`, `_node`, `_grad`); the two passes that use it are in `_compile`.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.core import Tracer

from jtorch.ops._placing import boxed


class _State(threading.local):
    grad = True  # whether ops on tensors carry gradients on: what no_grad turns off
    tape = True  # whether they are recorded for that; off where JAX differentiates the whole
    inference = False  # inside inference_mode
    asked = True  # inside inference_mode, where nothing is recorded: whether it would be otherwise
    session: "Capture | None" = None  # the capture in progress
    lifting: Any = None  # the innermost function run by `autograd.batching`: what it uses from outside becomes inputs
    watch: Any = None  # the innermost transform of `func` that is running: it is told of tensors written in place
    records: bool | None = True  # `grad` where ops have the tape alone to mind; None where there is more of the above

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in ("watch", "asked"):
            usual = self.session is None and self.lifting is None and self.tape and not self.inference
            super().__setattr__("records", self.grad if usual else None)


state = _State()
epoch = [0]
"""Grows whenever a tensor's `requires_grad`, or an attribute or a hook of any module, changes: compiled code may not fit."""


@contextlib.contextmanager
def untaped() -> Iterator[None]:
    """Record nothing, because JAX differentiates the whole; `no_grad` and `detach` keep their meaning for it."""
    before, state.tape = state.tape, False
    try:
        yield
    finally:
        state.tape = before


class Source:
    """One value from outside that a captured function needs: how to fetch it now, and how to write it back."""

    __slots__ = ("owner", "slot", "fetch", "box")

    def __init__(self, owner: Any, slot: str, fetch: Any = None):
        self.owner = owner  # the tensor; for "grad" the one whose `.grad` it is; for "number" its name
        self.slot = slot  # "self", "grad", "attribute" (what `fetch` finds on a module) or "number"
        self.fetch = fetch
        self.box: Any = None  # the tensor that was there when it was traced

    def tensor(self) -> Any:
        """The tensor that is there at this moment."""
        if self.slot == "self":
            return self.owner
        return self.owner._grad if self.slot == "grad" else self.fetch()

    def array(self) -> Any:
        """The value at this moment."""
        if self.slot == "number":
            return boxed(self.fetch())
        tensor = self.owner if self.slot == "self" else self.tensor()
        return tensor._raw_value if tensor._base is None else tensor._value()


class Guard(NamedTuple):
    """Something that a program was made for: how to look at it now, what it was then, and in words what it is."""

    fetch: Callable[[], Any]
    value: Any
    what: str

    def holds(self) -> bool:
        """Whether it is what it was."""
        return self.fetch() == self.value


class Boundary:
    """Stands for the graph outside a captured function, at a tensor that has one. Nothing inside may walk on."""

    sequence = -1
    edges = ()
    freed = False
    hooks = None

    def __init__(self, tensor: Any):
        self.tensor = tensor

    def name(self) -> str:
        """What it is."""
        return "Boundary"

    def pull(self, cotangents, create_graph):
        """Refuse."""
        raise RuntimeError(
            "backward(): expected a graph made inside the compiled function, got one that was begun outside it; "
            "call backward() outside, or compute the input inside"
        )


class Capture:
    """The tensors that one run of a function touches. Enter it around the run; leaving restores every tensor.

    Args:
        known: the sources found by an earlier run. With it the tracers `values` take their place from the start, and
            a tensor from outside that is not among them is an error.
    """

    def __init__(self, known: list[Source] | None = None, values: list | None = None):
        self.sources: list[Source] = []
        self.values: list[Any] = []  # the tracer that stands for each source
        self.guards: list[Guard] = []
        self.modules: dict[int, Any] = {}  # id(module) -> a snapshot of it, with `undo`
        self.grads: dict[int, tuple[Any, Any]] = {}  # id(tensor) -> (tensor, its grad before)
        self.saved: dict[int, tuple[Any, tuple]] = {}  # id(tensor) -> (tensor, its state before)
        self.numbers: dict[Any, Any] = {}
        self.checks: list[tuple[Any, Any, tuple]] = []
        self.ran_backward = False
        self._grad_owner: dict[int, Any] = {}
        self._looked: tuple[list, list] = [], []  # tensors whose `.grad` was looked at, and whether it was None
        self._known = known
        for source, value in zip(known or (), values or (), strict=True):
            self._install(source, value)

    # tensors

    def read(self, tensor: Any) -> Any:
        """The tensor's array for use inside, lifted to a tracer at first touch if it comes from outside."""
        if tensor._base is not None:
            self.read(tensor._base)
            if not isinstance(tensor._raw_value, Tracer):
                self._save_view(tensor, tensor._base)
            return tensor._current()
        array = tensor._raw_value
        return array if isinstance(array, Tracer) else self._lift(tensor)

    def check_exchange(self, tensor: Any, data: Any) -> None:
        """Raise where `tensor.data = data` is about memory outside: what is shared or left there outlasts the run."""
        if self.is_outside(data if data._base is None else data._base):
            raise RuntimeError(
                "compile(): expected `.data` to be set to a tensor made inside, got one from outside, whose memory would "
                "have to be shared; use copy_(), or set it outside"
            )
        views = [view for each in (tensor._views or {}).values() if (view := each()) is not None]
        if any(view._base is tensor and not isinstance(view._seen(), Tracer) for view in views):
            raise RuntimeError(
                "compile(): expected a tensor whose `.data` is set to have no views outside, got one with some, which "
                "would have to keep its old memory; use copy_(), or set it outside"
            )

    def _lift(self, tensor: Any) -> Any:
        if self._known is not None:
            raise RuntimeError(
                "compile(): expected the function to use the same tensors each time it is traced, got a new one of "
                f"shape {tuple(tensor._raw_value.shape)}; create tensors from arrays inside with jtorch.tensor"
            )
        owner = self._grad_owner.get(id(tensor))
        source = Source(tensor, "self") if owner is None else Source(owner, "grad")
        return self._install(source, jax.lax.optimization_barrier(tensor._raw_value), tensor)

    def _install(self, source: Source, value: Any, tensor: Any = None) -> Any:
        self.sources.append(source)
        self.values.append(value)
        if source.slot == "number":
            self.numbers[source.owner] = value
            return value
        if tensor is None:
            tensor = source.tensor()
        source.box = tensor
        self._save(tensor)
        tensor._raw_value = value
        if tensor._node is not None:
            tensor._node, tensor._index = Boundary(tensor), 0
        return value

    def _save_view(self, view: Any, root: Any) -> None:
        """Save a view from outside; a program that reads it by its root does not fit once it is of another one."""
        if id(view) not in self.saved and self.is_outside(root):
            self.guards.append(Guard(lambda: view._base is root, True, "which tensor a view is of"))
        self._save(view)

    def _save(self, tensor: Any) -> None:
        if id(tensor) not in self.saved:
            self.saved[id(tensor)] = (tensor, tensor._snapshot())

    # gradients: they are slots of tensors, so what matters is the slot and not the tensor that is in it

    def reads_grad(self, tensor: Any) -> None:
        """Note that `tensor.grad` is looked at: whether it is None decides what is traced."""
        if id(tensor) in self.grads or (isinstance(tensor._raw_value, Tracer) and not self.is_outside(tensor)):
            return
        grad = tensor._grad
        self.writes_grad(tensor)
        looked, were_none = self._looked
        if not looked:  # one guard for all of them, of which there may be hundreds
            self.guards.append(Guard(lambda: [t._grad is None for t in looked], were_none, "whether a .grad is None"))
        looked.append(tensor)
        were_none.append(grad is None)
        if grad is not None:
            self._grad_owner[id(grad)] = tensor

    def writes_grad(self, tensor: Any) -> None:
        """Note that `tensor.grad` is about to be replaced."""
        if id(tensor) not in self.grads and self.is_outside(tensor):
            self.grads[id(tensor)] = (tensor, tensor._grad)

    def is_outside(self, tensor: Any) -> bool:
        """Whether the tensor was there before the run."""
        return id(tensor) in self.saved or not isinstance(tensor._raw_value, Tracer)

    # what is not a tensor

    def number(self, key: Any, fetch: Callable[[], float]) -> Any:
        """A Python number that may change between calls, as an input of the program. `key` names it."""
        if key not in self.numbers:
            if self._known is not None:
                raise RuntimeError(f"compile(): expected the same numbers each time it is traced, got a new one, {key}")
            self._install(Source(key, "number", fetch), jax.lax.optimization_barrier(jax.numpy.asarray(float(fetch()))))
        return self.numbers[key]

    def guard(self, fetch: Callable[[], Any], what: str) -> Any:
        """A value that is part of the program; the program is made anew when it changes. `what` says what it is."""
        value = fetch()
        self.guards.append(Guard(fetch, value, what))
        return value

    def defer(self, op: Any, traced: Any, static: tuple) -> None:
        """Note a check of values that are not known yet."""
        self.checks.append((op, traced, static))

    # the run

    def __enter__(self):
        state.session = self
        return self

    def __exit__(self, *_):
        state.session = None

    def restore(self) -> None:
        """Put every tensor and module back as it was before the run."""
        for tensor, before in self.saved.values():
            tensor._restore(before)
        for tensor, grad in self.grads.values():
            tensor._grad = grad
        for snapshot in self.modules.values():
            snapshot.undo()
