"""The examples reach their accuracy, the Python in the README runs, and the benchmarks print their tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _python_blocks(text: str) -> list[tuple[str, str]]:
    """Each block of Python with the heading above it."""
    blocks, title = [], ""
    for heading, code in re.findall(r"^## ([^\n]+)$|^```python\n(.*?)^```", text, re.S | re.M):
        title = heading or title
        if code:
            blocks.append((title, code))
    return blocks


PYTHON_BLOCKS = _python_blocks((ROOT / "README.md").read_text())


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess:
    """A Python program run as a user would, without what the tests set for themselves."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    settings |= {name: value for name, value in os.environ.items() if "CACHE" in name}
    paths = [str(ROOT), settings.get("PYTHONPATH", "")]
    settings["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return subprocess.run([sys.executable, *command], cwd=cwd, env=settings, capture_output=True, text=True)


def _accuracies(output: str) -> list[float]:
    return [float(found) for found in re.findall(r"test accuracy (0\.\d+)", output)]


@pytest.mark.parametrize(
    ("program", "epochs", "reached"),
    [
        (["train_digits.py"], 4, 0.94),
        (["train_digits.py", "--eager"], 2, 0.88),
        (["train_digits_nnx.py"], 4, 0.94),
    ],
    ids=["compiled", "eager", "nnx"],
)
def test_digits_example_reaches_its_accuracy_and_draws_it(program, epochs, reached, tmp_path):
    name, *options = program
    command = [str(ROOT / "examples" / name), *options, "--epochs", str(epochs), "--plot", "curves.png"]
    done = _run(*command, cwd=tmp_path)
    accuracies = _accuracies(done.stdout)
    assert len(accuracies) == epochs, done.stderr
    assert accuracies[-1] >= reached
    assert done.returncode == (accuracies[-1] < 0.97)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_digits_example_fails_below_its_accuracy(tmp_path):
    done = _run(str(ROOT / "examples" / "train_digits.py"), "--epochs", "1", "--batch-size", "1024", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected at least 97%" in done.stderr


@pytest.mark.parametrize(("model", "bound"), [("lstm", 1.65), ("transformer", 1.8)])
def test_characters_example_learns(model, bound, tmp_path):
    command = [str(ROOT / "examples" / "train_characters.py"), "--model", model, "--epochs", "2", "--steps", "60"]
    done = _run(*command, cwd=tmp_path)
    losses = [float(found) for found in re.findall(r"epoch \d+  held-out loss (\d\.\d+)", done.stdout)]
    assert len(losses) == 2, done.stderr
    assert losses[1] < losses[0] and losses[1] <= 2.6
    assert done.returncode == 1
    assert f"expected at most {bound}" in done.stderr


@pytest.mark.parametrize("block", [pytest.param(code, id=title) for title, code in PYTHON_BLOCKS])
def test_readme_block_runs(block, tmp_path):
    done = _run("-W", "error::DeprecationWarning:jtorch", "-c", block, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_readme_shows_every_way():
    titles = ["Tensors", "Compiled", "Mixed precision", "Plain arrays", "Function transforms",
              "Inside Flax NNX and Optax", "Files", "Checkpoints", "Exchange"]  # fmt: skip
    assert [title for title, _ in PYTHON_BLOCKS] == titles


def test_benchmarks_print_their_tables_and_write_their_figures(tmp_path):
    quick = ["--rounds", "1", "--seconds", "0.01", "--first-calls", "1", "--points", "batch 8"]
    chosen = ["--ops", "add", "linear", "--models", "mlp", "--candidates", "jtorch.compile", "nnx.cached_partial"]
    done = _run("-m", "benchmarks", *quick, *chosen, "--json", "figures.json", "--png", "steps.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert set(figures) == {"machine", "eager", "ops", "compiled", "steps", "scaling", "overhead", "cache", "imports"}
    assert set(figures["ops"]) == {"add", "linear"} and set(figures["compiled"]) == {"linear"}
    assert set(figures["steps"]["mlp"]["step"]) == {"jtorch.compile", "bare JAX", "nnx.cached_partial"}
    assert figures["steps"]["mlp"]["step"]["jtorch.compile"][0] > 0
    assert figures["scaling"]["batch 8"]["parameters"] == 4 * (256 * 256 + 256) + 256 * 10 + 10
    assert (tmp_path / "steps.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"^Equinox +- +- ", done.stdout, re.M)
