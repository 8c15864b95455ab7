"""Short-time Fourier transforms: the spectra of overlapping stretches of a signal, and the signal of such spectra.

Transforms of whole signals are in `fourier`, window functions in `tapers`.
"""

import jax.numpy as jnp
import numpy as np

from jtorch.ops import _args
from jtorch.ops._op import Array, op
from jtorch.ops.padding import pad


def _sizes(name: str, n_fft: int, hop: int | None, win: int | None, window: Array | None) -> tuple[int, int]:
    """How far apart the stretches are, and how long the window is."""
    hop = n_fft // 4 if hop is None else hop
    win = n_fft if win is None else win
    _args.check(hop > 0, f"{name}(): expected hop_length above 0, got {hop}", RuntimeError)
    _args.check(0 < win <= n_fft, f"{name}(): expected win_length from 1 to {n_fft}, got {win}", RuntimeError)
    shape = (win,) if window is None else window.shape
    _args.check(shape == (win,), f"{name}(): expected a window of {win} elements, got shape {shape}", RuntimeError)
    return hop, win


def _centred(window: Array | None, win: int, n_fft: int, dtype: np.dtype) -> Array:
    """The window with zeros around it, as long as the transform."""
    left = (n_fft - win) // 2
    return jnp.pad(jnp.ones(win, dtype) if window is None else window, (left, n_fft - win - left))


def _places(n_frames: int, hop: int, n_fft: int) -> Array:
    return hop * jnp.arange(n_frames)[:, None] + jnp.arange(n_fft)


def _real_pairs(x: Array) -> Array:
    return jnp.stack([x.real, x.imag], -1)


def _framed(x: Array, n_fft: int, hop: int, win: int, align_to_window: bool) -> Array:
    """The overlapping stretches of signals."""
    if align_to_window:  # the first window begins with the signal; what lies outside of it counts for nothing
        left = (n_fft - win) // 2
        x = jnp.pad(x, ((0, 0), (left, n_fft - win - left)))
    length = x.shape[-1]
    _args.check(0 < n_fft <= length, f"stft(): expected n_fft from 1 to {length}, got {n_fft}", RuntimeError)
    return x[:, _places(1 + (length - n_fft) // hop, hop, n_fft)]


@op
def stft(
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Array:
    """The Fourier transforms of stretches of `n_fft` points of a signal, `hop_length` apart, times a window.

    Shape: (B, L) or (L) -> (B, N, T) or (N, T), N being n_fft // 2 + 1 if onesided; with a 2 behind if not complex
    Args:
        hop_length: a quarter of n_fft by default.
        win_length: length of the window, by default n_fft; zeros are put around a shorter one.
        center: the stretches are centred at multiples of hop_length, the signal being padded on both sides.
        normalized: divides by the root of n_fft.
        onesided: leaves out the half that follows from the other, by default where all is real.
        return_complex: has to be given for real signals; False gives pairs of numbers.
    Raises:
        RuntimeError: the sizes do not fit, or the dtype is not one that torch transforms.
    """
    what = f"stft(): expected a signal of floats or complex numbers of one or two dimensions, got {input.dtype}"
    _args.check(_args.is_inexact(input.dtype) and input.ndim in (1, 2), f"{what} and shape {input.shape}", RuntimeError)
    _args.check(input.dtype.itemsize >= 4, f"stft(): expected float32 or wider, got {input.dtype}", RuntimeError)
    aligned = align_to_window is None or not center
    _args.check(aligned, "stft(): expected no align_to_window where center is True", RuntimeError)
    is_complex = _args.is_complex(input.dtype) or (window is not None and _args.is_complex(window.dtype))
    told = return_complex is not None or is_complex
    _args.check(told, "stft(): expected return_complex for a real signal, got None; give True", RuntimeError)
    one_side = not is_complex if onesided is None else onesided
    _args.check(not (one_side and is_complex), "stft(): expected onesided=False for complex numbers", RuntimeError)
    x = input if input.ndim == 2 else input[None]
    if center:
        x = pad.body(x[:, None], (n_fft // 2, n_fft // 2), pad_mode)[:, 0]
    hop, win = _sizes("stft", n_fft, hop_length, win_length, window)
    frames = _framed(x, n_fft, hop, win, bool(align_to_window)) * _centred(window, win, n_fft, input.dtype)
    transform = jnp.fft.rfft if one_side else jnp.fft.fft
    out = jnp.swapaxes(transform(frames, norm="ortho" if normalized else "backward"), 1, 2)
    out = out if input.ndim == 2 else out[0]
    return out if return_complex or return_complex is None else _real_pairs(out)


def _added(frames: Array, hop: int) -> Array:
    """Stretches put where they belong, added where they overlap."""
    batch, count, n_fft = frames.shape
    places = _places(count, hop, n_fft)
    return jnp.zeros((batch, n_fft + hop * (count - 1)), frames.dtype).at[:, places].add(frames)


def _part(center: bool, n_fft: int, whole: int, length: int | None) -> slice:
    """Which part of the signal is asked for."""
    start = n_fft // 2 if center else 0
    if length is not None:
        return slice(start, start + length)
    return slice(start, whole - n_fft // 2 if center else whole)


def _envelope(count: int, n_fft: int, hop: int, win: int, window: Array | None, dtype: np.dtype) -> Array:
    """The sum of the squares of the windows at each point."""
    square = _centred(window, win, n_fft, dtype) ** 2
    return _added(jnp.broadcast_to(square, (1, count, n_fft)), hop)[0]


def _check_envelope(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
    length=None, return_complex=False,
):  # fmt: skip
    hop, win = _sizes("istft", n_fft, hop_length, win_length, window)
    whole = _envelope(input.shape[-1], n_fft, hop, win, window, input.real.dtype)
    part = np.abs(np.asarray(whole[_part(center, n_fft, whole.shape[0], length)]))
    filled = part.size == 0 or part.min() > 1e-11
    _args.check(filled, "istft(): expected windows that overlap everywhere, got a point that none covers", RuntimeError)


def _spectra(input: Array, n_fft: int, onesided: bool | None, return_complex: bool, window: Array | None) -> Array:
    """The spectra as (B, T, N), after torch's checks; only the first half where the signal is real."""
    dims = _args.is_complex(input.dtype) and input.ndim in (2, 3) and input.size > 0
    _args.check(dims, f"istft(): expected complex spectra (B, N, T), got {input.dtype} of {input.shape}", RuntimeError)
    points = input.shape[-2]
    one_side = points != n_fft if onesided is None else onesided
    fits = points == (n_fft // 2 + 1 if one_side else n_fft)
    _args.check(fits, f"istft(): expected spectra that belong to n_fft = {n_fft}, got {points} points", RuntimeError)
    fits = not (return_complex and one_side)
    _args.check(fits, "istft(): expected onesided=False for complex signals", RuntimeError)
    fits = return_complex or window is None or not _args.is_complex(window.dtype)
    _args.check(fits, "istft(): expected a real window for real signals, got a complex one", RuntimeError)
    x = jnp.swapaxes(input if input.ndim == 3 else input[None], 1, 2)
    return x if return_complex else x[..., : n_fft // 2 + 1]


@op(validate=_check_envelope)
def istft(
    input: Array,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Array | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Array:
    """The signal whose short-time spectra come nearest to the input: the inverse of `stft`, given the same arguments.

    Shape: (B, N, T) or (N, T) -> (B, L) or (L)
    Args:
        length: how long the signal is, if that is known; zeros are put behind a shorter one.
        return_complex: whether the signal is complex.
    Raises:
        RuntimeError: the sizes do not fit, or there is a point that no window covers.
    """
    x = _spectra(input, n_fft, onesided, return_complex, window)
    hop, win = _sizes("istft", n_fft, hop_length, win_length, window)
    _args.check(hop <= win, f"istft(): expected hop_length up to {win}, got {hop}", RuntimeError)
    norm = "ortho" if normalized else "backward"
    frames = jnp.fft.ifft(x, norm=norm) if return_complex else jnp.fft.irfft(x, n_fft, norm=norm)
    signal = _added(frames * _centred(window, win, n_fft, input.real.dtype), hop)
    envelope = _envelope(frames.shape[1], n_fft, hop, win, window, input.real.dtype)
    part = _part(center, n_fft, signal.shape[-1], length)
    signal = signal[:, part] / envelope[part]
    if length is not None and length > signal.shape[-1]:
        signal = jnp.pad(signal, ((0, 0), (0, length - signal.shape[-1])))
    return signal if input.ndim == 3 else signal[0]
