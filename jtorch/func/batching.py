"""Functions of one example turned into functions of a batch: `vmap`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jtorch import random
from jtorch._tensor import Tensor
from jtorch.autograd.batching import batched
from jtorch.func import _trees
from jtorch.ops._args import check
from jtorch.ops.joining import cat
from jtorch.ops.shape import movedim

_RANDOMNESS = ("error", "different", "same")


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable:  # fmt: skip
    """A function that does to each example of a batch what `func` does to one, computed for all of them together.

    Args:
        in_dims: for each argument the dimension that holds the examples, None where all share it. An int for all
            arguments, or a tuple, nested as they are.
        out_dims: where the results have that dimension.
        randomness: whether a random op inside raises ("error"), draws for each example or draws once.
        chunk_size: how many examples to compute at a time. None: all of them.

    Raises:
        ValueError: when called, if the dimensions do not fit the arguments, or `func` does not return tensors.
        RuntimeError: when called, if `func` needs the values of a tensor, or writes a tensor from outside in place with
            values that differ between examples.

    Differs:
        Random numbers come from JAX keys, also on the host: they are not PyTorch's.

    Example:
        >>> import jtorch
        >>> jtorch.vmap(jtorch.dot)(jtorch.ones(2, 3), jtorch.ones(2, 3))
        tensor([3., 3.])
    """
    check(
        randomness in _RANDOMNESS,
        f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}",
        RuntimeError,
    )
    check(
        chunk_size is None or chunk_size > 0,
        f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})",
    )

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        ends, dims, size = _examples(func, in_dims, args)
        each = chunk_size or size or 1
        steps = range(0, max(size, 1), each)
        keys = _keys(randomness, size)
        parts = []
        for start in steps:
            whole = len(steps) == 1
            chunk = [x if d is None or whole else x[start : start + each] for x, d in zip(ends, dims, strict=True)]
            part = keys if keys is None or randomness == "same" or whole else keys[start : start + each]
            parts.append(_mapped(func, args, kwargs, chunk, dims, part, randomness))
        return _joined(func, parts, out_dims)

    return call


def _examples(func: Callable, in_dims: Any, args: tuple) -> tuple[list, list, int]:
    """The ends of the arguments with the examples first, where they have any, and how many examples there are."""
    name = getattr(func, "__name__", "f")
    check(
        isinstance(in_dims, int | tuple | list) and not isinstance(in_dims, bool),
        f"vmap({name}): expected in_dims to be int or a (nested) tuple that fits the arguments, got {type(in_dims)}",
    )
    ends = _trees.leaves(args)
    check(len(ends) > 0, f"vmap({name}): expected at least one argument, got none")
    dims = _trees.spread(tuple(in_dims) if isinstance(in_dims, list) else in_dims, args)
    check(dims is not None, f"vmap({name}): expected in_dims like the arguments, {_trees.form(args)}, got {in_dims}")
    found, sizes = [], []
    for x, dim in zip(ends, dims or (), strict=True):
        if dim is not None:
            _check_dim(name, x, dim)
            sizes.append(x.shape[dim])
            x = x if dim in (0, -len(x.shape)) else movedim(x, dim, 0)
        found.append(x)
    check(len(sizes) > 0, f"vmap({name}): expected a dimension to map over, got in_dims={in_dims} without any")
    check(
        len(set(sizes)) == 1,
        f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the mapped "
        "dimension",
    )
    return found, list(dims or ()), sizes[0]


def _check_dim(name: str, value: Any, dim: Any) -> None:
    check(isinstance(dim, int), f"vmap({name}): expected in_dims of int or None, got {type(dim)}")
    check(
        isinstance(value, Tensor | jax.Array),
        f"vmap({name}): expected a Tensor for the mapped dimension {dim}, got {type(value)}; its in_dim may be None",
    )
    rank = len(value.shape)
    check(-rank <= dim < rank, f"vmap({name}): expected in_dim for a Tensor of {rank} dimensions, got {dim}")


def _keys(randomness: str, size: int) -> Any:
    if randomness == "error":
        return None
    key = random.next_key("vmap")
    return key if randomness == "same" else jax.random.split(key, size)


def _mapped(func: Callable, args: tuple, kwargs: dict, ends: list, dims: list, keys: Any, randomness: str) -> tuple:
    """The results of one chunk with the examples first, and a tree to put them in."""
    trees: list = []
    name = getattr(func, "__name__", "f")

    def one(examples: Sequence) -> list:
        given = iter(examples)
        key = next(given) if randomness == "different" else keys
        full = [x if d is None else next(given) for x, d in zip(ends, dims, strict=True)]
        with random.keyed(key) if key is not None else random.refused(_REFUSED):
            out = func(*_trees.filled(args, iter(full)), **kwargs)
        for x in _trees.leaves(out):
            tensor = isinstance(x, Tensor | jax.Array)
            check(tensor, f"vmap({name}): expected a function that returns Tensors, got {type(x)}")
        trees[:] = [_trees.mapped(lambda _: None, out)]
        return _trees.leaves(out)

    mapped = [x for x, d in zip(ends, dims, strict=True) if d is not None]
    size = mapped[0].shape[0]
    outs = batched(one, [keys, *mapped] if randomness == "different" else mapped, size)
    return trees[0], outs


_REFUSED = (
    "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' "
    "randomness flags on vmap or perform the randomness operation out of vmap"
)


def _joined(func: Callable, parts: list, out_dims: Any) -> Any:
    """The results of all chunks together, the examples where `out_dims` says."""
    tree, name = parts[0][0], getattr(func, "__name__", "f")
    dims = _trees.spread(tuple(out_dims) if isinstance(out_dims, list) else out_dims, tree)
    if dims is None and isinstance(out_dims, tuple) and len(out_dims) == 1 and not isinstance(tree, tuple):
        dims = _trees.spread(out_dims[0], tree)
    check(dims is not None, f"vmap({name}): expected out_dims like the results, {_trees.form(tree)}, got {out_dims}")
    columns = zip(*(outs for _, outs in parts), strict=True)
    return _trees.filled(tree, iter([_placed(column, d) for column, d in zip(columns, dims or (), strict=True)]))


def _placed(column: tuple, dim: int | None) -> Any:
    whole = (
        column[0]
        if len(column) == 1
        else cat(list(column))
        if isinstance(column[0], Tensor)
        else jnp.concatenate(column)
    )
    if dim is None:
        return whole[0]
    return whole if dim == 0 else movedim(whole, 0, dim)
