"""What Python costs in a training step of many parameters that are too small to cost anything themselves.

The same SGD step over hundreds of tiny parameters: under `jtorch.compile`, as a flat list of arrays under `jax.jit`,
under `nnx.jit` and `nnx.cached_partial`, and in torch eager. What a call costs beyond `jax.jit` is its Python. A torch
step that begins with `zero_grad()` leaves the gradients in `.grad`, which doubles the results, and one that ends with it
leaves none: `jax.jit` too is there with and without giving them out.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks.timing import Timing, interleaved

PARAMETERS, SHAPE, LR = 300, (2, 2), 1e-3


def measure_overhead(torch: Any, rounds: int, seconds: float) -> dict[str, Timing]:
    """The time of a call of each candidate. `torch` is None where it is not to be compared with."""
    import jtorch

    calls = {
        "jax.jit": _flat(gradients=False),
        "jax.jit, gradients given out": _flat(gradients=True),
        "jtorch.compile": _torch_style(jtorch, jtorch.compile),
        "jtorch.compile, gradients left": _torch_style(jtorch, jtorch.compile, zero_first=True),
        "nnx.jit": _nnx(cached=False),
        "nnx.cached_partial": _nnx(cached=True),
    }
    if torch is not None:
        calls["torch eager"] = _torch_style(torch, lambda function: function)
    return interleaved(calls, rounds, seconds)


def _torch_style(torch: Any, compile_step: Callable, zero_first: bool = False) -> Callable[[], Any]:
    parameters = [torch.nn.Parameter(torch.ones(*SHAPE)) for _ in range(PARAMETERS)]
    optimizer = torch.optim.SGD(parameters, lr=LR)
    x = torch.ones(*SHAPE)

    @compile_step
    def step(x):
        if zero_first:
            optimizer.zero_grad()
        loss = (torch.stack(parameters) * x).sum()
        loss.backward()
        optimizer.step()
        if not zero_first:
            optimizer.zero_grad()
        return loss.detach()

    return lambda: step(x)


def _flat(gradients: bool) -> Callable[[], Any]:
    parameters, x = [jnp.ones(SHAPE) for _ in range(PARAMETERS)], jnp.ones(SHAPE)

    def step(parameters, x):
        loss, grads = jax.value_and_grad(lambda parameters: (jnp.stack(parameters) * x).sum())(parameters)
        new = [p - LR * g for p, g in zip(parameters, grads, strict=True)]
        return new, loss, grads if gradients else None

    compiled, grads = jax.jit(step, donate_argnums=0), None

    def run():
        nonlocal parameters, grads
        parameters, loss, grads = compiled(parameters, x)
        return loss

    return run


class Parameters(nnx.Module):
    """A list of parameters."""

    def __init__(self):
        self.all = nnx.List([nnx.Param(jnp.ones(SHAPE)) for _ in range(PARAMETERS)])

    def __call__(self, x: jax.Array) -> jax.Array:
        return (jnp.stack([p[...] for p in self.all]) * x).sum()


def _nnx(cached: bool) -> Callable[[], Any]:
    model, x = Parameters(), jnp.ones(SHAPE)
    optimizer = nnx.Optimizer(model, optax.sgd(LR), wrt=nnx.Param)

    def step(model, optimizer, x):
        loss, grads = nnx.value_and_grad(lambda model: model(x))(model)
        optimizer.update(model, grads)
        return loss

    compiled = nnx.jit(step, donate_argnums=(0, 1))
    if cached:
        partial = nnx.cached_partial(compiled, model, optimizer)
        return lambda: partial(x)
    return lambda: compiled(model, optimizer, x)
