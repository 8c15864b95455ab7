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
    _check_equation(equation, [x.ndim for x in operands])
    _check_sizes(equation, operands)
    if "..." in equation and "->" in equation:
        equation = _without_dots(equation, operands)
    dtype = operands[0].dtype
    if all(_args.is_integral(x.dtype) for x in operands):
        dtype = _integer_result(equation, operands)
        operands = [x.astype(jnp.int8 if dtype == np.bool_ else dtype) for x in operands]
    same_dtype("einsum", *operands)
    return jnp.einsum(equation, *operands, precision=precision_for(operands[0].dtype)).astype(dtype)


def _without_dots(equation: str, operands: Sequence[Array]) -> str:
    """Letters in place of the dots, which torch sums over where the output has none and JAX refuses."""
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    counts = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    most = max((n for n, t in zip(counts, terms, strict=True) if "..." in t), default=0)
    named = [t.replace("...", "".join(free[most - n : most])) for t, n in zip(terms, counts, strict=True)]
    return ",".join(named) + "->" + output.replace("...", "".join(free[:most]))


def _integer_result(equation: str, operands: Sequence[Array]) -> np.dtype:
    """torch's dtype of a product of integers or bools: what one operand sums by itself is int64, as sums are.

    Raises: RuntimeError where one dtype then meets another in a matrix product; NotImplementedError for bools in one.
    """
    if "->" not in equation:
        once = sorted(c for c in set(equation) - set(",.") if equation.count(c) == 1)
        equation = _without_dots(f"{equation}->{'...' * ('...' in equation)}{''.join(once)}", operands)
    inputs, _, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) == 1:
        return operands[0].dtype if set(inputs) == set(output) else _args.long_dtype()
    sizes = [{c for c, n in zip(t, x.shape, strict=True) if n != 1} for t, x in zip(terms, operands, strict=True)]
    left = list(zip(sizes, (x.dtype for x in operands), strict=True))
    order = jnp.einsum_path(equation, *operands)[0] if len(left) > 2 else [(0, 1)]  # torch has it from opt_einsum too
    for pair in order:
        (b, two), (a, one) = (left.pop(i) for i in sorted(pair, reverse=True))
        kept = set(output).union(*(letters for letters, _ in left))
        one, two = (_args.long_dtype() if own - kept else d for own, d in ((a - b, one), (b - a, two)))
        contracted = (a & b) - kept
        if contracted:
            _args.check(one != np.bool_, "einsum(): expected numbers, got bool", NotImplementedError)
            _args.check(one == two, f"einsum(): expected one dtype, got {one} and {two}", RuntimeError)
        left.append(((a | b) & kept, jnp.promote_types(one, two)))
    return left[0][1]


@derived(method=False)
def einsum(equation: Any, *operands: Any) -> Any:
    """The products of the operands' elements, summed over the subscripts that the output leaves out.

    `einsum("ij,jk->ik", a, b)`, `einsum("ij,jk->ik", [a, b])` or `einsum(a, [0, 1], b, [1, 2], [0, 2])`. Without an
    arrow the output has, in alphabetical order, the subscripts that come once. Integers are int64 where one operand by
    itself is summed.

    Shape: as the equation says
    Raises: RuntimeError where equation and operands do not match; NotImplementedError for bools in a matrix product.
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
