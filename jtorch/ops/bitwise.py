"""Operations on integers: on their bits, and their common divisors and multiples."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import elementwise
from jtorch.ops._op import Array, Op, Scalar, op
from jtorch.ops._reducing import axes_of


def _either(function: Callable) -> Callable:
    def body(input: Array | Scalar, other: Array | Scalar) -> Array:
        return function(input, other)

    return body


def _arrays(function: Callable) -> Callable:
    def body(input: Array, other: Array) -> Array:
        return function(input, other)

    return body


def _row(name: str, function: Callable, summary: str, kinds: str = "i", form: Callable = _either) -> Op:
    body = form(function)
    body.__name__ = body.__qualname__ = name
    body.__doc__ = f"""{summary}

    Shape: (*), (*) -> (*), broadcast
    Raises: NotImplementedError for floats{"" if "b" in kinds else " and bools"}.
    """
    return op(inplace=True, differentiable=False)(elementwise(kinds)(body))


bitwise_and = _row("bitwise_and", jnp.bitwise_and, "The bits that are set in both.", "bi")
bitwise_or = _row("bitwise_or", jnp.bitwise_or, "The bits that are set in at least one.", "bi")
bitwise_xor = _row("bitwise_xor", jnp.bitwise_xor, "The bits that are set in exactly one.", "bi")


@op(inplace=True, differentiable=False)
@elementwise("bi")
def bitwise_not(input: Array) -> Array:
    """The bits that are not set; of bools the opposite.

    Shape: (*) -> (*)
    Raises: NotImplementedError for floats.
    """
    return jnp.bitwise_not(input)


def _bits(x: Array) -> int:
    return 8 * x.dtype.itemsize


def _left(x: Array, y: Array) -> Array:
    inside = (y >= 0) & (y < _bits(x))
    return jnp.where(inside, jnp.left_shift(x, jnp.where(inside, y, 0)), 0)


def _right(x: Array, y: Array) -> Array:
    inside = (y >= 0) & (y < _bits(x))
    if x.dtype.kind == "i":
        return jnp.right_shift(x, jnp.where(inside, y, _bits(x) - 1))  # what lies beyond is the sign
    return jnp.where(inside, jnp.right_shift(x, jnp.where(inside, y, 0)), 0)


bitwise_left_shift = _row("bitwise_left_shift", _left, "The input shifted by `other` bits to the left.")
bitwise_right_shift = _row(
    "bitwise_right_shift", _right, "The input shifted by `other` bits to the right, its sign kept."
)


def _gcd(x: Array, y: Array) -> Array:
    """By Euclid's algorithm, with remainders that are nearer to 0: the absolute value of the least integer is negative, and
    `jnp.gcd` never ends with one."""

    def shorter(pair: tuple) -> tuple:
        x, y = pair
        return jnp.where(x == 0, 0, jax.lax.rem(y, jnp.where(x == 0, 1, x))), jnp.where(x == 0, y, x)

    pair = tuple(jnp.broadcast_arrays(jnp.abs(x), jnp.abs(y)))
    return jax.lax.while_loop(lambda pair: jnp.any(pair[0] != 0), shorter, pair)[1]


def _lcm(x: Array, y: Array) -> Array:
    divisor = _gcd(x, y)
    x, y, least = (v.astype(jnp.promote_types(v.dtype, jnp.int32)) for v in (x, y, divisor))  # as C multiplies
    multiple = jnp.abs(jax.lax.div(x, jnp.where(least == 0, 1, least)) * y)
    return jnp.where(least == 0, 0, multiple).astype(divisor.dtype)


gcd = _row("gcd", _gcd, "The greatest common divisor.", form=_arrays)
lcm = _row("lcm", _lcm, "The least common multiple.", form=_arrays)


@op(differentiable=False)
def hash_tensor(input: Array, dim: int | Sequence[int] | None = None, *, keepdim: bool = False, mode: int = 0) -> Array:
    """The bits of all elements, as 64-bit floats or integers, combined by xor; over some dimensions or all.

    Shape: (*) -> (* without dim)
    Raises: RuntimeError for another mode, for no elements, or where 64-bit types are off; IndexError for an empty dim.
    """
    _args.check(mode == 0, f"hash_tensor(): expected mode 0, got {mode}", RuntimeError)
    wide = _args.long_dtype() == np.int64
    _args.check(wide, "hash_tensor(): expected 64-bit types, got 32-bit ones; set jax_enable_x64", RuntimeError)
    axes = axes_of(dim, input.ndim, "hash_tensor")
    filled = input.size > 0 or dim is not None
    _args.check(filled, "hash_tensor(): expected dim where there are no elements, got None", RuntimeError)
    empty = [d for d in axes if input.ndim and not input.shape[d]]
    _args.check(not empty, f"hash_tensor(): expected dimensions that have elements, got {empty}", IndexError)
    kind = np.float64 if _args.is_float(input.dtype) else np.int64
    bits = jax.lax.bitcast_convert_type(input.astype(kind), np.uint64)
    axes = axes if input.ndim else ()
    found = jax.lax.reduce(bits, np.uint64(0), jax.lax.bitwise_xor, axes)
    return jnp.expand_dims(found, axes) if keepdim else found
