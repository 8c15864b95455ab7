"""Whole matrices of derivatives: `jacrev`, `jacfwd`, `hessian`."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jtorch._tensor import Tensor, from_array
from jtorch.func import _trees
from jtorch.func.batching import vmap
from jtorch.func.forward import linearized
from jtorch.func.reverse import chosen, replaced, vjp
from jtorch.nn._boxing import unboxed
from jtorch.ops._args import check
from jtorch.ops.shape import movedim, reshape


def _count(value: Any) -> int:
    return math.prod(value.shape)


def _basis(ends: list) -> list:
    """For each end its part of the unit vectors of all ends together, as rows."""
    total, start, rows = sum(map(_count, ends)), 0, []
    for x in ends:
        array, n = unboxed(x), _count(x)
        block = jnp.zeros((total, n), array.dtype).at[start : start + n].set(jnp.eye(n, dtype=array.dtype))
        block = block.reshape(total, *array.shape)
        rows.append(from_array(block) if isinstance(x, Tensor) else block)
        start += n
    return rows


def _blocks(rows: Any, ends: list) -> list:
    """Rows for all ends together cut into a block for each end, of that end's shape."""
    found, start = [], 0
    for x in ends:
        n = _count(x)
        found.append(reshape(rows[start : start + n], (*x.shape, *rows.shape[1:])))
        start += n
    return found


def jacrev(func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False,
           chunk_size: int | None = None, _preallocate_and_copy: bool = False) -> Callable:  # fmt: skip
    """A function that returns the Jacobian of `func`, computed row by row in reverse mode, or `(jacobian, aux)`.

    For each end of the result there is one block for each end of the arguments, of the shape of both together.

    Args:
        argnums: the place of the argument, or a tuple of places, to differentiate for.
        chunk_size: how many rows to compute at a time. None: all of them.

    Raises:
        ValueError: `chunk_size` is not positive.
        RuntimeError: when called, if `func` returns something that has no gradient.
    """
    check(chunk_size is None or chunk_size > 0, "jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        inputs = chosen("jacrev", args, argnums)
        found = vjp(lambda *given: func(*replaced(args, argnums, given), **kwargs), *inputs, has_aux=has_aux)
        out, pull = found[:2]
        ends = _trees.leaves(out)

        def row(*vectors):
            gradients = pull(_trees.filled(out, iter(vectors)))
            return tuple(_trees.leaves(gradients))

        columns = vmap(row, chunk_size=chunk_size)(*_basis(ends))
        blocks = list(zip(*(_blocks(column, ends) for column in columns), strict=True))
        trees = [_trees.filled(inputs, iter(block)) for block in blocks]
        jacobian = _trees.filled(out, iter(trees if isinstance(argnums, tuple) else [tree[0] for tree in trees]))
        return (jacobian, found[2]) if has_aux else jacobian

    return call


def jacfwd(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable:  # fmt: skip
    """A function that returns the Jacobian of `func`, computed column by column in forward mode, or `(jacobian, aux)`.

    Args:
        argnums: the place of the argument, or a tuple of places, to differentiate for.
        randomness: as for `vmap`; `func` itself runs once, outside of it.

    Raises:
        RuntimeError: when called, if `func` returns something that has no derivative.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        inputs = chosen("jacfwd", args, argnums)
        of_inputs = lambda *given: func(*replaced(args, argnums, given), **kwargs)  # noqa: E731
        out, push, aux = linearized("jacfwd", of_inputs, inputs, has_aux)
        ends = _trees.leaves(inputs)

        def column(*vectors):
            return tuple(_trees.leaves(push(_trees.filled(inputs, iter(vectors)))))

        columns = vmap(column, randomness=randomness)(*_basis(ends))
        trees = []
        for y, rows in zip(_trees.leaves(out), columns, strict=True):
            blocks = [
                _turned(block, len(x.shape), len(y.shape)) for block, x in zip(_blocks(rows, ends), ends, strict=True)
            ]
            trees.append(_trees.filled(inputs, iter(blocks)))
        jacobian = _trees.filled(out, iter(trees if isinstance(argnums, tuple) else [tree[0] for tree in trees]))
        return (jacobian, aux) if has_aux else jacobian

    return call


def _turned(block: Any, inputs: int, outputs: int) -> Any:
    """A block with the dimensions of the output before those of the input."""
    return (
        movedim(block, tuple(range(inputs)), tuple(range(outputs, outputs + inputs))) if inputs and outputs else block
    )


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that returns the second derivatives of `func`: `jacfwd` of its `jacrev`.

    Raises:
        RuntimeError: when called, if `func` returns something that has no derivative.

    Example:
        >>> import jtorch
        >>> jtorch.func.hessian(lambda x: (x**3).sum())(jtorch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
