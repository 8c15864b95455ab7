"""How arithmetic computes: operands brought to torch's common dtype, dtypes refused, 16-bit floats in float32."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jtorch.ops import _args
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


def computing_dtype(dtype: Any) -> Any:
    """float32 for 16-bit floats, the dtype itself otherwise."""
    return jnp.dtype(jnp.float32) if _args.is_float(dtype) and jnp.dtype(dtype).itemsize < 4 else jnp.dtype(dtype)


def as_computed(x: Any, dtype: Any, computing: Any) -> Array:
    """An operand of common dtype `dtype` in the dtype that is computed with. A scalar skips the rounding to 16 bits."""
    x = jnp.asarray(x)
    return (x if x.ndim == 0 else x.astype(dtype)).astype(computing)


def _is_operand(parameter: inspect.Parameter) -> bool:
    mentioned = (parameter.annotation, *typing.get_args(parameter.annotation))
    return jax.Array in mentioned and parameter.kind is not parameter.KEYWORD_ONLY


def elementwise(kinds: str = "bifc", to_float: bool = False, error: type[Exception] = NotImplementedError) -> Callable:
    """Wrap the body of an op: its positional arrays and scalars arrive in torch's common dtype.

    `to_float` makes integers the default float; a common dtype that is not of one of the `kinds` raises `error`. Sixteen-bit
    floats arrive as float32, and the result is rounded once.
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
            computing = computing_dtype(dtype)
            operands = (x if x is None else as_computed(x, dtype, computing) for x in args[:count])
            out = body(*operands, *args[count:], **kwargs)
            return out.astype(dtype) if out.dtype == computing else out

        return computed

    return decorate
