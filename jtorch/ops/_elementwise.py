"""How arithmetic computes: operands brought to torch's common dtype, dtypes refused, 16-bit floats in float32."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jtorch.ops import _args
from jtorch.ops._hints import flat_hint
from jtorch.ops._op import Array

_KINDS = {"b": "bool", "i": "integers", "f": "floats", "c": "complex numbers"}


def kind(dtype: Any) -> str:
    """The category of a dtype as a letter: b bool, i integers, f floats, c complex."""
    if dtype == jnp.bool_:
        return "b"
    return "c" if _args.is_complex(dtype) else "f" if _args.is_float(dtype) else "i"


def require(name: str, dtype: Any, kinds: str, error: type[Exception] = NotImplementedError) -> None:
    """Raise `error` unless the dtype is of one of the kinds."""
    if kind(dtype) not in kinds:
        expected = " or ".join(_KINDS[k] for k in kinds)
        _args.fail(f"{name}(): expected {expected}, got {jnp.dtype(dtype)}", error)


def require_wide(name: str, dtype: Any) -> None:
    """Raise as torch does unless the dtype is of floats or the widest integers, whose sums do not overflow.

    Raises: NotImplementedError.
    """
    wide = _args.is_float(dtype) or dtype == _args.long_dtype()
    _args.check(wide, f"{name}(): expected floats or {_args.long_dtype()}, got {dtype}", NotImplementedError)


def scale_of(name: str, scale: Any, dtype: Any) -> Array:
    """A Scalar in the dtype of what it multiplies.

    Raises: RuntimeError where it is of a higher kind than the dtype (bools take integers), or a bool and the dtype is not.
    """
    scale = jnp.asarray(scale)
    given, wanted = "bifc".index(kind(scale.dtype)), "bifc".index(kind(dtype))
    allowed = given <= max(wanted, 1) and (given > 0 or wanted == 0)
    _args.check(allowed, f"{name}(): expected a scale that suits {dtype}, got {scale.dtype}", RuntimeError)
    return scale.astype(dtype)


def computing_dtype(dtype: Any) -> Any:
    """float32 for 16-bit floats, the dtype itself otherwise."""
    return jnp.dtype(jnp.float32) if _args.is_float(dtype) and jnp.dtype(dtype).itemsize < 4 else jnp.dtype(dtype)


def as_computed(x: Any, dtype: Any, computing: Any) -> Array:
    """An operand of common dtype `dtype` in the dtype that is computed with. A scalar skips the rounding to 16 bits."""
    x = jnp.asarray(x)
    return _args.cast(x if x.ndim == 0 else _args.cast(x, dtype), computing)


def _is_operand(parameter: inspect.Parameter) -> bool:
    mentioned = flat_hint(parameter.annotation)
    return jax.Array in mentioned and parameter.kind is not parameter.KEYWORD_ONLY


def broadcast(name: str, *arrays: Array) -> list[Array]:
    """The arrays at their common shape.

    Raises: RuntimeError where there is none.
    """
    try:
        return jnp.broadcast_arrays(*arrays)
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in arrays)
        _args.fail(f"{name}(): expected shapes that broadcast, got {shapes}", RuntimeError)


def elementwise(
    kinds: str = "bifc", to_float: bool = False, error: type[Exception] = NotImplementedError, widen: bool = True
) -> Callable:
    """Wrap the body of an op: its positional arrays and scalars arrive in torch's common dtype and at their common shape.

    `to_float` makes integers the default float; a common dtype that is not of one of the `kinds` raises `error`. Sixteen-bit
    floats arrive as float32, and the result is rounded once, unless `widen` is off.
    """

    def decorate(body: Callable) -> Callable:
        count = sum(_is_operand(p) for p in inspect.signature(body).parameters.values())

        @functools.wraps(body)
        def computed(*args, **kwargs):
            given = [x for x in args[:count] if x is not None]
            dtype = _args.result_type(*given)
            require(body.__name__, dtype, kinds, error)
            if to_float and _args.is_integral(dtype):
                dtype = _args.default_float()
            computing = computing_dtype(dtype) if widen else dtype
            operands = iter(broadcast(body.__name__, *(as_computed(x, dtype, computing) for x in given)))
            out = body(*(x if x is None else next(operands) for x in args[:count]), *args[count:], **kwargs)
            return out.astype(dtype) if out.dtype == computing else out

        return computed

    return decorate


@jax.custom_jvp
def with_slopes(value: Array, operands: tuple, slopes: tuple) -> Array:
    """`value` as a function of the operands whose derivatives are the slopes, these being constant."""
    return value


@with_slopes.defjvp
def _(primals: tuple, tangents: tuple) -> tuple:
    value, _, slopes = primals
    pairs = [(s, t) for s, t in zip(slopes, tangents[1], strict=True) if t.dtype != jax.dtypes.float0]
    return value, sum((s * t for s, t in pairs), jnp.zeros_like(value))
