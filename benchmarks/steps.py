"""The training step of whole models: jtorch.compile beside bare JAX, torch eager and torch.compile.

Every candidate starts from the same weights and must show the same losses before it is timed. The first call is timed
in a process of its own: `python -m benchmarks.steps MODEL CANDIDATE` prints its seconds.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bare, models
from benchmarks.timing import Timing, interleaved

Step = Callable[[], Any]
"""One training step, returning its loss."""


class Work(NamedTuple):
    """A model, the batch it is trained on, and by which optimizer. Two numbers in `shape` with `tokens` are texts."""

    model: str
    shape: tuple[int, ...]
    optimizer: str
    options: dict[str, float]
    tokens: int = 0  # how many kinds there are; 0: the inputs are images

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Random images and labels, or texts and their next tokens, always the same."""
        rng = np.random.default_rng(0)
        if self.tokens:
            text = rng.integers(0, self.tokens, (self.shape[0], self.shape[1] + 1))
            return text[:, :-1].copy(), text[:, 1:].flatten()
        return rng.standard_normal(self.shape, np.float32), rng.integers(0, 10, self.shape[0])

    def weights(self) -> dict[str, np.ndarray]:
        """The `state_dict` that every candidate starts from."""
        import jtorch

        jtorch.manual_seed(0)
        model = getattr(models, self.model)(jtorch.nn, jtorch.nn.functional)
        return {name: np.array(tensor) for name, tensor in model.state_dict().items()}


_MOMENTUM = {"lr": 0.01, "momentum": 0.9}
WORKS = {
    "mlp": Work("mlp", (128, 784), "Adam", {"lr": 1e-3}),
    "lenet": Work("lenet", (64, 1, 28, 28), "SGD", _MOMENTUM),
    "resnet18": Work("resnet18", (32, 3, 32, 32), "SGD", _MOMENTUM),
    "mobilenet": Work("mobilenet", (32, 3, 32, 32), "SGD", _MOMENTUM),
    "resnext": Work("resnext", (32, 3, 32, 32), "SGD", _MOMENTUM),
    "lstm": Work("lstm", (16, 64), "Adam", {"lr": 1e-3}, models.TOKENS),
    "gpt": Work("gpt", (8, 128), "Adam", {"lr": 1e-3}, models.TOKENS),
    "vit": Work("vit", (32, 3, 32, 32), "Adam", {"lr": 1e-3}),
}


def _as_is(function: Callable) -> Callable:
    return function


def _torch_style(torch: Any, work: Work, compile_step: Callable = _as_is, compile_part: Callable = _as_is) -> Step:
    """The step as torch writes it, for torch or for jtorch, compiled as a whole, in parts or not at all."""
    F = torch.nn.functional
    model = getattr(models, work.model)(torch.nn, F)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in work.weights().items()})
    optimizer = getattr(torch.optim, work.optimizer)(model.parameters(), **work.options)
    x, y = (torch.from_numpy(array) for array in work.batch())
    forward, update = compile_part(model), compile_part(optimizer.step)

    @compile_step
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        update()
        return loss.detach()

    return lambda: train_step(x, y)


def _jtorch_eager(work: Work) -> Step:
    import jtorch

    return _torch_style(jtorch, work)


def _jtorch_compiled(work: Work) -> Step:
    import jtorch

    return _torch_style(jtorch, work, compile_step=jtorch.compile)


def _torch_eager(work: Work) -> Step:
    import torch

    return _torch_style(torch, work)


def _torch_compiled(work: Work) -> Step:
    import torch

    return _torch_style(torch, work, compile_part=torch.compile)


def _bare(work: Work, layers: Any) -> Step:
    arrays = {name: jnp.asarray(array) for name, array in work.weights().items()}
    marks = ("running_mean", "running_var", "num_batches_tracked")
    buffers = {name: array for name, array in arrays.items() if name.endswith(marks)}
    p = {name: array for name, array in arrays.items() if name not in buffers}
    optimizer = {"SGD": bare.sgd, "Adam": bare.adam}[work.optimizer]
    state, update = optimizer(p, **work.options)
    step = bare.train_step(getattr(bare, work.model), layers, update)
    x, y = (jnp.asarray(array) for array in work.batch())

    def train_step():
        nonlocal p, buffers, state
        p, buffers, state, loss = step(p, buffers, state, x, y)
        return loss

    return train_step


CANDIDATES: dict[str, Callable[[Work], Step]] = {
    "jtorch.compile": _jtorch_compiled,
    "bare JAX": lambda work: _bare(work, bare.lax_layers),
    "bare JAX on jtorch.ops": lambda work: _bare(work, bare.op_layers()),
    "jtorch eager": _jtorch_eager,
    "torch eager": _torch_eager,
    "torch.compile": _torch_compiled,
}
BASE = "bare JAX"
"""What the ratios are to."""


def measure_steps(work: Work, names: list[str], rounds: int, seconds: float) -> dict[str, Timing]:
    """The time of a step of each candidate, after checking that they compute the same."""
    steps = {name: CANDIDATES[name](work) for name in names}
    _check_losses({name: [float(step()) for _ in range(3)] for name, step in steps.items()})
    return interleaved(steps, rounds, seconds)


def _check_losses(losses: dict[str, list[float]]) -> None:
    """Raise if the candidates did not do the same work.

    Raises:
        RuntimeError: a loss differs by more than rounding does.
    """
    expected = losses[BASE]
    for name, found in losses.items():
        if not np.allclose(found, expected, rtol=1e-2):
            raise RuntimeError(f"benchmarks: expected the losses {expected} of {BASE}, got {found} from {name}")


def measure_first_calls(model: str, names: list[str], rounds: int) -> dict[str, Timing]:
    """The time of the first step of each candidate, which compiles it, in fresh processes and without caches."""
    settings = {"JAX_ENABLE_COMPILATION_CACHE": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, "-m", "benchmarks.steps", model, name]
            done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
            taken[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {name: Timing.of(values) for name, values in taken.items()}


def _first_call(model: str, name: str) -> float:
    step = CANDIDATES[name](WORKS[model])
    start = time.perf_counter()
    jax.block_until_ready(step())
    return time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(_first_call(*sys.argv[1:])))
