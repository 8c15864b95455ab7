"""Gradients of functions in reverse mode: `grad`, `grad_and_value`, `vjp`.

On tensors they go over the tape, so that tensors from outside that a function uses keep their graph, and transforms nest
in any order. Where the arguments are plain arrays they are JAX's own, and nothing is recorded.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jtorch._capture import untaped
from jtorch._tensor import Tensor, from_array
from jtorch.autograd.levels import Level
from jtorch.func import _trees
from jtorch.nn._boxing import unboxed
from jtorch.ops._args import check, is_inexact


def chosen(name: str, args: tuple, argnums: int | tuple[int, ...]) -> tuple:
    """The arguments at some places.

    Raises:
        RuntimeError: there is no such place.
        TypeError: the places are no integers.
    """
    places = argnums if isinstance(argnums, tuple) else (argnums,)
    check(all(isinstance(i, int) for i in places), f"{name}(): expected argnums of int, got {argnums!r}", TypeError)
    check(len(places) > 0, f"{name}(): expected at least one argument to differentiate, got none", RuntimeError)
    wrong = [i for i in places if not -len(args) <= i < len(args)]
    check(not wrong, f"{name}(): expected argnums below {len(args)}, got {wrong and wrong[0]}", RuntimeError)
    return tuple(args[i] for i in places)


def replaced(args: tuple, argnums: int | tuple[int, ...], values: Sequence) -> tuple:
    """The arguments with other ones at some places."""
    full = list(args)
    for i, value in zip(argnums if isinstance(argnums, tuple) else (argnums,), values, strict=True):
        full[i] = value
    return tuple(full)


def boxed(value: Any) -> Any:
    """An array as a tensor; a tensor as it is."""
    return from_array(value) if isinstance(value, jax.Array) else value


def entered(name: str, level: Level, tree: Any) -> Any:
    """A tree of tensors as the function of a level sees it.

    Raises:
        ValueError: something in it is no tensor.
    """
    wrong = [x for x in _trees.leaves(tree) if not isinstance(x, Tensor | jax.Array)]
    check(not wrong, f"{name}(): expected Tensors to differentiate for, got {wrong and type(wrong[0])}")
    return _trees.mapped(lambda x: level.enter(boxed(x)), tree)


def outputs_of(name: str, out: Any) -> list:
    """The ends of a function's result.

    Raises:
        RuntimeError: one of them is no tensor of floating or complex dtype.
    """
    ends = _trees.leaves(out)
    check(len(ends) > 0, f"{name}(): expected a function that returns Tensors, got {out!r}", RuntimeError)
    for x in ends:
        kind = isinstance(x, Tensor | jax.Array)
        check(kind, f"{name}(): expected a function that returns Tensors, got {type(x)}", RuntimeError)
        check(
            is_inexact(x._value().dtype if isinstance(x, Tensor) else x.dtype),
            f"{name}(): expected a function that returns floating or complex Tensors, got dtype {x.dtype}",
            RuntimeError,
        )
    return [boxed(x) for x in ends]


def split_aux(name: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    """A function's result and what it returns beside.

    Raises:
        RuntimeError: `has_aux` is set and it returns no pair.
    """
    if not has_aux:
        return out, None
    pair = isinstance(out, tuple) and len(out) == 2
    check(pair, f"{name}(): expected a function that returns (output, aux), got {type(out).__name__}", RuntimeError)
    return out


def _scalar(out: Any) -> Any:
    name = "grad_and_value"
    tensor = isinstance(out, Tensor | jax.Array)
    check(tensor, f"{name}(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}", RuntimeError)
    check(
        len(out.shape) == 0,
        f"{name}(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {len(out.shape)} dims. Maybe "
        "you wanted to use the vjp or jacrev APIs instead?",
        RuntimeError,
    )
    return boxed(out)


def zeros_like(tensor: Tensor) -> Tensor:
    """A constant of the same shape and dtype."""
    return from_array(jnp.zeros_like(tensor._value()))


def materialized(gradients: list, inputs: Sequence) -> list:
    """The gradients with zeros where nothing arrived."""
    return [zeros_like(boxed(x)) if g is None else g for g, x in zip(gradients, inputs, strict=True)]


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of `func` and its value, or `(value, aux)`.

    Args:
        argnums: the place of the argument, or a tuple of places, to differentiate for.
        has_aux: whether `func` returns `(output, aux)`, of which only the first is differentiated.

    Raises:
        RuntimeError: when called, if `func` does not return a scalar tensor, or an argument has no gradient.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> tuple:
        if not _trees.holds_tensors(args, kwargs):
            return _of_arrays(func, argnums, has_aux, args, kwargs)
        level = Level("grad")
        inputs = chosen("grad", args, argnums)
        inner = entered("grad", level, inputs)
        with level.running():
            out, aux = split_aux("grad", func(*replaced(args, argnums, inner), **kwargs), has_aux)
            out = _scalar(out)
        ends = _trees.leaves(inputs)
        found = level.gradients([out], [from_array(jnp.ones((), out._value().dtype))], retain_graph=False)
        gradients = _trees.filled(inputs, iter(materialized(found, ends)))
        leave = lambda x: level.leave(x) if isinstance(x, Tensor) else x  # noqa: E731
        value, aux = leave(out), _trees.mapped(leave, aux)
        return gradients if isinstance(argnums, tuple) else gradients[0], (value, aux) if has_aux else value

    return call


def _of_arrays(func: Callable, argnums: int | tuple[int, ...], has_aux: bool, args: tuple, kwargs: dict) -> tuple:
    inputs = chosen("grad", args, argnums)

    def of_ends(ends):
        with untaped():
            given = _trees.filled(inputs, iter(ends))
            out, aux = split_aux("grad", func(*replaced(args, argnums, given), **kwargs), has_aux)
            return _scalar(out)._value(), unboxed(aux)

    (value, aux), found = jax.value_and_grad(of_ends, has_aux=True)(_trees.leaves(inputs))
    gradients = _trees.filled(inputs, iter(found))
    return gradients if isinstance(argnums, tuple) else gradients[0], (value, aux) if has_aux else value


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of `func`, or `(gradient, aux)`. See `grad_and_value`.

    Raises:
        RuntimeError: when called, if `func` does not return a scalar tensor, or an argument has no gradient.

    Example:
        >>> import jtorch
        >>> jtorch.func.grad(jtorch.func.grad(jtorch.sin))(jtorch.tensor(0.5))
        tensor(-0.4794)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        gradients, value = both(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return call


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """The result of `func(*primals)`, and a function from cotangents of it to gradients for the primals; and any aux.

    The function of cotangents returns a tuple, or for one primal its gradient alone, and can be called again.

    Raises:
        RuntimeError: `func` returns something that has no gradient; later, the cotangents do not fit the result.
    """
    if not _trees.holds_tensors(primals):
        return _vjp_of_arrays(func, primals, has_aux)
    level = Level("vjp")
    inner = entered("vjp", level, primals)
    with level.running():
        out, aux = split_aux("vjp", func(*inner), has_aux)
    ends = outputs_of("vjp", out)
    forms = _trees.form(out)
    leave = lambda x: level.leave(x) if isinstance(x, Tensor) else x  # noqa: E731
    shown = _trees.filled(out, iter([leave(x) for x in ends]))

    def pullback(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        check(
            _trees.form(cotangents) == forms,
            f"vjp(): expected cotangents of the structure of the output, {forms}, got {_trees.form(cotangents)}",
            RuntimeError,
        )
        found = level.gradients(ends, [boxed(x) for x in _trees.leaves(cotangents)], retain_graph)
        gradients = _trees.filled(primals, iter(materialized(found, _trees.leaves(primals))))
        return gradients if len(gradients) > 1 else gradients[0]

    return (shown, pullback, _trees.mapped(leave, aux)) if has_aux else (shown, pullback)


def _vjp_of_arrays(func: Callable, primals: tuple, has_aux: bool) -> tuple:
    trees: list = []

    def of_ends(ends):
        with untaped():
            out, aux = split_aux("vjp", func(*_trees.filled(primals, iter(ends))), has_aux)
        trees.append(out)
        return [x._value() for x in outputs_of("vjp", out)], unboxed(aux)

    values, back, aux = jax.vjp(of_ends, _trees.leaves(primals), has_aux=True)
    out = _trees.filled(trees[0], iter(values))
    forms = _trees.form(out)

    def pullback(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        check(
            _trees.form(cotangents) == forms,
            f"vjp(): expected cotangents of the structure of the output, {forms}, got {_trees.form(cotangents)}",
            RuntimeError,
        )
        gradients = _trees.filled(primals, iter(back(_trees.leaves(unboxed(cotangents)))[0]))
        return gradients if len(gradients) > 1 else gradients[0]

    return (out, pullback, aux) if has_aux else (out, pullback)
