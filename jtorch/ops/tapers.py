"""Window functions: the weights that fade a stretch of signal in and out before its spectrum is taken.

Plain functions of sizes and numbers, worked out by NumPy in double precision and rounded once. `jtorch.signal.windows` has
them as tensors, and so have the older `hann_window` and its kin; devices and `requires_grad` are added there.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array


def _checked(name: str, M: int, dtype: Any) -> np.dtype:
    """The dtype of a window, after torch's checks."""
    dtype = _args.default_float() if dtype is None else np.dtype(getattr(dtype, "dtype", dtype))
    _args.check(M >= 0, f"{name}(): expected M of 0 or more, got {M}")
    wide = dtype in (np.float32, np.float64)
    _args.check(wide, f"{name}(): expected dtype float32 or float64, got {dtype}")
    _args.check_room((M,), dtype)
    return _args.to_dtype(dtype)


def _rounded(values: np.ndarray, dtype: Any) -> Array:
    return jnp.asarray(values.astype(dtype))


def _steps(M: int, sym: bool) -> int:
    """How many steps a window of M points is long: the periodic one leaves out its last point."""
    return M - 1 if sym else M


def _cosines(M: int, sym: bool, a: Sequence[float]) -> np.ndarray:
    angle = 2 * np.pi * np.arange(M) / max(_steps(M, sym), 1)
    return sum(((-1) ** i * w * np.cos(i * angle) for i, w in enumerate(a)), np.zeros(M))


def _kaiser(M: int, sym: bool, beta: float) -> np.ndarray:
    at = 2 * np.arange(M) / max(_steps(M, sym), 1) - 1
    return np.i0(beta * np.sqrt(np.maximum(1 - at * at, 0))) / np.i0(beta)


def _triangle(M: int, sym: bool) -> np.ndarray:
    return 1 - np.abs(2 * np.arange(M) / max(_steps(M, sym), 1) - 1)


def general_cosine(M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None) -> Array:
    """The sum of `(-1)**i * a[i] * cos(i * x)`, x going once around the circle.

    Shape: () -> (M)
    Args:
        sym: False for the periodic window, which leaves out the last of M + 1 points.
    Raises:
        ValueError: M is negative, the dtype not float32 or float64, or there are no coefficients.
        TypeError: the coefficients are no sequence.
    """
    kind = _checked("general_cosine", M, dtype)
    if M > 1:
        _args.check(isinstance(a, Iterable), f"general_cosine(): expected a as a sequence, got {a}", TypeError)
        _args.check(bool(a), f"general_cosine(): expected coefficients, got {a}")
    return _rounded(_cosines(M, sym, tuple(a)) if M > 1 else np.ones(M), kind)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None) -> Array:
    """`alpha - (1 - alpha) * cos(x)`, x going once around the circle.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    return general_cosine(M, a=(alpha, 1 - alpha), sym=sym, dtype=dtype)


def hamming(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """`0.54 - 0.46 * cos(x)`, x going once around the circle.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    return general_hamming(M, sym=sym, dtype=dtype)


def hann(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """`0.5 - 0.5 * cos(x)`, x going once around the circle.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype)


_BLACKMAN = (0.42, 0.5, 0.08)


def blackman(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """`0.42 - 0.5 * cos(x) + 0.08 * cos(2 * x)`, x going once around the circle.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    return general_cosine(M, a=_BLACKMAN, sym=sym, dtype=dtype)


def nuttall(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """Four cosines whose side lobes fall fast.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    Source: Nuttall, IEEE Trans. Acoust. Speech Signal Process. 29 (1981).
    """
    return general_cosine(M, a=(0.3635819, 0.4891775, 0.1365995, 0.0106411), sym=sym, dtype=dtype)


def bartlett(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """The triangle that rises from 0 to 1 and falls again.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    kind = _checked("bartlett", M, dtype)
    return _rounded(_triangle(M, sym) if M > 1 else np.ones(M), kind)


def cosine(M: int, *, sym: bool = True, dtype: Any = None) -> Array:
    """Half a period of the sine, at the middles of M equal steps.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, or the dtype not float32 or float64.
    """
    kind = _checked("cosine", M, dtype)
    length = M if sym or M < 2 else M + 1
    return _rounded(np.sin((np.arange(M) + 0.5) * np.pi / max(length, 1)), kind)


def _offsets(M: int, sym: bool) -> np.ndarray:
    """How far each point is from the middle of the window."""
    return np.arange(M) - (M - 1 if sym or M < 2 else M) / 2


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None) -> Array:
    """The normal curve of standard deviation `std` points, 1 in the middle.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, the dtype not float32 or float64, or std not above 0.
    """
    kind = _checked("gaussian", M, dtype)
    _args.check(std > 0, f"gaussian(): expected std above 0, got {std}")
    return _rounded(np.exp(-((_offsets(M, sym) / (std * math.sqrt(2))) ** 2)), kind)


def decay(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None) -> Array:
    """`exp(-|n - center| / tau)` at each point n, the middle being the center unless one is given.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, the dtype not float32 or float64, tau not above 0, or a center given with `sym`.
    """
    kind = _checked("exponential", M, dtype)
    _args.check(tau > 0, f"exponential(): expected tau above 0, got {tau}")
    _args.check(not sym or center is None, f"exponential(): expected no center with sym=True, got {center}")
    offset = _offsets(M, sym) if center is None else np.arange(M) - center
    return _rounded(np.exp(-np.abs(offset) / tau), kind)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None) -> Array:
    """`i0(beta * sqrt(1 - x**2)) / i0(beta)`, x going from -1 to 1.

    Shape: () -> (M)
    Raises:
        ValueError: M is negative, the dtype not float32 or float64, or beta negative.
    """
    kind = _checked("kaiser", M, dtype)
    _args.check(beta >= 0, f"kaiser(): expected beta of 0 or more, got {beta}")
    return _rounded(_kaiser(M, sym, beta) if M > 1 else np.ones(M), kind)


# the older functions, which take any float dtype


def _older(name: str, length: int, periodic: bool, dtype: Any, shape: Callable, *parameters: Any) -> Array:
    """A window of the older functions, after torch's checks; of one point it is 1."""
    kind = _args.default_float() if dtype is None else _args.to_dtype(dtype)
    _args.check(_args.is_inexact(kind), f"{name}(): expected a float dtype, got {kind}", RuntimeError)
    _args.check(length >= 0, f"{name}(): expected window_length of 0 or more, got {length}", RuntimeError)
    _args.check_room((length,), kind)
    return _rounded(shape(length, not periodic, *parameters) if length > 1 else np.ones(length), kind)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None
) -> Array:
    """`alpha - beta * cos(x)`, x going once around the circle.

    Shape: () -> (window_length)
    Args:
        periodic: leaves out the last point, so that the window can be repeated.
    Raises:
        RuntimeError: the length is negative, or the dtype not a float type.
    """
    return _older("hamming_window", window_length, periodic, dtype, _cosines, (alpha, beta))


def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None) -> Array:
    """`0.5 - 0.5 * cos(x)`, x going once around the circle.

    Shape: () -> (window_length)
    Args:
        periodic: leaves out the last point, so that the window can be repeated.
    Raises:
        RuntimeError: the length is negative, or the dtype not a float type.
    """
    return hamming_window(window_length, periodic, 0.5, 0.5, dtype=dtype)


def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None) -> Array:
    """`0.42 - 0.5 * cos(x) + 0.08 * cos(2 * x)`, x going once around the circle.

    Shape: () -> (window_length)
    Args:
        periodic: leaves out the last point, so that the window can be repeated.
    Raises:
        RuntimeError: the length is negative, or the dtype not a float type.
    """
    return _older("blackman_window", window_length, periodic, dtype, _cosines, _BLACKMAN)


def bartlett_window(window_length: int, periodic: bool = True, *, dtype: Any = None) -> Array:
    """The triangle that rises from 0 to 1 and falls again.

    Shape: () -> (window_length)
    Args:
        periodic: leaves out the last point, so that the window can be repeated.
    Raises:
        RuntimeError: the length is negative, or the dtype not a float type.
    """
    return _older("bartlett_window", window_length, periodic, dtype, _triangle)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None) -> Array:
    """`i0(beta * sqrt(1 - x**2)) / i0(beta)`, x going from -1 to 1.

    Shape: () -> (window_length)
    Args:
        periodic: leaves out the last point, so that the window can be repeated.
    Raises:
        RuntimeError: the length is negative, or the dtype not a float type.
    """
    return _older("kaiser_window", window_length, periodic, dtype, _kaiser, beta)
