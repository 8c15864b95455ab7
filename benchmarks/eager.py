"""What one call costs in eager mode, op by op, where the arrays are tiny: torch, jtorch with and without tape, bare JAX.

Bare JAX is the same work under `jax.jit` on arrays: what jtorch cannot go below. The figures are a few microseconds, so
that minima say more than medians on a busy machine; the table has both.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import Timing, interleaved

SHAPE = (4, 8)
CHAIN = 10  # ops in the graph that `backward` walks
LEAVES = 100  # parameters of the calls that take a list of them


class Call(NamedTuple):
    """One call. `make` takes the namespace torch and a tensor and gives the call to time; `bare` does so for arrays."""

    make: Callable[[Any, Any], Callable[[], Any]]
    bare: Callable[[Any], Any] | None = None
    inplace: bool = False  # the tensor written to is no leaf


def _op(call: Callable[..., Any], bare: Callable[[Any], Any] | None = None) -> Call:
    return Call(lambda torch, a: lambda: call(torch, a), bare)


def _write(call: Callable[..., Any], bare: Callable[[Any], Any]) -> Call:
    """A write to a tensor that itself needs no gradient: a recorded one would grow a graph from call to call."""
    return Call(lambda torch, a: lambda: call(torch, a), bare, True)


def _masked(torch: Any, a: Any) -> Callable[[], Any]:
    mask = a.detach() > 0
    return lambda: a[mask]


def _backward(torch: Any, a: Any) -> Callable[[], Any]:
    def run():
        x = a
        for _ in range(CHAIN):
            x = x + a
        a.grad = None
        x.sum().backward()
        return a.grad

    return run


def _leaves(torch: Any) -> list:
    leaves = [torch.nn.Parameter(torch.ones(*SHAPE)) for _ in range(LEAVES)]
    for leaf in leaves:
        leaf.grad = torch.ones(*SHAPE)
    return leaves


def _clip(torch: Any, a: Any) -> Callable[[], Any]:
    leaves = _leaves(torch)
    return lambda: torch.nn.utils.clip_grad_norm_(leaves, 1.0)


def _zero(torch: Any, a: Any) -> Callable[[], Any]:
    optimizer = torch.optim.SGD(_leaves(torch), 0.1)
    return lambda: optimizer.zero_grad(set_to_none=False)


CALLS = {
    "a + b": _op(lambda t, a: a + a, lambda a: a + a),
    "x + 1": _op(lambda t, a: a + 1, lambda a: a + 1),
    "x * 0.5": _op(lambda t, a: a * 0.5, lambda a: a * 0.5),
    "relu": _op(lambda t, a: t.relu(a), lambda a: jnp.maximum(a, 0)),
    "exp": _op(lambda t, a: a.exp(), jnp.exp),
    "F.softmax": _op(lambda t, a: t.nn.functional.softmax(a, -1), lambda a: jax.nn.softmax(a, -1)),
    "sum": _op(lambda t, a: a.sum(), jnp.sum),
    "mean(1)": _op(lambda t, a: a.mean(1), lambda a: jnp.mean(a, 1)),
    "matmul": _op(lambda t, a: a @ a.mT, lambda a: a @ a.mT),
    "view": _op(lambda t, a: a.view(2, -1), lambda a: a.reshape(2, -1)),
    "transpose": _op(lambda t, a: a.transpose(0, 1), lambda a: a.T),
    "permute": _op(lambda t, a: a.permute(1, 0), lambda a: a.T),
    "unsqueeze": _op(lambda t, a: a.unsqueeze(0), lambda a: a[None]),
    "expand": _op(lambda t, a: a.expand(3, 4, 8), lambda a: jnp.broadcast_to(a, (3, 4, 8))),
    "chunk": _op(lambda t, a: a.chunk(2), lambda a: (a[:2], a[2:])),
    "a[0]": _op(lambda t, a: a[0], lambda a: a[0]),
    "a[1:3]": _op(lambda t, a: a[1:3], lambda a: a[1:3]),
    "a[:, 0]": _op(lambda t, a: a[:, 0], lambda a: a[:, 0]),
    "a[mask]": Call(_masked),
    "a[1] = 2.0": _write(lambda t, a: a.__setitem__(1, 2.0), lambda a: a.at[1].set(2.0)),
    "a[:, 1:3] = 2.0": _write(lambda t, a: a.__setitem__((slice(None), slice(1, 3)), 2.0),
                              lambda a: a.at[:, 1:3].set(2.0)),
    "a.add_(1)": _write(lambda t, a: a.add_(1), lambda a: a + 1),
    "view, then + 1": _op(lambda t, a: a.view(2, -1) + 1, lambda a: a.reshape(2, -1) + 1),
    "a[0] + 1": _op(lambda t, a: a[0] + 1, lambda a: a[0] + 1),
    "cat": _op(lambda t, a: t.cat([a, a]), lambda a: jnp.concatenate([a, a])),
    "stack": _op(lambda t, a: t.stack([a, a]), lambda a: jnp.stack([a, a])),
    "item": _op(lambda t, a: a.detach()[0, 0].item()),
    f"{CHAIN} adds, sum, backward": Call(_backward, jax.grad(lambda a: jnp.sum(a + CHAIN * a))),
    f"clip_grad_norm_ of {LEAVES}": Call(_clip),
    f"zero_grad to zeros, {LEAVES}": Call(_zero),
}  # fmt: skip


def measure_eager(torch: Any, names: list[str], rounds: int, seconds: float) -> dict[str, dict[str, Timing]]:
    """For each call the times of the ways to run it. `torch` is None where it is not to be compared with.

    torch has one thread: for softmax it wakes its pool even for 32 elements, which on busy cores takes milliseconds.
    """
    threads = torch.get_num_threads() if torch is not None else 0
    try:
        if torch is not None:
            torch.set_num_threads(1)
        return {name: interleaved(_ways(CALLS[name], torch), rounds, seconds) for name in names}
    finally:
        if torch is not None:
            torch.set_num_threads(threads)


def _ways(call: Call, torch: Any) -> dict[str, Callable[[], Any]]:
    import jtorch

    array = np.linspace(-1, 1, num=int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
    ways: dict[str, Callable[[], Any]] = {}
    for name, namespace in (("torch", torch), ("jtorch", jtorch)):
        if namespace is None:
            continue
        ways[f"{name} taped"] = call.make(namespace, _tensor(namespace, array, not call.inplace))
        ways[name] = _untaped(namespace, call, array)
    if call.bare is not None:
        compiled, given = jax.jit(call.bare), jnp.asarray(array)
        ways["jax.jit"] = lambda: compiled(given)
    return ways


def _tensor(torch: Any, array: np.ndarray, requires_grad: bool) -> Any:
    return torch.tensor(array).requires_grad_(requires_grad)


def _untaped(torch: Any, call: Call, array: np.ndarray) -> Callable[[], Any]:
    """The call on a tensor without gradients; of those that walk a graph there is only one form."""
    walks = call.make is _backward
    return call.make(torch, _tensor(torch, array, walks))
