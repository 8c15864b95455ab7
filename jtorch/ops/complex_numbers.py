"""Complex numbers: made of two real arrays, taken apart, conjugated."""

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._elementwise import broadcast, elementwise
from jtorch.ops._op import Array, op


def _check_parts(name: str, one: Array, two: Array) -> None:
    message = "{}(): expected two arrays of one dtype, float32 or float64, got {} and {}"
    allowed = one.dtype == two.dtype and one.dtype in (jnp.float32, jnp.float64)
    _args.check(allowed, message.format(name, one.dtype, two.dtype), RuntimeError)


@op(method=False, exact_out=True)
def complex(real: Array, imag: Array) -> Array:
    """`real + 1j * imag`.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for unequal dtypes, or others than float32 and float64.
    """
    _check_parts("complex", real, imag)
    return jax.lax.complex(*broadcast("complex", real, imag))


@op(method=False)
def polar(abs: Array, angle: Array) -> Array:
    """The complex numbers of given absolute value and angle: `abs * exp(1j * angle)`.

    Shape: (*), (*) -> (*), broadcast
    Raises: RuntimeError for unequal dtypes, or others than float32 and float64.
    """
    _check_parts("polar", abs, angle)
    return jax.lax.complex(*broadcast("polar", abs * jnp.cos(angle), abs * jnp.sin(angle)))


@op(method=False, view=True)
def real(input: Array) -> Array:
    """The real part.

    Shape: (*) -> (*)
    """
    return input.real


@op(method=False, view=True)
def imag(input: Array) -> Array:
    """The imaginary part.

    Shape: (*) -> (*)
    Raises: RuntimeError for real numbers.
    """
    _args.check(_args.is_complex(input.dtype), f"imag(): expected complex numbers, got {input.dtype}", RuntimeError)
    return input.imag


@op
def conj(input: Array) -> Array:
    """The complex conjugate; real numbers as they are.

    Shape: (*) -> (*)
    Differs: computed at once, where torch only marks the tensor.
    """
    return jnp.conj(input)


@op(inplace=True)
def conj_physical(input: Array) -> Array:
    """The complex conjugate; real numbers as they are.

    Shape: (*) -> (*)
    """
    return jnp.conj(input)


@op(alias="resolve_neg")
def resolve_conj(input: Array) -> Array:
    """The input: no array is only marked as conjugated or negated here.

    Shape: (*) -> (*)
    """
    return input


@op
@elementwise(to_float=True)
def angle(input: Array) -> Array:
    """The angle of complex numbers from -pi to pi, 0 at 0; of real numbers 0 or pi. Real numbers have no slope.

    Shape: (*) -> (*)
    """
    if not _args.is_complex(input.dtype):
        input = jax.lax.stop_gradient(input)
        return jnp.where(jnp.isnan(input), input, jnp.where(input < 0, jnp.pi, 0).astype(input.dtype))
    zero = input == 0
    return jnp.where(zero, jax.lax.stop_gradient(jnp.angle(input)), jnp.angle(jnp.where(zero, 1, input)))


@op(method=False, view=True)
def view_as_real(input: Array) -> Array:
    """The real and imaginary parts along a new last dimension.

    Shape: (*) -> (*, 2)
    Raises: RuntimeError for real numbers.
    """
    allowed = _args.is_complex(input.dtype)
    _args.check(allowed, f"view_as_real(): expected complex numbers, got {input.dtype}", RuntimeError)
    return jnp.stack([input.real, input.imag], -1)


@op(method=False, view=True)
def view_as_complex(input: Array) -> Array:
    """The complex numbers whose real and imaginary parts lie along the last dimension.

    Shape: (*, 2) -> (*)
    Raises: RuntimeError for other dtypes than float32 and float64, or another last size than 2.
    """
    allowed = input.dtype in (jnp.float32, jnp.float64)
    _args.check(allowed, f"view_as_complex(): expected float32 or float64, got {input.dtype}", RuntimeError)
    pairs = input.ndim > 0 and input.shape[-1] == 2
    _args.check(pairs, f"view_as_complex(): expected a last dimension of size 2, got shape {input.shape}", RuntimeError)
    return jax.lax.complex(input[..., 0], input[..., 1])
