"""How transposed convolutions are computed: as XLA has them on GPU and TPU, and reformulated on CPU.

Inputs are (N, C, *S), kernels (C, O/G, *K). The public ops and their checks are in conv, plain convolutions in _convolution.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jtorch.ops import _args
from jtorch.ops._backend import on_cpu
from jtorch.ops._convolution import LAYOUT, Window, convolve_on_cpu, native, pad_spatial
from jtorch.ops._op import Array
from jtorch.ops._products import added

_TOGETHER = 2  # channels in a group up to which all groups are one convolution


def convolve_transposed(
    x: Array, w: Array, stride: tuple, padding: tuple, output_padding: tuple, dilation: tuple, groups: int
) -> Array:
    """The transposed convolution of batched arrays, without bias.

    Shape: (N, C, *S), (C, O/G, *K) -> (N, O, *S')
    """
    reach = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
    pads = tuple((r - p, r - p + extra) for r, p, extra in zip(reach, padding, output_padding, strict=True))
    window = Window((1,) * len(stride), pads, dilation)
    if x.size == 0 or w.size == 0:
        spread = tuple((size - 1) * s + 1 for size, s in zip(x.shape[2:], stride, strict=True))
        return jnp.zeros((x.shape[0], w.shape[1] * groups, *window.sizes(spread, w.shape[2:])), x.dtype)
    if not on_cpu():
        return native(x, _turned(w, groups), window, groups, stride)
    return _transposed_on_cpu(x, w, window, stride, groups)


def _turned(w: Array, groups: int) -> Array:
    """The kernel (C, O/G, *K) of a transposed convolution as that of a convolution, (O, C/G, *K)."""
    w = jnp.swapaxes(w.reshape(groups, -1, *w.shape[1:]), 1, 2)
    return jnp.flip(w.reshape(-1, *w.shape[2:]), range(2, w.ndim - 1))


def _transposed_on_cpu(x: Array, w: Array, window: Window, stride: tuple, groups: int) -> Array:
    if groups > 1 and w.shape[0] // groups > _TOGETHER:
        pairs = zip(jnp.split(x, groups, 1), jnp.split(w, groups, 0), strict=True)
        return jnp.concatenate([_transposed_on_cpu(a, b, window, stride, 1) for a, b in pairs], 1)
    if groups == 1 and math.prod(x.shape[2:]) == max(window.dilation) == 1:
        return _from_point(x, w, window)
    fixed = _args.fixed(x.shape[2:])
    if fixed and groups == max(stride) == max(window.dilation) == 1 and math.prod(x.shape[2:]) < math.prod(w.shape[2:]):
        return _exchanged(x, w, window)
    if groups > 1 or max(stride) == 1:
        return _cropped_convolution(
            pad_spatial(x, ((0, 0),) * len(stride), tuple(s - 1 for s in stride)), w, window, groups
        )
    return _by_phase(x, w, window, stride) if w.ndim == 5 else _spread(x, w, window, stride)


def _from_point(x: Array, w: Array, window: Window) -> Array:
    """The transposed convolution of images of one element: a matrix product."""
    y = jnp.matmul(x.reshape(x.shape[:2]), w.reshape(w.shape[0], -1), precision=_args.precision())
    edges = tuple((low - k + 1, high - k + 1) for (low, high), k in zip(window.pads, w.shape[2:], strict=True))
    return pad_spatial(y.reshape(x.shape[0], *w.shape[1:]), edges)


def _exchanged(x: Array, w: Array, window: Window) -> Array:
    """The same with the images as kernels and the kernels as images, which takes less where these are the larger."""
    rest = [s - k for s, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    pads = tuple((low + r, high + r) for (low, high), r in zip(window.pads, rest, strict=True))
    y = _cropped_convolution(jnp.swapaxes(w, 0, 1), jnp.swapaxes(x, 0, 1), window._replace(pads=pads), 1)
    return jnp.swapaxes(y, 0, 1)


def _cropped_convolution(x: Array, w: Array, window: Window, groups: int) -> Array:
    """The convolution with the turned kernel, negative padding being taken off first."""
    x = pad_spatial(x, tuple((min(low, 0), min(high, 0)) for low, high in window.pads))
    pads = tuple((max(low, 0), max(high, 0)) for low, high in window.pads)
    return convolve_on_cpu(x, _turned(w, groups), window._replace(pads=pads), groups)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _spread(x: Array, w: Array, window: Window, stride: tuple) -> Array:
    return native(x, _turned(w, 1), window, 1, stride)


@functools.partial(_spread.defjvp, symbolic_zeros=True)
def _spread_jvp(window, stride, primals, tangents):
    (x, w), y = primals, _spread(*primals, window, stride)
    forms = lambda dx: _spread(dx, w, window, stride), lambda dw: _spread_from_kernel(x, dw, window, stride)
    return y, added(y, tangents, *forms)


def _spread_from_kernel(x: Array, w: Array, window: Window, stride: tuple) -> Array:
    """The transposed convolution with the parts exchanged: `w` is the image and `x`, spread out, the kernel.

    Transposed with respect to `w`, this is the gradient of an ordinary convolution's kernel, which XLA does fast.
    """
    layout = LAYOUT[x.ndim - 2][0].replace("N", "B").replace("C", "N").replace("B", "C")
    rest = [
        ((size - 1) * s, *pad, d * (k - 1))
        for size, s, pad, d, k in zip(x.shape[2:], stride, window.pads, window.dilation, w.shape[2:], strict=True)
    ]
    pads = tuple((low - reach + span, high - reach + span) for span, low, high, reach in rest)
    return lax.conv_general_dilated(
        w,
        jnp.flip(x, range(2, x.ndim)),
        (1,) * len(stride),
        pads,
        lhs_dilation=window.dilation,
        rhs_dilation=stride,
        dimension_numbers=(layout, LAYOUT[x.ndim - 2][1], layout),
        precision=_args.precision(),
    )


def _by_phase(x: Array, w: Array, window: Window, stride: tuple) -> Array:
    """The transposed convolution as a plain one with a channel for each phase of the stride, these then interleaved."""
    nd = len(stride)
    w = pad_spatial(w, ((0, 0),) * nd, tuple(d - 1 for d in window.dilation))
    reach = w.shape[2:]
    taps = [-(-r // s) for r, s in zip(reach, stride, strict=True)]
    w = pad_spatial(w, tuple((0, t * s - r) for t, s, r in zip(taps, stride, reach, strict=True)))
    w = w.reshape(*w.shape[:2], *itertools.chain(*zip(taps, stride, strict=True)))  # C O (t s)...
    w = w.transpose(0, 1, *range(3, 3 + 2 * nd, 2), *range(2, 2 + 2 * nd, 2))  # C O s... t...
    phases = w.shape[1 : 2 + nd]
    w = w.reshape(w.shape[0], -1, *taps)
    full = Window((1,) * nd, tuple((t - 1, t - 1) for t in taps), (1,) * nd)
    y = convolve_on_cpu(x, _turned(w, 1), full, 1)
    spatial = y.shape[2:]
    y = y.reshape(y.shape[0], *phases, *spatial)
    y = y.transpose(0, 1, *itertools.chain(*((2 + nd + i, 2 + i) for i in range(nd))))
    y = y.reshape(y.shape[0], phases[0], *(size * s for size, s in zip(spatial, stride, strict=True)))
    wanted = (
        (size - 1) * s + 1 + low + high - r + 1
        for size, s, (low, high), r in zip(x.shape[2:], stride, window.pads, reach, strict=True)
    )
    lows = (low - r + 1 for (low, _), r in zip(window.pads, reach, strict=True))
    edges = ((low, size - low - length) for low, size, length in zip(lows, wanted, y.shape[2:], strict=True))
    return pad_spatial(y, tuple(edges))
