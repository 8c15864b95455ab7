"""What programs are compiled for, and how XLA is told to compile them there."""

import functools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state

from jtorch.ops import _args

_LIBRARY = "xla_cpu_experimental_ynn_fusion_type"
_PRODUCTS, _SUMS = "LIBRARY_FUSION_TYPE_DOT", "LIBRARY_FUSION_TYPE_REDUCE"
_MUCH = 2**12  # elements of a sum for which the choice matters
_MOST = 6  # dimensions of what the library can add up when it is a product with something that is broadcast
_LARGE = 2**16  # elements of what is worth being kept

_top_level = get_opaque_trace_state(convention="jtorch")


def in_foreign_trace() -> bool:
    """Whether a JAX transformation is running, jtorch's own included."""
    return get_opaque_trace_state(convention="jtorch") != _top_level


def on_cpu() -> bool:
    """Whether programs are compiled for the CPU."""
    return jax.default_backend() == "cpu"


def compiler_options(jaxpr: Any = None) -> dict[str, str]:
    """The options that `jtorch.compile` gives XLA; for a step of one's own, `jax.jit(step, compiler_options=...)`.

    On CPUs XLA hands convolutions to YNNPACK where it can, which takes several times longer than XLA's other library for
    the gradient of a kernel on large images. The options leave it products and sums alone. Beside a dimension of size 1,
    as batches of one have, its sums take several times longer too, and over more than six dimensions they can end the
    process: given a jaxpr with such sums, products alone. They are empty on other devices, where this XLA does not know
    them, and where `XLA_FLAGS` has a choice of its own.

    Args:
        jaxpr: the program that they are for, as `jax.make_jaxpr` gives it.

    Returns:
        A new dictionary for the default backend.

    Raises:
        TypeError: what is given is no jaxpr.

    Example:
        >>> import jax, jtorch
        >>> step = jax.jit(lambda x, w: jtorch.nn.functional.conv2d(x, w), compiler_options=jtorch.compiler_options())
        >>> step(jax.numpy.ones((1, 3, 8, 8)), jax.numpy.ones((4, 3, 3, 3))).shape
        (1, 4, 6, 6)
    """
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    if not (inner is None or hasattr(inner, "eqns")):
        raise TypeError(
            f"compiler_options(): expected a jaxpr, as by jax.make_jaxpr(f)(*args), got {type(jaxpr).__name__}"
        )
    if not on_cpu() or _LIBRARY in os.environ.get("XLA_FLAGS", "") or not _is_known():
        return {}
    unfit = inner is not None and any(map(_is_unfit_sum, _equations(inner)))
    return {_LIBRARY: _PRODUCTS if unfit else f"{_PRODUCTS},{_SUMS}"}


def kept(x: jax.Array, number: jax.Array) -> jax.Array:
    """`x` itself; if it is large, XLA on a CPU then computes it once and for itself, not anew within each of its uses.

    XLA counts only memory when it decides so. A sum of many products takes time as well, and so does a change of layout
    that is not left alone. What keeps XLA from looking through is a choice between two ways to `x`, by a `number` that it
    does not know beforehand, and that is no tangent, since the choice is not linear in it.
    """
    if not _args.fixed(x.shape) or x.size < _LARGE:
        return x
    return jax.lax.cond(number == 0, jnp.copy, lambda x: x, x)


def tuned_jit(function: Callable) -> Callable:
    """`jax.jit` with `compiler_options`, which JAX takes for a program, not for a part of another one."""
    plain, options = jax.jit(function), compiler_options()
    if not options:
        return plain
    tuned = jax.jit(function, compiler_options=options)

    @functools.wraps(function)
    def call(*args):
        return (plain if in_foreign_trace() else tuned)(*args)

    return call


@functools.cache
def _is_known() -> bool:
    """Whether XLA takes the options, which a trial tells."""
    try:
        jax.jit(lambda x: x, compiler_options={_LIBRARY: f"{_PRODUCTS},{_SUMS}"}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those inside."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(inner, "eqns"):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _is_unfit_sum(equation: Any) -> bool:
    """Whether it adds up over many dimensions, or much beside a dimension of size 1."""
    if equation.primitive.name != "reduce_sum":
        return False
    shape = equation.invars[0].aval.shape
    thin = any(n == 1 for i, n in enumerate(shape) if i not in equation.params["axes"])
    return len(shape) > _MOST or (thin and math.prod(shape) >= _MUCH)
