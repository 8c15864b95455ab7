"""Asking the tape for gradients: `backward`, which adds them to the leaves, and `grad`, which returns them."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jtorch.autograd import tape, walking
from jtorch.autograd.batching import batched
from jtorch.autograd.walking import Walk, listed
from jtorch.ops._args import check


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
    outputs = listed(tensors)
    grad_tensors = grad_variables if grad_tensors is None else grad_tensors
    retain = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        return walking.go(outputs, grad_tensors, Walk(retain, create_graph, None), "backward")
    targets = listed(inputs)
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
    walk = Walk(retain, create_graph, dict.fromkeys(edges))
    walking.go(outputs, grad_outputs, walk, "grad")
    found = [walk.found.get(edge) for edge in edges]
    return [None if g is None else walk.tensor(g) for g in found]


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
        ValueError: `materialize_grads` is set and `allow_unused` is False.
    """
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    outputs, inputs = listed(outputs), listed(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        return _batched_grad(outputs, inputs, grad_outputs, retain, create_graph, allow_unused, materialize_grads)
    found = _gradients(outputs, inputs, grad_outputs, retain, create_graph)
    if materialize_grads:
        return tuple(
            tape.make[0](jnp.zeros(x.shape, x._value().dtype)) if g is None else g
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
    """The gradients for every example of the vectors, in one walk."""
    vectors = listed(grad_outputs)
    check(
        all(v is not None for v in vectors) and len(vectors) == len(outputs),
        "grad(): expected grad_outputs for every output with is_grads_batched=True, got some without",
        RuntimeError,
    )
    given: list = []  # for each input, whether it has a gradient

    def one(rows: Sequence) -> list:
        found = grad(outputs, inputs, rows, True, create_graph, True, allow_unused, materialize_grads=materialize)
        given[:] = [g is not None for g in found]
        return [g for g in found if g is not None]

    rows = iter(batched(one, vectors, vectors[0].shape[0], "grad"))
    if not retain:
        for node in walking.reachable(outputs)[1]:
            if hasattr(node, "free"):
                node.free()
    return tuple(next(rows) if has else None for has in given)
