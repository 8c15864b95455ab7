"""What the families of matrix ops share: the precision of products, and checks of dtypes and shapes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, registry


def precision_for(dtype: Any) -> jax.lax.Precision | None:
    """The precision to multiply a dtype at; 16-bit floats have only one."""
    return _args.precision() if np.dtype(dtype).itemsize >= 4 else None


def accumulator(dtype: Any) -> np.dtype | None:
    """The dtype that products of a 16-bit float are added up in; None: its own."""
    return np.dtype(np.float32) if _args.is_float(dtype) and np.dtype(dtype).itemsize < 4 else None


def same_dtype(name: str, *arrays: Array | None) -> None:
    """Raise unless all arrays have one dtype, and not bool.

    Raises: RuntimeError, or NotImplementedError for bool.
    """
    dtypes = {x.dtype for x in arrays if x is not None}
    found = sorted(str(d) for d in dtypes)
    _args.check(len(dtypes) == 1, f"{name}(): expected one dtype, got {' and '.join(found)}", RuntimeError)
    _args.check(np.dtype(np.bool_) not in dtypes, f"{name}(): expected numbers, got bool", NotImplementedError)


def need(condition: bool, name: str, what: str, *arrays: Array) -> None:
    """Raise unless the condition on the shapes of the arrays holds.

    Raises: RuntimeError.
    """
    shapes = " and ".join(str(x.shape) for x in arrays)
    _args.check(condition, f"{name}(): expected {what}, got shapes {shapes}", RuntimeError)


class LinAlgError(RuntimeError):
    """A matrix cannot be inverted or factored."""


def matrices(name: str, A: Array, square: bool = True) -> None:
    """Raise unless `A` is a batch of float or complex (square) matrices.

    Raises: RuntimeError.
    """
    _args.check(A.ndim >= 2, f"linalg.{name}(): expected at least 2 dimensions, got {A.ndim}", RuntimeError)
    _args.check(
        _args.is_inexact(A.dtype) and A.dtype.itemsize >= 4,
        f"linalg.{name}(): expected a float32, float64 or complex array, got {A.dtype}",
        RuntimeError,
    )
    fits = not square or A.shape[-1] == A.shape[-2]
    _args.check(fits, f"linalg.{name}(): expected square matrices, got {A.shape}", RuntimeError)


def transposed(A: Array) -> Array:
    """The last two dimensions exchanged, complex elements conjugated."""
    return jnp.conj(jnp.swapaxes(A, -1, -2))


def raise_for_info(name: str, info: Any, what: str) -> None:
    """Raise where an `info` is not 0, if it can be looked at.

    Raises: LinAlgError.
    """
    try:
        codes = np.asarray(info)
    except jax.errors.TracerArrayConversionError:
        return
    if codes.any():
        batch = np.flatnonzero(codes)[0]
        where = f" in batch element {batch}" if codes.ndim else ""
        _args.fail(
            f"linalg.{name}(): expected {what}{where}; stopped at column {codes.reshape(-1)[batch]}", LinAlgError
        )


def finite(A: Any, *_: Any, **options: Any) -> None:
    """Raise where a matrix whose singular values are wanted holds NaN or infinity.

    Raises: LinAlgError.
    """
    known = np.isfinite(np.asarray(A)).all()
    _args.check(known, "linalg.svd(): expected finite numbers, got NaN or infinity", LinAlgError)


def info_checked(name: str, what: str) -> Callable:
    """The validation of the op of that name, which has `check_errors` and gives an `info`."""

    def check(*args: Any, check_errors: bool = False, **options: Any) -> None:
        if check_errors:
            raise_for_info(name.removeprefix("linalg_"), registry[name].body(*args, **options).info, what)

    return check


@jax.custom_jvp
def mirrored(A: Array) -> Array:
    """The Hermitian matrix of which the lower triangle is given. Both triangles share the gradient, as in torch."""
    strict = jnp.tril(A, -1)
    middle = jnp.where(jnp.eye(A.shape[-1], dtype=bool), A.real, 0)
    return strict + middle + transposed(strict)


@mirrored.defjvp
def _mirrored_tangent(primals, tangents):
    return mirrored(primals[0]), (tangents[0] + transposed(tangents[0])) / 2


def batched(*arrays: Array) -> list[Array]:
    """Matrices with their batch dimensions broadcast."""
    try:
        lead = np.broadcast_shapes(*(x.shape[:-2] for x in arrays))
    except ValueError:
        shapes = [x.shape for x in arrays]
        _args.fail(f"linalg: expected batch dimensions that broadcast, got shapes {shapes}", RuntimeError)
    return [jnp.broadcast_to(x, lead + x.shape[-2:]) for x in arrays]


def zero_pivot(LU: Array) -> Array:
    """The first place where the diagonal of LU factors is 0, counted from 1; 0 where there is none."""
    zero = jnp.diagonal(LU, axis1=-2, axis2=-1) == 0
    if not zero.shape[-1]:
        return jnp.zeros(zero.shape[:-1], np.int32)
    return jnp.where(zero.any(-1), jnp.argmax(zero, -1) + 1, 0).astype(np.int32)
