"""Powers, and the logarithms, exponentials and angles that take two operands."""

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._elementwise import elementwise, kind
from jtorch.ops._op import Array, Scalar, derived, op

# powers


def _integer_power(x: Array, y: Array) -> Array:
    """Powers of integers. Those with a negative exponent are 0, but for 1 and -1."""
    found = jnp.power(x, jnp.maximum(y, 0))
    odd = (y & 1) == 1
    unit = jnp.where(x == 1, 1, jnp.where(x == -1, jnp.where(odd, -1, 1), 0))
    return jnp.where(y < 0, unit.astype(x.dtype), found)


def _power(x: Array, y: Array) -> Array:
    """`x ** y` of one dtype. Its gradient is finite where x or y is 0 and the power itself is."""
    if _args.is_integral(x.dtype):
        return _integer_power(x, y)
    x, y = jnp.broadcast_arrays(x, y)
    at_zero = (x == 0) & (y.real >= 0) & (y.imag == 0)  # there the slope along y is 0, not 0 * log(0)
    base = jnp.where(at_zero, jax.lax.stop_gradient(jnp.ones_like(x)), x)
    along_x = jnp.power(x, jax.lax.stop_gradient(y))
    return jnp.where(at_zero, along_x, jnp.power(base, y))


@op(method=False, function=False)
@elementwise("ifc")
def power(input: Array | Scalar, exponent: Array | Scalar) -> Array:
    """`input ** exponent`. Integers to negative powers are 0, but for 1 and -1.

    Shape: (*), (*) -> (*), broadcast
    """
    return _power(input, exponent)


_FIXED = {
    0: jnp.ones_like,
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    0.5: jnp.sqrt,
    -0.5: jax.lax.rsqrt,
    -1: lambda x: 1 / x,
    -2: lambda x: 1 / (x * x),
}


@op(method=False, function=False)
def fixed_power(input: Array, exponent: int | float) -> Array:
    """`input ** exponent` for the exponents that have a shorter way.

    Shape: (*) -> (*)
    """
    wide = elementwise("ifc")(lambda input: _FIXED[exponent](input))
    return wide(input.astype(_args.result_type(input, exponent)))
