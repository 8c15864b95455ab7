"""The training step of whole models: jtorch beside bare JAX, torch, Flax NNX and Equinox.

Every candidate starts from the same weights and must show the same losses before it is timed. The first call is timed
in a process of its own: `python -m benchmarks.steps WORK CANDIDATE` prints its seconds and its memory.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.backend import get_backend

from benchmarks import bare, flax_models, models
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
    sizes: tuple[int, ...] = ()  # what the model is made with

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
        model = getattr(models, self.model)(jtorch.nn, jtorch.nn.functional, *self.sizes)
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


def _scale(batch: int = 128, width: int = 256, depth: int = 4) -> Work:
    return Work("perceptron", (batch, width), "SGD", _MOMENTUM, sizes=(width, depth))


SCALES = {
    **{f"batch {n}": _scale(batch=n) for n in (8, 32, 128, 512)},
    **{f"depth {n}": _scale(depth=n) for n in (1, 16, 64)},
    **{f"width {n}": _scale(width=n) for n in (16, 64, 1024)},
}
"""What is scaled from a common point, the perceptron of 4 layers of 256 with a batch of 128."""
SCALED = ("jtorch.compile", "bare JAX", "nnx.jit", "torch eager")
"""The candidates of `SCALES`."""


def _as_is(function: Callable) -> Callable:
    return function


def _torch_style(torch: Any, work: Work, compile_step: Callable = _as_is, compile_part: Callable = _as_is) -> Step:
    """The step as torch writes it, for torch or for jtorch, compiled as a whole, in parts or not at all."""
    F = torch.nn.functional
    model = getattr(models, work.model)(torch.nn, F, *work.sizes)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in work.weights().items()})
    optimizer = getattr(torch.optim, work.optimizer)(model.parameters(), **work.options)
    x, y = (torch.from_numpy(array) for array in work.batch())
    forward, update = compile_part(model), compile_part(optimizer.step)

    @compile_step
    def train_step(x, y):
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        update()
        optimizer.zero_grad()  # last, so that no gradients are left: bare JAX, NNX and Equinox give none out either
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


def _equinox(work: Work) -> Step:
    from benchmarks import equinox_models

    return equinox_models.make_step(work)


CANDIDATES: dict[str, Callable[[Work], Step]] = {
    "jtorch.compile": _jtorch_compiled,
    "bare JAX": lambda work: _bare(work, bare.lax_layers),
    "bare JAX on jtorch.ops": lambda work: _bare(work, bare.op_layers()),
    "jtorch eager": _jtorch_eager,
    "torch eager": _torch_eager,
    "torch.compile": _torch_compiled,
    "nnx.jit": lambda work: flax_models.make_step(work, cached=False),
    "nnx.cached_partial": lambda work: flax_models.make_step(work, cached=True),
    "Equinox": _equinox,
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


class FirstCall(NamedTuple):
    """A candidate's first step, which compiles it, and the memory that it and some more steps need, in bytes."""

    time: Timing
    program: int | None  # of the largest program, by XLA's account; None: not one program, or not XLA's
    resident: int | None  # of the process at its peak, with its libraries and what compiling took


def measure_first_calls(work: str, names: list[str], rounds: int) -> dict[str, FirstCall]:
    """The first step of each candidate in fresh processes and without caches; of those that compile nothing, once."""
    settings = {"JAX_ENABLE_COMPILATION_CACHE": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            if turn == 0 or not name.endswith("eager"):
                taken[name].append(child(work, name, settings))
    return {
        name: FirstCall(Timing.of([call["seconds"] for call in calls]), calls[0]["program"], calls[0]["resident"])
        for name, calls in taken.items()
    }


def child(work: str, name: str, settings: dict[str, str]) -> dict[str, Any]:
    """What `_first_call` finds in a process of its own with these environment variables."""
    command = [sys.executable, "-m", "benchmarks.steps", work, name]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _first_call(work: str, name: str) -> dict[str, Any]:
    step = CANDIDATES[name]((WORKS | SCALES)[work])
    start = time.perf_counter()
    jax.block_until_ready(step())
    seconds = time.perf_counter() - start
    for _ in range(3):
        jax.block_until_ready(step())
    one_program = not name.startswith("torch") and not name.endswith("eager")
    program = _program_size() if one_program else None
    return {"seconds": seconds, "program": program, "resident": _peak_resident()}


def _peak_resident() -> int | None:
    """Bytes; None where the system has no /proc. getrusage would tell the parent's peak, which outlives exec on Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _program_size() -> int:
    """Arguments, results beside them, and what lies between, of the largest program that there is."""
    stats = [program.get_compiled_memory_stats() for program in get_backend().live_executables()]
    return max(
        one.argument_size_in_bytes + one.output_size_in_bytes - one.alias_size_in_bytes + one.temp_size_in_bytes
        for one in stats
    )


if __name__ == "__main__":
    importlib.import_module("jtorch")  # which keeps memory where that is asked for, before threads have any
    print(json.dumps(_first_call(*sys.argv[1:])))
