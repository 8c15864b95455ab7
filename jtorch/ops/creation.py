"""Arrays made of sizes and numbers: zeros, ones, full, empty, eye, ranges, index triangles; and the `*_like` ops.

Plain functions, since nothing traced goes in; devices and `requires_grad` are added where tensors are made. Random ones
are in `sampling`. Small results are made by NumPy, which costs no compilation for a new shape; large ones by JAX, so
that compiled code holds no large constants.
"""

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, DType, Fitting, Scalar, op
from jtorch.ops._placing import placed
from jtorch.ops.shape import sizes_of

_SMALL = 2**14


def _shape(sizes: tuple, size: Any, name: str) -> tuple[int, ...]:
    if not sizes and size is None:
        _args.fail(f"{name}(): expected sizes, got none", TypeError)
    shape = sizes_of(sizes, (size,) if isinstance(size, int) else size)
    if shape and min(shape) < 0:
        _args.fail(f"{name}(): expected sizes of 0 or more, got {shape}", RuntimeError)
    return shape


def _filled(shape: tuple[int, ...], value: Any, dtype: np.dtype) -> Array:
    small = math.prod(shape) <= _SMALL
    if type(value) is int and small:
        return placed(_filled_by_numpy(shape, value, dtype))
    _args.check_room(shape, dtype)
    if isinstance(value, complex) and not _args.is_complex(dtype):
        value = value != 0 if dtype == np.bool_ else value.real
    value = np.asarray(value).astype(dtype)  # wraps negative numbers into unsigned dtypes
    return placed(np.full(shape, value)) if small else _spread(value, shape)


@functools.lru_cache(maxsize=1024)
def _filled_by_numpy(shape: tuple[int, ...], value: int, dtype: np.dtype) -> np.ndarray:
    return np.full(shape, np.asarray(value).astype(dtype))


_spread = jax.jit(jnp.broadcast_to, static_argnums=1)


def _dtype(dtype: Any, default: Any = None) -> np.dtype:
    if dtype is None:
        return _args.default_float() if default is None else default
    return np.dtype(_args.to_dtype(dtype))


def zeros(*sizes: Any, size: Sequence[int] | None = None, dtype: Any = None) -> Array:
    """Zeros, in the default float dtype unless given.

    Shape: () -> sizes
    Raises: RuntimeError for negative sizes, TypeError for none.
    """
    return _filled(_shape(sizes, size, "zeros"), 0, _dtype(dtype))


def ones(*sizes: Any, size: Sequence[int] | None = None, dtype: Any = None) -> Array:
    """Ones, in the default float dtype unless given.

    Shape: () -> sizes
    Raises: RuntimeError for negative sizes, TypeError for none.
    """
    return _filled(_shape(sizes, size, "ones"), 1, _dtype(dtype))


def empty(*sizes: Any, size: Sequence[int] | None = None, dtype: Any = None) -> Array:
    """An array to be filled later.

    Shape: () -> sizes
    Raises: RuntimeError for negative sizes, TypeError for none.
    Differs: zeros, where torch leaves what was in memory.
    """
    return _filled(_shape(sizes, size, "empty"), 0, _dtype(dtype))


def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: Any = None) -> Array:
    """An array to be filled later.

    Shape: () -> size
    Raises: RuntimeError for negative sizes, or another number of strides.
    Differs: the strides have no effect, since arrays are always contiguous.
    """
    _args.check(len(size) == len(stride), f"empty_strided(): expected {len(size)} strides, got {stride}", RuntimeError)
    return _filled(_shape((tuple(size),), None, "empty_strided"), 0, _dtype(dtype))


def _number_dtype(value: Any) -> np.dtype:
    """The dtype that a Python number gives an array made of it."""
    if isinstance(value, bool | np.bool_):
        return np.dtype(np.bool_)
    if isinstance(value, int | np.integer):
        return _args.long_dtype()
    if isinstance(value, float | np.floating):
        return _args.default_float()
    wide = _args.default_float() == np.float64
    return jax.dtypes.canonicalize_dtype(np.complex128 if wide else np.complex64)


def full(size: Sequence[int], fill_value: Any, *, dtype: Any = None) -> Array:
    """One value everywhere; its kind (bool, integer, float, complex) gives the dtype unless that is given.

    Shape: () -> size
    Raises: RuntimeError for negative sizes or a value that the dtype cannot hold.
    """
    if isinstance(size, int):
        _args.fail(f"full(): expected a sequence of sizes, got {size}", TypeError)
    shape = _shape((tuple(size),), None, "full")
    if isinstance(fill_value, jax.Array):
        _args.check(fill_value.ndim == 0, "full(): expected a number or a 0-d array as fill_value", TypeError)
        kind = _dtype(dtype, fill_value.dtype)
        _args.check_room(shape, kind)
        return jnp.broadcast_to(fill_value.astype(kind), shape)
    kind = _dtype(dtype, _number_dtype(fill_value))
    _args.check_fits("full", fill_value, kind)
    return _filled(shape, fill_value, kind)


def eye(n: int, m: int | None = None, *, dtype: Any = None) -> Array:
    """Ones on the main diagonal of a matrix, zeros elsewhere; square without `m`.

    Shape: () -> (n, m)
    Raises: RuntimeError for negative sizes.
    """
    m = n if m is None else m
    _args.check(n >= 0 and m >= 0, f"eye(): expected sizes of 0 or more, got {n} and {m}", RuntimeError)
    kind = _dtype(dtype)
    _args.check_room((n, m), kind)
    return placed(np.eye(n, m, dtype=kind)) if n * m <= _SMALL else jnp.eye(n, m, dtype=kind)


# ranges


def _plain(value: Any) -> Any:
    """A number, also where a 0-d array holds it."""
    if not hasattr(value, "item"):
        return value
    _args.check(
        np.ndim(value) == 0, f"range: expected numbers or 0-d arrays, got shape {np.shape(value)}", RuntimeError
    )
    return value.item()


def _counted(count: int, start: Any, step: Any, dtype: np.dtype) -> Array:
    """`start + i * step`; worked out in double precision, as torch does, unless whole numbers make that the same."""
    _args.check_room((count,), dtype)
    whole = float(start).is_integer() and float(step).is_integer()
    if count <= _SMALL or not (whole or _args.is_complex(dtype)):
        steps = np.arange(count) if whole and abs(start) < 2**62 else np.arange(count, dtype=np.float64)
        return placed((start + steps * step).astype(dtype))
    return jnp.arange(count, dtype=dtype) * jnp.asarray(step, dtype) + jnp.asarray(start, dtype)


def arange(*values: Any, start: Any = None, end: Any = None, step: Any = None, dtype: Any = None) -> Array:
    """The numbers from `start` (0) up to but without `end`, `step` (1) apart: `arange([start,] end[, step])`.

    int64 where all of them are integers, else the default float dtype.

    Shape: () -> (ceil((end - start) / step))
    Raises: RuntimeError for a step of 0, one that leads away from the end, or bounds that are not finite.
    """
    given = [_plain(x) for x in values]
    names = ["end"] if len(given) == 1 and end is None else ["start", "end", "step"]
    named = dict(zip(names, given, strict=False)) | {
        k: _plain(v) for k, v in (("start", start), ("end", end), ("step", step)) if v is not None
    }
    if len(given) > 3 or "end" not in named:
        _args.fail(f"arange(): expected [start,] end[, step], got {values}", TypeError)
    start, end, step = named.get("start", 0), named["end"], named.get("step", 1)
    _args.check(step != 0, "arange(): expected a step other than 0", RuntimeError)
    if not math.isfinite(end - start):
        _args.fail(f"arange(): expected finite bounds, got {start} and {end}", RuntimeError)
    if (end - start) * step < 0:
        _args.fail(f"arange(): expected a step towards the end, got {start}, {end}, {step}", RuntimeError)
    floats = any(isinstance(x, float) for x in (start, end, step))
    kind = _dtype(dtype, _args.default_float() if floats else _args.long_dtype())
    _args.check(kind != np.bool_, "arange(): expected a dtype other than bool", NotImplementedError)
    if kind == _args.long_dtype():
        start, end, step = int(start), int(end), int(step)
        _args.check(step != 0, "arange(): expected a step other than 0 as an integer", ValueError)
    count = math.ceil((end - start) / step)
    if _args.is_integral(kind):
        start, step = int(start), int(step)
    return _counted(count, start, step, kind)


def range(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None) -> Array:
    """The numbers from `start` to `end`, the end included, `step` apart. Use `arange`, which torch recommends.

    Shape: () -> (floor((end - start) / step) + 1)
    Raises: RuntimeError for a step of 0 or one that leads away from the end.
    """
    _args.check(step != 0, "range(): expected a step other than 0", RuntimeError)
    towards = (end - start) * step >= 0
    _args.check(towards, f"range(): expected a step towards the end, got {start}, {end}, {step}", RuntimeError)
    return _counted(math.floor((end - start) / step) + 1, start, step, _dtype(dtype))


def _spaced(start: Any, end: Any, steps: int, dtype: Any, name: str, curve: Callable = lambda x: x) -> Array:
    """Evenly spaced numbers, counted from both ends so that both are met exactly, through a curve."""
    start, end, steps = _plain(start), _plain(end), operator.index(steps)
    _args.check(steps >= 0, f"{name}(): expected a number of steps of 0 or more, got {steps}", RuntimeError)
    complex_too = isinstance(start, complex) or isinstance(end, complex)
    kind = _dtype(dtype, _number_dtype(1j) if complex_too else None)
    _args.check(kind != np.bool_, f"{name}(): expected a dtype other than bool", NotImplementedError)
    _args.check_room((steps,), kind)
    for bound in (start, end):
        _args.check_fits(name, bound, kind)
    wide = kind if kind.itemsize >= 4 else np.dtype(np.float32)
    if _args.is_integral(kind):
        start, end, wide = int(start), int(end), np.dtype(np.float64)
    first, last, at = wide.type(start), wide.type(end), np.arange(steps)
    step = (last - first) / wide.type(max(steps - 1, 1))
    values = np.where(
        at < max(steps // 2, 1), first + step * at.astype(wide), last - step * (steps - 1 - at).astype(wide)
    )
    return placed(curve(values.astype(wide)).astype(kind))


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None) -> Array:
    """`steps` numbers evenly spaced from `start` to `end`, both included.

    Shape: () -> (steps)
    Raises: RuntimeError for a negative number of steps.
    """
    return _spaced(start, end, steps, dtype, "linspace")


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None) -> Array:
    """`base` to the power of `steps` numbers evenly spaced from `start` to `end`, both included.

    Shape: () -> (steps)
    Raises: RuntimeError for a negative number of steps.
    """
    with np.errstate(invalid="ignore"):
        return _spaced(start, end, steps, dtype, "logspace", lambda x: np.power(x.dtype.type(base), x))


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None) -> Array:
    """The frequencies of a Fourier transform of `n` points that are `d` apart.

    Shape: () -> (n)
    """
    order = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return jnp.asarray((order / (n * d)).astype(dtype or _args.default_float()))


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None) -> Array:
    """The frequencies of the half of a Fourier transform that `fft.rfft` gives.

    Shape: () -> (n/2+1)
    """
    return jnp.asarray((np.arange(n // 2 + 1) / (n * d)).astype(dtype or _args.default_float()))


# triangles of a matrix


def _triangle_indices(row: int, col: int, offset: int, dtype: Any, lower: bool, name: str) -> Array:
    _args.check(row >= 0 and col >= 0, f"{name}(): expected sizes of 0 or more, got {row}, {col}", RuntimeError)
    kept = np.tri(row, col, offset if lower else offset - 1, dtype=bool)
    return jnp.asarray(np.stack(np.nonzero(kept if lower else ~kept)), _dtype(dtype, _args.long_dtype()))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None) -> Array:
    """The rows and columns of the elements on and below a diagonal of a matrix, in order.

    Shape: () -> (2, number of elements)
    Raises: RuntimeError for negative sizes.
    """
    return _triangle_indices(row, col, offset, dtype, True, "tril_indices")


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None) -> Array:
    """The rows and columns of the elements on and above a diagonal of a matrix, in order.

    Shape: () -> (2, number of elements)
    Raises: RuntimeError for negative sizes.
    """
    return _triangle_indices(row, col, offset, dtype, False, "triu_indices")


# like another array


@op(method=False, differentiable=False)
def zeros_like(input: Array, *, dtype: DType | None = None, memory_format: Any = None) -> Array:
    """Zeros in the shape and dtype of the input.

    Shape: (*) -> (*)
    """
    return jnp.zeros(input.shape, dtype or input.dtype)


@op(method=False, differentiable=False)
def ones_like(input: Array, *, dtype: DType | None = None, memory_format: Any = None) -> Array:
    """Ones in the shape and dtype of the input.

    Shape: (*) -> (*)
    """
    return jnp.ones(input.shape, dtype or input.dtype)


@op(method=False, differentiable=False)
def empty_like(input: Array, *, dtype: DType | None = None, memory_format: Any = None) -> Array:
    """An array in the shape and dtype of the input, to be filled later.

    Shape: (*) -> (*)
    Differs: zeros, where torch leaves what was in memory.
    """
    return jnp.zeros(input.shape, dtype or input.dtype)


def _check_full_like(input: Array, fill_value: Any, dtype: Any = None, memory_format: Any = None) -> None:
    if not hasattr(fill_value, "dtype"):
        _args.check_fits("full_like", fill_value, dtype or input.dtype)


@op(method=False, differentiable=False, validate=_check_full_like)
def full_like(input: Array, fill_value: Scalar, *, dtype: DType | None = None, memory_format: Any = None) -> Array:
    """One value everywhere, in the shape and dtype of the input.

    Shape: (*) -> (*)
    Raises: RuntimeError for a value that the dtype cannot hold.
    """
    return jnp.broadcast_to(_args.cast(fill_value, dtype or input.dtype), input.shape)


@op(method=False)
def fill(input: Array, value: Fitting) -> Array:
    """One value everywhere, in the shape and dtype of the input.

    Shape: (*), () -> (*)
    Raises: RuntimeError for a value with dimensions.
    """
    ndim = jnp.ndim(value)
    _args.check(ndim == 0, f"fill(): expected a number or a 0-d array as value, got {ndim} dimensions", RuntimeError)
    return jnp.broadcast_to(_args.cast(value, input.dtype), input.shape)


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], *, dtype: Any = None) -> Array:
    """An array to be filled later.

    Shape: () -> size
    Raises: RuntimeError for negative sizes, or a layout that is no order of the dimensions.
    Differs: the layout has no effect, since arrays are always contiguous.
    """
    fits = sorted(physical_layout) == np.arange(len(size)).tolist()
    _args.check(fits, f"empty_permuted(): expected an order of {len(size)} dims, got {physical_layout}", RuntimeError)
    return _filled(_shape((tuple(size),), None, "empty_permuted"), 0, _dtype(dtype))
