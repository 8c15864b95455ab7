"""Derivatives of functions in forward mode: `jvp`, `linearize`.

The pullback of a function is linear in the cotangents, so that its own pullback is the derivative in forward mode; that
way every op has one, also where only its gradient is written.
"""

from collections.abc import Callable
from typing import Any

import jax

from jtorch._capture import untaped
from jtorch._tensor import Tensor
from jtorch.autograd import walking
from jtorch.autograd.levels import Level
from jtorch.func import _trees
from jtorch.func.reverse import boxed, entered, materialized, outputs_of, split_aux, zeros_like
from jtorch.nn._boxing import unboxed
from jtorch.ops._args import check


def linearize(func: Callable, *primals: Any) -> tuple:
    """The result of `func(*primals)`, and a function from tangents of the primals to the tangent of the result.

    `func` runs once, however often that function is called.

    Raises:
        RuntimeError: `func` returns something that has no derivative; later, the tangents do not fit the primals.
    """
    out, push, _ = linearized("linearize", func, primals, False)
    return out, lambda *tangents: push(tangents)


def linearized(name: str, func: Callable, primals: tuple, has_aux: bool) -> tuple:
    """The result, the function of a tuple of tangents, and the aux."""
    if not _trees.holds_tensors(primals):
        return _linearized_arrays(name, func, primals, has_aux)
    level, cotangents = Level(name), Level(name)
    inner = entered(name, level, primals)
    with level.running():
        out, aux = split_aux(name, func(*inner), has_aux)
        ends = outputs_of(name, out)
        vectors = [cotangents.enter(zeros_like(x)) for x in ends]
        found = walking.follow(ends, vectors, level.entrances, True, True)
    pulled = [(i, g) for i, g in enumerate(found) if g is not None]
    leave = lambda x: level.leave(x) if isinstance(x, Tensor) else x  # noqa: E731
    # what is linear in the cotangents is differentiated for them, and has its graph to outside through the primals
    cotangents.outside = level.outside

    def push(tangents: tuple) -> Any:
        _check_tangents(name, primals, tangents)
        given = [boxed(t) for t in _trees.leaves(tangents)]
        rows = cotangents.gradients([g for _, g in pulled], [given[i] for i, _ in pulled])
        return _trees.filled(out, iter(materialized(rows, ends)))

    return _trees.filled(out, iter([leave(x) for x in ends])), push, _trees.mapped(leave, aux)


def _linearized_arrays(name: str, func: Callable, primals: tuple, has_aux: bool) -> tuple:
    found: list = []

    def of_ends(ends):
        with untaped():
            out, aux = split_aux(name, func(*_trees.filled(primals, iter(ends))), has_aux)
        found.append(out)
        return [x._value() for x in outputs_of(name, out)], unboxed(aux)

    values, push, aux = jax.linearize(of_ends, _trees.leaves(primals), has_aux=True)

    def pushed(tangents: tuple) -> Any:
        _check_tangents(name, primals, tangents)
        return _trees.filled(found[0], iter(push(_trees.leaves(unboxed(tangents)))))

    return _trees.filled(found[0], iter(values)), pushed, aux


def _check_tangents(name: str, primals: tuple, tangents: tuple) -> None:
    given, wanted = _trees.form(tangents), _trees.form(primals)
    check(given == wanted, f"{name}(): expected tangents of the structure {wanted}, got {given}", RuntimeError)
    for t, x in zip(_trees.leaves(tangents), _trees.leaves(primals), strict=True):
        tensor = isinstance(t, Tensor | jax.Array)
        check(tensor, f"{name}(): expected Tensors for tangents, got {type(t)}", RuntimeError)
        check(
            tuple(t.shape) == tuple(x.shape),
            f"{name}(): expected a tangent of shape {tuple(x.shape)}, got {tuple(t.shape)}",
            RuntimeError,
        )


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """The result of `func(*primals)` and its derivative in the direction of the tangents; and any aux.

    Args:
        strict: raise where a part of the result does not depend on the primals, rather than give zeros.

    Raises:
        RuntimeError: the tangents do not fit the primals, or `func` returns something that has no derivative.
    """
    tuples = isinstance(primals, tuple) and len(primals) > 0
    check(tuples, "jvp(): expected primals to be a tuple that is not empty; call f(*primals)", RuntimeError)
    out, push, aux = linearized("jvp", func, primals, has_aux)
    tangent = push(tangents)
    return (out, tangent, aux) if has_aux else (out, tangent)
