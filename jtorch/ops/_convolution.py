"""How convolutions are computed: as XLA has them on GPU and TPU, and reformulated on CPU where XLA is slow there.

Inputs are (N, C, *S), kernels (O, C/G, *K). The public ops and their checks are in conv; transposed convolutions are in
_transposed. The reformulations are ordinary differentiable code. Where the fast form of a gradient is not the derivative
of the fast form of the value, a custom_jvp computes tangents in another way, chosen for what it becomes when JAX
transposes it.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jtorch.ops import _args
from jtorch.ops._backend import kept, on_cpu
from jtorch.ops._op import Array
from jtorch.ops._products import added
from jtorch.ops._windows import FEW, blocks_of

LAYOUT = {1: ("NCH", "OIH", "NCH"), 2: ("NCHW", "OIHW", "NCHW"), 3: ("NCDHW", "OIDHW", "NCDHW")}
FEW_CHANNELS = 1  # channels in a group up to which shifted multiply-adds beat patches
_SOME = 4  # and up to which a loop over the groups does, where patches of all groups at once are not taken
_NARROW = 8  # input channels of a group up to which patches are worth while, unless the kernel is large
_ELEMENTS = 128  # of a kernel up to which patches are taken
_ROWS = 12  # of an image from which its rows are added up before they are reduced
_TERMS = 384  # products for all rows of an image up to which they are written out
_LONG = 64  # elements of a kernel up to which the gradient of each is written out, which takes long to compile
_BLOCK = 2**18  # how many elements of patches are at hand at a time, 1 MB: what fits a cache


class Window(NamedTuple):
    """How a kernel slides: one number, or one (low, high) pair of padding, for each dimension."""

    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def reach(self, kernel: tuple[int, ...]) -> tuple[int, ...]:
        """What the kernel spans in the input."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True))

    def sizes(self, spatial: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """The spatial sizes of the output."""
        room = (size + sum(pad) - r for size, pad, r in zip(spatial, self.pads, self.reach(kernel), strict=True))
        return tuple(r // s + 1 for r, s in zip(room, self.stride, strict=True))

    def unpadded(self) -> "Window":
        """The same window for an input that is padded already."""
        return self._replace(pads=((0, 0),) * len(self.pads))


def pad_spatial(x: Array, pads: tuple[tuple[int, int], ...], inner: tuple[int, ...] | None = None) -> Array:
    """`x` with zeros around its spatial dimensions, or less of them where a pad is negative; `inner` zeros between entries."""
    inner = inner or (0,) * len(pads)
    if not any(inner) and not any(map(any, pads)):
        return x
    config = [(0, 0, 0)] * (x.ndim - len(pads)) + [(*pad, i) for pad, i in zip(pads, inner, strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def native(x: Array, w: Array, window: Window, groups: int = 1, spread: tuple[int, ...] | None = None) -> Array:
    """The convolution as XLA computes it; `spread` is the dilation of the input."""
    return lax.conv_general_dilated(
        x,
        w,
        window.stride,
        window.pads,
        lhs_dilation=spread,
        rhs_dilation=window.dilation,
        dimension_numbers=LAYOUT[x.ndim - 2],
        feature_group_count=groups,
        precision=_args.precision() if x.dtype.itemsize >= 4 else None,
    )


# forward


def convolve(x: Array, w: Array, window: Window, groups: int) -> Array:
    """The convolution of batched arrays, without bias.

    Shape: (N, C, *S), (O, C/G, *K) -> (N, O, *S')
    """
    if x.size == 0 or w.size == 0:
        return jnp.zeros((x.shape[0], w.shape[0], *window.sizes(x.shape[2:], w.shape[2:])), x.dtype)
    return convolve_on_cpu(x, w, window, groups) if on_cpu() else native(x, w, window, groups)


def convolve_on_cpu(x: Array, w: Array, window: Window, groups: int) -> Array:
    """`convolve` in the form that is fast on CPUs for such images and kernels."""
    if groups > 1:
        if w.shape[1] > FEW_CHANNELS and _is_narrow(x, w) and (w.shape[1] <= _SOME or max(window.stride) == 1):
            return _by_patches(x, w, window, groups)
        grouped = _few_channels if w.shape[1] <= FEW_CHANNELS else _looped if w.shape[1] <= _SOME else _split
        return grouped(x, w, window, groups)
    if math.prod(w.shape[2:]) == 1 and not any(map(any, window.pads)):
        return _pointwise(x, w, window)
    if w.ndim == 5:
        return _by_depth(x, w, window)
    return _by_patches(x, w, window) if _is_narrow(x, w) else _apart(x, w, window)


def _apart(x: Array, w: Array, window: Window) -> Array:
    """`_dense`, with what is before and after it computed for itself.

    XLA lays the images out anew for a convolution and back, which is quick unless that is fused with other functions.
    """
    number = w.ravel()[0]
    return kept(_dense(kept(x, number), kept(w, number), window), number)


def _is_narrow(x: Array, w: Array) -> bool:
    """Whether a product with patches beats XLA's convolution."""
    small = w.shape[1] <= _NARROW and 1 < math.prod(w.shape[2:]) <= _ELEMENTS and w.ndim < 5
    return small and _args.fixed(x.shape) and not jnp.iscomplexobj(x)


def _dense(x: Array, w: Array, window: Window) -> Array:
    """As XLA does it."""
    sizes = window.sizes(x.shape[2:], w.shape[2:])
    if any((out - 1) * s + 1 > size for out, s, size in zip(sizes, window.stride, x.shape[2:], strict=True)):
        # XLA's gradient of the kernel is slow where the output is larger than the input; padded beforehand it is not
        x, window = pad_spatial(x, window.pads), window.unpadded()
    return native(x, w, window)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _by_patches(x: Array, w: Array, window: Window, groups: int = 1, direct: bool = False) -> Array:
    """Some images at a time as products of the kernels of all groups with their patches; `direct` as for `blocks_of`."""
    sizes, count, terms = window.sizes(x.shape[2:], w.shape[2:]), x.shape[0], math.prod(w.shape[1:])
    most = max(1, _BLOCK // (groups * terms * math.prod(sizes)))
    block = next(size for size in range(min(most, count), 0, -1) if count % size == 0)

    @jax.checkpoint  # otherwise the patches would be kept for the transposition
    def of_block(images: Array, w: Array) -> Array:
        padded = pad_spatial(images, window.pads)
        patches = blocks_of(padded, w.shape[2:], window.stride, window.dilation, sizes, direct)
        patches = jnp.moveaxis(patches, 0, -1 - len(sizes)).reshape(groups, terms, -1)
        y = jnp.matmul(w.reshape(groups, -1, terms), patches, precision=_args.precision())
        return jnp.moveaxis(y.reshape(w.shape[0], block, *sizes), 1, 0)

    blocks = x.reshape(-1, block, *x.shape[1:])
    return lax.map(lambda images: of_block(images, w), blocks).reshape(count, w.shape[0], *sizes)


@functools.partial(_by_patches.defjvp, symbolic_zeros=True)
def _by_patches_jvp(window, groups, direct, primals, tangents):
    (x, w), y = primals, _by_patches(*primals, window, groups, direct)
    by_group = functools.partial(_looped if w.shape[1] <= _SOME else _split, groups=groups)
    from_kernel = _dense if groups == 1 else by_group
    direct = math.prod(w.shape[2:]) <= FEW and max(window.stride) == 1
    forms = (
        lambda dx: _by_patches(dx, w, window, groups, direct),
        lambda dw: kept(from_kernel(x, dw, window), x.ravel()[0]),
    )
    return y, added(y, tangents, *forms)


def _split(x: Array, w: Array, window: Window, groups: int) -> Array:
    """One dense convolution for each group."""
    pairs = zip(jnp.split(x, groups, 1), jnp.split(w, groups, 0), strict=True)
    form = _dense if _is_narrow(x, w) else functools.partial(convolve_on_cpu, groups=1)
    return jnp.concatenate([form(a, b, window) for a, b in pairs], 1)


def _looped(x: Array, w: Array, window: Window, groups: int) -> Array:
    """`_split` as a loop."""
    by_group = jnp.moveaxis(x.reshape(x.shape[0], groups, -1, *x.shape[2:]), 1, 0)
    kernels = w.reshape(groups, -1, *w.shape[1:])
    y = jnp.moveaxis(lax.map(lambda pair: convolve_on_cpu(*pair, window, 1), (by_group, kernels)), 0, 1)
    return y.reshape(x.shape[0], w.shape[0], *y.shape[3:])


def _pointwise(x: Array, w: Array, window: Window) -> Array:
    """A kernel of one element: a matrix product."""
    x = x[(slice(None), slice(None), *(slice(None, None, s) for s in window.stride))]
    flat, kernel = x.reshape(*x.shape[:2], -1), w.reshape(w.shape[:2])
    large = _args.fixed(x.shape) and flat.shape[2] >= 2 * max(kernel.shape)
    product = _product_of_large if large else _product
    return kept(product(flat, kernel), w.ravel()[0]).reshape(x.shape[0], w.shape[0], *x.shape[2:])


def _product(x: Array, w: Array) -> Array:
    """Shape: (N, C, S), (O, C) -> (N, O, S)"""
    return jnp.moveaxis(lax.dot_general(w, x, (((1,), (1,)), ((), ())), precision=_args.precision()), 1, 0)


@jax.custom_jvp
def _product_of_large(x: Array, w: Array) -> Array:
    """`_product` of large images, whose gradients are faster image by image."""
    return _product(x, w)


@functools.partial(_product_of_large.defjvp, symbolic_zeros=True)
def _product_jvp(primals, tangents):
    (x, w), y = primals, _product_of_large(*primals)
    return y, added(y, tangents, lambda dx: _product_by_image(dx, w), lambda dw: _product_by_image(x, dw))


def _product_by_image(x: Array, w: Array) -> Array:
    return jnp.matmul(jnp.broadcast_to(w, (len(x), *w.shape)), x, precision=_args.precision())


def _by_depth(x: Array, w: Array, window: Window) -> Array:
    """Three dimensions as two: the sum over the depth of the kernel, with slices of the input's depth as batches.

    Sums of few terms that are added up lose less to rounding than one long sum.
    """
    out = window.sizes(x.shape[2:], w.shape[2:])[0]
    x = pad_spatial(x, (window.pads[0], (0, 0), (0, 0)))
    stride, flat_window = window.stride[0], Window(*(values[1:] for values in window))
    parts = []
    for place, start in enumerate(_offsets(w.shape[2], window.dilation[0])):
        slices = jnp.moveaxis(lax.slice_in_dim(x, start, start + (out - 1) * stride + 1, stride, 2), 2, 1)
        flat = slices.reshape(-1, *slices.shape[2:])  # N D' C H W -> (N D') C H W
        parts.append(convolve_on_cpu(flat, w[:, :, place], flat_window, 1))
    y = functools.reduce(jnp.add, parts)
    return jnp.moveaxis(y.reshape(-1, out, *y.shape[1:]), 1, 2)


def _offsets(count: int, step: int) -> range:
    return range(0, count * step, step)


# few channels in a group: shifted multiply-adds


def _few_channels(x: Array, w: Array, window: Window, groups: int) -> Array:
    """Grouped convolution as a sum over kernel elements and channels in a group, each a shifted multiply-add."""
    n, spatial = x.shape[0], x.shape[2:]
    y = _shifted(x.reshape(n, groups, 1, -1, *spatial), w.reshape(groups, -1, *w.shape[1:]), window)
    return kept(y.reshape(n, w.shape[0], *y.shape[3:]), w.ravel()[0])


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _shifted(x: Array, w: Array, window: Window) -> Array:
    """Shape: (N, G, 1, C/G, *S), (G, O/G, C/G, *K) -> (N, G, O/G, *S')"""
    factors = _kernel_elements(w, window)
    return sum(a * b for a, b in zip(_shifts(x, w.shape[3:], window), factors, strict=True))


@functools.partial(_shifted.defjvp, symbolic_zeros=True)
def _shifted_jvp(window, primals, tangents):
    (x, w), y = primals, _shifted(*primals, window)
    by_rows = w.ndim > 4 and math.prod(w.shape[2:]) > _LONG
    from_kernel = _shifted_by_rows if by_rows else _shifted_from_kernel
    forms = lambda dx: _shifted_from_input(dx, w, window), lambda dw: from_kernel(x, dw, window)
    return y, added(y, tangents, *forms)


def _kernel_elements(w: Array, window: Window) -> list[Array]:
    """The kernel's elements (G, O/G, 1...), in the order of `_shifts`."""
    ones = (1,) * len(window.stride)
    elements = w.reshape(*w.shape[:2], -1)
    return [elements[..., i].reshape(*w.shape[:2], *ones) for i in range(elements.shape[2])]


def _parts(x: Array, kernel: tuple[int, ...], window: Window) -> Iterator[Array]:
    """For each kernel element, the part of the input that it meets: (*, *S) -> (*, *S')."""
    sizes = window.sizes(x.shape[-len(kernel) :], kernel)
    x = pad_spatial(x, window.pads)
    for start in itertools.product(*map(_offsets, kernel, window.dilation)):
        stop = (a + (size - 1) * s + 1 for a, size, s in zip(start, sizes, window.stride, strict=True))
        yield x[(..., *(slice(*part) for part in zip(start, stop, window.stride, strict=True)))]


def _shifts(x: Array, kernel: tuple[int, ...], window: Window) -> Iterator[Array]:
    """For each channel and kernel element, the part of the input that it meets: (N, G, 1, *S')."""
    for channel in range(x.shape[3]):
        yield from _parts(x[:, :, :, channel], kernel, window)


def _shifted_from_input(x: Array, w: Array, window: Window) -> Array:
    """`_shifted` as a sum of padded products. Transposed with respect to `x`, it is a sum of slices of one array."""
    kernel, spatial = w.shape[3:], x.shape[4:]
    sizes = window.sizes(spatial, kernel)
    offsets = [_offsets(k, d) for k, d in zip(kernel, window.dilation, strict=True)]
    reach = [r - 1 for r in window.reach(kernel)]
    places = itertools.product(range(x.shape[3]), *offsets)
    y = 0.0
    for (channel, *at), factor in zip(places, _kernel_elements(w, window), strict=True):
        pads = tuple((r - a, a) for r, a in zip(reach, at, strict=True))
        y = y + pad_spatial(x[:, :, :, channel] * factor, pads)
    edges = (
        (low - r, (size - 1) * s + 1 - low - length)
        for (low, _), r, size, s, length in zip(window.pads, reach, sizes, window.stride, spatial, strict=True)
    )
    return pad_spatial(y, tuple(edges))[(..., *(slice(None, None, s) for s in window.stride))]


def _shifted_from_kernel(x: Array, w: Array, window: Window) -> Array:
    """`_shifted` as a loop over the batch. Transposed with respect to `w`, it adds images up, and before that, where they
    have many, their rows, before it reduces them.

    XLA's reductions on CPU are scalar code; additions of arrays are not. They are fastest where what is added to is small.
    """
    sizes = window.sizes(x.shape[4:], w.shape[3:])
    apart = len(sizes) > 1 == window.stride[0] and sizes[0] >= _ROWS and sizes[0] * math.prod(w.shape[2:]) <= _TERMS
    rows, stride, reach = 1 if apart else sizes[0], window.stride[0], window.reach(w.shape[3:])[0]
    factors = [jnp.broadcast_to(b, (*w.shape[:2], rows, *sizes[1:])) for b in _kernel_elements(w, window)]
    x = pad_spatial(x, window.pads)

    @jax.checkpoint  # otherwise every shift of the input would be kept for the transposition
    def of_one(one: Array, factors: list[Array]) -> Array:
        parts = []
        for start in range(0, sizes[0] * stride, rows * stride):
            part = lax.slice_in_dim(one, start, start + (rows - 1) * stride + reach, axis=3)
            shifts = _shifts(part[None], w.shape[3:], window.unpadded())
            parts.append(sum(a[0] * b for a, b in zip(shifts, factors, strict=True)))
        return jnp.concatenate(parts, 2)

    return lax.scan(lambda _, one: (None, of_one(one, factors)), None, x)[1]


def _shifted_by_rows(x: Array, w: Array, window: Window) -> Array:
    """`_shifted_from_kernel` for kernels of many elements: a loop over their rows, each a kernel of its own."""
    kernel, sizes = w.shape[3:], window.sizes(x.shape[4:], w.shape[3:])
    spans = [(size - 1) * s + 1 for size, s in zip(sizes, window.stride, strict=True)]
    x = pad_spatial(x, window.pads)
    starts = list(itertools.product(range(x.shape[3]), *map(_offsets, kernel[:-1], window.dilation[:-1])))
    rows = w.reshape(*w.shape[:2], len(starts), 1, *(1,) * (len(kernel) - 1), kernel[-1])

    @jax.checkpoint  # otherwise every part of the input would be kept for the transposition
    def of_row(start: Array, row: Array) -> Array:
        part = lax.dynamic_slice(x, (0, 0, 0, *start, 0), (*x.shape[:3], 1, *spans[:-1], x.shape[-1]))
        return _shifted_from_kernel(part, row, window.unpadded())

    each = (jnp.array(starts), jnp.moveaxis(rows, 2, 0))
    like = jax.eval_shape(of_row, *(a[0] for a in each))
    return lax.scan(lambda y, at: (y + of_row(*at), None), jnp.zeros(like.shape, like.dtype), each)[0]
