"""How long `import jtorch` takes beside what it imports, each in fresh processes that find the bytecode written."""

import os
import subprocess
import sys
import tempfile

from benchmarks.timing import Timing

IMPORTS = {
    "jax, flax.nnx": "import jax, flax.nnx",
    "jax, flax.nnx, optax": "import jax, flax.nnx, optax",
    "jtorch": "import jtorch",
    "torch": "import torch",
}


def measure_imports(names: list[str], rounds: int) -> dict[str, Timing]:
    """Seconds that each import statement takes, the interpreter's own start not counted, nor the first time."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        turns = [{name: _import_time(IMPORTS[name], environment) for name in names} for _ in range(1 + rounds)]
    return {name: Timing.of([turn[name] for turn in turns[1:]]) for name in names}


def _import_time(statement: str, environment: dict[str, str]) -> float:
    program = f"import time; t = time.perf_counter()\n{statement}\nprint(time.perf_counter() - t)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])
