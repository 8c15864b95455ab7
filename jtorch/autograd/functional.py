"""Products with Jacobians and Hessians, and whole ones, of a function at given inputs: torch's older interface."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jtorch.autograd import tape
from jtorch.autograd.batching import batched
from jtorch.autograd.grad_mode import inference_mode
from jtorch.autograd.gradients import grad
from jtorch.ops._args import check
from jtorch.ops.joining import stack
from jtorch.ops.shape import movedim, reshape

_INDEPENDENT = (
    "Output {} of the user-provided function is independent of input {}. This is not allowed in strict mode when "
    "create_graph=False."
)
_CONSTANT = (
    "Output {} of the user-provided function does not require gradients. The outputs must be computed in a "
    "differentiable manner from the input when running in strict mode."
)


def _tuple(value: Any, what: str, name: str) -> tuple[bool, tuple]:
    several = isinstance(value, tuple)
    values = value if several else (value,)
    wrong = [x for x in values if not hasattr(x, "_edge")]
    check(
        not wrong,
        f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the given {what} has type "
        f"{wrong and type(wrong[0])}.",
        TypeError,
    )
    return several, values


def _entered(inputs: tuple, create_graph: bool) -> tuple:
    """The inputs as the function sees them: in their graph if gradients of the result are wanted, else apart from it."""
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _called(name: str, func: Callable, inputs: Any, create_graph: bool, strict: bool) -> tuple:
    """(whether inputs are a tuple, the inputs, whether outputs are a tuple, the outputs)."""
    several, given = _tuple(inputs, "inputs", name)
    entered = _entered(given, create_graph)
    out = func(*entered)
    many, outs = _tuple(out, "outputs of the user-provided function", name)
    if strict:
        for i, y in enumerate(outs):
            check(y.requires_grad, _CONSTANT.format(i), RuntimeError)
    return several, entered, many, outs


def _zeros_like(x: Any) -> Any:
    return tape.make[0](jnp.zeros_like(x._value()))


def _pulled(outs: Sequence, inputs: Sequence, vectors: Sequence, create_graph: bool, strict: bool, place: int) -> tuple:
    """The gradients, zeros where there are none, or an error where those are not allowed."""
    live = [(y, v) for y, v in zip(outs, vectors, strict=True) if y.requires_grad]
    found: Sequence = [None] * len(inputs)
    if live:
        found = grad(*([y for y, _ in live], inputs, [v for _, v in live]), True, create_graph, allow_unused=True)
    for i, g in enumerate(found):
        check(not strict or g is not None, _INDEPENDENT.format(place, i), RuntimeError)
    return tuple(_zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True))


def _finished(value: Any, create_graph: bool) -> Any:
    if isinstance(value, tuple):
        return tuple(_finished(x, create_graph) for x in value)
    return value if create_graph else value.detach()


def _vectors(v: Any, like: tuple, several: bool, name: str) -> tuple:
    if v is None:
        check(
            len(like) == 1 and like[0].numel() == 1,
            "The vector v can only be None if the user-provided function returns a single Tensor with a single element."
            if name == "vjp"
            else "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element.",
            RuntimeError,
        )
        return (tape.make[0](jnp.ones_like(like[0]._value())),)
    _, vectors = _tuple(v, "v", name)
    check(
        len(vectors) == len(like), f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}.",
        RuntimeError,
    )  # fmt: skip
    for x, y in zip(vectors, like, strict=True):
        check(x.shape == y.shape, f"v has invalid size: should be {y.shape} but got {x.shape}.", RuntimeError)
    return vectors


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """The outputs of `func(*inputs)`, and the product of the vector `v` with the Jacobian.

    Args:
        v: shaped as the outputs; None where that is a single number.
        create_graph: whether the results can be differentiated.
        strict: raise where an output does not depend on an input, rather than give zeros.

    Raises:
        TypeError: the inputs or outputs are not tensors.
        RuntimeError: `v` does not fit the outputs; or see `strict`.
    """
    with inference_mode(False):
        several, given, many, outs = _called("vjp", func, inputs, create_graph, strict)
        vectors = _vectors(v, outs, many, "vjp")
        rows = _pulled(outs, given, vectors, create_graph, strict, 0)
    return _finished((outs if many else outs[0], rows if several else rows[0]), create_graph)


def _pushed(outs: tuple, given: tuple, vectors: tuple, create_graph: bool, strict: bool) -> tuple:
    """The products of the Jacobian with vectors: the pullback, which is linear in its cotangents, pulled back itself."""
    cotangents = tuple(_zeros_like(y).requires_grad_() for y in outs)
    rows = _pulled(outs, given, cotangents, True, strict, 0)
    return _pulled(rows, cotangents, vectors, create_graph, False, 0)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """The outputs of `func(*inputs)`, and the product of the Jacobian with the vector `v`.

    Args:
        v: shaped as the inputs; None where that is a single number.
        create_graph: whether the results can be differentiated.
        strict: raise where an output does not depend on an input, rather than give zeros.

    Raises:
        TypeError: the inputs or outputs are not tensors.
        RuntimeError: `v` does not fit the inputs; or see `strict`.
    """
    with inference_mode(False):
        several, given, many, outs = _called("jvp", func, inputs, create_graph, strict)
        vectors = _vectors(v, given, several, "jvp")
        found = _pushed(outs, given, vectors, create_graph, strict)
    return _finished((outs if many else outs[0], found if many else found[0]), create_graph)


def _gradient(name: str, func: Callable, inputs: Any, create_graph: bool, strict: bool) -> tuple:
    """(whether inputs are a tuple, the inputs, the output, its gradients with their graph) of a scalar function."""
    several, given, many, outs = _called(name, func, inputs, create_graph, strict)
    check(
        not many and outs[0].numel() == 1,
        f"The Tensor returned by the function given to {name} should contain a single element",
        RuntimeError,
    )
    one = tape.make[0](jnp.ones_like(outs[0]._value()))
    return several, given, outs[0], _pulled(outs, given, (one,), True, strict, 0)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """The output of the scalar function at the inputs, and the product of the vector `v` with the Hessian.

    Raises:
        TypeError: the inputs or outputs are not tensors.
        RuntimeError: the function returns no single number, or `v` does not fit the inputs; or see `vjp`.
    """
    with inference_mode(False):
        several, given, out, rows = _gradient("vhp", func, inputs, create_graph, strict)
        vectors = _vectors(v, given, several, "vhp")
        found = _pulled(rows, given, vectors, create_graph, strict, 0)
    return _finished((out, found if several else found[0]), create_graph)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """The output of the scalar function at the inputs, and the product of the Hessian with the vector `v`.

    Raises:
        TypeError: the inputs or outputs are not tensors.
        RuntimeError: the function returns no single number, or `v` does not fit the inputs; or see `vjp`.
    """
    with inference_mode(False):
        several, given, out, rows = _gradient("hvp", func, inputs, create_graph, strict)
        vectors = _vectors(v, given, several, "hvp")
        found = _pushed(rows, given, vectors, create_graph, strict)
    return _finished((out, found if several else found[0]), create_graph)


def _unit_vectors(x: Any) -> Any:
    n = math.prod(x.shape)
    return tape.make[0](jnp.eye(n, dtype=x._value().dtype).reshape(n, *x.shape))


def _rows(function: Callable, basis: Any, vectorize: bool) -> list:
    """The results of `function(vector) -> list` for each row of a basis, stacked."""
    n = basis.shape[0]
    if vectorize or n == 0:
        return batched(lambda rows: function(rows[0]), [basis], n, "jacobian")
    return [stack(list(column)) for column in zip(*(function(basis[i]) for i in range(n)), strict=True)]


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:  # fmt: skip
    """The Jacobian of a function at the inputs: for each output and each input one tensor, of the shape of both together.

    Args:
        create_graph: whether the result can be differentiated.
        strict: raise where an output does not depend on an input, rather than give zeros.
        vectorize: compute all rows together.
        strategy: "reverse-mode", or "forward-mode" with `vectorize`.

    Raises:
        TypeError: the inputs or outputs are not tensors.
        RuntimeError: `strict` is set together with `vectorize`; or see `strict`.
        NotImplementedError: forward mode is asked for without `vectorize`.

    Example:
        >>> import jtorch
        >>> jtorch.autograd.functional.jacobian(jtorch.square, jtorch.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
    """
    check(
        not (strict and vectorize),
        "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please "
        "either set `strict=False` or `vectorize=False`.",
        RuntimeError,
    )
    known = strategy in ("reverse-mode", "forward-mode")
    check(known, f'jacobian(): expected strategy "reverse-mode" or "forward-mode", got {strategy!r}', AssertionError)
    forward = strategy == "forward-mode"
    check(
        vectorize or not forward,
        "jacobian(): expected vectorize=True with forward mode, got False",
        NotImplementedError,
    )
    with inference_mode(False):
        several, given, many, outs = _called("jacobian", func, inputs, create_graph, strict)
        if forward:
            blocks = _columns(outs, given, create_graph)
        else:
            blocks = [
                [
                    reshape(block, (*y.shape, *x.shape))
                    for block, x in zip(
                        _rows(
                            lambda v, y=y, i=i: list(_pulled((y,), given, (v,), create_graph, strict, i)),
                            _unit_vectors(y),
                            vectorize,
                        ),
                        given,
                        strict=True,
                    )
                ]
                for i, y in enumerate(outs)
            ]
    found = tuple(tuple(row) if several else row[0] for row in blocks)
    return _finished(found if many else found[0], create_graph)


def _columns(outs: tuple, given: tuple, create_graph: bool) -> list:
    """The blocks by output and input, computed input by input in forward mode."""
    cotangents = tuple(_zeros_like(y).requires_grad_() for y in outs)
    rows = _pulled(outs, given, cotangents, True, False, 0)
    columns = []
    for x, row in zip(given, rows, strict=True):
        push = lambda v, row=row: list(_pulled((row,), cotangents, (v,), create_graph, False, 0))  # noqa: E731
        found = _rows(push, _unit_vectors(x), True)
        columns.append(
            [reshape(movedim(block, 0, -1), (*y.shape, *x.shape)) for block, y in zip(found, outs, strict=True)]
        )
    return [list(blocks) for blocks in zip(*columns, strict=True)]


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode") -> Any:  # fmt: skip
    """The Hessian of a scalar function at the inputs: for each pair of inputs one tensor.

    Args:
        outer_jacobian_strategy: how the Jacobian of the gradient is computed; see `jacobian`.

    Raises:
        RuntimeError: the function returns no single number; or see `jacobian`.
    """
    several = isinstance(inputs, tuple)

    def gradients(*given: Any) -> Any:
        many, outs = _tuple(func(*given), "outputs of the user-provided function", "hessian")
        check(
            not many and outs[0].numel() == 1,
            "The Tensor returned by the function given to hessian should contain a single element",
            RuntimeError,
        )
        check(not strict or outs[0].requires_grad, _CONSTANT.format(0), RuntimeError)
        one = tape.make[0](jnp.ones_like(outs[0]._value()))
        found = _pulled(outs, given, (one,), True, strict, 0)
        return found if several else found[0]

    return jacobian(gradients, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
