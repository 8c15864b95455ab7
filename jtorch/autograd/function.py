"""User-written differentiable functions: `Function` with `forward` and `backward`, and the context they share."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.core import Tracer

from jtorch._capture import state
from jtorch.autograd import tape
from jtorch.autograd.grad_mode import enable_grad, no_grad
from jtorch.ops import _args, casting


def _writes(tensor: Any) -> int | None:
    """How often the memory of a tensor has been written; None for what is no tensor."""
    return getattr(tensor, "_writes", None)


class FunctionCtx:
    """What `forward` leaves for `backward`: saved tensors and any attribute."""

    def __init__(self):
        self._saved: tuple = ()
        self._versions: list = []
        self._freed = False
        self._differentiable_out: set[int] = set()
        self._dirty: tuple = ()
        self.materialize_grads = True
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for `backward`, where they are `ctx.saved_tensors`."""
        self._saved = tensors
        self._versions = [_writes(t) for t in tensors]

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self) -> tuple:
        """The tensors kept by `save_for_backward`.

        Raises:
            RuntimeError: one was changed in place since, or a backward has freed them.
        """
        if self._freed:
            raise RuntimeError(tape.FREED)
        for tensor, before in zip(self._saved, self._versions, strict=True):
            now = _writes(tensor)
            if now != before:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[{tensor.type()} {list(tensor.shape)}] is at version {now}; expected version {before} instead."
                )
        return self._saved

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say that these outputs never carry gradients."""
        self._differentiable_out |= {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Any) -> None:
        """Say that these inputs were changed in place and are outputs."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (True) or None for outputs without a gradient."""
        self.materialize_grads = value


def _as_input(gradient: Any, edge: tuple) -> Any:
    """A gradient in the dtype of what it is of, as of a product that autocast has made 16 bits wide."""
    node, place = edge
    tensor = getattr(node, "tensor", None)
    dtype = node.avals[place][1] if tensor is None else tensor._value().dtype
    return gradient if gradient._value().dtype == dtype else casting._to_copy(gradient, dtype)


class FunctionNode:
    """One call of a Function on the tape."""

    def __init__(self, function: type, ctx: FunctionCtx, edges: list, avals: list):
        self.function = function
        self.ctx = ctx
        self.edges = edges
        self.avals = avals
        self.sequence = tape.next_number()
        self.hooks: dict | None = None
        self.retains: dict | None = None
        self.freed = False
        self.materialize = ctx.materialize_grads
        self.others: list[tuple[int, Any]] = []  # the outputs that carry no gradient: their places and shapes

    def name(self) -> str:
        """The function's name, as torch says it."""
        return f"{self.function.__name__}Backward"

    @property
    def next_functions(self) -> tuple:
        """The (node, place) pairs that gradients go to."""
        return tuple(self.edges)

    @property
    def saved_tensors(self) -> tuple:
        """The tensors that `forward` kept."""
        return self.ctx.saved_tensors

    def pull(self, cotangents: tuple, create_graph: bool) -> list:
        """Run the user's `backward`."""
        if self.freed:
            raise RuntimeError(tape.FREED)
        gradients = [g if create_graph or g is None else tape.make[0](g) for g in cotangents]
        for place, aval in self.others:
            gradients.insert(place, tape.make[0](jnp.zeros(*aval)) if self.materialize else None)
        with enable_grad() if create_graph else no_grad():
            found = self.function.backward(self.ctx, *gradients)  # type: ignore[attr-defined]
        found = found if isinstance(found, tuple | list) else (found,)
        if (len(found) != len(self.edges) and any(g is not None for g in found[len(self.edges) :])) or len(found) < len(
            self.edges
        ):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {len(self.edges)}, "
                f"got {len(found)})"
            )
        pairs = zip(found, self.edges, strict=False)
        cast = [g if g is None or edge is None else _as_input(g, edge) for g, edge in pairs]
        return [g if create_graph or g is None else g._value() for g in cast]

    def free(self) -> None:
        """Drop the saved tensors."""
        self.freed = self.ctx._freed = True
        self.ctx._saved, self.ctx._versions = (), []


class Function:
    """A differentiable function written by its user.

    Subclass it with static methods `forward(ctx, *args)` (or `forward(*args)` and `setup_context(ctx, inputs, output)`)
    and `backward(ctx, *grad_outputs)`, which returns one gradient, or None, for each argument of forward. Call it by
    `apply`.
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs. To be overridden."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> Any:
        """Keep what `backward` needs, for a `forward` that takes no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Gradients for the inputs of forward. To be overridden."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` unrecorded and put the call on the tape."""
        edges = [a._edge() if hasattr(a, "_edge") else None for a in args]
        by_jax = not state.tape or (state.lifting is not None and state.lifting.differentiated)
        if state.grad and by_jax and any(isinstance(getattr(a, "_raw_value", a), Tracer) for a in args):
            raise RuntimeError(
                f"{cls.__name__}.apply(): expected tensors whose gradients the tape computes, got values that JAX "
                "differentiates, which would not call backward(); use jax.custom_vjp there"
            )
        wanted = state.grad and any(e is not None for e in edges)
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(e is not None for e in edges)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                out = cls.forward(ctx, *args, **kwargs)
            else:
                out = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, out)
        if not wanted:
            return out
        _check_saved(ctx)
        outs = out if isinstance(out, tuple) else (out,)
        results = _recorded(cls, ctx, edges, outs, args)
        return results if isinstance(out, tuple) else results[0]


def _check_saved(ctx: FunctionCtx) -> None:
    """Raise where an inference tensor is kept for `backward`."""
    _args.check(not any(getattr(t, "_inference", False) for t in ctx._saved), tape.UNSAVED, RuntimeError)


def _recorded(function: type, ctx: FunctionCtx, edges: list, outs: Sequence, args: Sequence) -> tuple:
    carriers = [
        x for x in outs
        if hasattr(x, "_value") and _args.is_inexact(x._value().dtype) and id(x) not in ctx._differentiable_out
    ]  # fmt: skip
    node = FunctionNode(function, ctx, edges, [(x._value().shape, x._value().dtype) for x in carriers])
    results, place = [], 0
    for x in outs:
        if not any(x is c for c in carriers):
            if hasattr(x, "_value"):
                node.others.append((len(results), (x._value().shape, x._value().dtype)))
            results.append(x)
            continue
        own = x._base is None and x._node is None and not x._requires_grad and not any(x is a for a in args)
        if own or any(x is d for d in ctx._dirty):  # what was saved of the outputs is theirs, with their graph
            x._node, x._index = node, place
            results.append(x)
        elif x._base is not None or any(x is a for a in args):  # others see its memory
            shared = x.detach()
            shared._node, shared._index = node, place
            shared._careful = (f"output {len(results)} of {node.name()}", shared._writes)
            results.append(shared)
        else:
            results.append(tape.make[0](x._value(), (node, place)))
        place += 1
    return tuple(results)


def once_differentiable(backward: Any) -> Any:
    """Mark a `backward` whose gradients cannot be differentiated again: its results are cut from the graph."""

    def cut(ctx, *gradients):
        with no_grad():
            found = backward(ctx, *gradients)
        if not any(g is not None and g.requires_grad for g in gradients):
            return found
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")

    return cut


class _IsTensor(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return hasattr(instance, "_edge")


class Variable(metaclass=_IsTensor):
    """The old name of Tensor. `Variable(data, requires_grad)` is the tensor itself."""

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool = False) -> Any:
        return data.requires_grad_() if requires_grad else data
