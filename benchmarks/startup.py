"""How long `import jtorch` takes beside what it imports, each in fresh processes."""

import subprocess
import sys

from benchmarks.timing import Timing

IMPORTS = {
    "jax, flax.nnx": "import jax, flax.nnx",
    "jax, flax.nnx, optax": "import jax, flax.nnx, optax",
    "jtorch": "import jtorch",
    "torch": "import torch",
}


def measure_imports(names: list[str], rounds: int) -> dict[str, Timing]:
    """Seconds that each import statement takes, the interpreter's own start not counted."""
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            program = f"import time; t = time.perf_counter()\n{IMPORTS[name]}\nprint(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
            taken[name].append(float(done.stdout.splitlines()[-1]))
    return {name: Timing.of(values) for name, values in taken.items()}
