"""The cost of single ops in eager mode, where the work is small and dispatch is everything: jtorch beside torch.

Forward alone, and forward with backward, on tensors; and forward on plain arrays through `jtorch.ops`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Timing, interleaved


class Case(NamedTuple):
    """One op at one size. `call` takes the namespace torch, then F, then the inputs."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    integers: tuple[int, ...] = ()  # the shape of the integers that come as last input, if any
    below: int = 10
    scale: float = 1.0  # of the floating inputs

    def inputs(self) -> list[np.ndarray]:
        """Random inputs, always the same."""
        rng = np.random.default_rng(0)
        floats = [self.scale * rng.standard_normal(shape, np.float32) for shape in self.shapes]
        return floats + ([rng.integers(0, self.below, self.integers)] if self.integers else [])


SMALL = (8, 32)
CASES = (
    Case("add", lambda t, F, a, b: t.add(a, b), (SMALL, SMALL)),
    Case("add a number", lambda t, F, a: t.add(a, 0.5), (SMALL,)),
    Case("mul", lambda t, F, a, b: t.mul(a, b), (SMALL, SMALL)),
    Case("exp", lambda t, F, a: t.exp(a), (SMALL,)),
    Case("relu", lambda t, F, a: F.relu(a), (SMALL,)),
    Case("gelu", lambda t, F, a: F.gelu(a), (SMALL,)),
    Case("softmax", lambda t, F, a: F.softmax(a, -1), (SMALL,)),
    Case("sum", lambda t, F, a: t.sum(a), (SMALL,)),
    Case("mean over a dim", lambda t, F, a: t.mean(a, 1), (SMALL,)),
    Case("max over a dim", lambda t, F, a: t.max(a, 1)[0], (SMALL,)),
    Case("layer_norm", lambda t, F, a, w, b: F.layer_norm(a, (32,), w, b), (SMALL, (32,), (32,))),
    Case("matmul", lambda t, F, a, b: t.matmul(a, b), ((32, 64), (64, 64))),
    Case("linear", lambda t, F, a, w, b: F.linear(a, w, b), ((32, 64), (64, 64), (64,))),
    Case("conv2d", lambda t, F, a, w, b: F.conv2d(a, w, b, padding=1), ((4, 8, 8, 8), (8, 8, 3, 3), (8,))),
    Case("max_pool2d", lambda t, F, a: F.max_pool2d(a, 2), ((4, 8, 8, 8),)),
    Case("cross_entropy", lambda t, F, a, y: F.cross_entropy(a, y), ((32, 10),), integers=(32,)),
    Case("embedding", lambda t, F, w, i: F.embedding(i, w), ((10, 32),), integers=(32,)),
    Case("reshape", lambda t, F, a: t.reshape(a, (4, 64)), (SMALL,)),
    Case("transpose", lambda t, F, a: t.transpose(a, 0, 1), (SMALL,)),
    Case("index by an int", lambda t, F, a: a[0], (SMALL,)),
    Case("index by a slice", lambda t, F, a: a[:, 2:20], (SMALL,)),
    Case("cat", lambda t, F, a, b: t.cat((a, b)), (SMALL, SMALL)),
)


def measure_ops(torch: Any, cases: Sequence[Case], rounds: int, seconds: float) -> dict[str, dict[str, Timing]]:
    """For each case the times of the ways to run it. `torch` is None where it is not to be compared with."""
    return {case.name: interleaved(_ways(case, torch), rounds, seconds) for case in cases}


def _ways(case: Case, torch: Any) -> dict[str, Callable[[], Any]]:
    import jtorch

    ways: dict[str, Callable[[], Any]] = {}
    for name, namespace in (("torch", torch), ("jtorch", jtorch)):
        if namespace is not None:
            ways[f"{name} forward"] = _forward(case, namespace)
            ways[f"{name} both"] = _both(case, namespace)
    ways["arrays forward"] = _on_arrays(case)
    return ways


def _forward(case: Case, torch: Any) -> Callable[[], Any]:
    call, F = case.call, torch.nn.functional
    inputs = [torch.from_numpy(array) for array in case.inputs()]
    return lambda: call(torch, F, *inputs)


def _both(case: Case, torch: Any) -> Callable[[], Any]:
    """Forward and backward, from a cotangent that is there already."""
    call, F = case.call, torch.nn.functional
    inputs = [torch.from_numpy(array) for array in case.inputs()]
    leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
    cotangent = torch.ones_like(call(torch, F, *inputs).detach())

    def run():
        for leaf in leaves:
            leaf.grad = None
        call(torch, F, *inputs).backward(cotangent)
        return [leaf.grad for leaf in leaves]

    return run


def _on_arrays(case: Case) -> Callable[[], Any]:
    from jtorch import ops

    call = case.call
    inputs = [jnp.asarray(array) for array in case.inputs()]
    return lambda: call(ops, ops, *inputs)
