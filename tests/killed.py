"""A program that forks processes which train or save, for tests that kill them: `python killed.py`, a line of JSON a job.

A job is [what, folder, seconds]: the function to run, where, and after how long to kill it, counted from when it is
under way; null lets it end. The answer is a line: how it ended. Forking spares the import of everything each time.
"""

import functools
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint  # noqa: F401 - imported once, for all

import jtorch as torch

STEPS = 30
SIZE = 300_000
"""Elements of what `save` writes: it takes long enough to be hit."""

jax.config.update("jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def train(folder: Path, ready, checkpoints: bool = True) -> None:
    """Train for some steps, each with its checkpoint, from the latest one on; the weights at the end go into a file."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    @torch.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    begin = 0
    if torch.latest_step(folder / "run") is not None:
        seen = torch.load_checkpoint(folder / "run", **parts)
        assert seen["digest"] == digest(model, optimizer), "a checkpoint that is not what was saved"
        told = Path(folder / "told").read_text() if (folder / "told").exists() else "-1"
        assert seen["step"] >= int(told), "a checkpoint that was whole is gone"
        begin = seen["step"] + 1
    ready()
    for i in range(begin, STEPS):
        step(torch.randn(16, 4))
        scheduler.step()
        if not checkpoints:
            continue
        asynchronous = bool(i % 2)
        seen = digest(model, optimizer)
        torch.save_checkpoint(folder / "run", i, **parts, digest=seen, max_to_keep=2, asynchronous=asynchronous)
        if not asynchronous:
            replace(folder / "told", str(i))
    torch.save(model.state_dict(), folder / "weights.pt")


def digest(model, optimizer) -> str:
    """A sum over all bytes of the weights and of the optimizer's state."""
    sums = hashlib.sha256()
    for tensors in (model.state_dict(), *optimizer.state_dict()["state"].values()):
        for tensor in tensors.values():
            sums.update(np.asarray(tensor.detach()).tobytes())
    return sums.hexdigest()


def replace(path: Path, text: str) -> None:
    """Write a file in one go."""
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


def save(folder: Path, ready) -> None:
    """Save one tensor after the other at one path, each of equal numbers larger than those before."""
    torch.manual_seed(0)
    path = folder / "x.pt"
    begin = 0
    if path.exists():
        found = torch.load(path)
        assert found["x"].shape == (SIZE,) and bool((found["x"] == found["i"]).all())
        assert found["i"] >= int((folder / "told").read_text()), "an older file came back"
        begin = found["i"] + 1
    torch.full((SIZE,), 0.0)  # compiled
    ready()
    for i in range(begin, begin + 10_000):
        torch.save({"i": i, "x": torch.full((SIZE,), float(i))}, path)
        replace(folder / "told", str(i))


JOBS = {"train": train, "train at once": functools.partial(train, checkpoints=False), "save": save}


def run(what: str, folder: str, seconds: float | None) -> str:
    """How a job ended: "killed", "done" or "failed"."""
    begun, ready = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            JOBS[what](Path(folder), lambda: os.write(ready, b"!"))
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(ready)
    os.read(begun, 1)  # comes back without a byte where the process ends before
    os.close(begun)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else "failed" if status else "done"


if __name__ == "__main__":
    for line in sys.stdin:
        print(run(*json.loads(line)), flush=True)
