"""Single ops at the sizes of real layers, forward and backward: compiled and eager jtorch beside torch.

Here the arithmetic is what counts, not the call. Every candidate gives the result and the gradients of all floating
inputs, from a cotangent that is there already, and must agree with torch before it is timed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.ops import Case
from benchmarks.timing import Timing, interleaved

IMAGES = (16, 64, 28, 28)
TEXTS = (16, 128, 256)
HEADS = (8, 4, 128, 64)  # batch, heads, time, features
STEPS, GATES = 32, 256  # of recurrent layers
RANDOM = {"dropout"}
"""Cases whose results differ from call to call."""


def _images(name: str, call: Callable[..., Any], *weights: tuple[int, ...], shape: tuple[int, ...] = IMAGES) -> Case:
    return Case(name, call, (shape, *weights))


def _recurrent(name: str, gates: int, states: int) -> Case:
    """One layer on texts, its weights as torch's own function takes them."""

    def call(t, F, x, *rest):
        start, weights = rest[:states], rest[states:]
        start = start if states > 1 else start[0]
        return getattr(t, name)(x, start, weights, True, 1, 0.0, True, False, True)[0]

    state, width = (1, 16, GATES), gates * GATES
    shapes = ((16, STEPS, GATES), *[state] * states, (width, GATES), (width, GATES), (width,), (width,))
    return Case(name, call, shapes, scale=0.1)  # larger weights make it chaotic


def _attention(t, F, q, k, v, causal=False):
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


CASES = (
    Case("linear", lambda t, F, x, w, b: F.linear(x, w, b), ((512, 512), (512, 512), (512,))),
    Case("linear on texts", lambda t, F, x, w, b: F.linear(x, w, b), (TEXTS, (512, 256), (512,))),
    Case("matmul", lambda t, F, a, b: t.matmul(a, b), ((512, 512), (512, 512))),
    Case("bmm", lambda t, F, a, b: t.bmm(a, b), ((32, 128, 64), (32, 64, 128))),
    _images("conv2d 3x3", lambda t, F, x, w, b: F.conv2d(x, w, b, padding=1), (64, 64, 3, 3), (64,)),
    _images("conv2d 1x1", lambda t, F, x, w, b: F.conv2d(x, w, b), (128, 64, 1, 1), (128,)),
    _images("conv2d 3x3 stride 2", lambda t, F, x, w, b: F.conv2d(x, w, b, 2, 1), (64, 64, 3, 3), (64,)),
    _images("conv2d 1x1 stride 2", lambda t, F, x, w, b: F.conv2d(x, w, b, 2), (128, 64, 1, 1), (128,)),
    _images("conv2d 7x7 stride 2", lambda t, F, x, w: F.conv2d(x, w, None, 2, 3), (64, 3, 7, 7), shape=(8, 3, 64, 64)),
    _images("conv2d 3x3 depthwise", lambda t, F, x, w, b: F.conv2d(x, w, b, 1, 1, 1, 64), (64, 1, 3, 3), (64,)),
    _images("conv2d depthwise stride 2", lambda t, F, x, w, b: F.conv2d(x, w, b, 2, 1, 1, 64), (64, 1, 3, 3), (64,)),
    _images("conv2d 3x3 8 groups", lambda t, F, x, w, b: F.conv2d(x, w, b, 1, 1, 1, 8), (64, 8, 3, 3), (64,)),
    _images("conv2d 8 groups stride 2", lambda t, F, x, w, b: F.conv2d(x, w, b, 2, 1, 1, 8), (64, 8, 3, 3), (64,)),
    _images("conv2d dilated", lambda t, F, x, w, b: F.conv2d(x, w, b, 1, 2, 2), (64, 64, 3, 3), (64,)),
    _images("conv1d", lambda t, F, x, w, b: F.conv1d(x, w, b, padding=1), (64, 64, 3), (64,), shape=(16, 64, 256)),
    _images("conv3d", lambda t, F, x, w: F.conv3d(x, w, None, 1, 1), (16, 16, 3, 3, 3), shape=(4, 16, 8, 16, 16)),
    _images("conv_transpose2d", lambda t, F, x, w, b: F.conv_transpose2d(x, w, b, 2, 1), (64, 32, 4, 4), (32,),
            shape=(16, 64, 14, 14)),
    _images("conv_transpose2d 2x2", lambda t, F, x, w: F.conv_transpose2d(x, w, None, 2), (64, 32, 2, 2),
            shape=(16, 64, 14, 14)),
    _images("max_pool2d 2x2", lambda t, F, x: F.max_pool2d(x, 2)),
    _images("max_pool2d 3x3 stride 2", lambda t, F, x: F.max_pool2d(x, 3, 2, 1)),
    _images("avg_pool2d", lambda t, F, x: F.avg_pool2d(x, 2)),
    _images("adaptive_avg_pool2d 1", lambda t, F, x: F.adaptive_avg_pool2d(x, 1)),
    _images("adaptive_avg_pool2d 7", lambda t, F, x: F.adaptive_avg_pool2d(x, 7)),
    _images("batch_norm", lambda t, F, x, w, b: F.batch_norm(x, None, None, w, b, training=True), (64,), (64,)),
    _images("group_norm", lambda t, F, x, w, b: F.group_norm(x, 8, w, b), (64,), (64,)),
    Case("layer_norm", lambda t, F, x, w, b: F.layer_norm(x, TEXTS[2:], w, b), (TEXTS, TEXTS[2:], TEXTS[2:])),
    Case("softmax", lambda t, F, x: F.softmax(x, -1), (TEXTS,)),
    Case("log_softmax", lambda t, F, x: F.log_softmax(x, -1), (TEXTS,)),
    Case("cross_entropy", lambda t, F, x, y: F.cross_entropy(x, y), ((2048, 512),), (2048,), 512),
    Case("gelu", lambda t, F, x: F.gelu(x), (TEXTS,)),
    Case("relu", lambda t, F, x: F.relu(x), (TEXTS,)),
    Case("silu", lambda t, F, x: F.silu(x), (TEXTS,)),
    Case("dropout", lambda t, F, x: F.dropout(x, 0.1), (TEXTS,)),
    Case("embedding", lambda t, F, w, i: F.embedding(i, w), ((10000, 256),), (16, 128), 10000),
    Case("attention", _attention, (HEADS, HEADS, HEADS)),
    Case("attention causal", lambda t, F, *qkv: _attention(t, F, *qkv, causal=True), (HEADS, HEADS, HEADS)),
    _recurrent("lstm", 4, 2),
    _recurrent("gru", 3, 1),
    _images("interpolate bilinear", lambda t, F, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    _images("unfold", lambda t, F, x: F.unfold(x, 3, padding=1)),
    _images("fold", lambda t, F, x: F.fold(x, (28, 28), 3, padding=1), shape=(16, 144, 784)),
    Case("sum over a dim", lambda t, F, x: t.sum(x, 1), (TEXTS,)),
    Case("mean", lambda t, F, x: t.mean(x), (TEXTS,)),
    Case("var over a dim", lambda t, F, x: t.var(x, -1), (TEXTS,)),
    Case("cat", lambda t, F, a, b: t.cat((a, b), 1), (TEXTS, TEXTS)),
    Case("index_select", lambda t, F, x, i: t.index_select(x, 0, i), ((2048, 256),), (2048,), 2048),
    Case("gather", lambda t, F, x, i: t.gather(x, 1, i), ((2048, 256),), (2048, 64), 256),
    Case("cumsum", lambda t, F, x: t.cumsum(x, 1), (TEXTS,)),
    Case("sort", lambda t, F, x: t.sort(x, dim=-1, stable=True)[0], ((1024, 256),)),  # torch orders ties freely else
    Case("topk", lambda t, F, x: t.topk(x, 10)[0], ((1024, 256),)),
)  # fmt: skip


def measure_compiled(torch: Any, cases: Sequence[Case], rounds: int, seconds: float) -> dict[str, dict[str, Timing]]:
    """For each case the times of the ways to run it. `torch` is None where it is not to be compared with."""
    return {case.name: interleaved(_ways(case, torch), rounds, seconds) for case in cases}


def _ways(case: Case, torch: Any) -> dict[str, Callable[[], Any]]:
    import jtorch

    ways = {"jtorch compiled": _both(case, jtorch, jtorch.compile), "jtorch eager": _both(case, jtorch)}
    if torch is not None:
        ways["torch"] = _both(case, torch)
        if case.name not in RANDOM:
            _check(case.name, {name: way() for name, way in ways.items()})
    return ways


def _both(case: Case, torch: Any, compiled: Callable = lambda function: function) -> Callable[[], Any]:
    """The result and the gradients of the floating inputs."""
    call, F = case.call, torch.nn.functional
    inputs = [torch.from_numpy(array) for array in case.inputs()]
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    shape = tuple(call(torch, F, *inputs).shape)
    cotangent = torch.from_numpy(np.random.default_rng(1).standard_normal(shape, np.float32))

    @compiled
    def both(inputs, cotangent):
        result = call(torch, F, *inputs)
        leaves = [x for x in inputs if x.is_floating_point()]
        return [result.detach(), *torch.autograd.grad(result, leaves, cotangent)]

    return lambda: both(inputs, cotangent)


def _check(name: str, results: dict[str, Any]) -> None:
    """Raise if the candidates did not do the same work.

    Raises:
        RuntimeError: a result or a gradient differs from torch's by more than rounding does.
    """
    expected = [np.asarray(array) for array in results["torch"]]
    for way, found in results.items():
        for array, theirs in zip(found, expected, strict=True):
            size = np.abs(theirs).max() + 1e-3
            worst = np.abs(np.asarray(array) - theirs).max() / size
            if not worst < 1e-3:
                raise RuntimeError(
                    f"benchmarks: {name}: {way} differs from torch by {worst:.1e} of the largest element"
                )
