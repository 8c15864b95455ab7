"""The graph of the tape for its users: edges, hooks on several tensors, and torch's contexts about what is saved.

What an op saves is in arrays, which never change and which compiled code chooses. So the contexts that move, pack or copy
saved tensors have nothing to do here, or say so.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jtorch.autograd import tape, walking
from jtorch.ops._args import check, fail

_refusals: list[str] = []


class _IsNode(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return hasattr(instance, "next_functions")


class Node(metaclass=_IsNode):
    """What every `grad_fn` is an instance of."""


class GradientEdge(NamedTuple):
    """A place where gradients arrive: it stands for a tensor in `autograd.grad`."""

    node: Any
    output_nr: int

    def _edge(self) -> tape.Edge:
        return self.node, self.output_nr

    def _value(self) -> jax.ShapeDtypeStruct:
        """What `autograd.grad` asks a tensor for: the shape and dtype of the value that was there."""
        tensor = getattr(self.node, "tensor", None)
        return jax.ShapeDtypeStruct(*(self.node.avals[self.output_nr] if tensor is None else _aval(tensor._value())))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the gradients."""
        return self._value().shape

    def numel(self) -> int:
        """How many elements the gradients have."""
        return math.prod(self.shape)


def _aval(array: Any) -> tuple:
    return array.shape, array.dtype


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The place where gradients for a tensor arrive.

    Raises:
        RuntimeError: it does not require gradients.
    """
    edge = tensor._edge()
    check(
        edge is not None,
        "It is not possible to get the gradient edge for a Tensor that does not require gradients",
        RuntimeError,
    )
    return GradientEdge(*edge)


@contextlib.contextmanager
def save_on_cpu(pin_memory: bool = False, device_type: str = "cuda") -> Iterator[None]:
    """Nothing: values are kept where they were computed. Checkpoints are what saves memory here."""
    _check_allowed()
    yield


@contextlib.contextmanager
def saved_tensors_hooks(pack_hook: Callable, unpack_hook: Callable) -> Iterator[None]:
    """Refused: what is saved are arrays of compiled code.

    Raises:
        RuntimeError: always.
    """
    _check_allowed()
    fail(
        "saved_tensors_hooks(): expected no hooks on what ops save, got two; it is in arrays of compiled code: use "
        "jtorch.utils.checkpoint to keep less",
        RuntimeError,
    )
    yield


def _check_allowed() -> None:
    check(not _refusals, _refusals[-1] if _refusals else "", RuntimeError)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside, hooks on saved tensors raise with this message."""
    _refusals.append(error_message)
    try:
        yield
    finally:
        _refusals.pop()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """Nothing: what is saved are arrays, which a tensor written in place no longer has; gradients are right anyway."""
    yield


class _Handles:
    """What takes several hooks away together."""

    def __init__(self, handles: list):
        self.handles = handles

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> "_Handles":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _expected(walk: Any, tensors: Sequence) -> set[int]:
    """Which of the tensors get a gradient in this walk."""
    nodes = {id(node) for node in walking.reachable(walk.outputs)[1]}
    if walk.ways is not None:
        nodes &= {id(node) for node in (*walk.ways, *walk.ends)}
    return {i for i, tensor in enumerate(tensors) if id(tensor._edge()[0]) in nodes}


def register_multi_grad_hook(tensors: Sequence, fn: Callable, *, mode: str = "all") -> _Handles:
    """Call `fn` when gradients for these tensors have been computed: with the list of all, or with the first.

    Args:
        mode: "all": once all that this backward computes are there, None for the others; "any": at the first one.

    Raises:
        ValueError: the mode is another.
        RuntimeError: a tensor does not require gradients.
    """
    check(mode in ("all", "any"), f"Expects mode to be one of ('all', 'any') but got {mode}")
    seen: dict[Any, dict[int, Any]] = {}

    def hook_of(place: int) -> Callable:
        def hook(gradient: Any) -> None:
            walk = walking.running[-1]
            found = seen.get(walk)
            if found is None:
                seen.clear()
                found = seen[walk] = {}
                if mode == "any":
                    fn(gradient)
            found[place] = gradient
            if mode == "all" and found.keys() == _expected(walk, tensors):
                fn([found.get(i) for i in range(len(tensors))])

        return hook

    return _Handles([tensor.register_hook(hook_of(i)) for i, tensor in enumerate(tensors)])
