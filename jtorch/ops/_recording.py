"""A compiled function with what its pullback needs, for arrays with values: the form in which eager ops are recorded.

`jax.vjp` under `jax.jit` returns everything that the pullback needs, inputs and outputs too, and XLA copies those: for
small arrays each costs as much as half the op. Here the forward returns, beside the outputs, only what is neither an
input nor an output nor quickly worked out from the inputs again, and the pullback takes the rest from where it is.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import jaxpr_as_fun

from jtorch.ops._kept import Kept

INPUT, OUTPUT, AGAIN, KEPT = range(4)
"""Where something that a pullback needs comes from: as it is, worked out again, or kept by the forward."""

_QUICK = frozenset({
    "abs", "add", "add_any", "and", "broadcast_in_dim", "ceil", "clamp", "concatenate", "convert_element_type", "copy",
    "eq", "floor", "ge", "gt", "imag", "iota", "is_finite", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or",
    "real", "reshape", "rev", "round", "select_n", "sign", "slice", "square", "squeeze", "sub", "transpose", "xor",
})  # fmt: skip
"""Primitives that take about as long as reading their result from memory would."""


class _Linear(NamedTuple):
    """A recorded function at inputs of certain shapes and dtypes."""

    run: Callable[..., list]  # flat inputs -> flat outputs, then everything that the pullback needs
    outputs: Any  # the tree of the outputs
    pullback: Any  # the tree of the pullback
    sources: list[tuple[int, int]]  # of each thing that it needs, and the place there


class Recording:
    """A function `flat -> (outputs, pullback)` in two compiled parts.

    `forward(*flat)` gives (outputs, kept), and `pull(flat, outputs, kept, cotangents)` what the pullback gives for the
    cotangents; `finish` is called with the pullback and the cotangents.
    """

    __slots__ = ("record", "finish", "forward", "pull", "_linear")

    def __init__(self, record: Callable, finish: Callable, name: str, jit: Callable = jax.jit):
        self.record = record
        self.finish = finish
        self._linear = Kept()

        def forward(*flat):
            linear = self._linearized(flat)
            values = linear.run(*jax.tree.leaves(flat))
            needed = values[linear.outputs.num_leaves :]
            kept = [x for x, (source, _) in zip(needed, linear.sources, strict=True) if source == KEPT]
            return linear.outputs.unflatten(values[: linear.outputs.num_leaves]), kept

        def pull(flat, outputs, kept, cotangents):
            linear = self._linearized(flat)
            inputs, outputs, kept = jax.tree.leaves(flat), jax.tree.leaves(outputs), iter(kept)
            values = linear.run(*inputs) if any(source == AGAIN for source, _ in linear.sources) else ()
            given = {INPUT: inputs, OUTPUT: outputs, AGAIN: values}
            needed = [next(kept) if source == KEPT else given[source][at] for source, at in linear.sources]
            return self.finish(linear.pullback.unflatten(needed), cotangents)

        forward.__name__ = forward.__qualname__ = name
        pull.__name__ = pull.__qualname__ = name + "Backward"
        self.forward = jit(forward)
        self.pull = jit(pull)

    def _linearized(self, flat: Sequence) -> _Linear:
        """The function at inputs like these, worked out once: both parts have to agree on it."""
        key = tuple(None if x is None else jax.typeof(x) for x in flat)
        found = self._linear.get(key)
        if found is None:
            found = self._linear[key] = _worked_out(self.record, flat)
        return found


def _worked_out(record: Callable, flat: Sequence) -> _Linear:
    closed, trees = jax.make_jaxpr(record, return_shape=True)(*flat)
    outputs, pullback = map(jax.tree.structure, trees)
    jaxpr, count = closed.jaxpr, outputs.num_leaves
    inputs, outs = _numbered_variables(jaxpr.invars), _numbered_variables(jaxpr.outvars[:count])
    made = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    sources = []
    for i, v in enumerate(jaxpr.outvars[count:], count):
        if not _is_variable(v):
            sources.append((AGAIN, i))
        elif v in inputs:
            sources.append((INPUT, inputs[v]))
        elif v in outs:
            sources.append((OUTPUT, outs[v]))
        else:
            sources.append((AGAIN if _is_quick(v, made) else KEPT, i))
    return _Linear(jaxpr_as_fun(closed), outputs, pullback, sources)


def _is_variable(x: Any) -> bool:
    """Whether it stands for a value, and is no constant written in place."""
    return not hasattr(x, "val")


def _numbered_variables(variables: Iterable) -> dict[Any, int]:
    return {v: i for i, v in enumerate(variables) if _is_variable(v)}


def depends(jaxpr: Any, outputs: Sequence[bool]) -> list[bool]:
    """Which inputs of a jaxpr the outputs that are marked depend on."""
    needed = {v for v, marked in zip(jaxpr.outvars, outputs, strict=True) if marked and _is_variable(v)}
    for equation in reversed(jaxpr.eqns):
        made = [v in needed for v in equation.outvars]
        if any(made):
            inner = _called(equation)
            uses = [True] * len(equation.invars) if inner is None else depends(inner.jaxpr, made)
            needed.update(v for v, used in zip(equation.invars, uses, strict=True) if used and _is_variable(v))
    return [v in needed for v in jaxpr.invars]


def _is_quick(variable: Any, made: dict[Any, Any]) -> bool:
    """Whether a value comes from inputs and constants by quick primitives alone."""
    todo, seen = [variable], set()
    while todo:
        variable = todo.pop()
        if variable in made and variable not in seen:
            seen.add(variable)
            if not _quick(made[variable]):
                return False
            todo += filter(_is_variable, made[variable].invars)
    return True


def _quick(equation: Any) -> bool:
    inner = _called(equation)
    return equation.primitive.name in _QUICK if inner is None else all(map(_quick, inner.jaxpr.eqns))


def _called(equation: Any) -> Any:
    """The jaxpr of a call of compiled code, None for other equations."""
    return equation.params["jaxpr"] if equation.primitive.name in ("jit", "pjit") else None
