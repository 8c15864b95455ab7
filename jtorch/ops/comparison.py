"""Questions about elements: comparisons, closeness, kinds of numbers, logic; and choosing by the answers."""

from collections.abc import Callable

import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._elementwise import broadcast, elementwise, require
from jtorch.ops._hints import NUMBERS
from jtorch.ops._op import Array, Op, Scalar, derived, op, registry

# comparisons


def _comparison(name: str, function: Callable, summary: str, alias: str | tuple = (), kinds: str = "bif") -> Op:
    def body(input: Array, other: Array | Scalar) -> Array:
        return function(input, other)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"Whether {summary}, compared in the common dtype.\n\n    Shape: (*), (*) -> (*), broadcast\n    "
    return op(inplace=True, differentiable=False, alias=alias)(elementwise(kinds, widen=False)(body))


eq = _comparison("eq", jnp.equal, "each two elements are equal", kinds="bifc")
ne = _comparison("ne", jnp.not_equal, "each two elements differ", "not_equal", kinds="bifc")
lt = _comparison("lt", jnp.less, "the first element is the smaller", "less")
le = _comparison("le", jnp.less_equal, "the first element is not the greater", "less_equal")
gt = _comparison("gt", jnp.greater, "the first element is the greater", "greater")
ge = _comparison("ge", jnp.greater_equal, "the first element is not the smaller", "greater_equal")


@op(differentiable=False)
def isclose(input: Array, other: Array, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Array:
    """Whether `|input - other| <= atol + rtol * |other|`. Infinities are close to themselves; NaN to NaN if asked.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for unequal dtypes or negative tolerances.
    """
    same = input.dtype == other.dtype
    _args.check(same, f"isclose(): expected one dtype, got {input.dtype} and {other.dtype}", RuntimeError)
    _args.check(
        rtol >= 0 and atol >= 0, f"isclose(): expected tolerances of 0 or more, got {rtol}, {atol}", RuntimeError
    )
    x, y = broadcast("isclose", input, other)
    close = x == y
    if equal_nan and _args.is_inexact(x.dtype):
        close |= jnp.isnan(x) & jnp.isnan(y)
    if rtol == 0 and atol == 0:
        return close
    if _args.is_integral(x.dtype):
        x, y = x.astype(_args.default_float()), y.astype(_args.default_float())
    gap = jnp.abs(x - y)
    return close | (jnp.isfinite(gap) & (gap <= atol + jnp.abs(rtol * y)))


@derived
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close, as a Python bool. See isclose().

    Shape: (*), (*) -> bool
    Raises: RuntimeError for unequal dtypes or negative tolerances.
    """
    return bool(registry["all"](isclose(input, other, rtol, atol, equal_nan)))


@derived
def equal(input, other):
    """Whether two arrays have the same shape and elements, as a Python bool.

    Shape: (*), (*) -> bool
    """
    return tuple(input.shape) == tuple(other.shape) and bool(registry["all"](eq(input, other)))


# kinds of numbers


def _question(name: str, function: Callable, summary: str, kinds: str = "bifc") -> Op:
    def body(input: Array) -> Array:
        require(name, input.dtype, kinds, RuntimeError)
        return function(input)

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"Whether each element is {summary}.\n\n    Shape: (*) -> (*)\n    "
    return op(differentiable=False)(body)


def _isreal(x: Array) -> Array:
    return x.imag == 0 if _args.is_complex(x.dtype) else jnp.ones(x.shape, bool)


isnan = _question("isnan", jnp.isnan, "NaN")
isinf = _question("isinf", jnp.isinf, "infinite")
isfinite = _question("isfinite", jnp.isfinite, "neither NaN nor infinite")
isposinf = _question("isposinf", jnp.isposinf, "positive infinity", kinds="bif")
isneginf = _question("isneginf", jnp.isneginf, "negative infinity", kinds="bif")
isreal = _question("isreal", _isreal, "real, its imaginary part being 0")

# logic


def _logic(name: str, function: Callable, summary: str) -> Op:
    def body(input: Array, other: Array) -> Array:
        return function(*broadcast(name, jnp.asarray(input) != 0, jnp.asarray(other) != 0))

    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"Whether {summary} of each two elements is not 0.\n\n    Shape: (*), (*) -> (*), broadcast\n    "
    return op(inplace=True, differentiable=False)(body)


logical_and = _logic("logical_and", jnp.logical_and, "each")
logical_or = _logic("logical_or", jnp.logical_or, "at least one")
logical_xor = _logic("logical_xor", jnp.logical_xor, "exactly one")


@op(inplace=True, differentiable=False)
def logical_not(input: Array) -> Array:
    """Whether each element is 0.

    Shape: (*) -> (*)
    """
    return input == 0


# choosing


@op(method=False, function=False)
def choose(condition: Array, input: Array | Scalar, other: Array | Scalar) -> Array:
    """`input` where the condition holds, `other` elsewhere, in their common dtype.

    Shape: (*), (*), (*) -> (*), broadcast
    Raises: RuntimeError unless the condition is of bools.
    """
    allowed = condition.dtype in (jnp.bool_, jnp.uint8)
    _args.check(allowed, f"where(): expected a condition of bools, got {condition.dtype}", RuntimeError)
    return jnp.where(*broadcast("where", condition != 0, *_args.promote(input, other)))


@derived(method=False)
def where(condition, input=None, other=None):
    """`input` where the condition holds, `other` elsewhere; with the condition alone the indices of its True elements.

    Shape: (*), (*), (*) -> (*), broadcast; (*) -> a tuple of one (number of True) for each dimension
    Raises: RuntimeError unless the condition is of bools.
    """
    if input is None and other is None:
        return registry["nonzero"](condition, as_tuple=True)
    for number, others in ((input, other), (other, input)):
        if type(number) in NUMBERS:
            _args.check_fits("where", number, _args.result_type(number, others), infinite=True)
    return choose(condition, input, other)
