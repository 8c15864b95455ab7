"""Sums of products over chosen dimensions: einsum and tensordot."""

import string
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._matrices import need, precision_for, same_dtype
from jtorch.ops._op import Array, derived, op


def _from_sublists(given: tuple) -> tuple[str, tuple]:
    """`(op, [0, 1], op, [1, 2], [0, 2])` as an equation and its operands."""

    def letters(places: Sequence[Any]) -> str:
        known = all(p is Ellipsis or 0 <= p < 52 for p in places)
        _args.check(known, f"einsum(): expected subscripts from 0 to 51, got {places}", RuntimeError)
        return "".join("..." if p is Ellipsis else string.ascii_letters[p] for p in places)

    operands = given[0 : len(given) - len(given) % 2 : 2]
    equation = ",".join(letters(p) for p in given[1::2])
    return equation + ("->" + letters(given[-1]) if len(given) % 2 else ""), operands


def _check_equation(equation: str, ranks: Sequence[int]) -> None:
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    _args.check(
        len(terms) == len(ranks), f"einsum(): expected operands for {len(terms)} terms, got {len(ranks)}", RuntimeError
    )
    known = set(string.ascii_letters)
    for term, rank in zip(terms, ranks, strict=True):
        named = term.replace("...", "", 1)
        _args.check(set(named) <= known, f"einsum(): expected subscripts in [a-zA-Z], got {term!r}", RuntimeError)
        fits = len(named) <= rank if "..." in term else len(named) == rank
        _args.check(fits, f"einsum(): expected an operand of {term!r}, got {rank} dimensions", RuntimeError)
    named = output.replace("...", "", 1)
    used = set(inputs)
    _args.check(
        set(named) <= used & known, f"einsum(): expected output subscripts of the inputs, got {output!r}", RuntimeError
    )
    _args.check(
        len(set(named)) == len(named), f"einsum(): expected each output subscript once, got {output!r}", RuntimeError
    )


def _check_sizes(equation: str, operands: Sequence[Array]) -> None:
    sizes: dict[str, int] = {}
    for term, x in zip(equation.partition("->")[0].split(","), operands, strict=True):
        before, _, after = term.partition("...")
        ends = [*zip(before, x.shape, strict=False), *zip(after[::-1], x.shape[::-1], strict=False)]
        own: dict[str, int] = {}
        for letter, n in ends:
            fits = own.setdefault(letter, n) == n and (n == 1 or sizes.get(letter, 1) in (1, n))
            _args.check(
                fits,
                f"einsum(): expected one size for subscript {letter}, got {[x.shape for x in operands]}",
                RuntimeError,
            )
            sizes[letter] = max(n, sizes.get(letter, n)) if n else 0


@op(method=False, function=False)
def einsum_of(operands: Sequence[Array], equation: str) -> Array:
    """The sum of products over the subscripts that the output leaves out; see `einsum`.

    Shape: as the equation says
    """
    same_dtype("einsum", *operands)
    _check_equation(equation, [x.ndim for x in operands])
    _check_sizes(equation, operands)
    if "..." in equation and "->" in equation and "..." not in equation.partition("->")[2]:
        equation, operands = _sum_ellipsis(equation, operands)
    return jnp.einsum(equation, *operands, precision=precision_for(operands[0].dtype))


def _sum_ellipsis(equation: str, operands: Sequence[Array]) -> tuple[str, Sequence[Array]]:
    """Letters in place of the dots, which torch sums over where the output has none and JAX refuses."""
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    counts = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    most = max(n for n, t in zip(counts, terms, strict=True) if "..." in t)
    named = [t.replace("...", "".join(free[most - n : most])) for t, n in zip(terms, counts, strict=True)]
    return ",".join(named) + "->" + output, operands


@derived(method=False)
def einsum(equation: Any, *operands: Any) -> Any:
    """The products of the operands' elements, summed over the subscripts that the output leaves out.

    `einsum("ij,jk->ik", a, b)`, `einsum("ij,jk->ik", [a, b])` or `einsum(a, [0, 1], b, [1, 2], [0, 2])`. Without an
    arrow the output has, in alphabetical order, the subscripts that come once.

    Shape: as the equation says
    Raises: RuntimeError where equation and operands do not match.
    """
    if isinstance(equation, str):
        given = _args.starred(operands)
    else:
        equation, given = _from_sublists((equation, *operands))
    _args.check(len(given) > 0, "einsum(): expected at least one operand", ValueError)
    return einsum_of(tuple(given), equation.replace(" ", ""))


def _contracted(name: str, a: Any, b: Any, dims: Any) -> tuple[tuple, tuple]:
    if isinstance(dims, int):
        fits = 0 <= dims <= min(a.ndim, b.ndim)
        _args.check(fits, f"{name}(): expected dims from 0 to {min(a.ndim, b.ndim)}, got {dims}", RuntimeError)
        return tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims))
    one, two = ((d,) if isinstance(d, int) else tuple(d) for d in dims)
    _args.check(
        len(one) == len(two), f"{name}(): expected as many dims of one as of the other, got {dims}", RuntimeError
    )
    return _args.dims(one, a.ndim, name), _args.dims(two, b.ndim, name)


@op(method=False, function=False)
def tensordot_of(a: Array, b: Array, dims: Any) -> Array:
    """The sums of products over pairs of dimensions; see `tensordot`.

    Shape: (*), (*) -> the dimensions left of the first, then of the second
    """
    same_dtype("tensordot", a, b)
    one, two = _contracted("tensordot", a, b, dims)
    for m, n in zip(one, two, strict=True):
        need(a.shape[m] == b.shape[n] or 1 in (a.shape[m], b.shape[n]), "tensordot", "equal contracted sizes", a, b)
        if a.shape[m] != b.shape[n]:  # torch sums the other side over a size of 1
            a = a if a.shape[m] == 1 else jnp.sum(a, m, keepdims=True, dtype=a.dtype)
            b = b if b.shape[n] == 1 else jnp.sum(b, n, keepdims=True, dtype=b.dtype)
    return jnp.tensordot(a, b, (one, two), precision=precision_for(a.dtype))


@derived(method=False)
def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """The sums of products over the last `dims` dimensions of `a` and the first of `b`, or over pairs of dimensions.

    Shape: (*), (*) -> the dimensions left of the first, then of the second
    Raises: RuntimeError where contracted sizes or dtypes differ.
    """
    if hasattr(dims, "shape"):
        dims = np.asarray(dims).tolist()
    return tensordot_of(a, b, dims)
