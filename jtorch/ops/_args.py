"""Arguments made canonical: dtypes and torch's promotion, dimensions, n-tuples, paddings, reductions, and `check`.

All of it is plain Python on static values, or runs while a program is traced; none costs time in compiled code.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

Array = jax.Array

_INTEGRAL = ("i", "u")
_default_float = [np.dtype(np.float32)]


def check(condition: Any, message: str, error: type[Exception] = ValueError) -> None:
    """Raise `error(message)` unless the condition holds.

    Messages read `<public name>(): expected <what>, got <value>[; <what to do>]`.
    """
    if not condition:
        fail(message, error)


def fail(message: str, error: type[Exception] = ValueError) -> NoReturn:
    """Raise `error(message)`."""
    raise error(message)


# dtypes

_PYTHON = {float: np.dtype("float64"), int: np.dtype("int64"), bool: np.dtype("bool"), complex: np.dtype("complex128")}


def to_dtype(dtype: Any) -> np.dtype:
    """A NumPy dtype from anything that names one, in the width that JAX's x64 switch allows."""
    if isinstance(dtype, type) and dtype in _PYTHON:
        dtype = _PYTHON[dtype]
    return jax.dtypes.canonicalize_dtype(np.dtype(getattr(dtype, "dtype", dtype)))


def default_float() -> np.dtype:
    """The dtype of float results that nothing else decides: float32 unless `set_default_dtype` changed it."""
    return _default_float[0]


def set_default_float(dtype: Any) -> None:
    """Set what `default_float` returns."""
    _default_float[0] = to_dtype(dtype)


def long_dtype() -> np.dtype:
    """int64, or int32 where x64 is off."""
    return jax.dtypes.canonicalize_dtype(np.int64)


@functools.cache  # each of these is asked several times an op; issubdtype takes a microsecond, the cache a tenth
def is_inexact(dtype: Any) -> bool:
    """Whether the dtype is a float or complex type, the extended floats (bfloat16, float8) included."""
    return jnp.issubdtype(dtype, jnp.inexact)


@functools.cache
def is_float(dtype: Any) -> bool:
    """Whether the dtype is a real float type."""
    return jnp.issubdtype(dtype, jnp.floating)


@functools.cache
def is_complex(dtype: Any) -> bool:
    """Whether the dtype is complex."""
    return jnp.issubdtype(dtype, jnp.complexfloating)


def is_integral(dtype: Any) -> bool:
    """Whether the dtype is an integer type or bool."""
    return not is_inexact(dtype)


def _category(dtype: Any) -> int:
    return 3 if is_complex(dtype) else 2 if is_float(dtype) else 1 if np.dtype(dtype).kind in _INTEGRAL else 0


def promote_types(one: Any, two: Any) -> np.dtype:
    """The smallest dtype torch casts both to: as in NumPy, except that integers never widen a float."""
    one, two = np.dtype(one), np.dtype(two)
    if one == two:
        return one
    if _category(one) < _category(two):
        one, two = two, one
    if _category(one) >= 2 and _category(two) < 2:
        return one
    if _category(one) == 3 and is_float(two):  # complex64 holds half, bfloat16 and float; double makes complex128
        wide = one == np.complex128 or two == np.float64
        return jax.dtypes.canonicalize_dtype(np.complex128 if wide else np.complex64)
    return np.dtype(jnp.promote_types(one, two))


def result_type(*values: Any) -> np.dtype:
    """torch's common dtype of arrays and Python numbers.

    Arrays with dimensions decide; 0-d arrays count only where they are of a higher category (bool < integer < float <
    complex) than those, and Python numbers only where they are of a higher category than both.
    """
    ranks: list[np.dtype | None] = [None, None, None]  # with dimensions, 0-d, Python numbers
    for value in values:
        rank, dtype = _rank(value)
        ranks[rank] = dtype if ranks[rank] is None else promote_types(ranks[rank], dtype)
    result: np.dtype | None = None
    for dtype in ranks:
        if dtype is not None and (result is None or _category(dtype) > _category(result)):
            result = dtype if result is None else _raised(result, dtype)
    assert result is not None
    return result


def _raised(low: np.dtype, high: np.dtype) -> np.dtype:
    """The common dtype where one of lower rank is of a higher category: a float keeps its width as it turns complex."""
    if is_complex(high) and is_float(low):
        return jax.dtypes.canonicalize_dtype(np.complex128 if low == np.float64 else np.complex64)
    return promote_types(low, high)


def _rank(value: Any) -> tuple[int, np.dtype]:
    if isinstance(value, bool | int | float | complex) and not hasattr(value, "dtype"):
        return 2, _number_dtype(value)
    if isinstance(value, jax.Array) and value.aval.weak_type:  # a Python number that became a tracer
        return 2, _number_dtype(value.dtype)
    dtype = np.dtype(value.dtype)
    return (0 if np.ndim(value) else 1), dtype


def _number_dtype(value: Any) -> np.dtype:
    category = _category(value if isinstance(value, np.dtype) else np.result_type(type(value)))
    complex_dtype = np.complex128 if default_float() == np.float64 else np.complex64
    wide = (np.bool_, long_dtype(), default_float(), complex_dtype)[category]
    return jax.dtypes.canonicalize_dtype(wide)


def cast(x: Any, dtype: Any) -> Array:
    """An array or number in another dtype; complex to real keeps the real part, but bools tell of both parts.

    Floats beyond an integer dtype, and NaN, become what they do in torch on a CPU.

    Of the product of converted bools and x XLA makes a choice between x and 0, also where x is NaN or infinite. Chosen numbers
    it multiplies.
    """
    x = jnp.asarray(x)
    if x.dtype == jnp.bool_ and is_inexact(dtype):
        return jnp.where(x, jnp.ones((), dtype), jnp.zeros((), dtype))
    if is_complex(x.dtype) and not is_complex(dtype):
        x = x != 0 if np.dtype(dtype) == np.bool_ else x.real
    if is_float(x.dtype) and np.dtype(dtype).name in _WAYS:
        return _truncated(x, np.dtype(dtype))
    return x.astype(dtype)


@functools.cache
def limits(dtype: Any) -> tuple[Any, Any]:
    """The least and the greatest finite number that a dtype holds; of complex ones, that each part does."""
    dtype = to_dtype(dtype)
    if is_inexact(dtype):
        most = float(jnp.finfo(dtype).max)
        return -most, most
    if dtype == np.bool_:
        return 0, 1
    return int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)


def _fits(value: Any, dtype: Any) -> bool:
    if isinstance(value, complex):
        return (value.imag == 0 or is_complex(dtype)) and _fits(value.real, dtype) and _fits(value.imag, dtype)
    least, most = limits(dtype)
    if isinstance(value, int):  # negative ones wrap into unsigned dtypes
        return (least or -most) <= value <= most
    return least <= value <= most or (type(most) is float and not math.isfinite(value))


def check_fits(name: str, value: Any, dtype: Any, infinite: bool = False) -> None:
    """Raise torch's RuntimeError for a Python number that a dtype cannot hold; bools hold every number.

    `infinite`: what float32 holds may become infinite in a 16-bit float.
    """
    least, most = limits(dtype)
    if type(value) is not complex and least <= value <= most:  # the usual one
        return
    dtype = to_dtype(dtype)
    if infinite and is_float(dtype) and dtype.itemsize < 4:
        dtype = np.dtype(np.float32)
    if dtype != np.bool_ and not _fits(value, dtype):
        more = "; JAX_ENABLE_X64=1 brings int64" if dtype == long_dtype() == np.int32 else ""
        fail(f"{name}(): expected a value that {dtype} can hold, got {value}{more}", RuntimeError)


def check_scale(name: str, value: Any, *scaled: Any) -> None:
    """Raise torch's RuntimeError for a Python number that the common dtype of what it scales cannot hold.

    Whether a complex one may scale real numbers at all, the ops say themselves.
    """
    dtype = result_type(*scaled)
    if type(value) is not complex or is_complex(dtype):
        check_fits(name, value, dtype, infinite=True)


def scalar(name: str, value: Any, dtype: Any) -> Array:
    """A Scalar of an op as an array of the dtype of what it is combined with.

    Raises: RuntimeError for a complex one where that dtype is real.
    """
    value = jnp.asarray(value)
    real = f"{name}(): expected a real number beside {dtype}, got a complex one"
    check(is_complex(dtype) or not is_complex(value.dtype), real, RuntimeError)
    return cast(value, dtype)


_WAYS = {"int8": 32, "int16": 32, "int32": 32, "int64": 64, "uint8": 64, "uint16": 32, "uint32": 64}
"""The bits of the integers that floats become on their way to a dtype."""


def _truncated(x: Array, dtype: np.dtype) -> Array:
    """Floats as integers, by way of wide ones whose least value stands for all that is beyond, as processors have it."""
    wide = long_dtype() if _WAYS[dtype.name] == 64 else jnp.int32
    least = float(jnp.iinfo(wide).min)
    x = x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
    return jnp.where((x >= least) & (x < -least), x, least).astype(wide).astype(dtype)


def fixed(shape: Sequence) -> bool:
    """Whether all sizes are numbers: exported programs may leave some open, and no form can be chosen by those."""
    return not any(map(export.is_symbolic_dim, shape))


def check_room(shape: Sequence, dtype: Any) -> None:
    """Raise torch's error for an array that has no room in any memory: XLA would end the process.

    Raises:
        RuntimeError: the array takes 2**63 bytes or more.
    """
    if fixed(shape) and math.prod(shape) * np.dtype(dtype).itemsize >= 2**63:
        fail(f"Storage size calculation overflowed with sizes={list(shape)}", RuntimeError)


def promote(*values: Any, to_float: bool = False) -> tuple:
    """The values as arrays of their common dtype (None passes through); `to_float` makes integers the default float."""
    dtype = result_type(*(x for x in values if x is not None))
    if to_float and is_integral(dtype):
        dtype = default_float()
    return tuple(x if x is None else cast(x, dtype) for x in values)


def can_cast(source: Any, target: Any) -> bool:
    """Whether torch lets a result of dtype `source` be written into a tensor of dtype `target`."""
    return _category(source) <= _category(target)


# dimensions


def dim(value: int, ndim: int, name: str) -> int:
    """One dimension as a number in 0 .. ndim-1; scalars have dimensions 0 and -1, as in torch."""
    at = operator.index(value)
    limit = max(ndim, 1)
    check(
        -limit <= at < limit,
        f"{name}(): expected a dimension in the range [{-limit}, {limit - 1}], got {at}",
        IndexError,
    )
    return at % limit


def dims(value: int | Sequence[int] | None, ndim: int, name: str) -> tuple[int, ...]:
    """Several dimensions, each as by `dim`; None means all. Raises where one comes twice."""
    if value is None:
        return tuple(range(ndim))
    result = tuple(dim(d, ndim, name) for d in ((value,) if isinstance(value, int) else value))
    check(len(set(result)) == len(result), f"{name}(): expected each dimension once, got {value}", RuntimeError)
    return result


def axes(value: int | Sequence[int] | None, ndim: int, name: str) -> tuple[int, ...] | None:
    """Dimensions for a jnp reduction. An empty sequence means all of them, and a scalar has none."""
    if value is None or value == () or value == []:
        return None
    found = dims(value, ndim, name)
    return found if ndim else ()


def starred(values: tuple) -> tuple:
    """The sizes of `f(*sizes)` whether they were given one by one or as one sequence."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], tuple | list) else tuple(values)


def ntuple(value: int | Sequence[int], n: int, name: str, what: str) -> tuple[int, ...]:
    """A number or a sequence of `n` as a tuple of `n`; a sequence of one is spread, as in torch."""
    if isinstance(value, tuple | list):
        check(
            len(value) in (1, n), f"{name}(): expected {what} to be a number or {n} numbers, got {value}", RuntimeError
        )
        values = tuple(operator.index(x) for x in value)
        return values if len(values) == n else values * n
    return (operator.index(value),) * n


# reductions of losses


def reduce_loss(loss: Array, reduction: str, name: str) -> Array:
    """Elementwise losses reduced: `none`, `mean` or `sum`."""
    if reduction == "none":
        return loss
    if reduction == "mean":
        return jnp.mean(loss)
    check(reduction == "sum", f"{name}(): expected reduction 'none', 'mean' or 'sum', got {reduction!r}")
    return jnp.sum(loss)


_precision: list[jax.lax.Precision] = [jax.lax.Precision.HIGHEST]


def precision() -> jax.lax.Precision:
    """The precision of matmuls and convolutions: full float32 unless `set_float32_matmul_precision` traded it."""
    return _precision[0]


def settings() -> tuple:
    """The global settings that a program is made under."""
    return _precision[0], _default_float[0]


def set_precision(value: jax.lax.Precision) -> None:
    """Set what `precision` returns."""
    _precision[0] = value
