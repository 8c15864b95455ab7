"""Fourier transforms, of complex, real and Hermitian-symmetric signals, over one, two and any number of dimensions.

The index of their public names, without the prefix, is `jtorch.fft`. Short-time transforms are not here.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, op

_NORMS = (None, "forward", "backward", "ortho")


def _checked(name: str, x: Array, norm: str | None, real: bool) -> Array:
    """The signal as floats, if torch takes it."""
    _args.check(norm in _NORMS, f"fft.{name}(): expected norm to be one of {_NORMS}, got {norm!r}", RuntimeError)
    fits = not real or not _args.is_complex(x.dtype)
    _args.check(fits, f"fft.{name}(): expected a real input, got {x.dtype}", RuntimeError)
    narrow = _args.is_float(x.dtype) and x.dtype.itemsize < 4
    _args.check(not narrow, f"fft.{name}(): expected float32 or wider, got {x.dtype}", RuntimeError)
    return x if _args.is_inexact(x.dtype) else x.astype(_args.default_float())


def _axis(name: str, x: Array, n: int | None, dim: int) -> int:
    at = _args.dim(dim, x.ndim, f"fft.{name}")
    _args.check(x.ndim > 0, f"fft.{name}(): expected at least one dimension, got none", IndexError)
    points = x.shape[at] if n is None else n
    _args.check(points >= 1, f"fft.{name}(): expected at least one data point, got {points}", RuntimeError)
    return at


def _axes(name: str, x: Array, s: Sequence[int] | None, dim: int | Sequence[int] | None) -> tuple[tuple, tuple]:
    """The sizes and the axes that are meant."""
    if dim is None:
        count = x.ndim if s is None else len(s)
        _args.check(count <= x.ndim, f"fft.{name}(): expected at most {x.ndim} sizes, got {s}", RuntimeError)
        axes = tuple(range(x.ndim - count, x.ndim))
    else:
        axes = tuple(_args.dim(d, x.ndim, f"fft.{name}") for d in ((dim,) if isinstance(dim, int) else dim))
    _args.check(len(set(axes)) == len(axes), f"fft.{name}(): expected different dimensions, got {dim}", RuntimeError)
    s = (-1,) * len(axes) if s is None else tuple(s)
    _args.check(
        len(s) == len(axes), f"fft.{name}(): expected as many sizes as dimensions, got {s} and {dim}", RuntimeError
    )
    sizes = tuple(x.shape[a] if n == -1 else n for n, a in zip(s, axes, strict=True))
    _args.check(
        min(sizes, default=1) >= 1, f"fft.{name}(): expected at least one data point, got {sizes}", RuntimeError
    )
    return sizes, axes


# one dimension


def _declared(name: str, text: str, shape: str, body: Callable) -> Callable:
    """The op `fft_<name>` of a body."""
    body.__name__ = body.__qualname__ = f"fft_{name}"
    body.__doc__ = f"""{text}

    Args:
        {"s" if name[-1] in "2n" else "n"}: to how many points the signal is cut, or filled up with zeros.
        norm: what is divided by the number of points: "forward" or "backward" transforms, or both by its root ("ortho").
    Shape: {shape}
    Raises:
        IndexError: there is no such dimension.
        RuntimeError: the dtype is not one that torch transforms, or a size is not positive.
    """
    return op(method=False, function=False)(body)


def _single(name: str, text: str, shape: str, transform: Callable, real: bool = False) -> Callable:
    def body(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
        x = _checked(name, input, norm, real)
        return transform(x, n, _axis(name, x, n, dim), norm)

    return _declared(name, text, shape, body)


fft_fft = _single("fft", "The Fourier transform along a dimension.", "(*, L) -> (*, N)", jnp.fft.fft)
fft_ifft = _single("ifft", "The inverse Fourier transform along a dimension.", "(*, L) -> (*, N)", jnp.fft.ifft)
fft_rfft = _single(
    "rfft",
    "The half of the Fourier transform of real numbers that tells all.",
    "(*, L) -> (*, N/2+1)",
    jnp.fft.rfft,
    True,
)
fft_irfft = _single("irfft", "The inverse of `rfft`: real numbers.", "(*, L) -> (*, N)", jnp.fft.irfft)
fft_hfft = _single(
    "hfft", "The real Fourier transform of half of a Hermitian-symmetric signal.", "(*, L) -> (*, N)", jnp.fft.hfft
)
fft_ihfft = _single("ihfft", "The inverse of `hfft`.", "(*, L) -> (*, N/2+1)", jnp.fft.ihfft, True)


# several dimensions


def _over_last(last: Callable, others: Callable, last_first: bool) -> Callable:
    """A transform of one kind over the last axis and of another over the rest."""

    def transform(x: Array, sizes: tuple, axes: tuple, norm: str | None) -> Array:
        steps = [(last, sizes[-1:], axes[-1:]), (others, sizes[:-1], axes[:-1])]
        for step, s, at in steps if last_first else steps[::-1]:
            x = step(x, s, at, norm) if at else x
        return x

    return transform


def _each(transform: Callable) -> Callable:
    """A transform of one axis after the other: JAX's own take at most three."""

    def over(x: Array, sizes: tuple, axes: tuple, norm: str | None) -> Array:
        for n, axis in zip(sizes, axes, strict=True):
            x = transform(x, n, axis, norm)
        return x

    return over


def _complex(x: Array, *_: object) -> Array:
    return x if _args.is_complex(x.dtype) else x.astype(jnp.promote_types(x.dtype, np.complex64))


_FFT, _IFFT = _each(jnp.fft.fft), _each(jnp.fft.ifft)
_KINDS = {
    "fft": ("The Fourier transform", "(*) -> (*)", _FFT, False),
    "ifft": ("The inverse Fourier transform", "(*) -> (*)", _IFFT, False),
    "rfft": (
        "The half of the Fourier transform of real numbers", "(*, L) -> (*, N/2+1)",
        _over_last(_each(jnp.fft.rfft), _FFT, True), True,
    ),
    "irfft": ("The inverse of `rfftn`", "(*, L) -> (*, N)", _over_last(_each(jnp.fft.irfft), _IFFT, False), False),
    "hfft": (
        "The real Fourier transform of half of a Hermitian-symmetric signal", "(*, L) -> (*, N)",
        _over_last(_each(jnp.fft.hfft), _FFT, False), False,
    ),
    "ihfft": ("The inverse of `hfftn`", "(*, L) -> (*, N/2+1)", _over_last(_each(jnp.fft.ihfft), _IFFT, True), True),
}  # fmt: skip


def _sizes(name: str, kind: str, x: Array, s: Sequence[int] | None, dim: object) -> tuple[tuple, tuple]:
    """The sizes and the axes; where the last is cut to half, its size is that of the whole."""
    given = s is not None and len(tuple(s)) > 0 and tuple(s)[-1] != -1
    sizes, axes = _axes(name, x, s, dim)  # type: ignore[arg-type]
    if kind in ("irfft", "hfft") and axes and not given:
        whole = 2 * (x.shape[axes[-1]] - 1)
        _args.check(whole >= 1, f"fft.{name}(): expected at least one data point, got {whole}", RuntimeError)
        sizes = (*sizes[:-1], whole)
    return sizes, axes


def _several(kind: str, two: bool) -> Callable:
    text, shape, transform, real = _KINDS[kind]
    name = kind + ("2" if two else "n")

    def run(input: Array, s: Sequence[int] | None, dim: object, norm: str | None) -> Array:
        x = _checked(name, input, norm, real)
        sizes, axes = _sizes(name, kind, x, s, dim)
        needed = bool(axes) or kind in ("fft", "ifft")
        _args.check(needed, f"fft.{name}(): expected at least one dimension, got none", RuntimeError)
        return transform(x, sizes, axes, norm) if axes else _complex(x)

    def in_two(
        input: Array, s: Sequence[int] | None = None, dim: Sequence[int] = (-2, -1), norm: str | None = None
    ) -> Array:
        return run(input, s, dim, norm)

    def in_many(
        input: Array, s: Sequence[int] | None = None, dim: int | Sequence[int] | None = None, norm: str | None = None
    ) -> Array:
        return run(input, s, dim, norm)

    where = "over two dimensions." if two else "over some dimensions, None meaning all, or the last ones that `s` has."
    return _declared(name, f"{text} {where}", shape, in_two if two else in_many)


fft_fft2, fft_fftn = _several("fft", True), _several("fft", False)
fft_ifft2, fft_ifftn = _several("ifft", True), _several("ifft", False)
fft_rfft2, fft_rfftn = _several("rfft", True), _several("rfft", False)
fft_irfft2, fft_irfftn = _several("irfft", True), _several("irfft", False)
fft_hfft2, fft_hfftn = _several("hfft", True), _several("hfft", False)
fft_ihfft2, fft_ihfftn = _several("ihfft", True), _several("ihfft", False)


# order


@op(method=False, function=False)
def fft_fftshift(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """The frequencies of a transform reordered so that zero is in the middle.

    Shape: (*) -> (*)
    """
    return jnp.fft.fftshift(input, _args.axes(dim, input.ndim, "fft.fftshift"))


@op(method=False, function=False)
def fft_ifftshift(input: Array, dim: int | Sequence[int] | None = None) -> Array:
    """The inverse of `fftshift`.

    Shape: (*) -> (*)
    """
    return jnp.fft.ifftshift(input, _args.axes(dim, input.ndim, "fft.ifftshift"))
